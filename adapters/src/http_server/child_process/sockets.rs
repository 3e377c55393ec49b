//! Who listens where, and whether that is one of a tree of processes.
//!
//! Where there is no /proc, or where it tells nothing of a process (proc_pid_fd(5): of other users', and of those that made
//! themselves undumpable), the answer is that it can't be told.

use std::collections::BTreeSet;
use std::net::SocketAddr;

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
#[cfg_attr(
    not(target_os = "linux"),
    expect(dead_code, reason = "only Linux tells whose a socket is")
)]
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
    use std::collections::HashSet;

    use rustix::process::Pid;

    use super::{BTreeSet, SocketAddr, Tree, Verdict};
    use crate::proc_fs::processes;
    use crate::proc_fs::tcp_table::{self, Row};

    /// Whose the socket is that gets the connections to `target`.
    pub(in super::super) fn verdict(target: SocketAddr, tree: Tree) -> Verdict {
        let Some(table) = tcp_table::listening() else {
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
        let members = members(tree);
        let ours = sockets(&members);
        let mut strangers = listening.iter().filter(|row| !ours.contains(&row.inode));
        match strangers.next() {
            None => Verdict::Ours,
            Some(row) => stranger(row, &members),
        }
    }

    /// Whose a socket is that no process of the tree is seen to have.
    fn stranger(row: &Row, members: &[Pid]) -> Verdict {
        if let Some(pid) = processes::holder(&[row.inode]) {
            let name = processes::name(pid).unwrap_or_default();
            return Verdict::Foreign(format!("{name} (pid {pid})"));
        }
        // One of another user may be in the tree, by sudo(8) or as a setuid program.
        let may_have_it =
            |&pid: &Pid| processes::acts_as(pid, row.uid) && processes::is_secretive(pid);
        let is_own = row.uid == rustix::process::geteuid().as_raw();
        match is_own || members.iter().any(may_have_it) {
            true => Verdict::Unknown,
            false => Verdict::Foreign(format!("a process of user {}", row.uid)),
        }
    }

    /// The ports, other than `given`, on which processes of the tree can be reached on loopback.
    pub(in super::super) fn ports_of(tree: Tree, given: u16) -> BTreeSet<u16> {
        let ours = sockets(&members(tree));
        let table = tcp_table::listening().unwrap_or_default();
        table
            .iter()
            .filter(|row| row.local.port() != given && row.local.port() != 0)
            .filter(|row| row.local.ip().is_loopback() || row.local.ip().is_unspecified())
            .filter(|row| ours.contains(&row.inode))
            .map(|row| row.local.port())
            .collect()
    }

    /// Whether the server's end of the connection between `client` and `server` is in a process's hands; none where it
    /// can't be told. In the kernel's queue it has no inode yet.
    pub(in super::super) fn is_accepted(client: SocketAddr, server: SocketAddr) -> Option<bool> {
        let table = tcp_table::read()?;
        let servers = |row: &&Row| row.local == server && row.remote == client;
        Some(table.iter().any(|row| servers(&row) && row.inode != 0))
    }

    fn members(tree: Tree) -> Vec<Pid> {
        let root = |root| processes::pid(root).into_iter();
        match tree {
            Tree::Below(pid) => root(pid).flat_map(processes::below).collect(),
            #[cfg(test)]
            Tree::From(pid) => root(pid)
                .flat_map(|pid| processes::below(pid).into_iter().chain([pid]))
                .collect(),
        }
    }

    /// The inodes of their sockets.
    fn sockets(members: &[Pid]) -> HashSet<u64> {
        let members = members.iter().copied();
        members.flat_map(processes::sockets).collect()
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
