//! What a request costs, against hyper's own HTTP/1 server on as many threads, with the same options and the same service,
//! and against `axum::serve`.
//!
//! The servers take turns; the clients are on one thread. Processor time is that of the servers' threads alone, for on a
//! machine that others use, too, throughput says little.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use axum::Router;
use bytes::Bytes;
use daymark::Server;
use http::{Request, Response};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

use super::figures::{Contender, Report, Target, quantile, rounds};

const CLIENTS: usize = 16;
const KEPT_ALIVE: usize = 8_000;
const CONNECTIONS: usize = 2_000;

pub(super) async fn answer<B>(_: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("hello")))
}

pub(super) fn measure(report: &mut Report) {
    for threads in [1, 2] {
        on_threads(threads, report);
    }
}

fn on_threads(threads: usize, report: &mut Report) {
    let bare = Bare::start(threads);
    let axum = Bare::start_axum(threads);
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::builder("bench")
        .state_dir(dir.path().join("state"))
        .threads(threads)
        .app(tower::service_fn(answer))
        .start()
        .expect("it starts");
    let contenders = [
        ("bare hyper", "bare", bare.addr),
        ("axum::serve", "axum", axum.addr),
        ("daymark", "daymark-", server.addr()),
    ];
    let clients = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    for (title, requests, kept_alive) in [
        ("kept alive", KEPT_ALIVE, true),
        ("a connection each", CONNECTIONS, false),
    ] {
        let title = format!("a request, {title}, {threads} thread(s)");
        let took = contenders.map(|_| RefCell::new(Vec::<Vec<f64>>::new()));
        let measured = contenders
            .iter()
            .zip(&took)
            .map(|(&(name, prefix, addr), took)| {
                let each = requests / CLIENTS;
                let clients = &clients;
                let load = move || clients.block_on(load(addr, each, kept_alive));
                let contender = Contender::new(name, move || {
                    let before = processor_time(prefix);
                    let mut all = load().expect("it answers");
                    all.sort_by(f64::total_cmp);
                    took.borrow_mut().push(all);
                    (processor_time(prefix) - before) / requests as u32
                });
                match name {
                    "daymark" => contender.target(Target::Times(1.08)),
                    _ => contender,
                }
            });
        report.compare(
            &format!("{title}: the server's processor time, µs"),
            rounds(60),
            measured.collect(),
        );
        for (q, what) in [(0.5, "half"), (0.99, "99 of 100")] {
            let rows = contenders.iter().zip(&took).map(|((name, ..), took)| {
                let rounds = took.borrow();
                let each = rounds.iter().map(|took| quantile(took, q)).collect();
                ((*name).to_owned(), each, None)
            });
            report.table(
                &format!("{title}: {what} are answered within, {CLIENTS} clients, µs"),
                rows.collect(),
            );
        }
    }
}

/// What this process' threads of a name have used, to the nanosecond (`/proc/PID/task/TID/schedstat`, sched-stats in the
/// kernel's documentation).
fn processor_time(prefix: &str) -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("this process");
    let of = |task: &Path| {
        let name = std::fs::read_to_string(task.join("comm")).ok()?;
        let used = std::fs::read_to_string(task.join("schedstat")).ok()?;
        let used: u64 = used.split(' ').next()?.parse().ok()?;
        name.starts_with(prefix).then_some(used)
    };
    let all = tasks.filter_map(|task| of(&task.ok()?.path()));
    Duration::from_nanos(all.sum())
}

/// A server, and nothing around it.
pub(super) struct Bare {
    pub(super) addr: SocketAddr,
    threads: Runtime,
}

impl Bare {
    /// Hyper's. As many threads as there are processors where it is none.
    pub(super) fn start(threads: usize) -> Self {
        Self::serve("bare", threads, |listener| async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).expect("a TCP socket");
                tokio::spawn(
                    http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(Duration::from_secs(30))
                        .serve_connection(TokioIo::new(stream), service_fn(answer))
                        .with_upgrades(),
                );
            }
        })
    }

    fn start_axum(threads: usize) -> Self {
        Self::serve("axum", threads, |listener| async move {
            let router = Router::new().fallback_service(tower::service_fn(answer));
            axum::serve(listener, router).await.expect("it serves");
        })
    }

    fn serve<F>(name: &str, threads: usize, serve: impl FnOnce(TcpListener) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut builder = Builder::new_multi_thread();
        if threads > 0 {
            builder.worker_threads(threads);
        }
        let runtime = builder
            .thread_name(name)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("a port");
        let addr = listener.local_addr().expect("its address");
        runtime.spawn(serve(listener));
        Self {
            addr,
            threads: runtime,
        }
    }

    /// Cuts everything off, and waits for that.
    pub(super) fn stop(self) {
        self.threads.shutdown_timeout(Duration::from_secs(10));
    }
}

/// Some clients at once, each of which waits for an answer before it asks again: how long each waited, in microseconds.
async fn load(addr: SocketAddr, each: usize, kept_alive: bool) -> io::Result<Vec<f64>> {
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            tokio::spawn(async move {
                match kept_alive {
                    true => ask_on_one_connection(addr, each).await,
                    false => ask_anew(addr, each).await,
                }
            })
        })
        .collect();
    let mut took = Vec::with_capacity(each * CLIENTS);
    for client in clients {
        took.extend(client.await??);
    }
    Ok(took)
}

fn since(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e6
}

async fn ask_on_one_connection(addr: SocketAddr, times: usize) -> io::Result<Vec<f64>> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    let request = format!("GET / HTTP/1.1\r\nHost: {addr}\r\n\r\n");
    let mut buffer = [0; 1024];
    let mut took = Vec::with_capacity(times);
    for _ in 0..times {
        let began = Instant::now();
        stream.write_all(request.as_bytes()).await?;
        let mut have = 0;
        while !buffer[..have].ends_with(b"hello") {
            match stream.read(&mut buffer[have..]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => have += read,
            }
        }
        took.push(since(began));
    }
    Ok(took)
}

async fn ask_anew(addr: SocketAddr, times: usize) -> io::Result<Vec<f64>> {
    let request = format!("GET / HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    let mut answer = Vec::with_capacity(1024);
    let mut took = Vec::with_capacity(times);
    for _ in 0..times {
        let began = Instant::now();
        let mut stream = TcpStream::connect(addr).await?;
        stream.write_all(request.as_bytes()).await?;
        answer.clear();
        stream.read_to_end(&mut answer).await?;
        if !answer.ends_with(b"hello") {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        took.push(since(began));
    }
    Ok(took)
}
