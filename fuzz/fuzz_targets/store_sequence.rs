//! Any sequence of what two owners, and whoever meddles with their files, may do to one state directory: nobody is believed
//! to be alive without vouching for just these bytes, and never do two own the place.
//!
//! Two leases can exist after the lock file was removed under the first. One of them notices, then, that it lost it.

#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use arbitrary::Arbitrary;
use daymark_adapters::state_store::{FileStore, LOCK, Look, RECORD};
use daymark_core::presence::{LockSeen, Observation};
use daymark_core::record::ServerRecord;
use daymark_core::state_store::{AcquireError, Custody, Lease, StateStore as _};
use daymark_fuzz::{AnyRecord, scratch};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use tokio::runtime::Runtime;

#[derive(Arbitrary, Debug)]
enum Deed {
    Acquire(Who),
    Recover(Who),
    Publish(Who, Box<AnyRecord>),
    Withdraw(Who),
    Disown(Who),
    Inspect(Who),
    Reclaim(Who),
    Release(Who),
    Drop(Who),
    Prune,
    IsFree,
    Meddle(Meddling),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Who {
    One,
    Other,
}

#[derive(Arbitrary, Debug)]
enum Meddling {
    RemoveRecord,
    RemoveLock,
    RemoveDirectory,
    /// What was written stays under the lock, but isn't a record any more.
    GarbleRecord,
    CopyRecord,
    LinkRecordElsewhere,
    PutRecord(Vec<u8>),
    WriteLock(Vec<u8>),
    LeaveTemporary,
}

impl Meddling {
    /// Whether ownership may be lost by it.
    const fn breaks_ownership(&self) -> bool {
        matches!(self, Self::RemoveLock | Self::RemoveDirectory)
    }

    /// Whatever can't be done isn't.
    fn apply(&self, dir: &Path) {
        let (record, lock) = (dir.join(RECORD), dir.join(LOCK));
        let aside = dir.join("aside");
        let _ = match self {
            Self::RemoveRecord => fs::remove_file(record),
            Self::RemoveLock => fs::remove_file(lock),
            Self::RemoveDirectory => fs::remove_dir_all(dir),
            Self::GarbleRecord => fs::OpenOptions::new()
                .write(true)
                .open(record)
                .and_then(|f| f.set_len(7)),
            Self::CopyRecord => fs::copy(&record, &aside).and_then(|_| fs::rename(&aside, &record)),
            Self::LinkRecordElsewhere => fs::hard_link(record, aside),
            Self::PutRecord(bytes) => {
                fs::write(&aside, bytes).and_then(|()| fs::rename(&aside, &record))
            }
            Self::WriteLock(bytes) => match lock.exists() {
                true => fs::write(lock, bytes),
                false => Ok(()),
            },
            Self::LeaveTemporary => fs::write(dir.join(".server.json.left.tmp"), b"{"),
        };
    }
}

/// A lease, and what it vouches for.
struct Owner {
    lease: Arc<dyn Lease>,
    vouches_for: Option<ServerRecord>,
    /// Withdrawn or disowned: it publishes nothing any more.
    ended: bool,
}

struct World {
    runtime: &'static Runtime,
    dir: PathBuf,
    stores: [FileStore; 2],
    owners: [Option<Owner>; 2],
    /// Since the place was last without owners.
    ownership_broken: bool,
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
});
static SCRATCH: LazyLock<TempDir> = LazyLock::new(scratch);

fuzz_target!(|deeds: Vec<Deed>| {
    let dir = SCRATCH.path().join("state");
    let store = || FileStore::new(&dir).expect("an absolute path");
    let mut world = World {
        runtime: &RUNTIME,
        stores: [store(), store()],
        dir: dir.clone(),
        owners: [None, None],
        ownership_broken: false,
    };
    for deed in deeds {
        world.carry_out(deed);
        world.check();
    }
    drop(world);
    let seen = Look::at(&dir).observation().clone();
    assert!(!is_live(&seen), "{seen:?}");
    let _ = fs::remove_dir_all(dir);
});

const fn is_live(seen: &Observation) -> bool {
    matches!(seen, Observation::Record(_, LockSeen::Held))
}

impl World {
    fn carry_out(&mut self, deed: Deed) {
        match deed {
            Deed::Acquire(who) => self.acquire(who),
            Deed::Publish(who, record) => self.publish(who, record.0),
            Deed::Recover(who) => self.recover(who),
            Deed::Withdraw(who) => {
                self.with(who, |runtime, owner| {
                    let _ = runtime.block_on(owner.lease.withdraw());
                    (owner.vouches_for, owner.ended) = (None, true);
                });
            }
            Deed::Disown(who) => {
                self.with(who, |_, owner| {
                    owner.lease.disown();
                    (owner.vouches_for, owner.ended) = (None, true);
                });
            }
            Deed::Inspect(who) => {
                let custody = self.with(who, |runtime, owner| {
                    runtime.block_on(owner.lease.inspect())
                });
                if !self.ownership_broken {
                    assert_ne!(custody, Some(Custody::OwnershipLost));
                }
            }
            Deed::Reclaim(who) => {
                let _ = self.with(who, |runtime, owner| {
                    runtime.block_on(owner.lease.reclaim())
                });
            }
            Deed::Release(who) => {
                // The runner never does it with a proof that is held.
                self.carry_out(Deed::Withdraw(who));
                if let Some(owner) = self.owners[who as usize].take() {
                    self.runtime
                        .block_on(owner.lease.release())
                        .expect("it is released");
                }
            }
            Deed::Drop(who) => self.owners[who as usize] = None,
            Deed::Prune => {
                let pruned = self.stores[0].prune();
                assert!(pruned.is_err() || self.owners_in_custody() == 0);
                assert!(pruned.is_err() || !self.dir.join(RECORD).exists());
            }
            Deed::IsFree => {
                let free = self.stores[0].is_free().expect("it can be found out");
                assert_eq!(free, self.owners_in_custody() == 0);
            }
            Deed::Meddle(meddling) => {
                self.ownership_broken |= meddling.breaks_ownership();
                meddling.apply(&self.dir);
            }
        }
        if self.owners.iter().all(Option::is_none) {
            self.ownership_broken = false;
        }
    }

    fn with<T>(&mut self, who: Who, deed: impl FnOnce(&Runtime, &mut Owner) -> T) -> Option<T> {
        let owner = self.owners[who as usize].as_mut()?;
        Some(deed(self.runtime, owner))
    }

    fn acquire(&mut self, who: Who) {
        if self.owners[who as usize].is_some() {
            return;
        }
        let somebody_has_it = self.owners_in_custody() > 0;
        match self.runtime.block_on(self.stores[who as usize].acquire()) {
            Ok(lease) => {
                assert!(!somebody_has_it, "there are two owners");
                self.owners[who as usize] = Some(Owner {
                    lease,
                    vouches_for: None,
                    ended: false,
                });
            }
            Err(AcquireError::AlreadyRunning(_) | AcquireError::Busy(_)) => {
                assert!(somebody_has_it, "nobody owns it");
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn recover(&mut self, who: Who) {
        let others_live = is_live(Look::at(&self.dir).observation());
        let recovered = self.with(who, |runtime, owner| {
            runtime.block_on(owner.lease.recover())
        });
        match recovered {
            Some(Ok(_)) => assert!(!others_live, "a live record was taken for a dead one"),
            Some(Err(AcquireError::AlreadyRunning(_))) => assert!(others_live),
            _ => {}
        }
    }

    fn publish(&mut self, who: Who, record: ServerRecord) {
        let published = self.with(who, |runtime, owner| {
            let published = runtime.block_on(owner.lease.publish(&record, None)).is_ok();
            assert!(!published || !owner.ended, "it was published after the end");
            if published {
                owner.vouches_for = Some(record.clone());
            }
            published
        });
        if published == Some(true) && self.in_custody(who) {
            let seen = Look::at(&self.dir).observation().clone();
            assert_eq!(seen, Observation::Record(Box::new(record), LockSeen::Held));
        }
    }

    /// Whether `who` has the ownership, and the path still leads to it.
    fn in_custody(&mut self, who: Who) -> bool {
        let custody = self.with(who, |runtime, owner| {
            runtime.block_on(owner.lease.inspect())
        });
        matches!(custody, Some(Custody::Intact | Custody::RecordLost))
    }

    fn owners_in_custody(&mut self) -> usize {
        [Who::One, Who::Other]
            .into_iter()
            .filter(|&who| self.in_custody(who))
            .count()
    }

    fn check(&mut self) {
        assert!(self.owners_in_custody() <= 1, "there are two owners");
        if !self.ownership_broken {
            let leases = self.owners.iter().flatten().count();
            assert!(leases <= 1, "there are two leases");
        }
        if let Observation::Record(record, LockSeen::Held) = Look::at(&self.dir).observation() {
            let mut vouched = self.owners.iter().flatten().flat_map(|o| &o.vouches_for);
            assert!(
                vouched.any(|own| own == &**record),
                "nobody vouches for {record:?}"
            );
        }
    }
}
