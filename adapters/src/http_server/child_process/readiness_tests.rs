use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::http_server::child_process::sockets::held;

use std::time::Duration;

use super::*;
use crate::http_server::child_process::wish::{InvalidReadiness, Pace};

const PATIENCE: Duration = Duration::from_secs(30);

fn mode(text: &str) -> Readiness {
    text.parse().unwrap()
}

#[test]
fn every_way_of_being_ready_can_be_written() {
    assert!(matches!(mode("auto"), Readiness::Auto));
    assert!(matches!(mode("tcp"), Readiness::Tcp));
    assert!(matches!(mode("notify"), Readiness::Notify));
    let request = |text: &str| match mode(text) {
        Readiness::Http(path, status) => (path.to_string(), status.map(|s| s.as_u16())),
        other => panic!("{other:?}"),
    };
    assert_eq!(request("http:/"), ("/".to_owned(), None));
    assert_eq!(request("http:/a=204"), ("/a".to_owned(), Some(204)));
    assert_eq!(request("http:/?a=b"), ("/?a=b".to_owned(), None));
    assert_eq!(
        request("http:/?id=200=201"),
        ("/?id=200".to_owned(), Some(201))
    );
    match mode(r"log:on port: (?<port>\d+)") {
        Readiness::Log(pattern) => assert_eq!(pattern.as_str(), r"on port: (?<port>\d+)"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_no_way_of_being_ready_is_refused_with_the_reason() {
    let refused = |text: &str| text.parse::<Readiness>().unwrap_err();
    for text in ["", "Auto", "tcp:1", "http", "https:/", "log"] {
        assert!(
            matches!(refused(text), InvalidReadiness::Unknown(_)),
            "{text}"
        );
    }
    for text in [
        "http:",
        "http:x",
        "http:/a b",
        "http:/a#b",
        "http:*",
        "http:=200",
    ] {
        assert!(matches!(refused(text), InvalidReadiness::Path(_)), "{text}");
    }
    assert!(matches!(refused("log:("), InvalidReadiness::Regex(_)));
}

/// Answers every request on this address with that status.
async fn serve(ip: &str, port: u16, status: u16) -> (u16, JoinHandle<()>) {
    let ip: IpAddr = ip.parse().unwrap();
    let listener = TcpListener::bind((ip, port)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await?);
                }
                stream.write_all(answer.as_bytes()).await
            });
        }
    });
    (port, server)
}

fn v4(port: u16) -> Endpoint {
    Endpoint::v4(NonZeroU16::new(port).unwrap())
}

fn wish(text: &str, port: u16) -> Wish {
    Wish {
        readiness: mode(text),
        handover: Handover::Number,
        endpoint: v4(port),
        port_is_passed: false,
        pace: Pace {
            later: Duration::from_millis(10),
            look: Duration::from_millis(10),
            elsewhere: Duration::from_millis(100),
            ..Pace::default()
        },
    }
}

/// In these tests the servers are this process.
fn tree() -> Tree {
    Tree::From(std::process::id())
}

fn unwarned() -> Warn {
    std::sync::Arc::new(|_| {})
}

async fn ready(wish: &Wish) -> Result<Endpoint, NotReady> {
    let (trouble, warn) = (Trouble::default(), unwarned());
    let waiting = wait_until_ready(wish, tree(), None, None, &trouble, &warn);
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("never ready")
}

/// Waits in vain until the trouble is this one.
async fn in_vain(wish: &Wish, tree: Tree, is_it: impl Fn(&Problem) -> bool) -> Problem {
    let (trouble, warn) = (Trouble::default(), unwarned());
    let seen = async {
        loop {
            match trouble.last() {
                Some(problem) if is_it(&problem) => return problem,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    tokio::select! {
        result = wait_until_ready(wish, tree, None, None, &trouble, &warn) => panic!("{result:?}"),
        problem = seen => problem,
        () = tokio::time::sleep(PATIENCE) => panic!("{:?}", trouble.last()),
    }
}

#[tokio::test]
async fn a_server_is_published_at_the_address_that_answers() {
    for (ip, v6) in [
        ("127.0.0.1", false),
        ("0.0.0.0", false),
        ("::", false),
        ("::1", true),
    ] {
        let (_held, port) = held();
        let (_, _server) = serve(ip, port, 404).await;
        let endpoint = ready(&wish("auto", port)).await.unwrap();
        let expected = match v6 {
            true => Endpoint::v6(NonZeroU16::new(port).unwrap()),
            false => v4(port),
        };
        assert_eq!(endpoint, expected, "{ip}");
        assert_eq!(ready(&wish("tcp", port)).await.unwrap(), expected, "{ip}");
    }
}

#[tokio::test]
async fn a_server_that_comes_late_is_waited_for() {
    let (_held, port) = held();
    let wish = wish("auto", port);
    in_vain(&wish, Tree::Below(u32::MAX), |p| {
        matches!(p, Problem::NothingListens { .. })
    })
    .await;
    let late = async {
        tokio::task::yield_now().await;
        serve("127.0.0.1", port, 200).await
    };
    let (endpoint, _server) = tokio::join!(ready(&wish), late);
    assert_eq!(endpoint.unwrap(), v4(port));
}

#[tokio::test]
async fn the_status_decides() {
    for (text, status, enough) in [
        ("auto", 499, true),
        ("auto", 500, false),
        ("http:/x", 399, true),
        ("http:/x", 404, false),
        ("http:/x=404", 404, true),
        ("http:/x=404", 200, false),
    ] {
        let (_held, port) = held();
        let (_, _server) = serve("127.0.0.1", port, status).await;
        let wish = wish(text, port);
        if enough {
            assert_eq!(ready(&wish).await.unwrap(), v4(port), "{text}");
            continue;
        }
        let problem = in_vain(&wish, tree(), |p| matches!(p, Problem::Status { .. })).await;
        assert!(
            problem.to_string().contains(&status.to_string()),
            "{problem}"
        );
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_stranger_who_answers_is_not_believed_and_is_named() {
    for text in ["auto", "tcp", "http:/=200"] {
        let (_held, port) = held();
        let (_, _server) = serve("127.0.0.1", port, 200).await;
        // The tree is empty, and this process none of it.
        let tree = Tree::Below(std::process::id());
        let wish = wish(text, port);
        let problem = in_vain(&wish, tree, |p| matches!(p, Problem::Foreign { .. }));
        let problem = problem.await.to_string();
        assert!(
            problem.contains(&format!("(pid {})", std::process::id())),
            "{problem}"
        );
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_server_that_serves_elsewhere_is_told_from_one_that_is_slow() {
    let (_held, port) = held();
    // Other tests of this process serve as well, so only that some other port is found is sure.
    let (_other, _server) = serve("127.0.0.1", 0, 200).await;
    // Nobody accepts from this one.
    let queue = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let queue_port = queue.local_addr().unwrap().port();
    for (port, port_is_passed, handover) in [
        (port, false, Handover::Number),
        (port, true, Handover::Number),
        (queue_port, false, Handover::Socket),
    ] {
        let mut wish = wish("auto", port);
        (wish.port_is_passed, wish.handover) = (port_is_passed, handover);
        let is_it = |p: &Problem| matches!(p, Problem::Elsewhere { .. });
        let problem = in_vain(&wish, tree(), is_it).await;
        let (given, hint) = match (handover, port_is_passed) {
            (Handover::Socket, _) => ("the socket it was passed".to_owned(), "descriptor 3"),
            (_, false) => (port.to_string(), "--port {port}"),
            (_, true) => (port.to_string(), "make it fail"),
        };
        assert!(problem.to_string().ends_with(&format!(", not on {given}")));
        assert!(problem.hint().unwrap().contains(hint), "{problem}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_server_that_serves_elsewhere_at_first_is_warned_of_once_and_waited_for() {
    let (_held, port) = held();
    let (_other, _server) = serve("127.0.0.1", 0, 200).await;
    let (warned, mut warnings) = mpsc::unbounded_channel();
    let warn: Warn = std::sync::Arc::new(move |text| warned.send(text.to_owned()).unwrap());
    let (trouble, wish) = (Trouble::default(), wish("auto", port));
    let mut waiting = std::pin::pin!(wait_until_ready(&wish, tree(), None, None, &trouble, &warn));
    let warning = tokio::select! {
        result = &mut waiting => panic!("{result:?}"),
        warning = warnings.recv() => warning.unwrap(),
    };
    assert!(warning.contains(&format!("not on {port}, so far: pass it")));
    let (_, _late) = serve("127.0.0.1", port, 200).await;
    assert_eq!(waiting.await.unwrap(), v4(port));
    assert!(warnings.try_recv().is_err());
}

#[tokio::test]
async fn a_first_answer_counts_however_late_it_comes() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut wish = wish("auto", port);
    wish.pace.anew = Duration::from_millis(1);
    let serving = async {
        let (mut first, _) = listener.accept().await.unwrap();
        // By now it was asked anew.
        let _second = listener.accept().await.unwrap();
        first
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .await
            .unwrap();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        endpoint = ready(&wish) => assert_eq!(endpoint.unwrap(), v4(port)),
        () = serving => {}
    }
}

#[tokio::test]
async fn that_nobody_answers_is_known_while_the_connection_stands() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let is_it = |p: &Problem| matches!(p, Problem::Silent { .. });
    let mut wish = wish("auto", port);
    in_vain(&wish, tree(), is_it).await;

    wish.handover = Handover::Socket;
    let accepted = async {
        let mut connections = Vec::new();
        loop {
            connections.push(listener.accept().await.unwrap());
        }
    };
    tokio::select! {
        _ = in_vain(&wish, tree(), is_it) => {}
        _ = accepted => {}
    }
}

async fn ready_by_lines(wish: &Wish, lines: &[&str]) -> Result<Endpoint, NotReady> {
    let (print, printed) = mpsc::channel(9);
    for line in lines {
        print.send((*line).to_owned()).await.unwrap();
    }
    let (trouble, warn) = (Trouble::default(), unwarned());
    let waiting = wait_until_ready(wish, tree(), Some(printed), None, &trouble, &warn);
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("never ready")
}

#[tokio::test]
async fn a_server_that_prints_its_port_is_found_there() {
    let (_held, port) = held();
    let (own, _server) = serve("127.0.0.1", 0, 500).await;
    let wish = wish(r"log:listening on \S*:(?<port>\d+)", port);
    let lines = [
        "listening on x:99999",
        &format!("listening on http://localhost:{own}/"),
    ];
    assert_eq!(ready_by_lines(&wish, &lines).await.unwrap(), v4(own));
}

#[tokio::test]
async fn a_server_that_prints_that_it_is_ready_is_tried_then() {
    let (_held, port) = held();
    let (_, _server) = serve("127.0.0.1", port, 500).await;
    let wish = wish("log:^ready", port);
    let endpoint = ready_by_lines(&wish, &["not ready", "ready now"]).await;
    assert_eq!(endpoint.unwrap(), v4(port));
    let problem = in_vain(&wish, tree(), |_| true).await;
    let expected = Problem::NotPrinted {
        pattern: "^ready".to_owned(),
        ended: true,
    };
    assert_eq!(problem, expected, "nobody prints");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_server_that_says_so_is_ready_when_its_port_is() {
    use std::os::linux::net::SocketAddrExt as _;
    let (_held, port) = held();
    let (_, _server) = serve("::1", port, 500).await;
    let wish = wish("notify", port);
    let socket = NotifySocket::open().unwrap();
    let name = socket.name().to_str().unwrap()[1..].to_owned();
    let (trouble, warn) = (Trouble::default(), unwarned());
    let mut waiting = std::pin::pin!(wait_until_ready(
        &wish,
        tree(),
        None,
        Some(socket),
        &trouble,
        &warn
    ));
    let early = tokio::time::timeout(Duration::from_millis(100), &mut waiting).await;
    assert!(early.is_err(), "{early:?}");
    assert_eq!(trouble.last(), Some(Problem::NotSaid));

    let to = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
    let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
    sender.send_to_addr(b"READY=1", &to).unwrap();
    let endpoint = tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("never ready");
    assert_eq!(
        endpoint.unwrap(),
        Endpoint::v6(NonZeroU16::new(port).unwrap())
    );
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_socket_that_was_handed_over_must_be_accepted_from() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut wish = wish("tcp", port);
    wish.handover = Handover::Socket;
    // Nobody of the tree has it, as far as /proc tells: that is not what decides here.
    let (trouble, warn) = (Trouble::default(), unwarned());
    let tree = Tree::Below(u32::MAX);
    let mut waiting = std::pin::pin!(wait_until_ready(&wish, tree, None, None, &trouble, &warn));
    let early = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await;
    assert!(early.is_err(), "{early:?}");
    let (endpoint, _accepted) = tokio::join!(waiting, listener.accept());
    assert_eq!(endpoint.unwrap(), v4(port));
}
