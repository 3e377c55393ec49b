//! A store that isn't one.
//!
//! Longer than others: all the ways in which a store can be wrong stand together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use daymark_core::presence::{LockSeen, Observation};
use daymark_core::record::ServerRecord;
use daymark_core::state_store::{
    AcquireError, Custody, Lease, PublishError, Recovered, StateStore, WithdrawError,
};

/// What is wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFlaw {
    /// Nothing.
    None,
    /// Whoever asks gets a lease.
    GivesTwoLeases,
    /// A live owner is called busy.
    NamesNobody,
    /// A reader sees nothing.
    ShowsNothing,
    /// Looking takes a record away whose writer is gone.
    LookingTidiesUp,
    /// While a record is published, a reader sees half of one.
    PublishesInTwoSteps,
    /// A retracted record is without a proof before it is gone.
    RetractsInTwoSteps,
    /// A second withdrawal is an error.
    WithdrawsOnlyOnce,
    /// What is published after a withdrawal is believed.
    PublishesAfterTheEnd,
    /// A withdrawal that is dropped midway does nothing.
    ForgetsDroppedWithdrawals,
    /// A withdrawal does nothing.
    WithdrawsNothing,
    /// Disowning does nothing.
    DisownsNothing,
    /// A lease that is dropped keeps all it has.
    KeepsDroppedLeases,
    /// A release gives nothing back, nor does dropping the lease after that.
    ReleasesNothing,
    /// A withdrawal takes a successor's record away.
    WithdrawsOthersRecords,
    /// A recovery clears nothing.
    RecoversNothing,
    /// A recovery doesn't mind that somebody lives.
    RecoversTheLiving,
    /// All is always well.
    NoticesNothing,
    /// Only the first record is published.
    PublishesOnlyOnce,
    /// Taking an ownership again does nothing.
    ReclaimsNothing,
    /// Taking an ownership again doesn't mind that somebody has it.
    ReclaimsFromOthers,
    /// A retracted record can't be published again.
    RetractsForGood,
    /// An acquisition that is dropped midway is kept.
    KeepsDroppedAcquisitions,
    /// A publication that is dropped midway happens when nobody looks after it any more.
    LetsDroppedPublicationsHappen,
}

/// A store with a flaw. Clones share it.
#[derive(Clone)]
pub struct FlawedStore<S> {
    store: S,
    flaw: StoreFlaw,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    /// The lease that was given last.
    given: Option<Arc<dyn Lease>>,
    /// What readers are shown in place of the truth.
    shown: Option<Observation>,
    published: usize,
}

impl<S> FlawedStore<S> {
    /// `store`, with this flaw.
    pub fn new(store: S, flaw: StoreFlaw) -> Self {
        Self {
            store,
            flaw,
            shared: Arc::default(),
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl<S: StateStore + Clone> StateStore for FlawedStore<S> {
    async fn acquire(&self) -> Result<Arc<dyn Lease>, AcquireError> {
        let acquired = self.store.acquire().await;
        let lease = match (acquired, self.flaw) {
            (Err(AcquireError::AlreadyRunning(_)), StoreFlaw::NamesNobody) => {
                return Err(AcquireError::Busy(None));
            }
            (Err(error), StoreFlaw::GivesTwoLeases) => self.shared().given.clone().ok_or(error)?,
            (acquired, _) => acquired?,
        };
        match self.flaw {
            StoreFlaw::GivesTwoLeases => self.shared().given = Some(lease.clone()),
            StoreFlaw::KeepsDroppedAcquisitions => {
                self.shared().given = Some(lease.clone());
                tokio::task::yield_now().await;
                self.shared().given = None;
            }
            _ => {}
        }
        Ok(Arc::new(FlawedLease {
            lease,
            store: self.clone(),
            withdrawals: Mutex::new(0),
        }))
    }

    async fn observe(&self) -> Observation {
        if let Some(shown) = &self.shared().shown {
            return shown.clone();
        }
        let seen = self.store.observe().await;
        match (self.flaw, &seen) {
            (StoreFlaw::ShowsNothing, _) => Observation::NoRecord(None),
            (StoreFlaw::LookingTidiesUp, Observation::Record(_, LockSeen::Free)) => {
                self.shared().shown = Some(Observation::NoRecord(None));
                seen
            }
            _ => seen,
        }
    }
}

struct FlawedLease<S> {
    lease: Arc<dyn Lease>,
    store: FlawedStore<S>,
    withdrawals: Mutex<usize>,
}

impl<S> FlawedLease<S> {
    fn show(&self, shown: Option<Observation>) {
        self.store.shared().shown = shown;
    }
}

fn believed(record: &ServerRecord) -> Observation {
    Observation::Record(Box::new(record.clone()), LockSeen::Held)
}

/// Whoever takes turns with this has had at least one.
async fn let_others_look() {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
}

fn already() -> WithdrawError {
    WithdrawError {
        action: "withdraw twice from",
        path: "/nowhere".into(),
        source: Arc::new(std::io::Error::other("a flaw")),
    }
}

#[async_trait]
impl<S: StateStore + Clone> Lease for FlawedLease<S> {
    async fn recover(&self) -> Result<Recovered, AcquireError> {
        match self.store.flaw {
            StoreFlaw::RecoversNothing => Ok(Recovered::default()),
            StoreFlaw::RecoversTheLiving => {
                let recovered = self.lease.recover().await;
                Ok(recovered.unwrap_or_default())
            }
            _ => self.lease.recover().await,
        }
    }

    async fn publish(&self, record: &ServerRecord, above: Option<i32>) -> Result<(), PublishError> {
        let is_first = {
            let mut shared = self.store.shared();
            shared.published += 1;
            shared.published == 1
        };
        match self.store.flaw {
            StoreFlaw::PublishesOnlyOnce if !is_first => return Ok(()),
            StoreFlaw::PublishesInTwoSteps => {
                self.show(Some(Observation::Corrupt("half of a record".to_owned())));
                let_others_look().await;
                self.show(None);
            }
            StoreFlaw::LetsDroppedPublicationsHappen => {
                self.show(Some(believed(record)));
                tokio::task::yield_now().await;
                self.show(None);
            }
            _ => {}
        }
        let published = self.lease.publish(record, above).await;
        if self.store.flaw == StoreFlaw::PublishesAfterTheEnd && published.is_err() {
            self.show(Some(believed(record)));
            return Ok(());
        }
        if published.is_ok() {
            self.show(None);
        }
        published
    }

    async fn retract(&self) -> Result<(), WithdrawError> {
        match self.store.flaw {
            StoreFlaw::RetractsForGood => self.lease.withdraw().await,
            StoreFlaw::RetractsInTwoSteps => {
                if let Observation::Record(record, _) = self.store.store.observe().await {
                    self.show(Some(Observation::Record(record, LockSeen::Free)));
                    let_others_look().await;
                    self.show(None);
                }
                self.lease.retract().await
            }
            _ => self.lease.retract().await,
        }
    }

    async fn withdraw(&self) -> Result<(), WithdrawError> {
        let is_first = {
            let mut withdrawals = self.withdrawals.lock();
            let withdrawals = withdrawals.as_mut().map_err(|_| already())?;
            **withdrawals += 1;
            **withdrawals == 1
        };
        match self.store.flaw {
            StoreFlaw::WithdrawsNothing => Ok(()),
            StoreFlaw::WithdrawsOnlyOnce if !is_first => Err(already()),
            StoreFlaw::WithdrawsOthersRecords => {
                self.show(Some(Observation::NoRecord(None)));
                self.lease.withdraw().await
            }
            StoreFlaw::ForgetsDroppedWithdrawals => {
                tokio::task::yield_now().await;
                self.lease.withdraw().await
            }
            _ => self.lease.withdraw().await,
        }
    }

    fn disown(&self) {
        if self.store.flaw != StoreFlaw::DisownsNothing {
            self.lease.disown();
        }
    }

    async fn changed(&self) {
        self.lease.changed().await;
    }

    async fn inspect(&self) -> Custody {
        match self.store.flaw {
            StoreFlaw::NoticesNothing => Custody::Intact,
            _ => self.lease.inspect().await,
        }
    }

    async fn reclaim(&self) -> Result<(), AcquireError> {
        match self.store.flaw {
            StoreFlaw::ReclaimsNothing => Ok(()),
            StoreFlaw::ReclaimsFromOthers => {
                // Whatever it says.
                drop(self.lease.reclaim().await);
                Ok(())
            }
            _ => self.lease.reclaim().await,
        }
    }

    async fn release(&self) -> Result<(), WithdrawError> {
        if self.store.flaw == StoreFlaw::ReleasesNothing {
            std::mem::forget(self.lease.clone());
            return Ok(());
        }
        self.lease.release().await
    }
}

impl<S> Drop for FlawedLease<S> {
    fn drop(&mut self) {
        if self.store.flaw == StoreFlaw::KeepsDroppedLeases {
            std::mem::forget(self.lease.clone());
        }
    }
}
