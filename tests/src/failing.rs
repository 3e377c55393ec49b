//! Adapters that fail, hang or take their time at chosen calls, over any other adapters.
//!
//! A call that hangs can be let go on: see [`Faults::thaw`].

mod server;
mod store;

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use tokio::sync::{oneshot, watch};

pub use server::{FailingHttp, FailingPorts};
pub use store::FailingStore;

/// A call that a run makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// [`StateStore::acquire`](daymark_core::state_store::StateStore::acquire).
    Acquire,
    /// [`Lease::recover`](daymark_core::state_store::Lease::recover).
    Recover,
    /// [`Lease::publish`](daymark_core::state_store::Lease::publish).
    Publish,
    /// [`Lease::inspect`](daymark_core::state_store::Lease::inspect), which can't fail.
    Inspect,
    /// [`Lease::reclaim`](daymark_core::state_store::Lease::reclaim).
    Reclaim,
    /// [`Lease::retract`](daymark_core::state_store::Lease::retract).
    Retract,
    /// [`Lease::withdraw`](daymark_core::state_store::Lease::withdraw).
    Withdraw,
    /// [`Lease::release`](daymark_core::state_store::Lease::release).
    Release,
    /// [`PortPicker::pick`](daymark_core::port_picker::PortPicker::pick).
    Pick,
    /// [`HttpServer::start`](daymark_core::http_server::HttpServer::start).
    Launch,
    /// [`RunningServer::ready`](daymark_core::http_server::RunningServer::ready).
    Probe,
    /// [`RunningServer::drain`](daymark_core::http_server::RunningServer::drain). Where it fails, a process is left.
    Drain,
    /// [`RunningServer::abort`](daymark_core::http_server::RunningServer::abort). Where it fails, a process is left.
    Abort,
}

impl Call {
    /// Those to a store that a run makes whose server isn't replaced.
    pub const OF_A_STORE: [Self; 7] = [
        Self::Acquire,
        Self::Recover,
        Self::Publish,
        Self::Inspect,
        Self::Reclaim,
        Self::Withdraw,
        Self::Release,
    ];

    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Acquire,
        Self::Recover,
        Self::Publish,
        Self::Inspect,
        Self::Reclaim,
        Self::Retract,
        Self::Withdraw,
        Self::Release,
        Self::Pick,
        Self::Launch,
        Self::Probe,
        Self::Drain,
        Self::Abort,
    ];
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It reports an error and has done nothing.
    FailsBefore,
    /// It reports an error and has done it all the same.
    FailsAfter,
    /// It doesn't return, and does nothing until it is thawed.
    HangsBefore,
    /// It does it, and doesn't return until it is thawed.
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

    /// Whether the call doesn't return.
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

/// What goes wrong in a run. Clones share it.
#[derive(Clone, Default)]
pub struct Faults {
    inside: Arc<Mutex<Inside>>,
    thaws: Arc<watch::Sender<()>>,
    /// Whether each call returns only when it is asked for the second time.
    yields: bool,
}

#[derive(Default)]
struct Inside {
    armed: Vec<Fault>,
    calls: HashMap<Call, usize>,
    happened: usize,
    /// What a disk does when it answers again, whether anybody still waits for that or not.
    frozen: Vec<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Faults {
    /// This one, and no other.
    #[must_use]
    pub fn one(fault: Fault) -> Self {
        let faults = Self::default();
        faults.inside().armed.push(fault);
        faults
    }

    /// None, but no call is done at once.
    #[must_use]
    pub fn none_but_each_call_yields() -> Self {
        Self {
            yields: true,
            ..Self::default()
        }
    }

    /// The next call of this kind goes wrong.
    pub fn arm(&self, call: Call, wrong: Wrong) {
        let mut inside = self.inside();
        let nth = inside.calls.get(&call).copied().unwrap_or_default() + 1;
        inside.armed.push(Fault { call, nth, wrong });
    }

    /// Everything that hangs goes on. What a store was asked to do happens even if nobody waits for it any more.
    ///
    /// # Panics
    ///
    /// If one of them waits for something else.
    pub fn thaw(&self) {
        let frozen = std::mem::take(&mut self.inside().frozen);
        for work in frozen {
            work.now_or_never().expect("memory doesn't wait");
        }
        self.thaws.send_replace(());
    }

    /// How many faults have happened.
    #[must_use]
    pub fn happened(&self) -> usize {
        self.inside().happened
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What goes wrong with the call that begins now.
    fn strike(&self, call: Call) -> Option<Wrong> {
        let mut inside = self.inside();
        let count = inside.calls.entry(call).or_default();
        *count += 1;
        let nth = *count;
        let hit = inside.armed.iter().find(|f| f.call == call && f.nth == nth);
        let wrong = hit.map(|fault| fault.wrong);
        inside.happened += usize::from(wrong.is_some());
        wrong
    }

    /// Does `work`, or what the fault makes of it. It goes on when nobody waits for it any more, as what a disk was asked to
    /// do.
    async fn meet_on_disk<T: Send + 'static>(
        &self,
        call: Call,
        error: impl FnOnce() -> T,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        self.pause().await;
        match self.strike(call) {
            Some(Wrong::HangsBefore) => self.freeze(work).await,
            Some(Wrong::HangsAfter) => {
                let done = work.await;
                self.freeze(std::future::ready(done)).await
            }
            wrong => fail_or(wrong, error, work).await,
        }
    }

    /// Does `work`, or what the fault makes of it. It ends when nobody waits for it any more.
    async fn meet<T>(
        &self,
        call: Call,
        error: impl FnOnce() -> T,
        work: impl Future<Output = T>,
    ) -> T {
        self.pause().await;
        match self.strike(call) {
            Some(Wrong::HangsBefore) => {
                self.until_thawed().await;
                work.await
            }
            Some(Wrong::HangsAfter) => {
                let done = work.await;
                self.until_thawed().await;
                done
            }
            wrong => fail_or(wrong, error, work).await,
        }
    }

    async fn pause(&self) {
        if self.yields {
            tokio::task::yield_now().await;
        }
    }

    async fn until_thawed(&self) {
        // The sender lives in `self`.
        drop(self.thaws.subscribe().changed().await);
    }

    async fn freeze<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let (tell, told) = oneshot::channel();
        let work = async move {
            // Whoever asked may have gone.
            drop(tell.send(work.await));
        };
        self.inside().frozen.push(Box::pin(work));
        match told.await {
            Ok(value) => value,
            Err(_) => std::future::pending().await,
        }
    }
}

async fn fail_or<T>(
    wrong: Option<Wrong>,
    error: impl FnOnce() -> T,
    work: impl Future<Output = T>,
) -> T {
    match wrong {
        Some(Wrong::FailsBefore) => error(),
        Some(_) => {
            work.await;
            error()
        }
        None => work.await,
    }
}

fn injected() -> Arc<io::Error> {
    Arc::new(io::Error::other("injected"))
}
