use proptest::prelude::*;

use super::*;

/// A port that no other test is given, and on which a server can listen.
pub(crate) fn held() -> (tokio::net::TcpSocket, u16) {
    let socket = tokio::net::TcpSocket::new_v6().unwrap();
    // Of both families.
    socket.bind("[::]:0".parse().unwrap()).unwrap();
    socket.set_reuseaddr(true).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

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
fn a_process_may_be_called_anything() {
    assert_eq!(parent(b"12 (a) b) R 7) S 34 12 12 0 -1"), Some(34));
    assert_eq!(parent(b"12 (\xff\n) R 34"), Some(34));
    assert_eq!(parent(b"12 (cut"), None);
    assert_eq!(parent(b"12 (cut)"), None);
}

#[test]
fn a_tree_is_what_descends_and_survives_nonsense() {
    let pairs = [
        (2, 1),
        (3, 2),
        (4, 3),
        (5, 1),
        (2, 2),
        (6, 7),
        (7, 6),
        (1, 4),
    ];
    assert_eq!(below(2, &pairs), BTreeSet::from([1, 3, 4, 5]));
    assert_eq!(below(3, &pairs[..6]), BTreeSet::from([4]));
    assert_eq!(below(9, &pairs), BTreeSet::new());
}

#[test]
fn only_links_to_sockets_name_sockets() {
    assert_eq!(socket_inode(b"socket:[77]"), Some(77));
    for link in ["pipe:[77]", "socket:[77", "socket:[]", "socket:[-1]", "/x"] {
        assert_eq!(socket_inode(link.as_bytes()), None, "{link}");
    }
}

proptest! {
    #[test]
    fn no_bytes_harm_the_parsers(bytes: Vec<u8>) {
        let _ = (rows(&bytes).count(), parent(&bytes), socket_inode(&bytes));
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

#[cfg(target_os = "linux")]
mod real {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn me() -> u32 {
        std::process::id()
    }

    fn ports() -> Vec<TcpListener> {
        ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0", "[::]:0"]
            .map(|addr| TcpListener::bind(addr).unwrap())
            .into()
    }

    fn reached(listener: &TcpListener) -> SocketAddr {
        let addr = listener.local_addr().unwrap();
        match addr.ip() {
            IpAddr::V6(ip) if ip.is_loopback() => addr,
            _ => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), addr.port()),
        }
    }

    #[test]
    fn a_socket_of_the_tree_is_ours_whatever_address_it_is_bound_to() {
        for listener in ports() {
            assert_eq!(verdict(reached(&listener), Tree::From(me())), Verdict::Ours);
        }
    }

    #[test]
    fn a_socket_of_the_root_alone_is_foreign_and_its_holder_is_named() {
        for listener in ports() {
            match verdict(reached(&listener), Tree::Below(me())) {
                Verdict::Foreign(who) => assert!(who.contains(&format!("(pid {})", me())), "{who}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_port_where_nobody_listens_is_nobodys_even_if_it_is_held() {
        let (_held, port) = held();
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        assert_eq!(verdict(addr, Tree::From(me())), Verdict::Nobody);
    }

    #[test]
    fn the_other_ports_of_a_tree_are_found() {
        let all = ports();
        let port = |at: usize| all[at].local_addr().unwrap().port();
        let found = ports_of(Tree::From(me()), port(0));
        assert!(!found.contains(&port(0)));
        assert!((1..4).all(|at| found.contains(&port(at))), "{found:?}");
        let below = ports_of(Tree::Below(me()), port(0));
        assert!((1..4).all(|at| !below.contains(&port(at))), "{below:?}");
    }

    #[test]
    fn a_connection_in_the_queue_is_not_accepted_until_somebody_takes_it() {
        for listener in ports() {
            let addr = reached(&listener);
            let client = TcpStream::connect(addr).unwrap();
            let mine = client.local_addr().unwrap();
            assert_eq!(is_accepted(mine, addr), Some(false));
            let _taken = listener.accept().unwrap();
            assert_eq!(is_accepted(mine, addr), Some(true));
        }
    }
}
