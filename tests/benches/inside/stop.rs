//! How long a stop takes, with nothing to do and with clients who won't let go.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use daymark::Server;
use futures_util::stream;

use super::figures::{Contender, Report, Target, on_disk, rounds};
use super::requests::{Bare, answer};

const IDLE: usize = 100;
const DEADLINE: Duration = Duration::from_millis(200);

pub(super) fn measure(report: &mut Report) {
    let stop_bare = |clients: usize| {
        let bare = Bare::start(0);
        let clients = keep_alive(bare.addr, clients);
        let began = Instant::now();
        bare.stop();
        let took = began.elapsed();
        drop(clients);
        took
    };
    let stop_ours = |clients: usize| {
        with_server(|server| {
            let clients = keep_alive(server.addr(), clients);
            let took = stop(server, Duration::from_secs(10));
            drop(clients);
            took
        })
    };
    for clients in [0, IDLE] {
        report.compare(
            &format!("stop with {clients} idle keep-alives → all over, µs"),
            rounds(100),
            vec![
                Contender::new("bare hyper, its runtime dropped", || stop_bare(clients)),
                Contender::new("daymark", || stop_ours(clients)).target(Target::AtMost(5_000.0)),
            ],
        );
    }
    report.compare(
        "stop with a half-sent header → all over, µs",
        rounds(100),
        vec![
            Contender::new("daymark, deadline 10 s", || {
                with_server(|server| {
                    let mut client = TcpStream::connect(server.addr()).expect("it listens");
                    client.write_all(b"GET / HTTP/1.1\r\nHo").expect("sent");
                    let took = stop(server, Duration::from_secs(10));
                    drop(client);
                    took
                })
            })
            .target(Target::AtMost(5_000.0)),
        ],
    );
    report.compare(
        "stop with an endless answer → all over, µs",
        rounds(20),
        vec![
            Contender::new("daymark, deadline 200 ms", || {
                with_server(|server| {
                    let mut client = ask(server.addr(), "/endless");
                    client.read_exact(&mut [0; 64]).expect("it has begun");
                    stop(server, DEADLINE)
                })
            })
            .target(Target::AtMost(220_000.0)),
        ],
    );
}

fn with_server(measured: impl Fn(&Server) -> Duration) -> Duration {
    let disk = on_disk();
    let endless = || async { Body::from_stream(stream::repeat_with(tick)) };
    let app = Router::new()
        .route("/endless", get(endless))
        .fallback_service(tower::service_fn(answer));
    let server = Server::builder("bench")
        .state_dir(disk.path().join("state"))
        .app(app)
        .start()
        .expect("it starts");
    measured(&server)
}

fn tick() -> Result<Bytes, std::convert::Infallible> {
    Ok(Bytes::from_static(b"and so on "))
}

fn stop(server: &Server, drain: Duration) -> Duration {
    let began = Instant::now();
    server.stop(drain).expect("it stops");
    began.elapsed()
}

fn ask(addr: SocketAddr, path: &str) -> TcpStream {
    let mut client = TcpStream::connect(addr).expect("it listens");
    write!(client, "GET {path} HTTP/1.1\r\nHost: {addr}\r\n\r\n").expect("sent");
    client
}

/// Clients that have had an answer, and may ask again.
fn keep_alive(addr: SocketAddr, clients: usize) -> Vec<TcpStream> {
    (0..clients)
        .map(|_| {
            let mut client = ask(addr, "/");
            let (mut got, mut buffer) = (Vec::new(), [0; 1024]);
            while !got.ends_with(b"hello") {
                let read = client.read(&mut buffer).expect("it answers");
                got.extend_from_slice(&buffer[..read]);
            }
            client
        })
        .collect()
}
