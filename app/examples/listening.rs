//! A server that knows nothing of Daymark, and takes the socket that it is given: `daymark run --listen fd -- listening`.
//!
//! The variables are systemd's (sd_listen_fds(3)), so the same program runs under systemd and systemfd, too. SIGTERM makes
//! it accept no more, answer whomever it has accepted, and end; what nobody has accepted waits in the socket for the next
//! one. Together that is a restart which loses no request.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

/// How long a client that was accepted may take to begin its request, once the server is to end.
const BEGIN: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> io::Result<()> {
    let Some(listener) = ListenFd::from_env().take_tcp_listener(0)? else {
        let why = "no socket was passed: daymark run --listen fd -- listening";
        return Err(io::Error::new(io::ErrorKind::NotFound, why));
    };
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (stop, stopping) = watch::channel(false);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                connections.spawn(serve(stream, stopping.clone()));
            }
            Some(_) = connections.join_next() => {}
            _ = terminate.recv() => break,
        }
    }
    drop(listener);
    let _ = stop.send(true);
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// Answers one client until it goes, or until the server is to end.
async fn serve(stream: TcpStream, mut stopping: watch::Receiver<bool>) {
    let asked = Notify::new();
    let answer = service_fn(|_: Request<Incoming>| {
        asked.notify_one();
        async {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(
                b"hello from listening\n",
            ))))
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new());
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), answer));
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopping.wait_for(|stopping| *stopping) => {}
    }
    // hyper closes a connection of which it has read nothing, and with it a request that is on its way.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = asked.notified() => {}
        () = tokio::time::sleep(BEGIN) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
