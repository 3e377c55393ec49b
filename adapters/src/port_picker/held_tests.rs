use std::io::Read as _;
use std::net::{TcpListener, TcpStream};

use super::*;

async fn pick(preference: PortPreference) -> Result<HeldPort, PickError> {
    Held.pick(preference).await.map(|picked| picked.listener)
}

async fn held() -> (HeldPort, NonZeroU16) {
    let held = pick(PortPreference::Any).await.unwrap();
    let port = held.port;
    (held, port)
}

fn is_taken(result: Result<HeldPort, PickError>) -> Option<String> {
    match result {
        Err(PickError::PortTaken { holder, .. }) => Some(holder.unwrap_or_default()),
        other => panic!("not taken: {other:?}"),
    }
}

/// A socket of a stranger; whether it listens and has the option. On a port where others have left connections, one that
/// doesn't listen can't be seen: it gets another.
fn stranger(ip: &str, reuse: bool, listens: bool) -> (Socket, NonZeroU16) {
    let addr: SocketAddr = SocketAddr::new(ip.parse().unwrap(), 0);
    loop {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).unwrap();
        socket.set_reuse_address(reuse).unwrap();
        socket.bind(&addr.into()).unwrap();
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        if holder::has_connections(port) {
            continue;
        }
        if listens {
            socket.listen(1).unwrap();
        }
        return (socket, NonZeroU16::new(port).unwrap());
    }
}

/// A connection that the server closed first, so that its end stays in TIME_WAIT (RFC 9293, section 3.6).
fn serve_once(server: &TcpListener, via: IpAddr) {
    let port = server.local_addr().unwrap().port();
    let mut client = TcpStream::connect((via, port)).unwrap();
    drop(server.accept().unwrap());
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}

#[tokio::test]
async fn a_server_that_reuses_addresses_listens_on_a_held_port_wherever_it_likes() {
    for ip in ["127.0.0.1", "0.0.0.0", "::1", "::"] {
        let (_held, port) = held().await;
        // std sets the option.
        let server = TcpListener::bind((ip.parse::<IpAddr>().unwrap(), port.get()));
        assert!(server.is_ok(), "{ip}: {server:?}");
    }
}

#[tokio::test]
async fn nobody_is_given_a_held_port_by_chance_or_without_the_option() {
    let (_held, port) = held().await;
    for ip in [IpAddr::V4(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
        let plain = Socket::new(Domain::for_address((ip, 0).into()), Type::STREAM, None).unwrap();
        let bound = plain.bind(&SocketAddr::new(ip, port.get()).into());
        assert_eq!(bound.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}

#[tokio::test]
async fn whoever_is_there_is_seen_whether_he_listens_or_not() {
    for ip in ["127.0.0.1", "0.0.0.0", "::1", "::"] {
        for (reuse, listens) in [(false, false), (false, true), (true, false), (true, true)] {
            let (_there, port) = stranger(ip, reuse, listens);
            let holder = is_taken(pick(PortPreference::Exact(port)).await);
            let pid = format!("(pid {})", std::process::id());
            assert_eq!(holder.is_some_and(|h| h.contains(&pid)), listens, "{ip}");
        }
    }
}

#[tokio::test]
async fn the_port_of_a_server_that_ended_is_free_at_once_whatever_connections_it_left() {
    for (ip, via) in [
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("::", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
    ] {
        let (first, port) = held().await;
        let ip: IpAddr = ip.parse().unwrap();
        let server = TcpListener::bind((ip, port.get())).unwrap();
        serve_once(&server, via.parse().unwrap());
        drop((server, first));
        assert!(holder::has_connections(port.get()));

        let again = pick(PortPreference::Exact(port)).await;
        assert!(again.is_ok(), "{ip}: {again:?}");
        let server = TcpListener::bind((ip, port.get()));
        assert!(server.is_ok(), "{ip}: {server:?}");
    }
}

#[tokio::test]
async fn two_of_us_never_hold_one_port_even_between_two_runs_of_a_server() {
    for (ip, via) in [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "::1")] {
        let (_first, port) = held().await;
        let server = TcpListener::bind((ip.parse::<IpAddr>().unwrap(), port.get())).unwrap();
        serve_once(&server, via.parse().unwrap());
        is_taken(pick(PortPreference::Exact(port)).await);
        drop(server);
        assert!(holder::has_connections(port.get()));
        is_taken(pick(PortPreference::Exact(port)).await);
    }
}
