//! One attempt at an answer: a connection, and perhaps a request. It knows nothing of processes, doesn't try again, and
//! takes as long as the server does.

use std::fmt;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use http::uri::PathAndQuery;
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::sockets;

/// How often it is looked whether somebody has accepted a connection.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// More than any server sends that means well.
const MOST_HEADERS: usize = 4096;

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// Nobody listens, or nobody can be reached.
    Unreachable,
    /// The connection was not accepted by any process.
    NotAccepted,
    /// Something else than an answer in HTTP came, or the connection broke.
    Broken(String),
}

impl Failed {
    fn broken(error: &dyn fmt::Display) -> Self {
        Self::Broken(error.to_string())
    }
}

/// Connects. The kernel does that as soon as somebody listens, unless too many wait to be accepted.
pub(super) async fn connect(addr: SocketAddr) -> Result<TcpStream, Failed> {
    let stream = TcpStream::connect(addr).await;
    let stream = stream.map_err(|_| Failed::Unreachable)?;
    // Where nobody listens, a connection may meet itself if it got that very port (RFC 9293, section 3.5, simultaneous open).
    match stream.local_addr() {
        Ok(own) if own != addr => Ok(stream),
        _ => Err(Failed::Unreachable),
    }
}

/// Waits until a process has accepted the connection. Where that isn't told, it must do that there is one.
///
/// A server that waits for the first byte before it accepts (`TCP_DEFER_ACCEPT` in tcp(7)) is never seen to do so.
pub(super) async fn accepted(mut stream: TcpStream, addr: SocketAddr) -> Result<(), Failed> {
    let own = stream.local_addr().map_err(|_| Failed::Unreachable)?;
    loop {
        let look = tokio::task::spawn_blocking(move || sockets::is_accepted(own, addr));
        match look.await {
            Ok(Some(false)) => {}
            _ => return Ok(()),
        }
        // Who is spoken to, or hung up on in good order, was accepted as well. A listener that closes resets.
        match timeout(LOOK_AGAIN, stream.read(&mut [0])).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(_)) => return Err(Failed::NotAccepted),
            Err(_) => {}
        }
    }
}

/// The status with which `GET path` is answered. Redirects are not followed.
pub(super) async fn get(
    stream: TcpStream,
    addr: SocketAddr,
    path: &PathAndQuery,
) -> Result<StatusCode, Failed> {
    let request = Request::get(path.as_str())
        .header(HOST, addr.to_string())
        .header(USER_AGENT, concat!("daymark/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|e| Failed::broken(&e))?;
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_headers(MOST_HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|e| Failed::broken(&e))?;
    let answer = match select(pin!(sender.send_request(request)), pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        // The connection may end in the same moment as the answer is there.
        Either::Right((_, answer)) => answer.await,
    };
    answer
        .map(|answer| answer.status())
        .map_err(|e| Failed::broken(&e))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// Answers one connection with these bytes, once a request is there; gives the request.
    async fn answering(bytes: &[u8]) -> (SocketAddr, tokio::task::JoinHandle<String>) {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .unwrap();
        let addr = listener.local_addr().unwrap();
        let bytes = bytes.to_vec();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(&bytes).await.unwrap();
            String::from_utf8(request).unwrap()
        });
        (addr, served)
    }

    async fn ask(addr: SocketAddr, path: &PathAndQuery) -> Result<StatusCode, Failed> {
        get(connect(addr).await?, addr, path).await
    }

    fn path(text: &str) -> PathAndQuery {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn an_answer_is_its_status_however_little_follows() {
        for (bytes, status) in [
            (&b"HTTP/1.1 204 No Content\r\n\r\n"[..], 204),
            (b"HTTP/1.0 302 Found\r\nLocation: http://x/\r\n\r\n", 302),
            (b"HTTP/1.1 500 No\r\nContent-Length: 9999\r\n\r\ncut", 500),
        ] {
            let (addr, served) = answering(bytes).await;
            assert_eq!(ask(addr, &path("/")).await.unwrap().as_u16(), status);
            served.await.unwrap();
        }
    }

    #[tokio::test]
    async fn an_answer_may_have_many_headers() {
        let headers: String = (0..1000).map(|i| format!("X-{i}: {i}\r\n")).collect();
        let (addr, _served) =
            answering(format!("HTTP/1.1 200 OK\r\n{headers}\r\n").as_bytes()).await;
        assert_eq!(ask(addr, &path("/")).await.unwrap().as_u16(), 200);
    }

    #[tokio::test]
    async fn a_request_names_the_literal_address_and_the_path_as_given() {
        let (addr, served) = answering(b"HTTP/1.1 200 OK\r\n\r\n").await;
        ask(addr, &path("/health?a=b")).await.unwrap();
        let request = served.await.unwrap().to_ascii_lowercase();
        assert!(request.starts_with("get /health?a=b http/1.1\r\n"));
        assert!(
            request.contains(&format!("\r\nhost: {addr}\r\n")),
            "{request}"
        );
    }

    #[tokio::test]
    async fn what_is_no_http_is_no_answer() {
        let (addr, _served) = answering(b"SSH-2.0-x\r\n\r\n").await;
        assert!(matches!(
            ask(addr, &path("/")).await,
            Err(Failed::Broken(_))
        ));
        let (addr, _served) = answering(b"").await;
        assert!(matches!(
            ask(addr, &path("/")).await,
            Err(Failed::Broken(_))
        ));
    }

    #[tokio::test]
    async fn where_nobody_listens_nothing_is_reached() {
        let (_held, port) = sockets::held();
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        assert_eq!(ask(addr, &path("/")).await, Err(Failed::Unreachable));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_queued_connection_counts_only_when_somebody_accepts_it() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let mut waiting = pin!(accepted(connect(addr).await.unwrap(), addr));
        let early = timeout(Duration::from_millis(200), &mut waiting).await;
        assert!(early.is_err(), "{early:?}");
        let taken = tokio::task::spawn_blocking(move || listener.accept().unwrap());
        waiting.await.unwrap();
        drop(taken.await.unwrap());
    }

    #[tokio::test]
    async fn who_accepts_and_hangs_up_at_once_has_accepted() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let taken = tokio::task::spawn_blocking(move || drop(listener.accept().unwrap()));
        accepted(connect(addr).await.unwrap(), addr).await.unwrap();
        taken.await.unwrap();
    }
}
