//! State in this process's memory, which outlives the owners in it: a crash of theirs can be played.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use daymark_core::presence::{LockSeen, Observation, Phase};
use daymark_core::record::ServerRecord;
use daymark_core::state_store::{
    AcquireError, Custody, Lease, PublishError, Recovered, StateStore, WithdrawError,
};
use tokio::sync::Notify;

/// A store in memory. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    inside: Mutex<Inside>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inside {
    /// Counts owners; the present one has the present number.
    term: u64,
    owner: Option<u64>,
    phase: Option<Phase>,
    record: Option<(ServerRecord, u64)>,
    /// The term whose record is vouched for.
    proof: Option<u64>,
    last_port: Option<std::num::NonZeroU16>,
    /// The terms of those who crashed. Their leases do nothing any more.
    crashed: BTreeSet<u64>,
}

impl MemoryStore {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.shared
            .inside
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// What a `kill -9` of the one whose record is believed does, or else of the owner: locks go, files stay. Its lease is
    /// worth nothing from now on.
    pub fn crash_owner(&self) {
        let mut inside = self.inside();
        let Some(term) = inside.proof.take().or(inside.owner) else {
            return;
        };
        inside.owner = inside.owner.filter(|owner| *owner != term);
        inside.crashed.insert(term);
    }

    /// What a careless `rm server.json` does.
    pub fn lose_record(&self) {
        self.inside().record = None;
        self.shared.changed.notify_one();
    }

    /// What a careless `rm server.lock` does.
    pub fn lose_ownership(&self) {
        self.inside().owner = None;
        self.shared.changed.notify_one();
    }
}

#[async_trait]
impl StateStore for MemoryStore {
    async fn acquire(&self) -> Result<Arc<dyn Lease>, AcquireError> {
        let mut inside = self.inside();
        if inside.owner.is_some() {
            return Err(inside.busy());
        }
        inside.term += 1;
        let term = inside.term;
        inside.owner = Some(term);
        inside.phase = Some(Phase::Starting);
        Ok(Arc::new(MemoryLease {
            store: self.clone(),
            term,
            ended: Mutex::new(false),
        }))
    }

    async fn observe(&self) -> Observation {
        let inside = self.inside();
        match &inside.record {
            None => Observation::NoRecord(inside.owner.and(inside.phase)),
            Some((record, term)) if inside.proof == Some(*term) => {
                Observation::Record(Box::new(record.clone()), LockSeen::Held)
            }
            Some((record, _)) => Observation::Record(Box::new(record.clone()), LockSeen::Free),
        }
    }
}

impl Inside {
    fn live_record(&self) -> Option<&ServerRecord> {
        self.record
            .as_ref()
            .filter(|(_, term)| self.proof == Some(*term))
            .map(|(record, _)| record)
    }

    fn busy(&self) -> AcquireError {
        match self.live_record() {
            Some(record) => AcquireError::AlreadyRunning(Box::new(record.clone())),
            None => AcquireError::Busy(self.phase),
        }
    }
}

#[derive(Debug)]
struct MemoryLease {
    store: MemoryStore,
    term: u64,
    ended: Mutex<bool>,
}

impl MemoryLease {
    fn has_ended(&self) -> MutexGuard<'_, bool> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_crashed(&self) -> bool {
        self.store.inside().crashed.contains(&self.term)
    }

    fn give_back(&self) {
        let mut inside = self.store.inside();
        if inside.owner == Some(self.term) {
            inside.owner = None;
        }
    }

    fn take_down(&self, phase: Phase) {
        if self.has_crashed() {
            return;
        }
        let mut inside = self.store.inside();
        if inside.proof == Some(self.term) {
            inside.proof = None;
        }
        if inside
            .record
            .as_ref()
            .is_some_and(|(_, term)| *term == self.term)
        {
            inside.record = None;
        }
        if inside.owner == Some(self.term) {
            inside.phase = Some(phase);
        }
    }
}

#[async_trait]
impl Lease for MemoryLease {
    async fn recover(&self) -> Result<Recovered, AcquireError> {
        let mut inside = self.store.inside();
        if inside.live_record().is_some() {
            return Err(inside.busy());
        }
        let mut recovered = Recovered::default();
        recovered.record = inside.record.take().map(|(record, _)| Box::new(record));
        recovered.removed = usize::from(recovered.record.is_some());
        recovered.last_port = inside.last_port;
        Ok(recovered)
    }

    async fn publish(
        &self,
        record: &ServerRecord,
        _above: Option<i32>,
    ) -> Result<(), PublishError> {
        let ended = self.has_ended();
        let mut inside = self.store.inside();
        if *ended || inside.owner != Some(self.term) {
            return Err(PublishError::Withdrawn);
        }
        inside.record = Some((record.clone(), self.term));
        inside.proof = Some(self.term);
        inside.phase = Some(Phase::Serving);
        inside.last_port = Some(record.endpoint.port());
        Ok(())
    }

    async fn retract(&self) -> Result<(), WithdrawError> {
        self.take_down(Phase::Starting);
        Ok(())
    }

    async fn withdraw(&self) -> Result<(), WithdrawError> {
        self.disown();
        self.take_down(Phase::Stopping);
        Ok(())
    }

    fn disown(&self) {
        *self.has_ended() = true;
        let mut inside = self.store.inside();
        if inside.proof == Some(self.term) {
            inside.proof = None;
        }
    }

    async fn changed(&self) {
        self.store.shared.changed.notified().await;
    }

    async fn inspect(&self) -> Custody {
        let inside = self.store.inside();
        if inside.owner != Some(self.term) {
            Custody::OwnershipLost
        } else if inside.live_record().is_none() {
            Custody::RecordLost
        } else {
            Custody::Intact
        }
    }

    async fn reclaim(&self) -> Result<(), AcquireError> {
        let mut inside = self.store.inside();
        match inside.owner {
            None if inside.crashed.contains(&self.term) => Err(AcquireError::Busy(None)),
            None => {
                inside.owner = Some(self.term);
                Ok(())
            }
            Some(term) if term == self.term => Ok(()),
            Some(_) => Err(inside.busy()),
        }
    }

    async fn release(&self) -> Result<(), WithdrawError> {
        self.give_back();
        Ok(())
    }
}

impl Drop for MemoryLease {
    fn drop(&mut self) {
        self.disown();
        if self.has_crashed() {
            return;
        }
        self.take_down(Phase::Stopping);
        self.give_back();
    }
}
