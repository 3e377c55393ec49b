//! Who listens where, and whether that is one of a tree of processes.
//!
//! All of it is read from /proc, as text that is taken for nothing more than that: a row which can't be read is no row. Where
//! there is no /proc, or where it tells nothing of a process (proc_pid_fd(5): of other users', and of those that made
//! themselves undumpable), the answer is that it can't be told.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A row of /proc/net/tcp or tcp6 (proc_pid_net(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// This end; addresses of IPv4 that a socket of IPv6 has (`::ffff:127.0.0.1`) as what they are.
    pub(super) local: SocketAddr,
    /// The other end.
    pub(super) remote: SocketAddr,
    /// One of `TCP_LISTEN` and so on of the kernel's include/net/tcp_states.h.
    pub(super) state: u8,
    /// Who made the socket.
    pub(super) uid: u32,
    /// The socket's inode; 0 while no process has it: before accept(2), and after close(2).
    pub(super) inode: u64,
}

impl Row {
    pub(super) fn listens(&self) -> bool {
        const LISTEN: u8 = 10;
        self.state == LISTEN
    }

    /// How well a listening socket fits connections to `target`; none where it gets none of them. The kernel prefers the
    /// one that is bound to the very address (compute_score in net/ipv4/inet_hashtables.c).
    fn fits(&self, target: SocketAddr) -> Option<u8> {
        let wildcard = match self.local.ip() {
            ip if ip == target.ip() => return self.at(target).then_some(2),
            IpAddr::V4(ip) => ip.is_unspecified() && target.is_ipv4(),
            // Of both families, unless it was told otherwise (IPV6_V6ONLY in ipv6(7)), which isn't shown.
            IpAddr::V6(ip) => ip.is_unspecified(),
        };
        (wildcard && self.at(target)).then_some(1)
    }

    fn at(&self, target: SocketAddr) -> bool {
        self.listens() && self.local.port() == target.port()
    }
}

/// The rows of a table. The same form serves both families; the header, and what else is no row, is passed over.
pub(super) fn rows(table: &[u8]) -> impl Iterator<Item = Row> {
    table.split(|&b| b == b'\n').filter_map(row)
}

/// Columns: slot, local, remote, state, queues, timer, retransmits, uid, timeout, inode.
fn row(line: &[u8]) -> Option<Row> {
    let mut columns = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    Some(Row {
        local: columns.nth(1).and_then(addr)?,
        remote: columns.next().and_then(addr)?,
        state: u8::from_str_radix(columns.next()?, 16).ok()?,
        uid: columns.nth(3)?.parse().ok()?,
        inode: columns.nth(1)?.parse().ok()?,
    })
}

/// `0100007F:1F90`: words of 32 bits as this machine stores what the network sends, and a port as a number.
fn addr(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |at: usize| {
        let hex = ip.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(hex, 16).ok()?.to_ne_bytes())
    };
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut octets = [0; 16];
            for (at, four) in octets.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(at)?);
            }
            Ipv6Addr::from(octets).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// The parent in a `/proc/PID/stat` (proc_pid_stat(5)). The name before it is in parentheses and may contain any, so what
/// counts is the last one.
pub(super) fn parent(stat: &[u8]) -> Option<u32> {
    let after = stat.iter().rposition(|&b| b == b')')? + 1;
    let rest = std::str::from_utf8(&stat[after..]).ok()?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The inode of a socket that a link in `/proc/PID/fd` names: `socket:[1234]`.
pub(super) fn socket_inode(link: &[u8]) -> Option<u64> {
    let number = link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// All that descend from `root`, itself excepted, by pairs of a process and its parent.
pub(super) fn below(root: u32, pairs: &[(u32, u32)]) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        for &(pid, its_parent) in pairs {
            if its_parent == parent && pid != root && found.insert(pid) {
                parents.push(pid);
            }
        }
    }
    found
}

/// Whose processes are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tree {
    /// Those that descend from this one, but not itself: it only looks after them.
    Below(u32),
    /// Itself and those that descend from it.
    #[cfg(test)]
    From(u32),
}

/// Whose the socket is that answers on an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A process of the tree has it.
    Ours,
    /// Somebody else has it: who, in words.
    Foreign(String),
    /// It can't be told, and nothing speaks against it.
    Unknown,
    /// Nobody listens there any more.
    Nobody,
}

#[cfg(target_os = "linux")]
pub(super) use linux::{is_accepted, ports_of, verdict};

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::BTreeSet;
    use std::fs;
    use std::net::SocketAddr;
    use std::os::unix::ffi::OsStrExt as _;

    use super::{Row, Tree, Verdict, below, parent, rows, socket_inode};

    /// Whose the socket is that gets the connections to `target`.
    pub(in super::super) fn verdict(target: SocketAddr, tree: Tree) -> Verdict {
        let Some(table) = table() else {
            return Verdict::Unknown;
        };
        let best = table.iter().filter_map(|row| row.fits(target)).max();
        let Some(best) = best else {
            return Verdict::Nobody;
        };
        // Several where they share the port by SO_REUSEPORT: then any of them may have answered.
        let listening: Vec<&Row> = table
            .iter()
            .filter(|row| row.fits(target) == Some(best))
            .collect();
        let ours: BTreeSet<u64> = members(tree).into_iter().flat_map(sockets).collect();
        let mut strangers = listening.iter().filter(|row| !ours.contains(&row.inode));
        match strangers.next() {
            None => Verdict::Ours,
            Some(row) => stranger(row),
        }
    }

    fn stranger(row: &Row) -> Verdict {
        let holder = processes().find(|&pid| sockets(pid).any(|inode| inode == row.inode));
        if let Some(pid) = holder {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            return Verdict::Foreign(format!("{} (pid {pid})", name.trim_end()));
        }
        match row.uid == rustix::process::geteuid().as_raw() {
            true => Verdict::Unknown,
            false => Verdict::Foreign(format!("a process of user {}", row.uid)),
        }
    }

    /// The ports, other than `given`, on which processes of the tree can be reached on loopback.
    pub(in super::super) fn ports_of(tree: Tree, given: u16) -> BTreeSet<u16> {
        let ours: BTreeSet<u64> = members(tree).into_iter().flat_map(sockets).collect();
        let table = table().unwrap_or_default();
        table
            .iter()
            .filter(|row| row.listens() && row.local.port() != given && row.local.port() != 0)
            .filter(|row| row.local.ip().is_loopback() || row.local.ip().is_unspecified())
            .filter(|row| ours.contains(&row.inode))
            .map(|row| row.local.port())
            .collect()
    }

    /// Whether the server's end of the connection between `client` and `server` is in a process's hands; none where it
    /// can't be told. In the kernel's queue it has no inode yet.
    pub(in super::super) fn is_accepted(client: SocketAddr, server: SocketAddr) -> Option<bool> {
        let table = table()?;
        let servers = |row: &&Row| row.local == server && row.remote == client;
        Some(table.iter().any(|row| servers(&row) && row.inode != 0))
    }

    fn table() -> Option<Vec<Row>> {
        let v4 = fs::read("/proc/net/tcp").ok()?;
        let v6 = fs::read("/proc/net/tcp6").unwrap_or_default();
        Some(rows(&v4).chain(rows(&v6)).collect())
    }

    fn members(tree: Tree) -> BTreeSet<u32> {
        let pairs: Vec<(u32, u32)> = processes()
            .filter_map(|pid| Some((pid, parent(&fs::read(format!("/proc/{pid}/stat")).ok()?)?)))
            .collect();
        match tree {
            Tree::Below(root) => below(root, &pairs),
            #[cfg(test)]
            Tree::From(root) => below(root, &pairs).into_iter().chain([root]).collect(),
        }
    }

    fn processes() -> impl Iterator<Item = u32> {
        fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
    }

    /// The inodes of the sockets that a process has open, as far as we are told.
    fn sockets(pid: u32) -> impl Iterator<Item = u64> {
        fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|fd| fs::read_link(fd.path()).ok())
            .filter_map(|link| socket_inode(link.as_os_str().as_bytes()))
    }
}

/// Nothing tells.
#[cfg(not(target_os = "linux"))]
pub(super) fn verdict(_target: SocketAddr, _tree: Tree) -> Verdict {
    Verdict::Unknown
}

/// Nothing tells.
#[cfg(not(target_os = "linux"))]
pub(super) fn ports_of(_tree: Tree, _given: u16) -> BTreeSet<u16> {
    BTreeSet::new()
}

/// Nothing tells.
#[cfg(not(target_os = "linux"))]
pub(super) fn is_accepted(_client: SocketAddr, _server: SocketAddr) -> Option<bool> {
    None
}

#[cfg(test)]
#[path = "sockets_tests.rs"]
mod tests;

#[cfg(test)]
pub(super) use tests::held;
