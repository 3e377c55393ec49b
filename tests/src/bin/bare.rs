//! `bare DIR`: hyper, one thread for each processor, and the fewest lines that write a record: what Daymark is compared to.
//!
//! It does what a careful program does by hand, and no more: binds, serves, writes `DIR/server.json` by rename, removes it
//! when SIGTERM comes, and ends. No lock, no proof, no drain.

use std::convert::Infallible;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> std::io::Result<()> {
    let dir = std::env::args_os().nth(1).unwrap_or_else(|| ".".into());
    let dir = Path::new(&dir);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut terminated = signal(SignalKind::terminate())?;
        // `run` says which port; by itself it takes any.
        let port = std::env::var("PORT")
            .ok()
            .and_then(|port| port.parse().ok());
        let listener = TcpListener::bind(("127.0.0.1", port.unwrap_or(0))).await?;
        publish(dir, listener.local_addr()?.port())?;
        tokio::select! {
            served = serve(listener) => served?,
            _ = terminated.recv() => {}
        }
        std::fs::remove_file(dir.join("server.json"))
    })?;
    runtime.shutdown_background();
    Ok(())
}

async fn serve(listener: TcpListener) -> std::io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(30))
                .serve_connection(TokioIo::new(stream), service_fn(answer)),
        );
    }
}

async fn answer(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("hello\n")))
}

fn publish(dir: &Path, port: u16) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let mut record = tempfile::NamedTempFile::new_in(dir)?;
    let pid = std::process::id();
    write!(
        record,
        "{{\"port\":{port},\"pid\":{pid},\"started_at\":\"2026-01-01T00:00:00Z\"}}"
    )?;
    record.as_file().sync_all()?;
    record.persist(dir.join("server.json"))?;
    Ok(())
}
