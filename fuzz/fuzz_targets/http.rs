//! Whatever a client sends: the server neither panics nor hangs, answers the next one, and lets no request through to the
//! app that calls this machine by a name which isn't its own.

#![no_main]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use daymark_adapters::http_server::{HostPolicy, HttpConfig, InProcess, RequestBody};
use daymark_adapters::port_picker::Loopback;
use daymark_core::http_server::{HttpServer as _, RunningServer};
use daymark_core::port_picker::{Listener as _, PortPicker as _, PortPreference};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::Runtime;

/// Far more than any answer takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Inputs can't know the port, so these names will do without one.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

const GOOD: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

struct Server {
    addr: SocketAddr,
    running: Arc<dyn RunningServer>,
    _control: Runtime,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let control = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let (addr, running) = control.block_on(async {
        let picked = Loopback::V4
            .pick(PortPreference::Any)
            .await
            .expect("a port");
        let addr = picked.listener.endpoint().addr();
        let mut config = HttpConfig::default();
        config.threads = 1;
        let names = NAMES.map(|name| name.parse().expect("a host"));
        config.access.hosts = HostPolicy::Also(names.into());
        let server = InProcess::new(|_| tower::service_fn(app), config);
        let running = server
            .start(Arc::new(picked.listener))
            .await
            .expect("a server");
        running.ready().await.expect("it answers");
        (addr, running)
    });
    Server {
        addr,
        running,
        _control: control,
    }
});

/// Reads what it gets and says how much that was. Upgrades when asked to.
async fn app(
    request: Request<RequestBody>,
) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    for host in request.headers().get_all(header::HOST) {
        assert!(is_this_machine(host.as_bytes()), "{host:?} got through");
    }
    if let Some(authority) = request.uri().authority() {
        let name = authority.as_str();
        assert!(is_this_machine(name.as_bytes()), "{name:?} got through");
    }
    let mut response = Response::new(Full::default());
    if request.headers().contains_key(header::UPGRADE) {
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        tokio::spawn(hyper::upgrade::on(request));
        return Ok(response);
    }
    match Limited::new(request.into_body(), 1 << 16).collect().await {
        Ok(body) => {
            let length = body.to_bytes().len().to_string();
            *response.body_mut() = Full::new(length.into());
        }
        Err(_) => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    Ok(response)
}

/// A judgement of its own, and not the server's code: one of the names, with the server's port or none.
fn is_this_machine(host: &[u8]) -> bool {
    let host = String::from_utf8_lossy(host).to_ascii_lowercase();
    let own = format!(":{}", SERVER.addr.port());
    NAMES.contains(&host.strip_suffix(&own).unwrap_or(&host))
}

fuzz_target!(|bytes: &[u8]| {
    let server = &*SERVER;
    let mut stranger = connect(server.addr);
    // It may be cut off before all is sent.
    let _ = stranger.write_all(bytes);

    // There is one thread for both, so with this answer the stranger has been dealt with, too.
    let mut friend = connect(server.addr);
    friend.write_all(GOOD).expect("a request is taken");
    let answer = read_to_end(friend).expect("a request is answered");
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{answer:?}");

    let _ = stranger.shutdown(Shutdown::Write);
    let _ = read_to_end(stranger);
    let stats = server.running.stats();
    assert!(stats.requests <= stats.total_requests, "{stats:?}");
});

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).expect("connections are accepted");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout is set");
    stream
}

/// Reads until the other side closes, which it must.
fn read_to_end(mut stream: TcpStream) -> std::io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let timed_out = read
        .as_ref()
        .is_err_and(|e| e.kind() == ErrorKind::WouldBlock);
    assert!(!timed_out, "the connection has no end");
    read.map(|_| answer)
}
