//! Runs in a world of memory: no time passes and nothing moves but by the test's own hand.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use daymark_adapters::clock::ManualClock;
use daymark_adapters::http_server::MemoryHttp;
use daymark_adapters::port_picker::MemoryPorts;
use daymark_adapters::state_store::MemoryStore;
use daymark_core::presence::{LockSeen, Observation};
use daymark_core::record::ServerRecord;
use daymark_core::state_store::StateStore;
use daymark_core::{Handle, Plan, ServerRunner, Status, StopReport};
use futures_util::FutureExt as _;

use crate::failing::{FailingHttp, FailingPorts, Faults};
use crate::sample;

/// A future that is polled when it asks for that, and when the test says so.
pub struct Driven<T> {
    future: Pin<Box<dyn Future<Output = T> + Send>>,
    woken: Arc<Woken>,
    waker: Waker,
    output: Option<T>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl<T> Driven<T> {
    /// One that wasn't polled yet.
    pub fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        Self {
            future: Box::pin(future),
            waker: woken.clone().into(),
            woken,
            output: None,
        }
    }

    /// What it came to, if it is over.
    pub const fn output(&self) -> Option<&T> {
        self.output.as_ref()
    }

    /// Whether it asks to be polled.
    pub fn is_woken(&self) -> bool {
        self.output.is_none() && self.woken.0.load(Ordering::SeqCst)
    }

    /// Polls it once, whether it asks for that or not.
    pub fn poll(&mut self) {
        if self.output.is_some() {
            return;
        }
        self.woken.0.store(false, Ordering::SeqCst);
        let mut context = Context::from_waker(&self.waker);
        if let Poll::Ready(output) = self.future.as_mut().poll(&mut context) {
            self.output = Some(output);
        }
    }

    /// Polls until there is nothing left to do now.
    pub fn settle(&mut self) {
        while self.is_woken() {
            self.poll();
        }
    }
}

/// What all runs share.
#[derive(Clone, Debug)]
pub struct World {
    /// The ports.
    pub ports: MemoryPorts,
    /// The state.
    pub store: MemoryStore,
    /// The time.
    pub clock: ManualClock,
    broken: Arc<Mutex<Option<String>>>,
}

impl World {
    /// One where nothing runs.
    #[must_use]
    pub fn new() -> Self {
        let store = MemoryStore::default();
        let broken = Arc::default();
        let ports = MemoryPorts::default().when_closing(closing(store.clone(), &broken));
        Self {
            ports,
            store,
            clock: ManualClock::at(sample::NOW),
            broken,
        }
    }

    /// What a reader sees.
    #[must_use]
    pub fn seen(&self) -> Observation {
        seen(&self.store)
    }

    /// The record that a reader believes.
    #[must_use]
    pub fn believed(&self) -> Option<ServerRecord> {
        believed(&self.seen()).cloned()
    }

    /// Fails if a listener was ever closed while its record was believed, or if one is believed now that nobody holds.
    pub fn check(&self) {
        if let Some(broken) = &*self.broken.lock().unwrap_or_else(PoisonError::into_inner) {
            panic!("{broken}");
        }
        if let Some(record) = self.believed() {
            let held = self.ports.held();
            assert!(held.contains(&record.endpoint.port()), "nobody listens");
        }
    }

    /// The run `instance`, over `store`, which isn't started yet.
    pub fn run(&self, instance: u128, store: impl StateStore) -> Run {
        self.run_by(sample::plan(instance), store)
    }

    /// A run by this plan, over `store`, which isn't started yet.
    pub fn run_by(&self, plan: Plan, store: impl StateStore) -> Run {
        self.run_among(&Faults::default(), plan, store)
    }

    /// A run by this plan, with these faults wherever they can be, over `store`.
    pub fn run_among(&self, faults: &Faults, plan: Plan, store: impl StateStore) -> Run {
        let http = MemoryHttp::default();
        let (runner, handle) = ServerRunner::new(
            FailingPorts::with(self.ports.clone(), faults.clone()),
            FailingHttp::with(http.clone(), faults.clone()),
            store,
            self.clock.clone(),
            plan,
        );
        Run {
            handle,
            http,
            runner: Driven::new(runner.run()),
        }
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

fn closing(
    store: MemoryStore,
    broken: &Arc<Mutex<Option<String>>>,
) -> impl Fn(std::num::NonZeroU16) + Send + Sync + 'static {
    let broken = broken.clone();
    move |port| {
        let seen = seen(&store);
        if believed(&seen).is_some_and(|record| record.endpoint.port() == port) {
            let mut broken = broken.lock().unwrap_or_else(PoisonError::into_inner);
            *broken = Some(format!("port {port} closes, and its record is believed"));
        }
    }
}

fn seen(store: &MemoryStore) -> Observation {
    let seen = store.observe().now_or_never();
    seen.expect("memory doesn't wait")
}

fn believed(seen: &Observation) -> Option<&ServerRecord> {
    match seen {
        Observation::Record(record, LockSeen::Held) => Some(record),
        _ => None,
    }
}

/// One run of a server. Dropped, it is as if its control thread had vanished.
pub struct Run {
    /// The way to talk to it.
    pub handle: Handle,
    /// Its server.
    pub http: MemoryHttp,
    /// What carries it.
    pub runner: Driven<Arc<StopReport>>,
}

impl Run {
    /// Lets it do all it can do now.
    pub fn settle(&mut self) {
        self.runner.settle();
    }

    /// Asks it to start, and lets it.
    pub fn start(&mut self) {
        // What comes of it is in its status.
        drop(self.handle.start().now_or_never());
        self.settle();
    }

    /// Asks it to stop, and lets it.
    pub fn stop(&mut self, drain: Option<Duration>) {
        self.handle.request_stop(drain);
        self.settle();
    }

    /// Whether it is over, and how it ended.
    #[must_use]
    pub fn report(&self) -> Option<Arc<StopReport>> {
        match self.handle.status() {
            Status::Stopped(report) => Some(report),
            _ => None,
        }
    }
}
