//! Serving on a listener, and ending that in bounded time.

use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;

use crate::port_picker::Listener;

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
/// - [`ready`](RunningServer::ready) succeeds only after a connection to the listener's own address was answered by this
///   very server.
/// - [`drain`](RunningServer::drain) stops accepting and lets go of the listener, cuts idle and half-open connections at
///   once, and completes when every accepted request has finished. That may be never: the caller has the deadline.
/// - [`abort`](RunningServer::abort) cuts everything off and returns promptly, however handlers block. It may follow a
///   drain that was given up, and then counts since that began. Repeating either is a no-op with the same report.
/// - [`ended`](RunningServer::ended) completes only when the server ends without having been asked to.
/// - Dropping any of these futures has no effect on the server; dropping the last handle aborts it.
#[async_trait]
pub trait RunningServer: Send + Sync + 'static {
    /// Waits until the server answers.
    ///
    /// # Errors
    ///
    /// [`ServeError::NotReady`] when it is plain that it never will.
    async fn ready(&self) -> Result<(), ServeError>;

    /// Finishes what was accepted, however long that takes.
    async fn drain(&self) -> DrainReport;

    /// Cuts everything off, now.
    async fn abort(&self) -> DrainReport;

    /// Waits until the server ends by itself, and says why.
    async fn ended(&self) -> String;

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
    /// It began, and doesn't answer.
    #[error("the server does not answer: {reason}")]
    NotReady {
        /// What the last attempt met.
        reason: String,
    },
}
