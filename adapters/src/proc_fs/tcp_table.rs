//! The TCP sockets of this network namespace: `/proc/net/tcp` and `tcp6` (proc_pid_net(5)).
//!
//! They are read as text that is taken for nothing more than that: a row which can't be read is no row.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where the sockets of IPv4 are listed.
pub const V4: &str = "/proc/net/tcp";
/// Where those of IPv6 are.
pub const V6: &str = "/proc/net/tcp6";

/// A socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// This end; addresses of IPv4 that a socket of IPv6 has (`::ffff:127.0.0.1`) as what they are.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// One of `TCP_LISTEN` and so on of the kernel's include/net/tcp_states.h.
    pub state: u8,
    /// Who made the socket.
    pub uid: u32,
    /// The socket's inode; 0 while no process has it: before accept(2), and after close(2).
    pub inode: u64,
}

impl Row {
    pub fn listens(&self) -> bool {
        const LISTEN: u8 = 10;
        self.state == LISTEN
    }

    /// How well a listening socket fits connections to `target`; none where it gets none of them. The kernel prefers the
    /// one that is bound to the very address (compute_score in net/ipv4/inet_hashtables.c).
    pub fn fits(&self, target: SocketAddr) -> Option<u8> {
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

/// The sockets of both families; none where the system doesn't tell.
pub fn read() -> Option<Vec<Row>> {
    let v4 = fs::read(V4).ok()?;
    let v6 = fs::read(V6).unwrap_or_default();
    Some(rows(&v4).chain(rows(&v6)).collect())
}

/// The sockets of both families that listen; none where the system doesn't tell.
///
/// The kernel lists these first (tcp_seq_start in net/ipv4/tcp_ipv4.c). The others, which can be tens of thousands, aren't
/// read.
pub fn listening() -> Option<Vec<Row>> {
    let first_rows = |path| {
        let table = File::open(path).ok()?;
        let lines = BufReader::new(table).split(b'\n').map_while(Result::ok);
        let rows = lines.skip(1).map_while(|line| row(&line));
        Some(rows.take_while(Row::listens).collect::<Vec<_>>())
    };
    let mut all = first_rows(V4)?;
    all.extend(first_rows(V6).into_iter().flatten());
    Some(all)
}

/// The rows of a table. The same form serves both families; the header, and what else is no row, is passed over.
pub fn rows(table: &[u8]) -> impl Iterator<Item = Row> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TABLE: &[u8] = b"\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 31337 1 0000 100 0 0 10 0
   1: 0100007F:1F90 0100007F:C001 01 00000000:00000000 00:00000000 00000000  1000        0 0 1 0000 100 0 0 10 0
";
    const TABLE6: &[u8] = b"\
   0: 00000000000000000000000000000000:0BB9 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 42 1 0000
   1: 0000000000000000FFFF00000100007F:0BB9 0000000000000000FFFF00000100007F:C002 06 00000000:00000000 03:00001770 00000000     0        0 0 3 0000
   2: 00000000000000000000000001000000:0BBA 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     7        0 43 1 0000
";

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn tables_are_read_as_the_kernel_writes_them() {
        let all: Vec<Row> = rows(TABLE).collect();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].local, at("127.0.0.1:8080"));
        assert_eq!((all[0].uid, all[0].inode), (1000, 31337));
        assert!(all[0].listens() && !all[1].listens());
        assert_eq!(all[1].remote, at("127.0.0.1:49153"));
        let six: Vec<Row> = rows(TABLE6).collect();
        assert_eq!(six[1].local, at("127.0.0.1:3001"), "mapped");
        assert_eq!(six[2].local, at("[::1]:3002"));
        assert_eq!((six[2].uid, six[2].inode), (7, 43));
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn a_wildcard_listens_on_loopback_and_an_exact_address_comes_before_it() {
        let six: Vec<Row> = rows(TABLE6).collect();
        assert_eq!(six[0].fits(at("127.0.0.1:3001")), Some(1));
        assert_eq!(six[0].fits(at("[::1]:3001")), Some(1));
        assert_eq!(six[0].fits(at("[::1]:3002")), None);
        assert_eq!(six[2].fits(at("[::1]:3002")), Some(2));
        assert_eq!(six[2].fits(at("127.0.0.1:3002")), None);
        assert_eq!(six[1].fits(at("127.0.0.1:3001")), None, "only connected");
    }

    #[test]
    fn what_listens_is_found_among_what_is_read_of_it() {
        let sockets = ["127.0.0.1:0", "[::1]:0"].map(std::net::TcpListener::bind);
        let ours = sockets.iter().flatten();
        for addr in ours.map(|socket| socket.local_addr().unwrap()) {
            let client = std::net::TcpStream::connect(addr).unwrap();
            let listening = listening().unwrap();
            assert!(listening.iter().all(Row::listens));
            assert!(listening.iter().any(|row| row.local == addr), "{addr}");
            drop(client);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_harm_the_parser(bytes: Vec<u8>) {
            let _ = rows(&bytes).count();
        }

        #[test]
        fn no_damage_to_a_table_harms_the_parser(at in 0..TABLE6.len(), with: Vec<u8>) {
            let mut table = TABLE6.to_vec();
            table.splice(at..(at + with.len()).min(TABLE6.len()), with);
            prop_assert!(rows(&table).count() <= 4 + table.len() / 100);
        }

        #[test]
        fn no_columns_harm_the_parser(columns in proptest::collection::vec("[0-9A-Fa-fé:+-]{0,40}", 0..14)) {
            let _ = rows(columns.join(" ").as_bytes()).count();
        }
    }
}
