//! A store whose calls go wrong.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use daymark_core::presence::Observation;
use daymark_core::record::ServerRecord;
use daymark_core::state_store::{
    AcquireError, Custody, Lease, PublishError, Recovered, StateStore, WithdrawError,
};

use super::{Call, Fault, Faults, injected};

/// A store with faults in it.
#[derive(Clone)]
pub struct FailingStore<S> {
    store: S,
    faults: Faults,
}

impl<S> FailingStore<S> {
    /// `store`, with this fault.
    pub fn new(store: S, fault: Fault) -> Self {
        Self::with(store, Faults::one(fault))
    }

    /// `store`, with these faults.
    pub fn with(store: S, faults: Faults) -> Self {
        Self { store, faults }
    }

    /// Whether a fault has happened.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.faults.happened() > 0
    }
}

fn cannot_own() -> AcquireError {
    AcquireError::Io {
        action: "own",
        path: PathBuf::new(),
        source: injected(),
    }
}

fn cannot_write() -> PublishError {
    PublishError::Io {
        action: "write",
        path: PathBuf::new(),
        source: injected(),
    }
}

fn cannot_withdraw() -> WithdrawError {
    WithdrawError {
        action: "remove",
        path: PathBuf::new(),
        source: injected(),
    }
}

#[async_trait]
impl<S: StateStore + Clone> StateStore for FailingStore<S> {
    async fn acquire(&self) -> Result<Arc<dyn Lease>, AcquireError> {
        let store = self.store.clone();
        let work = async move { store.acquire().await };
        let met = self
            .faults
            .meet_on_disk(Call::Acquire, || Err(cannot_own()), work);
        Ok(Arc::new(FailingLease {
            lease: met.await?,
            faults: self.faults.clone(),
        }))
    }

    async fn observe(&self) -> Observation {
        self.store.observe().await
    }
}

struct FailingLease {
    lease: Arc<dyn Lease>,
    faults: Faults,
}

#[async_trait]
impl Lease for FailingLease {
    async fn recover(&self) -> Result<Recovered, AcquireError> {
        let lease = self.lease.clone();
        let work = async move { lease.recover().await };
        let error = || Err(cannot_own());
        self.faults.meet_on_disk(Call::Recover, error, work).await
    }

    async fn publish(&self, record: &ServerRecord, above: Option<i32>) -> Result<(), PublishError> {
        let (lease, record) = (self.lease.clone(), record.clone());
        let work = async move { lease.publish(&record, above).await };
        let error = || Err(cannot_write());
        self.faults.meet_on_disk(Call::Publish, error, work).await
    }

    async fn retract(&self) -> Result<(), WithdrawError> {
        let lease = self.lease.clone();
        let work = async move { lease.retract().await };
        let error = || Err(cannot_withdraw());
        self.faults.meet_on_disk(Call::Retract, error, work).await
    }

    async fn withdraw(&self) -> Result<(), WithdrawError> {
        let lease = self.lease.clone();
        let work = async move { lease.withdraw().await };
        let error = || {
            // However it fails, the law wants the proof to be ended.
            self.lease.disown();
            Err(cannot_withdraw())
        };
        self.faults.meet_on_disk(Call::Withdraw, error, work).await
    }

    fn disown(&self) {
        self.lease.disown();
    }

    async fn changed(&self) {
        self.lease.changed().await;
    }

    async fn inspect(&self) -> Custody {
        let lease = self.lease.clone();
        let work = async move { lease.inspect().await };
        let error = || Custody::Intact;
        self.faults.meet_on_disk(Call::Inspect, error, work).await
    }

    async fn reclaim(&self) -> Result<(), AcquireError> {
        let lease = self.lease.clone();
        let work = async move { lease.reclaim().await };
        let error = || Err(cannot_own());
        self.faults.meet_on_disk(Call::Reclaim, error, work).await
    }

    async fn release(&self) -> Result<(), WithdrawError> {
        let lease = self.lease.clone();
        let work = async move { lease.release().await };
        let error = || Err(cannot_withdraw());
        self.faults.meet_on_disk(Call::Release, error, work).await
    }
}
