/// A port that no other test is given, and on which a server can listen.
pub(crate) fn held() -> (tokio::net::TcpSocket, u16) {
    let socket = tokio::net::TcpSocket::new_v6().unwrap();
    // Of both families.
    socket.bind("[::]:0".parse().unwrap()).unwrap();
    socket.set_reuseaddr(true).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

#[cfg(target_os = "linux")]
mod real {
    use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};

    use super::held;
    use crate::http_server::child_process::sockets::{
        Tree, Verdict, is_accepted, ports_of, verdict,
    };

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
            // The table is read in pieces, between which a row can move away.
            assert!((0..9).any(|_| is_accepted(mine, addr) == Some(true)));
        }
    }
}
