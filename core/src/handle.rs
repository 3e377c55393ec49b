//! How the rest of a program talks to a [`ServerRunner`](crate::ServerRunner): ask, wait, and hear what happens.
//!
//! Everything here is a message or a look at what was published. No future here owns a decision, so each of them may be
//! dropped midway.

use std::io;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{broadcast, mpsc, watch};

use crate::http_server::{RunningServer, ServeError, ServerEnd, ServerStats, Trouble};
use crate::port_picker::PickError;
use crate::record::{InvalidName, ServerRecord};
use crate::state_store::{AcquireError, PublishError, Recovered, WithdrawError};

/// A message to the runner.
#[derive(Debug)]
pub(crate) enum Command {
    Start,
    Restart,
    Stop(Option<Duration>),
}

/// Where a run stands, as far as others need to know.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Status {
    /// Nobody asked for a start yet.
    Idle,
    /// A start is under way.
    Starting,
    /// Published, and serving.
    Ready(Arc<ServerRecord>),
    /// The server is being replaced by another one.
    Restarting,
    /// A stop is under way.
    Stopping,
    /// Over.
    Stopped(Arc<StopReport>),
}

/// Something that happened in a run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LifecycleEvent {
    /// A dead owner's leavings were cleared.
    Recovered(Recovered),
    /// The preferred port was taken; this one serves instead.
    PortMoved {
        /// The port that was preferred.
        from: NonZeroU16,
        /// The port that was bound.
        to: NonZeroU16,
    },
    /// The server answers, and its record is published.
    Ready(Arc<ServerRecord>),
    /// The server is being replaced, for this reason.
    Restarting(RestartCause),
    /// Another server has taken its place, and answers.
    Restarted(Arc<ServerRecord>),
    /// The record had been lost and is published again.
    Republished,
    /// The record or the ownership was lost and couldn't be put right; it will be tried again.
    Exposed(String),
    /// The record is withdrawn, and requests are being finished.
    Draining(ServerStats),
    /// The run is over.
    Stopped(Arc<StopReport>),
}

/// Why a server is replaced.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RestartCause {
    /// It was asked for.
    Asked,
    /// The server ended by itself, or didn't get ready again. The next one is started after this pause.
    Ended(ServerEnd, Duration),
}

/// How a run ended.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct StopReport {
    /// Why it ended.
    pub cause: StopCause,
    /// Requests that were in flight when the stop began and were answered in full.
    pub drained: u64,
    /// Requests that were cut off at the deadline.
    pub aborted: u64,
    /// From the beginning of the stop to its end.
    pub took: Duration,
    /// What couldn't be cleared away. Nobody believes the record all the same.
    pub left: Vec<Leftover>,
}

/// Why a run ended.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum StopCause {
    /// It was asked to.
    #[default]
    Asked,
    /// It never became ready.
    StartFailed(StartError),
    /// The server ended by itself.
    ServerEnded(ServerEnd),
    /// The ownership was lost to another process.
    OwnershipLost,
}

/// Something that a stop couldn't clear away.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum Leftover {
    /// The record.
    #[error("the record is still there")]
    Record(#[source] WithdrawError),
    /// The ownership.
    #[error("the ownership was not given back")]
    Ownership(#[source] WithdrawError),
    /// Processes of the server.
    #[error("{0} processes of the server could not be ended")]
    Processes(u64),
    /// The server.
    #[error("the server was cut off, and has not ended")]
    Server,
    /// A call to the state directory that never came back. The ownership stays with the process until that ends.
    #[error("the state directory does not answer; ownership stays with this process until it ends")]
    Stuck,
}

/// Why a start didn't succeed. Nothing of it is left.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The ownership couldn't be had.
    #[error(transparent)]
    Acquire(#[from] AcquireError),
    /// The port couldn't be had.
    #[error(transparent)]
    Pick(#[from] PickError),
    /// The server didn't start, or didn't answer.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The record couldn't be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The server ended before it was ready.
    #[error("the server ended before it was ready: {0}")]
    ServerEnded(ServerEnd),
    /// The server's name isn't one.
    #[error(transparent)]
    InvalidName(#[from] InvalidName),
    /// The surroundings aren't fit: no home directory, no random numbers, no threads.
    #[error("cannot {action}")]
    Setup {
        /// What was being done, as a verb.
        action: &'static str,
        /// The system's own report.
        #[source]
        source: Arc<io::Error>,
    },
    /// It took longer than the start timeout.
    #[error("not ready within {after:?}{}", trouble.as_ref().map(|t| format!(": {t}")).unwrap_or_default())]
    TimedOut {
        /// The timeout.
        after: Duration,
        /// What the server says of it.
        trouble: Option<Trouble>,
    },
    /// A stop came first.
    #[error("stopped before it was ready")]
    Stopped,
    /// This server was started before: a second start is an error.
    #[error("started already")]
    AlreadyStarted,
    /// The task that carried the run is gone.
    #[error("the server's control task is gone")]
    Gone,
}

impl StartError {
    /// The server that is there already, if that is the reason.
    #[must_use]
    pub fn already_running(&self) -> Option<&ServerRecord> {
        match self {
            Self::Acquire(AcquireError::AlreadyRunning(record)) => Some(record),
            _ => None,
        }
    }
}

/// Why a stop wasn't clean.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum StopError {
    /// The server is stopped, but something is left.
    #[error("stopped, but {}", .0.left.first().map(ToString::to_string).unwrap_or_default())]
    Unclean(Arc<StopReport>),
    /// The task that carried the run is gone; everything it held went with it.
    #[error("the server's control task is gone")]
    Gone,
}

/// The server of a run, once there is one.
pub(crate) type SharedServer = Arc<Mutex<Option<Weak<dyn RunningServer>>>>;

/// A way to talk to a run. Clones talk to the same one.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) status: watch::Receiver<Status>,
    /// Weak, so that the events end with the run.
    pub(crate) events: broadcast::WeakSender<LifecycleEvent>,
    pub(crate) server: SharedServer,
}

impl Handle {
    /// Asks for a start and waits until it is decided. The start goes on if the future is dropped.
    ///
    /// # Errors
    ///
    /// [`StartError`], by the step that failed; [`StartError::AlreadyStarted`] for a second start.
    pub async fn start(&self) -> Result<Arc<ServerRecord>, StartError> {
        if !matches!(*self.status.borrow(), Status::Idle) {
            return Err(StartError::AlreadyStarted);
        }
        self.commands
            .send(Command::Start)
            .map_err(|_| StartError::Gone)?;
        self.wait_ready().await
    }

    /// Waits until the server is ready, or never will be.
    ///
    /// # Errors
    ///
    /// What kept it from becoming ready; [`StartError::Stopped`] once it is stopping.
    pub async fn wait_ready(&self) -> Result<Arc<ServerRecord>, StartError> {
        let mut status = self.status.clone();
        let decided = status
            .wait_for(|s| matches!(s, Status::Ready(_) | Status::Stopped(_)))
            .await;
        match decided.as_deref() {
            // What a runner said last that has vanished is true no more.
            Ok(Status::Ready(record)) if self.status.has_changed().is_ok() => Ok(record.clone()),
            Ok(Status::Stopped(report)) => Err(match &report.cause {
                StopCause::StartFailed(error) => error.clone(),
                _ => StartError::Stopped,
            }),
            _ => Err(StartError::Gone),
        }
    }

    /// Asks that the server be replaced by a new one behind the same listener, and doesn't wait. It does nothing where a
    /// server can't be replaced, which is [`Plan::restarts`](crate::Plan::restarts).
    pub fn request_restart(&self) {
        // A runner that is gone has stopped.
        drop(self.commands.send(Command::Restart));
    }

    /// Asks for a stop and doesn't wait. Accepted requests have until `drain` from now, or the run's own drain time if
    /// there is none; asking again can only shorten it, and zero cuts everything off.
    pub fn request_stop(&self, drain: Option<Duration>) {
        // A runner that is gone has stopped.
        drop(self.commands.send(Command::Stop(drain)));
    }

    /// Asks for a stop, like [`request_stop`](Self::request_stop), and waits for its end. Whoever asks, and however often,
    /// gets the same report. The stop goes on if the future is dropped.
    ///
    /// # Errors
    ///
    /// [`StopError::Unclean`] when the server is stopped but something couldn't be cleared away.
    pub async fn stop(&self, drain: Option<Duration>) -> Result<Arc<StopReport>, StopError> {
        self.request_stop(drain);
        let report = self.wait_stopped().await?;
        if report.left.is_empty() {
            Ok(report)
        } else {
            Err(StopError::Unclean(report))
        }
    }

    /// Waits until a stop has begun, without asking for it. A run that is over has been stopped.
    pub async fn wait_stopping(&self) {
        let mut status = self.status.clone();
        let begun = |status: &Status| matches!(status, Status::Stopping | Status::Stopped(_));
        // So has one whose runner is gone.
        drop(status.wait_for(begun).await);
    }

    /// Waits until the run is over, without asking for it.
    ///
    /// # Errors
    ///
    /// [`StopError::Gone`] when the task that carried it vanished.
    pub async fn wait_stopped(&self) -> Result<Arc<StopReport>, StopError> {
        let mut status = self.status.clone();
        let over = status.wait_for(|s| matches!(s, Status::Stopped(_))).await;
        match over.as_deref() {
            Ok(Status::Stopped(report)) => Ok(report.clone()),
            _ => Err(StopError::Gone),
        }
    }

    /// Where the run stands now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Whether the server is ready and no stop has begun.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.status.has_changed().is_ok() && matches!(*self.status.borrow(), Status::Ready(_))
    }

    /// What happens from now on.
    #[must_use]
    pub fn subscribe(&self) -> Events {
        let events = self.events.upgrade().map(|events| events.subscribe());
        Events(events.unwrap_or_else(|| broadcast::channel(1).1))
    }

    /// What the server is doing; zeros before it is started and after it is gone.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        server
            .as_ref()
            .and_then(Weak::upgrade)
            .map(|server| server.stats())
            .unwrap_or_default()
    }
}

/// The events of a run, in order.
#[derive(Debug)]
pub struct Events(broadcast::Receiver<LifecycleEvent>);

impl Events {
    /// Like [`next`](Self::next), for plain threads: blocks until there is one.
    ///
    /// # Panics
    ///
    /// In async code, which it would hold up.
    pub fn blocking_next(&mut self) -> Option<LifecycleEvent> {
        loop {
            match self.0.blocking_recv() {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// The next event; none when the run is gone. A reader that falls far behind misses the oldest.
    pub async fn next(&mut self) -> Option<LifecycleEvent> {
        loop {
            match self.0.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

#[cfg(test)]
#[path = "handle_tests.rs"]
mod tests;
