//! A server that runs: what its owner may ask of it.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use daymark_adapters::http_server::Admission;
use daymark_core::http_server::ServerStats;
use daymark_core::record::{ServerRecord, Token};
use daymark_core::{Events, Handle, StartError, StopError, StopReport};

use crate::builder::Builder;
use crate::compose::Launched;
use crate::park;
use crate::signals::FirstSignal;

/// A server that was started, published, and that stops when this is dropped.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// use std::time::Duration;
/// use axum::{Router, routing::get};
///
/// let router = Router::new().route("/", get(|| async { "hello" }));
/// let server = daymark::Server::builder("my-app").app(router)
/// #   .state_dir(dir.path().join("state"))
///     .start()?;
/// println!("{}", server.url());
/// let report = server.stop(Duration::from_secs(5))?;
/// assert_eq!(report.aborted, 0);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Server {
    record: Arc<ServerRecord>,
    run: Run,
}

/// A run and the thread that carries it. Dropped, it stops and waits for that.
#[derive(Debug)]
struct Run {
    handle: Handle,
    record_path: PathBuf,
    first_signal: FirstSignal,
    admission: Option<Admission>,
    control: Option<JoinHandle<()>>,
}

impl Drop for Run {
    fn drop(&mut self) {
        self.handle.request_stop(None);
        // A handler that drops its own server must not wait for itself.
        let inside = std::thread::current()
            .name()
            .is_some_and(|name| matches!(name, "daymark-control" | "daymark-http"));
        if let Some(control) = self.control.take().filter(|_| !inside) {
            // If the thread has panicked, what it held is gone, and a drop is no place to say so.
            let _ = control.join();
        }
    }
}

/// A server that is set up and not started. Made by [`Builder::prepare`]; dropped, nothing has happened.
#[derive(Debug)]
#[must_use = "it does nothing until it is started"]
pub struct Prepared(Run);

impl Prepared {
    pub(crate) fn new(launched: Launched, admission: Option<Admission>) -> Self {
        Self(Run {
            handle: launched.handle,
            record_path: launched.record_path,
            first_signal: launched.first_signal,
            admission,
            control: Some(launched.control),
        })
    }

    /// Everything that will happen.
    #[must_use]
    pub fn subscribe(&self) -> Events {
        self.0.handle.subscribe()
    }

    #[cfg(feature = "cli")]
    pub(crate) fn handle(&self) -> Handle {
        self.0.handle.clone()
    }

    /// As [`Server::first_signal`]; tells also what stopped a start.
    #[must_use]
    pub fn first_signal(&self) -> FirstSignal {
        self.0.first_signal.clone()
    }

    /// The absolute path of the `server.json` to be.
    #[must_use]
    pub fn state_file(&self) -> &Path {
        &self.0.record_path
    }

    /// As [`Builder::start`].
    ///
    /// # Errors
    ///
    /// As [`Builder::start`].
    pub fn start(self) -> Result<Server, StartError> {
        park::wait_for(self.start_async())
    }

    /// Like [`start`](Self::start), for async code: doesn't block the thread. Dropped midway, the server is stopped.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub async fn start_async(self) -> Result<Server, StartError> {
        let Self(run) = self;
        let record = run.handle.start().await?;
        Ok(Server { record, run })
    }
}

impl Server {
    /// Begins to describe a server. Its name is what others find it by: 1 to 64 of `a-z`, `0-9`, `.`, `_` and `-`,
    /// beginning with a letter or a digit.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(name.into())
    }

    /// The port that is bound.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.addr().port()
    }

    /// The address that is bound.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.record.endpoint.addr()
    }

    /// `http://127.0.0.1:PORT/`, or the same with `[::1]`.
    #[must_use]
    pub fn url(&self) -> String {
        self.record.endpoint.url()
    }

    /// The absolute path of `server.json`.
    #[must_use]
    pub fn state_file(&self) -> &Path {
        &self.run.record_path
    }

    /// What is published.
    #[must_use]
    pub fn record(&self) -> &ServerRecord {
        &self.record
    }

    /// The secret that clients must present, if one was asked for.
    #[must_use]
    pub fn token(&self) -> Option<&Token> {
        self.record.token.as_ref()
    }

    /// A link that lets one browser in, once, within a minute: it holds a code, and not the token. Where no token is asked
    /// for, the plain URL.
    ///
    /// # Errors
    ///
    /// When the system has no random source.
    pub fn one_time_link(&self) -> io::Result<String> {
        match &self.run.admission {
            Some(admission) => admission.link(&self.url()),
            None => Ok(self.url()),
        }
    }

    /// Whether it serves, and no stop has begun.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.run.handle.is_running()
    }

    /// A way to ask for a stop, to wait, and to hear of events, from anywhere. It may outlive the server.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.run.handle.clone()
    }

    /// What happens from now on.
    #[must_use]
    pub fn subscribe(&self) -> Events {
        self.run.handle.subscribe()
    }

    /// The signal that stopped it, once one has come, if it [handles them](Builder::handle_signals).
    #[must_use]
    pub fn first_signal(&self) -> FirstSignal {
        self.run.first_signal.clone()
    }

    /// What it is doing.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        self.run.handle.stats()
    }

    /// Withdraws the record, lets accepted requests finish for at most `drain`, cuts off the rest, and returns when all of
    /// it is over. A second call is a no-op with the same report.
    ///
    /// # Errors
    ///
    /// [`StopError`] when it is stopped, but something couldn't be cleared away.
    pub fn stop(&self, drain: Duration) -> Result<Arc<StopReport>, StopError> {
        park::wait_for(self.stop_async(drain))
    }

    /// Like [`stop`](Self::stop), for async code. Dropping the future doesn't call the stop off.
    ///
    /// # Errors
    ///
    /// As [`stop`](Self::stop).
    pub async fn stop_async(&self, drain: Duration) -> Result<Arc<StopReport>, StopError> {
        self.run.handle.stop(Some(drain)).await
    }

    /// Waits until it is stopped by somebody else: a [`Handle`], a signal, or what befell it.
    ///
    /// # Errors
    ///
    /// [`StopError::Gone`] when its control thread vanished.
    pub fn wait(&self) -> Result<Arc<StopReport>, StopError> {
        park::wait_for(self.run.handle.wait_stopped())
    }
}
