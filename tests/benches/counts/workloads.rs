//! What is counted: everything that differs from machine to machine is left out, and one thing is done many times.

use std::convert::Infallible;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::thread;
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use daymark::{Place, Server};
use http::{Request, Response};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::runtime::{Builder, Runtime};

/// Something that is done many times.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// Often enough for what differs from one run to the next to vanish.
    pub(crate) times: u32,
    pub(crate) run: fn(u32),
    /// Whether it must not grow.
    pub(crate) is_guarded: bool,
}

const fn held(name: &'static str, times: u32, run: fn(u32)) -> Workload {
    Workload {
        name,
        times,
        run,
        is_guarded: true,
    }
}

const fn told(name: &'static str, times: u32, run: fn(u32)) -> Workload {
    Workload {
        name,
        times,
        run,
        is_guarded: false,
    }
}

const KEPT: u32 = 1_000;
const ANEW: u32 = 500;

pub(crate) const ALL: [Workload; 11] = [
    held("observe", 500, observe),
    told("no server: kept alive", KEPT, |n| ask(echo(), n)),
    told("bare hyper: kept alive", KEPT, |n| with_hyper(n, ask)),
    told("axum::serve: kept alive", KEPT, |n| with_axum(n, ask)),
    held("daymark, no guard: kept alive", KEPT, |n| {
        with_daymark(false, n, ask)
    }),
    held("daymark: kept alive", KEPT, |n| with_daymark(true, n, ask)),
    told("no server: a connection each", ANEW, |n| {
        ask_anew(echo(), n)
    }),
    told("bare hyper: a connection each", ANEW, |n| {
        with_hyper(n, ask_anew)
    }),
    told("axum::serve: a connection each", ANEW, |n| {
        with_axum(n, ask_anew)
    }),
    // How a connection's end and the next one's beginning fall together differs from run to run, by a tenth and more.
    told("daymark, no guard: a connection each", ANEW, |n| {
        with_daymark(false, n, ask_anew)
    }),
    told("daymark: a connection each", ANEW, |n| {
        with_daymark(true, n, ask_anew)
    }),
];

/// Looks at a live record, whose lock this process holds itself.
fn observe(times: u32) {
    let dir = tempfile::tempdir_in("/tmp").expect("a directory");
    let record = concat!(
        r#"{"schema":1,"port":41873,"pid":8123,"started_at":"2026-11-22T06:25:00.123456Z","#,
        r#""url":"http://127.0.0.1:41873/","name":"api","instance_id":"9f000000000000000000000000000001","#,
        r#""listener":"owner","app":{"name":"api","version":"0.1.0"}}"#,
        "\n"
    );
    let path = dir.path().join("server.json");
    std::fs::write(&path, record).expect("a record");
    // A lock that others could take would prove nothing.
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&path, private).expect("its mode");
    let proof = File::open(path).expect("the record");
    proof.lock().expect("it is free");
    let place = Place::at(dir.path()).expect("a place");
    for _ in 0..times {
        assert!(place.look().is_live());
    }
}

async fn answer<B>(_: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("hello")))
}

type Ask = fn(SocketAddr, u32);

fn with_daymark(guard: bool, times: u32, ask: Ask) {
    let dir = tempfile::tempdir_in("/tmp").expect("a directory");
    let mut builder = Server::builder("bench")
        .state_dir(dir.path().join("state"))
        .threads(1);
    if !guard {
        builder = builder.allow_any_host();
    }
    let server = builder
        .app(tower::service_fn(answer))
        .start()
        .expect("it starts");
    ask(server.addr(), times);
    server.stop(Duration::ZERO).expect("it stops");
}

fn with_hyper(times: u32, ask: Ask) {
    let (runtime, listener, addr) = bare();
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
    ask(addr, times);
    runtime.shutdown_background();
}

fn with_axum(times: u32, ask: Ask) {
    let (runtime, listener, addr) = bare();
    runtime.spawn(async move {
        let router = Router::new().fallback_service(tower::service_fn(answer));
        axum::serve(listener, router).await.expect("it serves");
    });
    ask(addr, times);
    runtime.shutdown_background();
}

fn bare() -> (Runtime, tokio::net::TcpListener, SocketAddr) {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
    let listener = listener.expect("a port");
    let addr = listener.local_addr().expect("its address");
    (runtime, listener, addr)
}

/// What a client costs with a server that costs nothing: it reads and writes.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("its address");
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut buffer = [0; 1024];
            while stream.read(&mut buffer).is_ok_and(|read| read > 0) {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ndate: Sun, 22 Nov 2026 15:38:23 GMT\r\n\r\nhello";
                stream.write_all(answer).expect("sent");
            }
        }
    });
    addr
}

fn ask(addr: SocketAddr, times: u32) {
    let mut stream = TcpStream::connect(addr).expect("it listens");
    stream.set_nodelay(true).expect("a TCP socket");
    let request = format!(
        "GET / HTTP/1.1\r\nHost: localhost:{:05}\r\n\r\n",
        addr.port()
    );
    for _ in 0..times {
        ask_once(&mut stream, request.as_bytes());
    }
}

fn ask_anew(addr: SocketAddr, times: u32) {
    let request = format!(
        "GET / HTTP/1.1\r\nHost: localhost:{:05}\r\n\r\n",
        addr.port()
    );
    for _ in 0..times {
        let mut stream = TcpStream::connect(addr).expect("it listens");
        ask_once(&mut stream, request.as_bytes());
    }
}

fn ask_once(stream: &mut TcpStream, request: &[u8]) {
    stream.write_all(request).expect("sent");
    let mut buffer = [0; 1024];
    let mut have = 0;
    while !buffer[..have].ends_with(b"hello") {
        match stream.read(&mut buffer[have..]).expect("it answers") {
            0 => panic!("no answer"),
            read => have += read,
        }
    }
}
