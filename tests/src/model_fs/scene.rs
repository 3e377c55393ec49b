//! What a server does with its state directory on a machine of the model, and what somebody else does to it.

use std::path::Path;
use std::sync::Arc;

use daymark_adapters::state_store::{FileStore, LOCK, Look, RECORD};
use daymark_adapters::{log_file, record_json};
use daymark_core::presence::{LockSeen, Observation};
use daymark_core::record::{InstanceId, ServerRecord};
use daymark_core::state_store::{AcquireError, Custody, Lease, StateStore};

use super::{Computer, Disk, Fault, ModelDir, Process, Stage, Wrong};
use crate::sample;

/// The state directory.
pub const DIR: &str = "/run/api";
/// Who owns it.
pub const OWNER: Process = Process(1);
/// Another one who would like to.
pub const OTHER: Process = Process(2);
/// Who looks.
pub const READER: Process = Process(3);

/// What went wrong.
pub type Violation = String;

/// What a run finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Not even the directory's parent.
    Nothing,
    /// An empty directory.
    Empty,
    /// What a clean stop left.
    Lock,
    /// A dead owner's record.
    Record,
    /// A dead owner's record, and another one that it was about to publish.
    RecordAndTemporary,
    /// What it was about to publish, in part.
    Temporary,
    /// A dead owner's record, without a lock file.
    RecordAlone,
    /// A dead owner's record and its log.
    RecordAndLog,
}

impl Found {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Nothing,
        Self::Empty,
        Self::Lock,
        Self::Record,
        Self::RecordAndTemporary,
        Self::Temporary,
        Self::RecordAlone,
        Self::RecordAndLog,
    ];

    /// The disk on which it is found.
    #[must_use]
    pub fn disk(self) -> Disk {
        let at = |name: &str| Path::new(DIR).join(name);
        let record = record_json::write(&record(DEAD));
        let temporary = at(&format!(".{RECORD}.{}.tmp", InstanceId::from_bits(DEAD)));
        let lock = |disk: Disk| disk.with(&at(LOCK), b"1 - serving 8001\n");
        let dir = Disk::default().with_dir(Path::new(DIR));
        match self {
            Self::Nothing => Disk::default(),
            Self::Empty => dir,
            Self::Lock => lock(dir),
            Self::Record => lock(dir).with(&at(RECORD), &record),
            Self::RecordAndTemporary => lock(dir)
                .with(&at(RECORD), &record)
                .with(&temporary, &record),
            Self::Temporary => lock(dir).with(&temporary, &record[..record.len() / 2]),
            Self::RecordAlone => dir.with(&at(RECORD), &record),
            Self::RecordAndLog => lock(dir)
                .with(&at(RECORD), &record)
                .with(&at(log_file::DIR).join(log_file::CURRENT), b"it serves\n"),
        }
    }
}

/// What a run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Play {
    /// It starts and stops.
    StartAndStop,
    /// Its record is removed, and it publishes again.
    RecordRemoved,
    /// Its record is overwritten, and it publishes again.
    RecordOverwritten,
    /// It takes its record back for a while.
    Retracted,
    /// Its lock file is removed, and it takes the ownership again.
    LockRemoved,
    /// Its lock file is removed, and another one tries to start.
    LockRemovedAndAnother,
    /// Its directory is removed, and it takes the ownership again.
    DirectoryRemoved,
    /// It is dropped while it serves.
    Dropped,
    /// It gives up before it serves.
    GivenUp,
    /// It isn't a server, but `prune`.
    Pruned,
}

impl Play {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::StartAndStop,
        Self::RecordRemoved,
        Self::RecordOverwritten,
        Self::Retracted,
        Self::LockRemoved,
        Self::LockRemovedAndAnother,
        Self::DirectoryRemoved,
        Self::Dropped,
        Self::GivenUp,
        Self::Pruned,
    ];
}

/// The instance that died before anything began.
pub const DEAD: u128 = 1;
/// Whoever overwrites a record.
pub const VANDAL: u128 = 9;

/// The record of a run.
///
/// # Panics
///
/// If the run has a number that is too high for a port.
#[must_use]
pub fn record(instance: u128) -> ServerRecord {
    sample::record(
        instance,
        8000 + u16::try_from(instance).expect("a low number"),
    )
}

/// One run.
#[derive(Debug)]
pub struct Scene {
    computer: Arc<Computer>,
    instance: u128,
    fault: Fault,
}

impl Scene {
    /// The run `instance` on this machine.
    #[must_use]
    pub const fn new(computer: Arc<Computer>, instance: u128, fault: Fault) -> Self {
        Self {
            computer,
            instance,
            fault,
        }
    }

    /// Plays it to its end.
    ///
    /// # Errors
    ///
    /// What didn't go as it should.
    pub async fn play(&self, play: Play) -> Result<(), Violation> {
        match play {
            Play::Pruned => return self.prune(),
            Play::GivenUp => {
                let lease = self.acquire().await?;
                self.computer.enter(Stage::Stopping);
                return end(&lease).await;
            }
            _ => {}
        }
        let lease = self.start().await?;
        match play {
            Play::RecordRemoved => {
                self.computer.tamper(&at(RECORD), None);
                expect(&lease, Custody::RecordLost).await?;
                self.publish(&lease).await?;
            }
            Play::RecordOverwritten => {
                let theirs = record_json::write(&record(VANDAL));
                self.computer.tamper(&at(RECORD), Some(&theirs));
                expect(&lease, Custody::RecordLost).await?;
                self.publish(&lease).await?;
            }
            Play::Retracted => {
                lease.retract().await.map_err(|e| e.to_string())?;
                self.publish(&lease).await?;
            }
            Play::LockRemoved | Play::DirectoryRemoved => {
                let removed = match play {
                    Play::LockRemoved => at(LOCK),
                    _ => DIR.into(),
                };
                self.computer.tamper(&removed, None);
                expect(&lease, Custody::OwnershipLost).await?;
                lease.reclaim().await.map_err(|e| e.to_string())?;
                self.publish(&lease).await?;
            }
            Play::LockRemovedAndAnother => {
                self.computer.tamper(&at(LOCK), None);
                self.another_is_refused().await?;
                lease.reclaim().await.map_err(|e| e.to_string())?;
            }
            Play::StartAndStop | Play::Dropped | Play::GivenUp | Play::Pruned => {}
        }
        self.computer.enter(Stage::Stopping);
        if play != Play::Dropped {
            end(&lease).await?;
        }
        drop(lease);
        self.only_the_lock_is_left()
    }

    async fn start(&self) -> Result<Arc<dyn Lease>, Violation> {
        let lease = self.acquire().await?;
        lease.recover().await.map_err(|e| e.to_string())?;
        let left = self.computer.names(Path::new(DIR));
        if let Some(left) = left.iter().find(|name| name.starts_with('.')) {
            return Err(format!("{left} is still there after a recovery"));
        }
        self.publish(&lease).await?;
        Ok(lease)
    }

    fn store(&self, process: Process) -> FileStore<Wrong<ModelDir>> {
        let root = Wrong::new(self.computer.root(process), self.fault);
        FileStore::within(root, DIR.into())
    }

    async fn acquire(&self) -> Result<Arc<dyn Lease>, Violation> {
        let acquired = self.store(OWNER).acquire().await;
        acquired.map_err(|error| format!("a start fails: {error}"))
    }

    async fn publish(&self, lease: &Arc<dyn Lease>) -> Result<(), Violation> {
        let record = record(self.instance);
        let published = lease.publish(&record, Some(3)).await;
        published.map_err(|error| error.to_string())?;
        match lookout(&self.computer).observation() {
            Observation::Record(seen, LockSeen::Held) if **seen == record => {}
            seen => return Err(format!("it is published, and what is seen is {seen:?}")),
        }
        expect(lease, Custody::Intact).await
    }

    async fn another_is_refused(&self) -> Result<(), Violation> {
        let lease = self.store(OTHER).acquire().await;
        let lease = lease.map_err(|error| error.to_string())?;
        match lease.recover().await {
            Err(AcquireError::AlreadyRunning(_)) => end(&lease).await,
            other => Err(format!("its writer lives, and another one gets {other:?}")),
        }
    }

    fn prune(&self) -> Result<(), Violation> {
        self.computer.enter(Stage::Stopping);
        match self.store(OWNER).prune() {
            Ok(true) => Ok(()),
            other => Err(format!(
                "there is nothing but ours, and pruning says {other:?}"
            )),
        }
    }

    fn only_the_lock_is_left(&self) -> Result<(), Violation> {
        let left = self.computer.names(Path::new(DIR));
        match left
            .iter()
            .find(|name| **name != LOCK && **name != log_file::DIR)
        {
            None => Ok(()),
            Some(left) => Err(format!("{left} is still there after a stop")),
        }
    }
}

async fn end(lease: &Arc<dyn Lease>) -> Result<(), Violation> {
    lease.withdraw().await.map_err(|e| e.to_string())?;
    lease.release().await.map_err(|e| e.to_string())
}

async fn expect(lease: &Arc<dyn Lease>, expected: Custody) -> Result<(), Violation> {
    match lease.inspect().await {
        custody if custody == expected => Ok(()),
        custody => Err(format!("expected {expected:?}, and found {custody:?}")),
    }
}

/// What a reader sees.
#[must_use]
pub fn lookout(computer: &Arc<Computer>) -> Look<ModelDir> {
    Look::within(&computer.root(READER), Path::new(DIR))
}

/// The path of a file in the state directory.
#[must_use]
pub fn at(name: &str) -> std::path::PathBuf {
    Path::new(DIR).join(name)
}
