//! Stopping a server from outside, and never a stranger.
//!
//! A pid is a number that others get too. So the process is pinned between two looks at the same record: its writer lived
//! before and after, so the pin is on the writer, and from then on the signal goes to nobody else. That the lock is really
//! held by that process, and not by something that the writer had forked, the system is asked as well.

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
use super::{Place, Sighting};

/// How to stop a server.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct StopOptions {
    /// How long its requests may take to finish. Then it is asked to cut them off.
    pub drain: Duration,
    /// Whether to kill it, if it is still there a while after that.
    pub force: bool,
}

impl Default for StopOptions {
    fn default() -> Self {
        Self {
            drain: Duration::from_secs(10),
            force: false,
        }
    }
}

impl StopOptions {
    /// Stops within `drain`, and kills if `force` says so.
    #[must_use]
    pub const fn new(drain: Duration, force: bool) -> Self {
        Self { drain, force }
    }
}

/// How a stop from outside went.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stopped {
    /// Nothing was running.
    WasNotRunning,
    /// It stopped when it was asked.
    Stopped(Box<ServerRecord>),
    /// It was starting, and was stopped before it had a record.
    NeverReady,
    /// It had to be killed.
    Killed(Box<ServerRecord>),
}

/// Why a server isn't stopped.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum StopServerError {
    /// What is there can't be proven to be a server of this user's, so nobody was signalled.
    #[error("nobody was signalled: {reason}")]
    NotProven {
        /// Why not.
        reason: String,
        /// What is there.
        sighting: Box<Sighting>,
    },
    /// It was asked, and is still there.
    #[error("it is still {}", .0.presence)]
    StillThere(Box<Sighting>),
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

/// How long a server may take over what should take no time: to cut requests off, or to be dead after a kill.
const PATIENCE: Duration = Duration::from_secs(6);

/// How often to look whether it is gone: whether one could own its place. No wait for that can be called off.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What has been asked of the server so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Stop,
    Hurry,
    Kill,
}

/// The server that is being stopped.
struct Target {
    process: Pinned,
    pid: u32,
    /// None if it has not been live yet.
    record: Option<Box<ServerRecord>>,
    asked: Asked,
    /// When patience with what was asked ends; none if never.
    until: Option<Instant>,
}

impl Place {
    /// Asks the server here to stop, and waits until it is gone: until its ownership could be had by another. Needs a tokio
    /// runtime with time enabled.
    ///
    /// # Errors
    ///
    /// [`StopServerError`]; see there.
    pub async fn stop(&self, options: StopOptions) -> Result<Stopped, StopServerError> {
        let store = FileStore::new(self.state_dir()).map_err(failed("find the state directory"))?;
        let give_up = after(options.drain.saturating_add(PATIENCE));
        let mut target: Option<Target> = None;
        loop {
            let look = Look::at(self.state_dir());
            let sighting = self.interpret(&look);
            let is_alive = matches!(sighting.presence, Presence::Live | Presence::Unreachable);
            let may_be_target = |record: &ServerRecord| match &target {
                None => true,
                Some(target) => target.may_have_written(record),
            };
            if is_alive && !sighting.record.as_ref().is_some_and(may_be_target) {
                // Another one has the place by now, and nobody asked for that to stop.
                return Ok(outcome(target));
            }
            if !is_alive && target.is_none() && !may_be_none(sighting.presence) {
                return Err(not_proven(&sighting, sighting.reason.as_deref()));
            }
            if !is_alive && store.is_free().map_err(failed("try the lock"))? {
                return Ok(outcome(target));
            }
            if let Some(target) = &mut target {
                let more = target
                    .press(options)
                    .map_err(failed("signal the process"))?;
                if !more {
                    return Err(StopServerError::StillThere(Box::new(sighting)));
                }
            } else if is_alive {
                target = self.pin(&look, &sighting, options)?;
            } else {
                // Somebody is starting, stopping or dying: it will be live, or gone.
                target = pin_owner(&look, sighting.presence, options)?;
            }
            if target.is_none() && give_up.is_some_and(|give_up| Instant::now() >= give_up) {
                let reason = "its process is gone, and what that forked still holds its lock";
                return Err(match is_alive {
                    true => not_proven(&sighting, Some(reason)),
                    false => StopServerError::StillThere(Box::new(sighting)),
                });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The record's writer, pinned and asked to stop; none if it went away meanwhile.
    fn pin(
        &self,
        look: &Look,
        sighting: &Sighting,
        options: StopOptions,
    ) -> Result<Option<Target>, StopServerError> {
        let Some(record) = &sighting.record else {
            return Ok(None);
        };
        if let Some(reason) = pid_is_foreign(&record.origin, identity::origin()) {
            return Err(not_proven(sighting, Some(reason)));
        }
        let pinned = Pinned::new(record.pid).map_err(failed("open the process"))?;
        let is_writer = look.is_locked_by(record.pid);
        let Some(process) = pinned.filter(|_| look.still_holds()) else {
            return Ok(None);
        };
        match is_writer {
            Some(true) => {}
            Some(false) => return Ok(None),
            None => return Err(not_proven(sighting, Some(NOT_TOLD))),
        }
        process.terminate().map_err(failed("signal the process"))?;
        Ok(Some(Target {
            process,
            pid: record.pid,
            record: Some(Box::new(record.clone())),
            asked: Asked::Stop,
            until: after(options.drain),
        }))
    }
}

/// Why nobody is signalled although somebody is alive.
pub(super) const NOT_TOLD: &str =
    "the system does not tell whether the process with its number is the one that wrote the record";

/// An owner without a record, pinned between two looks as the record's writer is. One that is starting is asked to stop; one
/// that is stopping was asked before.
fn pin_owner(
    look: &Look,
    presence: Presence,
    options: StopOptions,
) -> Result<Option<Target>, StopServerError> {
    let Some(pid) = look.owner_without_record() else {
        return Ok(None);
    };
    let pinned = Pinned::new(pid).map_err(failed("open the process"))?;
    let is_owner = look.is_locked_by(pid) == Some(true);
    let Some(process) = pinned.filter(|_| is_owner && look.owner_still_holds()) else {
        return Ok(None);
    };
    if presence == Presence::Starting {
        process.terminate().map_err(failed("signal the process"))?;
    }
    Ok(Some(Target {
        process,
        pid,
        record: None,
        asked: Asked::Stop,
        until: after(options.drain),
    }))
}

impl Target {
    fn may_have_written(&self, record: &ServerRecord) -> bool {
        match &self.record {
            Some(known) => known.instance_id == record.instance_id,
            None => self.pid == record.pid,
        }
    }

    /// Asks for more once patience with the last thing has ended; false if there is nothing more to ask.
    fn press(&mut self, options: StopOptions) -> io::Result<bool> {
        if self.until.is_none_or(|until| Instant::now() < until) {
            return Ok(true);
        }
        self.asked = match self.asked {
            Asked::Stop => {
                // A second request cuts off what is still in flight.
                self.process.terminate()?;
                Asked::Hurry
            }
            Asked::Hurry if options.force => {
                self.process.kill()?;
                Asked::Kill
            }
            Asked::Hurry | Asked::Kill => return Ok(false),
        };
        self.until = after(PATIENCE);
        Ok(true)
    }
}

fn outcome(target: Option<Target>) -> Stopped {
    match target {
        None => Stopped::WasNotRunning,
        Some(Target { record: None, .. }) => Stopped::NeverReady,
        Some(Target {
            record: Some(record),
            asked,
            ..
        }) => match asked {
            Asked::Kill => Stopped::Killed(record),
            Asked::Stop | Asked::Hurry => Stopped::Stopped(record),
        },
    }
}

/// Whether nobody may be there, for all that a look can tell.
const fn may_be_none(presence: Presence) -> bool {
    !matches!(
        presence,
        Presence::Unproven | Presence::Refused | Presence::Unknown
    )
}

/// The moment that far from now; none if that is beyond all time.
fn after(span: Duration) -> Option<Instant> {
    Instant::now().checked_add(span)
}

fn failed(action: &'static str) -> impl Fn(io::Error) -> StopServerError {
    move |source| StopServerError::Io {
        action,
        source: Arc::new(source),
    }
}

fn not_proven(sighting: &Sighting, reason: Option<&str>) -> StopServerError {
    StopServerError::NotProven {
        reason: reason
            .unwrap_or("it cannot be proven to be running")
            .to_owned(),
        sighting: Box::new(sighting.clone()),
    }
}
