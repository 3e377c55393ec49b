//! A store that fails or hangs at one chosen call, over any other store.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use daymark_core::presence::Observation;
use daymark_core::record::ServerRecord;
use daymark_core::state_store::{
    AcquireError, Custody, Lease, PublishError, Recovered, StateStore, WithdrawError,
};

/// A call to a store or a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// [`StateStore::acquire`].
    Acquire,
    /// [`Lease::recover`].
    Recover,
    /// [`Lease::publish`].
    Publish,
    /// [`Lease::inspect`], which can't fail.
    Inspect,
    /// [`Lease::reclaim`].
    Reclaim,
    /// [`Lease::withdraw`].
    Withdraw,
    /// [`Lease::release`].
    Release,
}

impl Call {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Acquire,
        Self::Recover,
        Self::Publish,
        Self::Inspect,
        Self::Reclaim,
        Self::Withdraw,
        Self::Release,
    ];
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It reports an error and has done nothing.
    FailsBefore,
    /// It reports an error and has done it all the same.
    FailsAfter,
    /// It never returns and never does anything.
    HangsBefore,
    /// It does it, and never returns.
    HangsAfter,
}

impl Wrong {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::FailsBefore,
        Self::FailsAfter,
        Self::HangsBefore,
        Self::HangsAfter,
    ];

    /// Whether the call never returns.
    #[must_use]
    pub const fn hangs(self) -> bool {
        matches!(self, Self::HangsBefore | Self::HangsAfter)
    }
}

/// The fault: which call, which time, what.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Which call.
    pub call: Call,
    /// Which time, from 1.
    pub nth: usize,
    /// What goes wrong then.
    pub wrong: Wrong,
}

/// Counts down to the fault.
#[derive(Debug)]
struct Fuse {
    fault: Fault,
    calls: AtomicUsize,
}

impl Fuse {
    /// What goes wrong with the call that begins now.
    fn burns(&self, call: Call) -> Option<Wrong> {
        let hit = call == self.fault.call
            && self.calls.fetch_add(1, Ordering::SeqCst) + 1 == self.fault.nth;
        hit.then_some(self.fault.wrong)
    }

    fn has_burnt(&self) -> bool {
        self.calls.load(Ordering::SeqCst) >= self.fault.nth
    }
}

/// A store with a fault in it.
#[derive(Clone, Debug)]
pub struct FailingStore<S> {
    store: S,
    fuse: Arc<Fuse>,
}

impl<S> FailingStore<S> {
    /// `store`, with this fault.
    pub fn new(store: S, fault: Fault) -> Self {
        Self {
            store,
            fuse: Arc::new(Fuse {
                fault,
                calls: AtomicUsize::new(0),
            }),
        }
    }

    /// Whether the fault has happened.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.fuse.has_burnt()
    }
}

fn injected() -> Arc<io::Error> {
    Arc::new(io::Error::other("injected"))
}

fn cannot_own() -> AcquireError {
    AcquireError::Io {
        action: "own",
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

/// Does `work`, or what the fault makes of it.
async fn with_fault<T>(
    wrong: Option<Wrong>,
    error: impl FnOnce() -> T,
    work: impl Future<Output = T>,
) -> T {
    match wrong {
        None => work.await,
        Some(Wrong::FailsBefore) => error(),
        Some(Wrong::FailsAfter) => {
            work.await;
            error()
        }
        Some(Wrong::HangsBefore) => std::future::pending().await,
        Some(Wrong::HangsAfter) => {
            // Kept as long as the call is out.
            let _done = work.await;
            std::future::pending().await
        }
    }
}

#[async_trait]
impl<S: StateStore> StateStore for FailingStore<S> {
    async fn acquire(&self) -> Result<Arc<dyn Lease>, AcquireError> {
        let wrong = self.fuse.burns(Call::Acquire);
        let lease = with_fault(wrong, || Err(cannot_own()), self.store.acquire()).await?;
        Ok(Arc::new(FailingLease {
            lease,
            fuse: self.fuse.clone(),
        }))
    }

    async fn observe(&self) -> Observation {
        self.store.observe().await
    }
}

struct FailingLease {
    lease: Arc<dyn Lease>,
    fuse: Arc<Fuse>,
}

#[async_trait]
impl Lease for FailingLease {
    async fn recover(&self) -> Result<Recovered, AcquireError> {
        let wrong = self.fuse.burns(Call::Recover);
        with_fault(wrong, || Err(cannot_own()), self.lease.recover()).await
    }

    async fn publish(&self, record: &ServerRecord, above: Option<i32>) -> Result<(), PublishError> {
        let error = || {
            Err(PublishError::Io {
                action: "write",
                path: PathBuf::new(),
                source: injected(),
            })
        };
        let wrong = self.fuse.burns(Call::Publish);
        with_fault(wrong, error, self.lease.publish(record, above)).await
    }

    async fn retract(&self) -> Result<(), WithdrawError> {
        self.lease.retract().await
    }

    async fn withdraw(&self) -> Result<(), WithdrawError> {
        let wrong = self.fuse.burns(Call::Withdraw);
        let error = || {
            // However it fails, the law wants the proof to be ended.
            self.lease.disown();
            Err(cannot_withdraw())
        };
        with_fault(wrong, error, self.lease.withdraw()).await
    }

    fn disown(&self) {
        self.lease.disown();
    }

    async fn changed(&self) {
        self.lease.changed().await;
    }

    async fn inspect(&self) -> Custody {
        let wrong = self.fuse.burns(Call::Inspect);
        with_fault(wrong, || Custody::Intact, self.lease.inspect()).await
    }

    async fn reclaim(&self) -> Result<(), AcquireError> {
        let wrong = self.fuse.burns(Call::Reclaim);
        with_fault(wrong, || Err(cannot_own()), self.lease.reclaim()).await
    }

    async fn release(&self) -> Result<(), WithdrawError> {
        let wrong = self.fuse.burns(Call::Release);
        with_fault(wrong, || Err(cannot_withdraw()), self.lease.release()).await
    }
}
