//! Ownership of a state directory, and the record that is published under it.
//!
//! Two locks, two meanings. The lock on `server.lock` says who may publish; the lock on the record's own inode says that
//! its writer is alive. They are kept apart, so that the second can be given up in no time while a call to the disk hangs,
//! and the first is given up only when no call is out any more: [`Shared`] is dropped with the last of them.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use daymark_core::presence::{LockSeen, Observation, Phase};
use daymark_core::record::{InstanceId, ServerRecord};
use daymark_core::state_store::{
    AcquireError, Custody, Lease, PublishError, Recovered, WithdrawError,
};

use super::blocking::blocking;
use super::directory::Directory;
use super::hint::Hint;
use super::look;
use super::ownership::{Ownership, clear, owner_of, take_ownership};
use super::proof::Proof;
use super::state_dir::StateDir;
use super::{LOCK, RECORD, atomic_file};
use crate::record_json;

/// How often an owner looks after what it holds. A watch of the directory would tell sooner, and cost more: one of the few
/// that a user may have, and a process that ends with one waits until the kernel has cleared it away, for 14 ms
/// (fsnotify_wait_marks_destroyed in Linux).
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The lease on a state directory.
#[derive(Debug)]
pub(super) struct FileLease<D: Directory> {
    shared: Arc<Shared<D>>,
}

#[derive(Debug)]
struct Shared<D: Directory> {
    /// The process that took the lease. A forked child has copies of its descriptors, and must not unlock them.
    pid: u32,
    /// Whose records this lease publishes, once it has.
    instance: OnceLock<InstanceId>,
    /// None once it was given back.
    ownership: Mutex<Option<Ownership<D>>>,
    proof: Proof<D::File>,
}

impl<D: Directory> FileLease<D> {
    pub(super) fn new(ownership: Ownership<D>) -> Self {
        let shared = Shared {
            pid: std::process::id(),
            instance: OnceLock::new(),
            ownership: Mutex::new(Some(ownership)),
            proof: Proof::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared<D>) -> T + Send + 'static,
    ) -> T {
        let shared = self.shared.clone();
        blocking(move || work(&shared)).await
    }
}

#[async_trait]
impl<D: Directory> Lease for FileLease<D> {
    async fn recover(&self) -> Result<Recovered, AcquireError> {
        self.with(Shared::recover).await
    }

    async fn publish(&self, record: &ServerRecord, above: Option<i32>) -> Result<(), PublishError> {
        let record = record.clone();
        self.with(move |shared| shared.publish(&record, above))
            .await
    }

    async fn retract(&self) -> Result<(), WithdrawError> {
        self.with(Shared::retract).await
    }

    async fn withdraw(&self) -> Result<(), WithdrawError> {
        self.with(Shared::withdraw).await
    }

    fn disown(&self) {
        self.shared.disown();
    }

    async fn changed(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.inspect().await != Custody::Intact {
                return;
            }
        }
    }

    async fn inspect(&self) -> Custody {
        self.with(Shared::inspect).await
    }

    async fn reclaim(&self) -> Result<(), AcquireError> {
        self.with(Shared::reclaim).await
    }

    async fn release(&self) -> Result<(), WithdrawError> {
        self.with(Shared::release).await
    }
}

impl<D: Directory> Drop for FileLease<D> {
    fn drop(&mut self) {
        self.shared.disown();
    }
}

impl<D: Directory> Shared<D> {
    fn ownership(&self) -> MutexGuard<'_, Option<Ownership<D>>> {
        self.ownership
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn leave_word(
        &self,
        ownership: &Ownership<D>,
        phase: Phase,
        port: Option<std::num::NonZeroU16>,
    ) {
        let port = port.or_else(|| Hint::read(&ownership.lock)?.port);
        Hint {
            pid: self.pid,
            instance: self.instance.get().copied(),
            phase,
            port,
        }
        .write(&ownership.lock);
    }

    fn recover(&self) -> Result<Recovered, AcquireError> {
        let guard = self.ownership();
        let Some(ownership) = &*guard else {
            return Err(AcquireError::Busy(None));
        };
        let dir = &ownership.dir;
        let mut recovered = Recovered::default();
        match look::see(dir).0 {
            // Its owner lives, though somebody removed the lock file under it.
            Observation::Record(record, LockSeen::Held) => {
                return Err(AcquireError::AlreadyRunning(record));
            }
            Observation::Record(record, _) => {
                recovered.last_port = Some(record.endpoint.port());
                recovered.record = Some(record);
            }
            _ => {}
        }
        let last_port = Hint::read(&ownership.lock).and_then(|hint| hint.port);
        recovered.last_port = last_port.or(recovered.last_port);
        self.leave_word(ownership, Phase::Starting, recovered.last_port);

        recovered.removed = clear(dir)?;
        Ok(recovered)
    }

    fn publish(&self, record: &ServerRecord, above: Option<i32>) -> Result<(), PublishError> {
        let guard = self.ownership();
        let Some(ownership) = &*guard else {
            return Err(PublishError::Withdrawn);
        };
        let dir = &ownership.dir;
        let temporary = match record.instance_id {
            Some(id) => format!(".{RECORD}.{}.tmp", self.instance.get_or_init(|| id)),
            None => format!(".{RECORD}.{}.tmp", self.pid),
        };
        let failed = |(action, source)| PublishError::Io {
            action,
            path: dir.path().join(&temporary),
            source: Arc::new(source),
        };
        let line = record_json::write(record);
        if line.len() > look::LARGEST {
            let source = io::Error::other("no reader takes a record larger than 16 KiB");
            return Err(failed(("write", source)));
        }
        let hold = |file| self.proof.hold(file);
        let placed = atomic_file::prepare(dir, &temporary, &line, above, hold)
            .map_err(failed)
            .and_then(|prepared| {
                let withdrawn = self.proof.has_ended();
                if withdrawn {
                    return Err(PublishError::Withdrawn);
                }
                prepared.put_in_place().map_err(failed)
            });
        if let Err(error) = placed {
            self.proof.keep_only(self.in_place(dir));
            return Err(error);
        }
        if !self.proof.settle(dir.stat(RECORD)) {
            // Disowned while it was being renamed: it landed, and nothing vouches for it.
            let _ = self.remove_own_record(dir);
            return Err(PublishError::Withdrawn);
        }
        self.leave_word(ownership, Phase::Serving, Some(record.endpoint.port()));
        Ok(())
    }

    /// What this lease holds that is in place as the record.
    fn in_place(&self, dir: &StateDir<D>) -> Vec<Arc<D::File>> {
        let mut held = self.proof.held();
        held.retain(|file| dir.leads_to(RECORD, file));
        held
    }

    fn disown(&self) {
        if std::process::id() == self.pid {
            self.proof.end();
        }
    }

    /// Removes the record first, so that nobody takes its owner for gone; then, come what may, it isn't vouched for.
    fn retract(&self) -> Result<(), WithdrawError> {
        let removed = self.take_down(self.proof.published().is_some(), Phase::Starting);
        self.proof.pause();
        removed
    }

    fn withdraw(&self) -> Result<(), WithdrawError> {
        self.disown();
        self.take_down(self.proof.published().is_some(), Phase::Stopping)
    }

    /// Removes the record, and leaves word of what follows.
    fn take_down(&self, was_published: bool, phase: Phase) -> Result<(), WithdrawError> {
        let guard = self.ownership();
        let Some(ownership) = &*guard else {
            return Ok(());
        };
        if was_published && ownership.is_current() {
            self.leave_word(ownership, phase, None);
        }
        self.remove_own_record(&ownership.dir)
            .map_err(|source| WithdrawError {
                action: "remove",
                path: ownership.dir.path().join(RECORD),
                source: Arc::new(source),
            })
    }

    /// Removes the record if it is one that this lease has put there.
    fn remove_own_record(&self, dir: &StateDir<D>) -> io::Result<()> {
        if !self.in_place(dir).is_empty() {
            dir.remove(RECORD)?;
        }
        Ok(())
    }

    fn inspect(&self) -> Custody {
        let guard = self.ownership();
        match &*guard {
            Some(ownership) if ownership.is_current() => {
                let published = self.proof.published();
                match published.is_some() && ownership.dir.stat(RECORD) == published {
                    true => Custody::Intact,
                    false => Custody::RecordLost,
                }
            }
            _ => Custody::OwnershipLost,
        }
    }

    fn reclaim(&self) -> Result<(), AcquireError> {
        let mut guard = self.ownership();
        let dir = match &*guard {
            // It was moved away and back. Locked again, it would seem to be somebody else's.
            Some(ownership) if ownership.is_current() => return Ok(()),
            Some(ownership) => &ownership.dir,
            None => return Err(AcquireError::Busy(None)),
        };
        let ownership =
            take_ownership(dir.root(), dir.path()).map_err(|error| self.unless_ours(error))?;
        let still_ours = !self.in_place(&ownership.dir).is_empty();
        if !still_ours && let Some(owner) = owner_of(&ownership.dir) {
            return Err(owner);
        }
        if let Some(lost) = guard.replace(ownership) {
            // Nobody can get at it any more.
            drop(lost.give_back());
        }
        Ok(())
    }

    /// A starter that has the lock for the moment it takes to find our record isn't a successor: it will give it back.
    fn unless_ours(&self, error: AcquireError) -> AcquireError {
        match error {
            AcquireError::AlreadyRunning(record)
                if record.instance_id.as_ref() == self.instance.get() =>
            {
                AcquireError::Io {
                    action: "lock",
                    path: LOCK.into(),
                    source: Arc::new(io::ErrorKind::WouldBlock.into()),
                }
            }
            error => error,
        }
    }

    fn release(&self) -> Result<(), WithdrawError> {
        let Some(ownership) = self.ownership().take() else {
            return Ok(());
        };
        let path = ownership.dir.path().join(LOCK);
        let is_empty = || {
            let names = ownership.dir.names();
            names.is_ok_and(|names| names.iter().all(|name| name == LOCK))
        };
        if ownership.dir.is_new() && self.proof.published().is_none() && is_empty() {
            // A start that failed leaves nothing, but what others have put there. As for `prune`, this is safe under the lock.
            let _ = ownership.dir.remove(LOCK);
            let _ = ownership.dir.remove_itself();
        }
        ownership.give_back().map_err(|source| WithdrawError {
            action: "unlock",
            path,
            source: Arc::new(source),
        })
    }
}

impl<D: Directory> Drop for Shared<D> {
    fn drop(&mut self) {
        if std::process::id() == self.pid {
            let _ = self.withdraw();
            let _ = self.release();
        }
    }
}
