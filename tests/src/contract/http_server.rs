//! The laws of [`HttpServer`] and [`RunningServer`].
//!
//! Longer than others: they are one list, and each is short.

use std::convert::Infallible;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use daymark_adapters::http_server::{AppContext, HttpConfig, InProcess};
use daymark_adapters::port_picker::{BoundListener, Loopback};
use daymark_core::http_server::{DrainReport, HttpServer, RunningServer, ServeError};
use daymark_core::port_picker::{Listener as _, PortPicker as _, PortPreference};
use http::Response;
use http_body_util::Full;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, Semaphore, mpsc};

use super::{A_MOMENT, begin_and_drop, in_time, is_done_at_once, until};

/// A kind of server, and a socket for it.
#[async_trait]
pub trait HttpBench: Send + Sync {
    /// What is tested.
    type Http: HttpServer;

    /// Something that starts one server.
    fn http(&self) -> Self::Http;

    /// The socket: always the same one.
    fn listener(&self) -> Arc<<Self::Http as HttpServer>::Listener>;

    /// Whether a request that comes now is answered.
    async fn is_answered(&self) -> bool;
}

/// One whose requests last as long as is wanted, and that counts them.
#[async_trait]
pub trait CountingBench: HttpBench {
    /// A request comes to the server that was started last: true once it is being answered, false if nobody accepts it.
    async fn begin_request(&self) -> bool;

    /// One of the requests is answered, in full.
    async fn finish_request(&self);

    /// Waits until nothing is left of one of the requests, for it was cut off.
    async fn see_cut_off(&self);
}

/// Real connections to a real server.
#[derive(Debug)]
pub struct Sockets {
    listener: Arc<BoundListener>,
    clients: Mutex<Vec<TcpStream>>,
    gate: Arc<Semaphore>,
    begun: (
        mpsc::UnboundedSender<()>,
        Mutex<mpsc::UnboundedReceiver<()>>,
    ),
}

impl Sockets {
    /// With a socket of its own.
    pub async fn new() -> Self {
        let picked = Loopback::V4.pick(PortPreference::Any).await;
        let (begun, heard) = mpsc::unbounded_channel();
        Self {
            listener: Arc::new(picked.expect("a port").listener),
            clients: Mutex::default(),
            gate: Arc::new(Semaphore::new(0)),
            begun: (begun, Mutex::new(heard)),
        }
    }
}

/// Makes the app of [`Sockets`].
type Make = Box<dyn FnOnce(AppContext) -> Gated + Send>;

/// Answers when the gate lets it.
#[derive(Clone, Debug)]
pub struct Gated {
    gate: Arc<Semaphore>,
    begun: mpsc::UnboundedSender<()>,
}

type Answer = futures_util::future::BoxFuture<'static, Result<Response<Full<Bytes>>, Infallible>>;

impl<R> tower::Service<http::Request<R>> for Gated {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<R>) -> Answer {
        let Self { gate, begun } = self.clone();
        Box::pin(async move {
            // The test may be over.
            let _ = begun.send(());
            if let Ok(permit) = gate.acquire().await {
                permit.forget();
            }
            Ok(Response::new(Full::new(Bytes::from_static(b"done"))))
        })
    }
}

#[async_trait]
impl HttpBench for Sockets {
    type Http = InProcess<Gated, Make>;

    fn http(&self) -> Self::Http {
        let (gate, begun) = (self.gate.clone(), self.begun.0.clone());
        let make: Make = Box::new(|_| Gated { gate, begun });
        InProcess::new(make, HttpConfig::default())
    }

    fn listener(&self) -> Arc<BoundListener> {
        self.listener.clone()
    }

    async fn is_answered(&self) -> bool {
        let begun = self.begin_request().await;
        if begun {
            self.finish_request().await;
        }
        begun
    }
}

#[async_trait]
impl CountingBench for Sockets {
    async fn begin_request(&self) -> bool {
        let addr = self.listener.endpoint().addr();
        let connected = TcpStream::connect(addr).await;
        let mut client = connected.expect("the bench holds the socket open");
        let request = format!("GET / HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n");
        client
            .write_all(request.as_bytes())
            .await
            .expect("send a request");
        let mut begun = self.begun.1.lock().await;
        // Where nobody accepts, the kernel queues it all the same, and nothing comes of it.
        let waited = tokio::time::timeout(UNANSWERED, begun.recv()).await;
        self.clients.lock().await.push(client);
        waited.is_ok()
    }

    async fn finish_request(&self) {
        self.gate.add_permits(1);
        let mut clients = self.clients.lock().await;
        let reads = clients.iter_mut().map(|client| {
            Box::pin(async move {
                let mut answer = String::new();
                client.read_to_string(&mut answer).await.map(|_| answer)
            })
        });
        let (answer, which, _) = futures_util::future::select_all(reads).await;
        clients.remove(which);
        assert!(answer.expect("an answer").ends_with("done"));
    }

    async fn see_cut_off(&self) {
        let client = self.clients.lock().await.pop();
        let mut answer = Vec::new();
        // An end or a reset.
        let _ = client
            .expect("a request")
            .read_to_end(&mut answer)
            .await
            .map_err(drop);
        assert!(answer.is_empty());
    }
}

/// How long to wait for an answer that must not come.
const UNANSWERED: std::time::Duration = std::time::Duration::from_millis(300);

async fn start(bench: &impl HttpBench) -> Arc<dyn RunningServer> {
    let started = bench.http().start(bench.listener()).await;
    started.unwrap_or_else(|error| panic!("{error}"))
}

async fn begin_requests(bench: &impl CountingBench, count: usize) {
    for _ in 0..count {
        assert!(bench.begin_request().await, "nobody accepts");
    }
}

const fn report(drained: u64, aborted: u64) -> DrainReport {
    DrainReport {
        drained,
        aborted,
        survivors: 0,
    }
}

/// [`RunningServer::ready`] succeeds where the server answers.
pub async fn a_server_that_serves_is_ready(bench: &impl HttpBench) {
    let server = start(bench).await;
    for _ in 0..3 {
        let ready = in_time("ready", server.ready()).await;
        ready.unwrap_or_else(|error| panic!("{error}"));
    }
}

/// What was [prepared](HttpServer::prepare), once or twice, serves like any other.
pub async fn a_server_that_was_prepared_is_ready(bench: &impl HttpBench) {
    let http = bench.http();
    http.prepare();
    http.prepare();
    let started = http.start(bench.listener()).await;
    let server = started.unwrap_or_else(|error| panic!("{error}"));
    assert!(in_time("ready", server.ready()).await.is_ok());
    assert!(bench.is_answered().await);
}

/// [`RunningServer::ready`] fails where it is plain that the server never will answer.
pub async fn a_server_that_has_ended_is_not_ready(bench: &impl HttpBench) {
    let server = start(bench).await;
    server.abort().await;
    let ready = in_time("an answer", server.ready()).await;
    assert!(matches!(
        ready,
        Err(ServeError::NotReady(_) | ServeError::Ended(_))
    ));
}

/// A server that ended leaves the listener open for the next one.
pub async fn the_next_server_takes_over_the_same_listener(bench: &impl HttpBench) {
    start(bench).await.drain().await;
    let next = start(bench).await;
    assert!(in_time("ready", next.ready()).await.is_ok());
    assert!(bench.is_answered().await);
}

/// A drain with nothing to finish is over at once.
pub async fn a_drain_of_an_idle_server_is_over_at_once(bench: &impl CountingBench) {
    let server = start(bench).await;
    begin_requests(bench, 1).await;
    bench.finish_request().await;
    until("it is counted", || server.stats().requests == 0).await;
    assert_eq!(in_time("drained", server.drain()).await, report(0, 0));
}

/// [`RunningServer::drain`] completes when every accepted request has finished, and not before.
pub async fn a_drain_waits_for_all_requests(bench: &impl CountingBench) {
    let server = start(bench).await;
    begin_requests(bench, 3).await;
    let mut drain = Box::pin(server.drain());
    for _ in 0..3 {
        assert!(!is_done_at_once(&mut drain));
        bench.finish_request().await;
    }
    assert_eq!(in_time("drained", drain).await, report(3, 0));
}

/// [`RunningServer::drain`] stops accepting.
pub async fn a_drain_accepts_nobody_any_more(bench: &impl HttpBench) {
    let server = start(bench).await;
    in_time("drained", server.drain()).await;
    assert!(!bench.is_answered().await);
}

/// Nor does an abort, and it leaves nobody who does.
pub async fn an_abort_leaves_nobody_who_answers(bench: &impl HttpBench) {
    let server = start(bench).await;
    assert!(in_time("ready", server.ready()).await.is_ok());
    assert_eq!(in_time("aborted", server.abort()).await, report(0, 0));
    assert!(!bench.is_answered().await);
}

/// Repeating a drain or an abort is a no-op with the same report.
pub async fn a_server_that_has_ended_is_asked_in_vain(bench: &impl HttpBench) {
    let server = start(bench).await;
    let first = in_time("drained", server.drain()).await;
    assert_eq!(in_time("aborted", server.abort()).await, first);
    assert_eq!(in_time("drained", server.drain()).await, first);
}

/// [`RunningServer::abort`] may follow a drain that was given up.
pub async fn an_abort_may_follow_a_drain(bench: &impl HttpBench) {
    let server = start(bench).await;
    begin_and_drop(server.drain());
    in_time("aborted", server.abort()).await;
    assert!(!bench.is_answered().await);
}

/// [`RunningServer::abort`] cuts everything off.
pub async fn an_abort_cuts_off_all_requests(bench: &impl CountingBench) {
    let server = start(bench).await;
    begin_requests(bench, 2).await;
    assert_eq!(in_time("aborted", server.abort()).await, report(0, 2));
    in_time("cut off", bench.see_cut_off()).await;
}

/// [`RunningServer::abort`] may follow a drain that was given up, and then counts since that began.
pub async fn an_abort_counts_since_the_drain_began(bench: &impl CountingBench) {
    let server = start(bench).await;
    begin_requests(bench, 3).await;
    begin_and_drop(server.drain());
    bench.finish_request().await;
    until("it is counted", || server.stats().requests <= 2).await;
    assert_eq!(in_time("aborted", server.abort()).await, report(1, 2));
}

/// Repeating a drain or an abort is a no-op with the same report.
pub async fn every_drain_and_abort_gives_the_same_report(bench: &impl CountingBench) {
    let server = start(bench).await;
    begin_requests(bench, 1).await;
    let first = in_time("aborted", server.abort()).await;
    assert_eq!(in_time("aborted", server.abort()).await, first);
    assert_eq!(in_time("drained", server.drain()).await, first);
}

/// [`RunningServer::ended`] completes only when the server ends without having been asked to.
pub async fn a_server_that_was_asked_to_end_has_not_ended_by_itself(bench: &impl HttpBench) {
    let server = start(bench).await;
    assert!(!is_done_at_once(server.ended()));
    server.drain().await;
    assert!(!is_done_at_once(server.ended()));
    server.abort().await;
    assert!(!is_done_at_once(server.ended()));
}

/// Dropping these futures has no effect on the server.
pub async fn a_server_goes_on_when_nobody_waits_for_it(bench: &impl HttpBench) {
    let server = start(bench).await;
    begin_and_drop(server.ready());
    begin_and_drop(server.ended());
    assert!(in_time("ready", server.ready()).await.is_ok());
    assert!(bench.is_answered().await);
}

/// Dropping the last handle aborts the server, sooner or later.
pub async fn a_server_that_is_dropped_answers_nobody(bench: &impl HttpBench) {
    let server = start(bench).await;
    assert!(in_time("ready", server.ready()).await.is_ok());
    drop(server);
    let ends = async {
        while bench.is_answered().await {
            tokio::time::sleep(A_MOMENT).await;
        }
    };
    in_time("it ends", ends).await;
}

/// Dropping the last handle cuts everything off.
pub async fn a_server_that_is_dropped_is_aborted(bench: &impl CountingBench) {
    let server = start(bench).await;
    begin_requests(bench, 1).await;
    drop(server);
    in_time("cut off", bench.see_cut_off()).await;
    assert!(!bench.begin_request().await);
}

/// [`RunningServer::stats`] counts what is in flight.
pub async fn requests_in_flight_are_counted(bench: &impl CountingBench) {
    let server = start(bench).await;
    assert_eq!(server.stats().requests, 0);
    begin_requests(bench, 2).await;
    assert_eq!(server.stats().requests, 2);
    bench.finish_request().await;
    until("it is counted", || server.stats().requests <= 1).await;
    assert_eq!(server.stats().requests, 1);
}

/// Dropping the future of [`HttpServer::start`] midway aborts whatever it had begun.
pub async fn a_start_that_is_dropped_leaves_nobody_who_answers(bench: &impl HttpBench) {
    begin_and_drop(bench.http().start(bench.listener()));
    assert!(!bench.is_answered().await);
}

/// [`RunningServer::drain`] lets go of the listener.
pub async fn a_drain_lets_go_of_the_listener(bench: &impl HttpBench) {
    let before = Arc::strong_count(&bench.listener());
    let server = start(bench).await;
    in_time("drained", server.drain()).await;
    until("it lets go", || {
        Arc::strong_count(&bench.listener()) <= before
    })
    .await;
}

/// [`RunningServer::ready`] tells where the server answers: at the listener's address.
pub async fn a_server_is_ready_at_its_listener_s_address(bench: &impl HttpBench) {
    let server = start(bench).await;
    let ready = in_time("ready", server.ready()).await;
    let endpoint = ready.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(endpoint, bench.listener().endpoint());
}

/// Tries the law of that name.
///
/// # Panics
///
/// If it is broken, or there is no such law.
pub async fn keep(bench: &impl HttpBench, law: &str) {
    crate::with_laws_of_every_server!(crate::law_named, law, bench);
}

/// Tries the law of that name, of those that hold of servers which count their requests.
///
/// # Panics
///
/// If it is broken, or there is no such law.
pub async fn keep_counting(bench: &impl CountingBench, law: &str) {
    crate::with_laws_of_counting_servers!(crate::law_named, law, bench);
}

/// Calls a macro with the laws that hold of every server, whether it counts its requests or not.
#[macro_export]
macro_rules! with_laws_of_every_server {
    ($macro:path, $($before:tt)*) => {
        $macro!($($before)*, [
            a_server_that_serves_is_ready,
            a_server_that_was_prepared_is_ready,
            a_server_is_ready_at_its_listener_s_address,
            a_start_that_is_dropped_leaves_nobody_who_answers,
            a_drain_lets_go_of_the_listener,
            a_server_that_has_ended_is_not_ready,
            the_next_server_takes_over_the_same_listener,
            a_drain_accepts_nobody_any_more,
            an_abort_leaves_nobody_who_answers,
            an_abort_may_follow_a_drain,
            a_server_that_has_ended_is_asked_in_vain,
            a_server_that_was_asked_to_end_has_not_ended_by_itself,
            a_server_goes_on_when_nobody_waits_for_it,
            a_server_that_is_dropped_answers_nobody,
        ]);
    };
}

/// Calls a macro with the laws that hold of servers which count their requests.
#[macro_export]
macro_rules! with_laws_of_counting_servers {
    ($macro:path, $($before:tt)*) => {
        $macro!($($before)*, [
            a_drain_of_an_idle_server_is_over_at_once,
            a_drain_waits_for_all_requests,
            an_abort_cuts_off_all_requests,
            an_abort_counts_since_the_drain_began,
            every_drain_and_abort_gives_the_same_report,
            a_server_that_is_dropped_is_aborted,
            requests_in_flight_are_counted,
        ]);
    };
}

/// Tests of all laws of servers that count their requests.
#[macro_export]
macro_rules! http_server_laws {
    ($adapter:ident, $bench:expr) => {
        mod $adapter {
            use super::*;
            $crate::with_laws_of_every_server!(
                $crate::each_law,
                every_server,
                $bench,
                $crate::contract::http_server
            );
            $crate::with_laws_of_counting_servers!(
                $crate::each_law,
                counting,
                $bench,
                $crate::contract::http_server
            );
        }
    };
}
