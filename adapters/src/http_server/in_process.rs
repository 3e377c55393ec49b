//! Serves any tower service with hyper, on threads of its own, and ends in bounded time whatever the service does.
//!
//! Two runtimes are at work. The accept loop lives on the runtime that [`start`](HttpServer::start) is called on, so that
//! it can always be ended; connections and handlers live on `daymark-http` threads. A handler that blocks all of those holds
//! up its own kind, and neither the accept loop nor a stop.
//!
//! Longer than others: what a server shares between its start, its accept loop and its end is read in one place.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use daymark_core::http_server::{
    DrainReport, HttpServer, RunningServer, ServeError, ServerEnd, ServerStats, Trouble,
};
use daymark_core::port_picker::Listener as _;
use daymark_core::record::Endpoint;
use tokio::net::TcpSocket;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::task::JoinHandle;

use super::app::{App, AppContext, StopSignal};
use super::connection::{self, Connection, House};
use super::gate::{Access, Gate};
use super::incoming::{Gravity, Incoming as Queue, gravity};
use super::limits::Limits;
use crate::port_picker::BoundListener;

/// How to serve.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct HttpConfig {
    /// What clients are held to.
    pub limits: Limits,
    /// How many `daymark-http` threads; as many as there are processors where 0.
    pub threads: usize,
    /// Who may ask.
    pub access: Access,
}

/// How long to wait for threads at the end: enough for tasks to be dropped, nothing that a stop would notice.
const THREADS_END: Duration = Duration::from_millis(200);

/// How long to leave the accept queue alone when the process is out of descriptors or memory.
const OUT_OF_RESOURCES: Duration = Duration::from_millis(50);

/// How long to wait, when all places are taken and somebody wants one, before it is looked again who might leave.
const FULL: Duration = Duration::from_millis(50);

/// Serves one app, once.
pub struct InProcess<S, F = fn(AppContext) -> S> {
    source: Mutex<Option<Source<S, F>>>,
    /// The handlers' threads, once they are prepared.
    prepared: Mutex<Option<io::Result<Threads>>>,
    config: HttpConfig,
}

/// Where an app comes from.
enum Source<S, F> {
    Given(S),
    Made(F),
}

impl<S> InProcess<S> {
    /// A server for an app that is there already.
    pub fn given(app: S, config: HttpConfig) -> Self {
        Self::from(Source::Given(app), config)
    }
}

impl<S, F: FnOnce(AppContext) -> S> InProcess<S, F> {
    /// A server for the app that `make` returns. It is called when the port is bound, on a `daymark-http`
    /// thread that may block.
    pub fn new(make: F, config: HttpConfig) -> Self {
        Self::from(Source::Made(make), config)
    }
}

impl<S, F> InProcess<S, F> {
    fn from(source: Source<S, F>, config: HttpConfig) -> Self {
        Self {
            source: Mutex::new(Some(source)),
            prepared: Mutex::new(None),
            config,
        }
    }

    fn threads(&self) -> io::Result<Threads> {
        let count = match self.config.threads {
            0 => *PROCESSORS,
            count => count,
        };
        let mut threads = Builder::new_multi_thread();
        threads.worker_threads(count).thread_name("daymark-http");
        or_panics(|| threads.enable_all().build()).map(|runtime| Threads(Some(runtime)))
    }
}

/// How many processors this process may use. To ask takes as long as to start two threads (it reads what cgroups(7) say).
static PROCESSORS: LazyLock<usize> =
    LazyLock::new(|| std::thread::available_parallelism().map_or(1, NonZeroUsize::get));

#[async_trait]
impl<S, F> HttpServer for InProcess<S, F>
where
    F: FnOnce(AppContext) -> S + Send + 'static,
    S: App,
{
    type Listener = BoundListener;

    fn prepare(&self) {
        lock(&self.prepared).get_or_insert_with(|| self.threads());
    }

    async fn start(
        &self,
        listener: Arc<BoundListener>,
    ) -> Result<Arc<dyn RunningServer>, ServeError> {
        let failed = |what: &str, source| ServeError::Start {
            what: what.to_owned(),
            source: Arc::new(source),
        };
        let source = lock(&self.source).take().ok_or_else(|| {
            failed(
                "its app was used before",
                io::ErrorKind::InvalidInput.into(),
            )
        })?;
        let prepared = lock(&self.prepared).take();
        let threads = prepared.unwrap_or_else(|| self.threads());
        let runtime = threads.map_err(|e| failed("no threads", e))?;

        let endpoint = listener.endpoint();
        let (stop, draining) = watch::channel(false);
        let context = AppContext {
            endpoint,
            stop: StopSignal(draining.clone()),
        };
        let app = match source {
            Source::Given(app) => app,
            // Apps may spawn tasks while they are made, and take their time.
            Source::Made(make) => {
                let http = runtime.handle();
                or_panics(move || Ok(http.spawn_blocking(move || make(context))))
                    .map_err(|e| failed("no threads", e))?
                    .await
                    .map_err(|panicked| failed("its app cannot be made", panic_text(panicked)))?
            }
        };
        let limits = self.config.limits.in_range();
        let all_places = limits.max_connections;
        let places = Arc::new(Semaphore::new(all_places as usize));
        let gate = Gate::new(&self.config.access, endpoint.port().get());
        let house = Arc::new(House::new(gate, limits));
        let (over, accept_over) = watch::channel(None);
        let (probes, probe) = watch::channel(None);
        let accepting = Accepting {
            listener,
            http: runtime.handle(),
            app,
            house: house.clone(),
            places: places.clone(),
            draining,
            probe,
        };
        let accept_loop = tokio::spawn(async move {
            let result = accepting.run().await;
            over.send_replace(Some(result.map_err(|e| e.to_string())));
        });
        Ok(Arc::new(Running {
            endpoint,
            stop,
            house,
            places,
            all_places,
            probes,
            accept_over,
            accept_loop,
            threads: Mutex::new(runtime),
            finished_before: OnceLock::new(),
            report: OnceLock::new(),
        }))
    }
}

/// What comes of `start`, which starts threads: where the system has none left, the runtime panics in place of an error
/// (tokio::task::spawn_blocking).
fn or_panics<T>(start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let started = std::panic::catch_unwind(std::panic::AssertUnwindSafe(start));
    started.unwrap_or_else(|panic| {
        let why = panic
            .downcast::<String>()
            .map_or_else(|_| String::new(), |why| *why);
        Err(io::Error::new(io::ErrorKind::WouldBlock, why))
    })
}

/// The handlers' threads. Dropped, they end in the background, which is legal in async code too.
struct Threads(Option<Runtime>);

impl Threads {
    /// A way to run things there.
    fn handle(&self) -> Handle {
        match &self.0 {
            Some(runtime) => runtime.handle().clone(),
            None => Handle::current(),
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

fn panic_text(error: tokio::task::JoinError) -> io::Error {
    let payload = match error.try_into_panic() {
        Ok(payload) => payload,
        Err(error) => return io::Error::other(error),
    };
    let text = payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned());
    io::Error::other(format!("it panicked: {}", text.unwrap_or_default()))
}

/// Somebody who waits to see a connection from this address accepted.
type Probe = (SocketAddr, Arc<Mutex<Option<oneshot::Sender<TcpStream>>>>);

/// The accept loop and what it needs.
struct Accepting<S> {
    listener: Arc<BoundListener>,
    http: Handle,
    app: S,
    house: Arc<House>,
    places: Arc<Semaphore>,
    draining: watch::Receiver<bool>,
    probe: watch::Receiver<Option<Probe>>,
}

impl<S: App> Accepting<S> {
    /// Accepts until a drain begins; an error is the end of the listener.
    async fn run(mut self) -> io::Result<()> {
        let queue = Queue::of(self.listener.clone())?;
        let mut draining = self.draining.clone();
        let mut drain = pin!(draining.wait_for(|draining| *draining));
        loop {
            let accepted = tokio::select! {
                biased;
                _ = &mut drain => break,
                accepted = queue.next() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => match self.expects(peer) {
                    Some(answer) => drop(answer.send(stream)),
                    None => match self.place().await? {
                        Some(place) => self.serve(stream, place),
                        None => break,
                    },
                },
                Err(error) => match gravity(&error) {
                    Gravity::OneConnection => {}
                    Gravity::Resources => tokio::time::sleep(OUT_OF_RESOURCES).await,
                    Gravity::Listener => return Err(error),
                },
            }
        }
        // What the kernel has accepted already is accepted.
        while let Ok(place) = self.places.clone().try_acquire_owned()
            && let Ok((stream, _)) = queue.next_now()
        {
            self.serve(stream, place);
        }
        Ok(())
    }

    /// A place for one more connection. Where there is none, somebody who isn't busy is asked to leave. None when a drain
    /// begins meanwhile.
    async fn place(&self) -> io::Result<Option<OwnedSemaphorePermit>> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(Some(place));
        }
        let mut place = pin!(self.places.clone().acquire_owned());
        let mut draining = self.draining.clone();
        loop {
            self.house.crowd.ask_one_to_leave();
            tokio::select! {
                biased;
                place = &mut place => return place.map(Some).map_err(io::Error::other),
                _ = draining.wait_for(|draining| *draining) => return Ok(None),
                () = tokio::time::sleep(FULL) => {}
            }
        }
    }

    fn serve(&self, stream: std::net::TcpStream, place: OwnedSemaphorePermit) {
        self.http.spawn(connection::serve(
            stream,
            Connection::new(self.house.clone(), place),
            self.app.clone(),
        ));
    }

    /// Whom to give a connection from there, if it is the server's own knock at the door.
    fn expects(&mut self, peer: SocketAddr) -> Option<oneshot::Sender<TcpStream>> {
        match &*self.probe.borrow_and_update() {
            Some((expected, answer)) if *expected == peer => lock(answer).take(),
            _ => None,
        }
    }
}

/// A server at work.
struct Running {
    endpoint: Endpoint,
    stop: watch::Sender<bool>,
    house: Arc<House>,
    places: Arc<Semaphore>,
    all_places: u32,
    probes: watch::Sender<Option<Probe>>,
    /// How accepting ended, once it has.
    accept_over: watch::Receiver<Option<Result<(), String>>>,
    accept_loop: JoinHandle<()>,
    threads: Mutex<Threads>,
    /// How many requests were finished when the drain began.
    finished_before: OnceLock<u64>,
    report: OnceLock<DrainReport>,
}

impl Running {
    fn is_draining(&self) -> bool {
        *self.stop.borrow()
    }

    fn begin_drain(&self) {
        self.finished_before.get_or_init(|| self.house.finished());
        self.stop.send_replace(true);
        self.house.crowd.drain();
    }

    /// Fixes the report, then ends the threads.
    async fn end(&self) -> DrainReport {
        let report = *self.report.get_or_init(|| {
            let now = self.house.stats();
            let before = self.finished_before.get().copied().unwrap_or_default();
            DrainReport {
                drained: now.total_requests - now.requests - before,
                aborted: now.requests,
                survivors: 0,
            }
        });
        let runtime = lock(&self.threads).0.take();
        if let Some(runtime) = runtime {
            // A handler that blocks its thread keeps that one for itself; nobody waits for it.
            let ended = tokio::task::spawn_blocking(|| runtime.shutdown_timeout(THREADS_END));
            let _ = ended.await;
        }
        report
    }

    /// Connects to the own address, and waits until the own accept loop has seen just this connection, and the handlers'
    /// threads are at work.
    async fn knock(&self) -> io::Result<()> {
        // They wake up while the connection is made.
        let handlers = lock(&self.threads).handle().spawn(async {});
        let target = self.endpoint.addr();
        let socket = match target {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.bind(SocketAddr::new(target.ip(), 0))?;
        let (answer, answered) = oneshot::channel();
        let probe = (socket.local_addr()?, Arc::new(Mutex::new(Some(answer))));
        self.probes.send_replace(Some(probe));
        let ours = socket.connect(target).await?;
        let answered = answered.await;
        self.probes.send_replace(None);
        let theirs = answered.map_err(|_| io::Error::other("the server ended"))?;
        // Nobody waits for their close.
        tokio::spawn(async move { drop((ours, theirs)) });
        handlers.await.map_err(io::Error::other)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.accept_loop.abort();
    }
}

#[async_trait]
impl RunningServer for Running {
    async fn ready(&self) -> Result<Endpoint, ServeError> {
        let mut over = self.accept_over.clone();
        let answered = tokio::select! {
            answered = self.knock() => answered,
            _ = over.wait_for(Option::is_some) => Err(io::Error::other("it accepts no more")),
        };
        match answered {
            Ok(()) => Ok(self.endpoint),
            Err(error) => Err(ServeError::NotReady(Trouble::with(format!(
                "connecting to {}: {error}",
                self.endpoint.addr()
            )))),
        }
    }

    async fn drain(&self) -> DrainReport {
        self.begin_drain();
        // What the kernel had accepted is handed over before accepting ends. Then all places are free when all is done.
        let _ = self.accept_over.clone().wait_for(Option::is_some).await;
        let _all = self.places.acquire_many(self.all_places).await;
        self.end().await
    }

    async fn abort(&self) -> DrainReport {
        self.begin_drain();
        self.accept_loop.abort();
        // The loop is over when its sender is gone, and has let go of the listener by then.
        let mut over = self.accept_over.clone();
        while over.changed().await.is_ok() {}
        self.end().await
    }

    async fn ended(&self) -> ServerEnd {
        let mut over = self.accept_over.clone();
        let failed = over
            .wait_for(|over| matches!(over, Some(Err(_))))
            .await
            .map(|over| over.clone());
        let reason = match failed {
            Ok(over) => over.and_then(Result::err),
            Err(_) => Some("its accept loop panicked".to_owned()),
        };
        match reason {
            Some(reason) if !self.is_draining() => ServerEnd::because(reason),
            // It was asked to.
            _ => std::future::pending().await,
        }
    }

    fn stats(&self) -> ServerStats {
        self.house.stats()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
