//! Serving on a listener, and ending that in bounded time.

use std::fmt;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;

use crate::port_picker::Listener;
use crate::record::Endpoint;

/// Starts servers on listeners.
///
/// # Laws
///
/// - The listener is shared, not given away: a server that ended leaves it open for the next one.
/// - Dropping the future of [`start`](HttpServer::start) midway aborts whatever it had begun.
#[async_trait]
pub trait HttpServer: Send + Sync + 'static {
    /// The kind of socket it can serve on.
    type Listener: Listener;

    /// Gets ready what can be without a listener, in little time: the store is asked for the place meanwhile, and may say no.
    /// What goes wrong is for [`start`](HttpServer::start) to tell, and what isn't used goes with this.
    fn prepare(&self) {}

    /// Begins to serve. That it returns doesn't mean that it answers yet: see [`RunningServer::ready`].
    ///
    /// # Errors
    ///
    /// [`ServeError::Start`] when it can't begin at all.
    async fn start(
        &self,
        listener: Arc<Self::Listener>,
    ) -> Result<Arc<dyn RunningServer>, ServeError>;
}

/// A server that was started.
///
/// # Laws
///
/// - [`ready`](RunningServer::ready) succeeds only after a connection was answered by this very server, and tells where:
///   at the listener's own address, unless the server chose another one by itself.
/// - [`drain`](RunningServer::drain) stops accepting and lets go of the listener, cuts idle and half-open connections at
///   once, and completes when every accepted request has finished. That may be never: the caller has the deadline.
/// - [`abort`](RunningServer::abort) cuts everything off and returns promptly, however handlers block. It may follow a
///   drain that was given up, and then counts since that began. Repeating either is a no-op with the same report.
/// - [`ended`](RunningServer::ended) completes only when the server ends without having been asked to.
/// - Dropping any of these futures has no effect on the server; dropping the last handle aborts it.
#[async_trait]
pub trait RunningServer: Send + Sync + 'static {
    /// Waits until the server answers, and says where.
    ///
    /// # Errors
    ///
    /// [`ServeError::NotReady`] and [`ServeError::Ended`] when it is plain that it never will.
    async fn ready(&self) -> Result<Endpoint, ServeError>;

    /// What has kept it from being ready so far, for whoever gives up waiting.
    fn trouble(&self) -> Option<Trouble> {
        None
    }

    /// Finishes what was accepted, however long that takes.
    async fn drain(&self) -> DrainReport;

    /// Cuts everything off, now.
    async fn abort(&self) -> DrainReport;

    /// Waits until the server ends by itself, and says why.
    async fn ended(&self) -> ServerEnd;

    /// Counts, as of now.
    fn stats(&self) -> ServerStats;
}

/// What became of the requests that were in flight when a server was asked to stop.
///
/// An upgraded connection (a websocket) counts as one request. Idle and half-open connections count as none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainReport {
    /// Requests answered in full.
    pub drained: u64,
    /// Requests cut off.
    pub aborted: u64,
    /// Processes of the server that couldn't be ended.
    pub survivors: u64,
}

/// How a server ended that nobody had asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerEnd {
    /// What happened, in words.
    pub reason: String,
    /// The exit code, where the server was a process: as shells give it, 128 and the signal's number if one killed it.
    pub exit_code: Option<u8>,
}

impl ServerEnd {
    /// An end that has no exit code.
    pub fn because(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            exit_code: None,
        }
    }
}

impl fmt::Display for ServerEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

/// What a server is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// Connections open now.
    pub connections: u64,
    /// Requests being answered now, upgraded connections included.
    pub requests: u64,
    /// Connections accepted since the start.
    pub total_connections: u64,
    /// Requests begun since the start.
    pub total_requests: u64,
}

/// What keeps a server from being ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What is wrong, in words.
    pub problem: String,
    /// What to do about it, where that is known.
    pub remedy: Option<String>,
}

impl Trouble {
    /// One that has no remedy.
    pub fn with(problem: impl Into<String>) -> Self {
        Self {
            problem: problem.into(),
            remedy: None,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

/// Why a server doesn't serve.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// It couldn't begin.
    #[error("cannot start the server: {what}")]
    Start {
        /// The step that failed.
        what: String,
        /// The system's own report.
        #[source]
        source: Arc<io::Error>,
    },
    /// It ended before it was ready.
    #[error("the server ended before it was ready: {0}")]
    Ended(ServerEnd),
    /// It began, and doesn't answer.
    #[error("the server does not answer: {0}")]
    NotReady(Trouble),
}
