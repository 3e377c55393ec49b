//! One attempt at an answer: a connection, and perhaps a request. It knows nothing of processes and doesn't try again.

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

use super::sockets;

/// How long one attempt may take.
pub(super) const LONGEST: Duration = Duration::from_secs(10);

/// How often it is looked whether somebody has accepted a connection.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// Nobody listens, or nobody can be reached.
    Unreachable,
    /// The connection was not accepted by any process.
    NotAccepted,
    /// No answer in time.
    Silent,
    /// Something else than an answer in HTTP came, or the connection broke.
    Broken(String),
}

impl Failed {
    fn broken(error: &dyn fmt::Display) -> Self {
        Self::Broken(error.to_string())
    }
}

/// Connects. The kernel does that as soon as somebody listens.
pub(super) async fn connect(addr: SocketAddr) -> Result<TcpStream, Failed> {
    let stream = within(LONGEST, TcpStream::connect(addr), Failed::Silent).await?;
    let stream = stream.map_err(|_| Failed::Unreachable)?;
    // Where nobody listens, a connection may meet itself if it got that very port (RFC 9293, section 3.5, simultaneous open).
    match stream.local_addr() {
        Ok(own) if own != addr => Ok(stream),
        _ => Err(Failed::Unreachable),
    }
}

/// Connects, and waits until a process has accepted the connection. Where that isn't told, connecting must do.
///
/// A server that waits for the first byte before it accepts (`TCP_DEFER_ACCEPT` in tcp(7)) is never seen to do so.
pub(super) async fn accepted(addr: SocketAddr) -> Result<(), Failed> {
    let mut stream = connect(addr).await?;
    let own = stream.local_addr().map_err(|_| Failed::Unreachable)?;
    let taken = async {
        loop {
            let look = tokio::task::spawn_blocking(move || sockets::is_accepted(own, addr));
            match look.await {
                Ok(Some(false)) => {}
                _ => return Ok(()),
            }
            // Who is spoken to, or hung up on in good order, was accepted as well. A listener that closes resets.
            match tokio::time::timeout(LOOK_AGAIN, stream.read(&mut [0])).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(_)) => return Err(Failed::NotAccepted),
                Err(_) => {}
            }
        }
    };
    within(LONGEST, taken, Failed::NotAccepted).await?
}

/// The status with which `GET path` is answered. Redirects are not followed.
pub(super) async fn get(addr: SocketAddr, path: &PathAndQuery) -> Result<StatusCode, Failed> {
    within(LONGEST, get_unhurried(addr, path), Failed::Silent).await?
}

async fn get_unhurried(addr: SocketAddr, path: &PathAndQuery) -> Result<StatusCode, Failed> {
    let stream = connect(addr).await?;
    let request = Request::get(path.as_str())
        .header(HOST, addr.to_string())
        .header(USER_AGENT, concat!("daymark/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "*/*")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|e| Failed::broken(&e))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
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

async fn within<T>(
    limit: Duration,
    future: impl Future<Output = T>,
    late: Failed,
) -> Result<T, Failed> {
    tokio::time::timeout(limit, future).await.map_err(|_| late)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// Answers one connection with these bytes, once a request is there; gives the request.
    async fn answering(bytes: &'static [u8]) -> (SocketAddr, tokio::task::JoinHandle<String>) {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .unwrap();
        let addr = listener.local_addr().unwrap();
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(bytes).await.unwrap();
            String::from_utf8(request).unwrap()
        });
        (addr, served)
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
            assert_eq!(get(addr, &path("/")).await.unwrap().as_u16(), status);
            served.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_request_names_the_literal_address_and_the_path_as_given() {
        let (addr, served) = answering(b"HTTP/1.1 200 OK\r\n\r\n").await;
        get(addr, &path("/health?a=b")).await.unwrap();
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
            get(addr, &path("/")).await,
            Err(Failed::Broken(_))
        ));
        let (addr, _served) = answering(b"").await;
        assert!(matches!(
            get(addr, &path("/")).await,
            Err(Failed::Broken(_))
        ));
    }

    #[tokio::test]
    async fn where_nobody_listens_nothing_is_reached() {
        let (_held, port) = sockets::held();
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        assert_eq!(get(addr, &path("/")).await, Err(Failed::Unreachable));
        assert_eq!(accepted(addr).await, Err(Failed::Unreachable));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_queued_connection_counts_only_when_somebody_accepts_it() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let mut waiting = pin!(accepted(addr));
        let early = tokio::time::timeout(Duration::from_millis(200), &mut waiting).await;
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
        accepted(addr).await.unwrap();
        taken.await.unwrap();
    }
}
