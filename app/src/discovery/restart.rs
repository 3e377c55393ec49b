//! Asking a supervisor to replace its server, and waiting until it has.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use daymark_adapters::identity;
use daymark_adapters::state_store::{FileStore, Look};
use daymark_core::presence::{Presence, pid_is_foreign};
use daymark_core::record::ServerRecord;
use thiserror::Error;
use tokio::time::Instant;

use super::process::Pinned;
use super::stop::NOT_TOLD;
use super::{Place, Sighting};

/// Why a server wasn't replaced by a new one.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum RestartServerError {
    /// There is none that is live.
    #[error("it is {}", .0.presence)]
    NotLive(Box<Sighting>),
    /// Its owner can't replace it: it is a program of its own, and not one that `daymark run` looks after.
    #[error("nobody supervises it who could start it again")]
    NotSupervised,
    /// The owner can't be proven to be a process that may be signalled from here, so nobody was signalled.
    #[error("nobody was signalled: {0}")]
    NotProven(String),
    /// It was asked for, and the run has ended over it.
    #[error("it did not come back, and its run has ended")]
    Ended,
    /// It was asked for, and hasn't happened in time.
    #[error("it is not back within {0:?}")]
    TimedOut(Duration),
    /// The system reported an error.
    #[error("cannot {action}")]
    Io {
        /// What was being done, as a verb.
        action: &'static str,
        /// The system's own report.
        #[source]
        source: Arc<io::Error>,
    },
}

/// How often to look whether there is a new server.
const LOOK_EVERY: Duration = Duration::from_millis(5);

impl Place {
    /// Asks the owner of the server here to replace it by a new one, and waits until that is ready. Port and place stay the
    /// same; where the owner passes the listening socket on, no connection is refused meanwhile. Needs a tokio runtime with
    /// time enabled.
    ///
    /// # Errors
    ///
    /// [`RestartServerError`]; see there.
    pub async fn restart(&self, timeout: Duration) -> Result<ServerRecord, RestartServerError> {
        let store = FileStore::new(self.state_dir()).map_err(failed("find the state directory"))?;
        let asked = self.ask_for_restart()?;
        let give_up = Instant::now().checked_add(timeout);
        loop {
            let sighting = self.look();
            match sighting.record {
                Some(record) if sighting.presence == Presence::Live => {
                    if record.instance_id != asked.instance_id {
                        return Err(RestartServerError::Ended);
                    }
                    if record.restarts > asked.restarts {
                        return Ok(record);
                    }
                }
                _ if store.is_free().map_err(failed("try the lock"))? => {
                    return Err(RestartServerError::Ended);
                }
                _ => {}
            }
            if give_up.is_some_and(|give_up| Instant::now() >= give_up) {
                return Err(RestartServerError::TimedOut(timeout));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Signals the owner, between two looks at the same record.
    fn ask_for_restart(&self) -> Result<ServerRecord, RestartServerError> {
        let look = Look::at(self.state_dir());
        let sighting = self.interpret(&look);
        let record = match &sighting.record {
            Some(record) if sighting.presence == Presence::Live => record.clone(),
            _ => return Err(RestartServerError::NotLive(Box::new(sighting))),
        };
        if record.restarts.is_none() {
            return Err(RestartServerError::NotSupervised);
        }
        if let Some(reason) = pid_is_foreign(&record.origin, identity::origin()) {
            return Err(RestartServerError::NotProven(reason.to_owned()));
        }
        let pinned = Pinned::new(record.pid).map_err(failed("open the process"))?;
        let is_writer = look.is_locked_by(record.pid);
        match (pinned.filter(|_| look.still_holds()), is_writer) {
            (Some(owner), Some(true)) => owner.restart().map_err(failed("signal the process"))?,
            (Some(_), None) => return Err(RestartServerError::NotProven(NOT_TOLD.to_owned())),
            (Some(_), Some(false)) => {
                let reason = "its process is gone, and what that forked still holds its lock";
                return Err(RestartServerError::NotProven(reason.to_owned()));
            }
            (None, _) => return Err(RestartServerError::NotLive(Box::new(self.look()))),
        }
        Ok(record)
    }
}

fn failed(action: &'static str) -> impl Fn(io::Error) -> RestartServerError {
    move |source| RestartServerError::Io {
        action,
        source: Arc::new(source),
    }
}
