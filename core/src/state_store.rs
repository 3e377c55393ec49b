//! Ownership and the published record: who may publish, and what others can see.

use std::io;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;

use crate::presence::{Observation, Phase};
use crate::record::ServerRecord;

/// A place where one server at a time is owned, and where its record can be seen.
///
/// # Laws
///
/// - At most one [`Lease`] exists at a time, in all processes together. It ends with its process, however that dies.
/// - [`observe`](StateStore::observe) changes nothing, needs no ownership, and never sees half a record. It never calls a
///   record [held](crate::presence::LockSeen::Held) whose writer is gone.
/// - Neither call waits for other processes. Dropping the future of [`acquire`](StateStore::acquire) midway gives back
///   what it may have got.
#[async_trait]
pub trait StateStore: Send + Sync + 'static {
    /// Takes the ownership, or says who has it.
    ///
    /// # Errors
    ///
    /// [`AcquireError::AlreadyRunning`] and [`AcquireError::Busy`] when somebody else has it, else what is in the way.
    async fn acquire(&self) -> Result<Arc<dyn Lease>, AcquireError>;

    /// Looks.
    async fn observe(&self) -> Observation;
}

/// Ownership. Only who holds one can publish and withdraw: it is the proof, in types.
///
/// # Laws
///
/// - [`publish`](Lease::publish) is atomic: whoever looks sees the old record, the new one, or none, and never a part. A
///   publish that failed may have landed.
/// - After [`withdraw`](Lease::withdraw) or [`disown`](Lease::disown) has returned, or failed, no reader believes the
///   record, and no publish of this lease takes effect any more. Repeating either is a no-op.
/// - A record that isn't this lease's is never removed, except by [`recover`](Lease::recover), and only if its writer is
///   gone.
/// - Calls may hang as long as the disk does. Dropping one of their futures neither undoes nor stops it.
/// - Dropping the lease disowns the record and gives the ownership back; in a forked child it does neither.
#[async_trait]
pub trait Lease: Send + Sync + 'static {
    /// Clears what dead owners left.
    ///
    /// # Errors
    ///
    /// [`AcquireError::AlreadyRunning`] when a live record is there although the ownership was free.
    async fn recover(&self) -> Result<Recovered, AcquireError>;

    /// Publishes `record` in place of what was there. The proof of life is numbered above descriptor `above`.
    ///
    /// # Errors
    ///
    /// [`PublishError`]; see there.
    async fn publish(&self, record: &ServerRecord, above: Option<i32>) -> Result<(), PublishError>;

    /// Removes the record and ends the proof of life, for a while: it may be published again. The other way round than
    /// [`withdraw`](Lease::withdraw), so that nobody sees a record without a proof and takes its owner for gone.
    ///
    /// # Errors
    ///
    /// [`WithdrawError`] when the record couldn't be removed. Nobody believes it all the same.
    async fn retract(&self) -> Result<(), WithdrawError>;

    /// Ends the proof of life for good, then removes the record if it is this lease's.
    ///
    /// # Errors
    ///
    /// [`WithdrawError`] when the record couldn't be removed. Nobody believes it all the same.
    async fn withdraw(&self) -> Result<(), WithdrawError>;

    /// Ends the proof of life at once, waiting for nothing, and removes nothing.
    fn disown(&self);

    /// Waits until something may have happened to what this lease holds. It may wake for nothing, and may miss things.
    async fn changed(&self);

    /// Looks whether the ownership and the record are as they should be.
    async fn inspect(&self) -> Custody;

    /// Takes the ownership again where it was lost, without waiting.
    ///
    /// # Errors
    ///
    /// [`AcquireError::AlreadyRunning`] and [`AcquireError::Busy`] when a successor has it by now.
    async fn reclaim(&self) -> Result<(), AcquireError>;

    /// Gives the ownership back.
    ///
    /// # Errors
    ///
    /// [`WithdrawError`] when the system wouldn't.
    async fn release(&self) -> Result<(), WithdrawError>;
}

/// What [`Lease::inspect`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Custody {
    /// All is as it should be, as far as can be seen.
    Intact,
    /// The record is gone or isn't ours any more.
    RecordLost,
    /// What carries the ownership is gone, or isn't ours any more.
    OwnershipLost,
}

/// What [`Lease::recover`] cleared away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// A record whose writer was gone: what it said, where it could still be read.
    pub record: Option<Box<ServerRecord>>,
    /// How many files were removed.
    pub removed: usize,
    /// The port that the last instance served on, where that is known.
    pub last_port: Option<NonZeroU16>,
}

/// Why the ownership couldn't be had.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// A server is there, alive.
    #[error("already running at {}", .0.endpoint.url())]
    AlreadyRunning(Box<ServerRecord>),
    /// Somebody owns the place without a live record: starting, stopping, or just dying.
    #[error("another process owns it{}", phase_words(*.0))]
    Busy(Option<Phase>),
    /// The place isn't safe to keep state in.
    #[error("the state directory {} is not safe: {problem}", path.display())]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// What to do about it.
        remedy: String,
    },
    /// The file system has no locks, so nothing could be proven there.
    #[error("the file system of {} has no file locks", path.display())]
    NoLocks {
        /// The directory.
        path: PathBuf,
        /// The system's own report.
        #[source]
        source: Arc<io::Error>,
    },
    /// The system reported an error.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was being done, as a verb.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's own report.
        #[source]
        source: Arc<io::Error>,
    },
}

fn phase_words(phase: Option<Phase>) -> &'static str {
    match phase {
        Some(Phase::Starting) => ", and is starting",
        Some(Phase::Stopping) => ", and is stopping",
        Some(Phase::Serving) | None => "",
    }
}

/// Why a record couldn't be published.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The record was withdrawn meanwhile, and nothing is published after that.
    #[error("the record was withdrawn meanwhile")]
    Withdrawn,
    /// The system reported an error.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was being done, as a verb.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's own report.
        #[source]
        source: Arc<io::Error>,
    },
}

/// Why a record couldn't be removed, or the ownership not given back.
#[derive(Clone, Debug, Error)]
#[error("cannot {action} {}", path.display())]
pub struct WithdrawError {
    /// What was being done, as a verb.
    pub action: &'static str,
    /// To which file.
    pub path: PathBuf,
    /// The system's own report.
    #[source]
    pub source: Arc<io::Error>,
}
