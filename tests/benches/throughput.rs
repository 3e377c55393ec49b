//! Requests through a daymark server, against hyper's own HTTP/1 server on as many threads with the same options and the same
//! service. The clients are on a thread of their own, and the two servers take turns.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use daymark::{RequestBody, Server};
use http::{Request, Response};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

use self::figures::{Contender, compare};

mod figures;

const ROUNDS: usize = 60;
const CLIENTS: usize = 16;
const KEPT_ALIVE: usize = 10_000;
const CONNECTIONS: usize = 2_000;

fn main() {
    let threads = 1;
    let bare = Bare::start(threads);
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::builder("bench")
        .state_dir(dir.path().join("state"))
        .threads(threads)
        .app(tower::service_fn(answer::<RequestBody>))
        .start()
        .expect("it starts");
    let clients = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");

    for (title, requests, kept_alive) in [
        ("kept alive", KEPT_ALIVE, true),
        ("a connection each", CONNECTIONS, false),
    ] {
        let load = |addr| {
            let each = requests / CLIENTS;
            clients
                .block_on(load(addr, each, kept_alive))
                .expect("it answers");
            each * CLIENTS
        };
        let elapsed = |addr| {
            let began = Instant::now();
            let requests = load(addr);
            began.elapsed() / requests as u32
        };
        let used = |addr| {
            let began = processor_time();
            let requests = load(addr);
            (processor_time() - began) / requests as u32
        };
        compare(
            &format!("{title}: time for a request"),
            ROUNDS,
            vec![
                Contender::new("bare hyper", || elapsed(bare.addr)),
                Contender::new("daymark", || elapsed(server.addr())),
            ],
        );
        compare(
            &format!("{title}: processor time for a request, the client's included"),
            ROUNDS,
            vec![
                Contender::new("bare hyper", || used(bare.addr)),
                Contender::new("daymark", || used(server.addr())),
            ],
        );
    }
}

async fn answer<B>(_: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("hello")))
}

fn processor_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.cast_unsigned(), now.tv_nsec as u32)
}

/// Hyper's server, and nothing around it.
struct Bare {
    addr: SocketAddr,
    _threads: Runtime,
}

impl Bare {
    fn start(threads: usize) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("a port");
        let addr = listener.local_addr().expect("its address");
        runtime.spawn(async move {
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
        });
        Self {
            addr,
            _threads: runtime,
        }
    }
}

/// Some clients at once, each of which waits for an answer before it asks again.
async fn load(addr: SocketAddr, each: usize, kept_alive: bool) -> io::Result<()> {
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
    for client in clients {
        client.await??;
    }
    Ok(())
}

async fn ask_on_one_connection(addr: SocketAddr, times: usize) -> io::Result<()> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    let request = format!("GET / HTTP/1.1\r\nHost: {addr}\r\n\r\n");
    let mut buffer = [0; 1024];
    for _ in 0..times {
        stream.write_all(request.as_bytes()).await?;
        let mut have = 0;
        while !buffer[..have].ends_with(b"hello") {
            match stream.read(&mut buffer[have..]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => have += read,
            }
        }
    }
    Ok(())
}

async fn ask_anew(addr: SocketAddr, times: usize) -> io::Result<()> {
    let request = format!("GET / HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    let mut answer = Vec::with_capacity(1024);
    for _ in 0..times {
        let mut stream = TcpStream::connect(addr).await?;
        stream.write_all(request.as_bytes()).await?;
        answer.clear();
        stream.read_to_end(&mut answer).await?;
        if !answer.ends_with(b"hello") {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}
