//! A run in a world of memory, and what must be true of it after every step.
//!
//! Longer than others: a run, those who wait for it, and what each of them must see belong together.

use std::sync::Arc;
use std::time::Duration;

use daymark_adapters::http_server::MemoryHttp;
use daymark_adapters::port_picker::MemoryListener;
use daymark_adapters::state_store::MemoryStore;
use daymark_core::port_picker::{Listener as _, PortPicker as _, PortPreference};
use daymark_core::record::{HeldBy, InstanceId, ServerRecord};
use daymark_core::state_store::{Lease, StateStore as _};
use daymark_core::{
    CUT_OFF, Events, GRACE, Handle, Leftover, LifecycleEvent, Plan, StartError, Status, StopCause,
    StopError, StopReport,
};
use daymark_tests::failing::{FailingStore, Faults};
use daymark_tests::mutants::{FlawedStore, StoreFlaw};
use daymark_tests::sample;
use daymark_tests::world::{Driven, World};
use futures_util::FutureExt as _;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use super::reference::{Ask, DRAIN, Reference, Stage, Step, TICK, Wish};

/// What a future came to.
pub(super) enum Came {
    Started(Result<Arc<ServerRecord>, StartError>),
    Begun,
    Over(Result<Arc<StopReport>, StopError>),
}

/// What is wrong with whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    None,
    /// The store's.
    Store(StoreFlaw),
    /// A future that is dropped takes the run with it.
    FuturesOwnTheRun,
    /// A stop that is dropped cuts everything off.
    DroppedStopsHurry,
    /// Everybody who stops gets a report of their own.
    ReportsAreMade,
    /// Nobody looks at the clock.
    TimeStandsStill,
}

struct Waiting {
    wish: Wish,
    /// What was to be seen when it began.
    was_idle: bool,
    future: Driven<Came>,
}

/// Somebody else, who has taken the place.
struct Stranger {
    _lease: Arc<dyn Lease>,
    listener: MemoryListener,
}

const RUN: u128 = 1;
const STRANGER: u128 = 2;

/// Who is driven.
pub(super) struct Driver {
    flaw: Flaw,
    world: World,
    faults: Faults,
    now: Duration,
    plan: Plan,
    http: MemoryHttp,
    runner: Option<Driven<Arc<StopReport>>>,
    handle: Option<Handle>,
    events: Events,
    waiting: Vec<Waiting>,
    stranger: Option<Stranger>,
    begun: u64,
    /// What was last to be seen, each no sooner than the one before.
    rank: u8,
    starting_since: Option<Duration>,
    stopping_since: Option<Duration>,
    report: Option<Arc<StopReport>>,
    /// Since when it serves this record while somebody else has the place.
    serves_since: Option<(Arc<ServerRecord>, Duration)>,
}

const fn rank(status: &Status) -> u8 {
    match status {
        Status::Idle => 0,
        Status::Starting => 1,
        Status::Ready(_) | Status::Restarting => 2,
        Status::Stopping => 3,
        _ => 4,
    }
}

impl Driver {
    pub(super) fn new(reference: &Reference, flaw: Flaw) -> Self {
        let world = World::new();
        let faults = Faults::default();
        let plan = Plan {
            held_by: reference.kind.held_by,
            restarts: reference.kind.restarts,
            drain: DRAIN,
            ..sample::plan(RUN)
        };
        let store = match flaw {
            Flaw::Store(flaw) => FlawedStore::new(world.store.clone(), flaw),
            _ => FlawedStore::new(world.store.clone(), StoreFlaw::None),
        };
        let store = FailingStore::with(store, faults.clone());
        let run = world.run_among(&faults, plan.clone(), store);
        Self {
            flaw,
            world,
            faults,
            now: Duration::ZERO,
            plan,
            events: run.handle.subscribe(),
            http: run.http,
            runner: Some(run.runner),
            handle: Some(run.handle),
            waiting: Vec::new(),
            stranger: None,
            begun: 0,
            rank: 0,
            starting_since: None,
            stopping_since: None,
            report: None,
            serves_since: None,
        }
    }

    pub(super) fn take(&mut self, step: &Step, reference: &Reference) {
        match *step {
            Step::Ask(ask) => self.ask(ask),
            Step::Begin(wish) => {
                self.begin(wish);
                // What is there already is seen at once.
                self.look(reference);
            }
            Step::DropFuture(which) => self.drop_future(which),
            Step::DropHandles => {
                self.waiting.clear();
                self.handle = None;
            }
            Step::DropRunner => {
                self.runner = None;
                self.settle(reference);
            }
            Step::Settle => self.settle(reference),
            Step::Pass(ticks) => self.pass(TICK * ticks, reference),
            Step::BeginRequest => {
                let server = self.http.last();
                let accepts = server.is_some_and(|server| server.begin_request());
                self.begun += u64::from(accepts);
            }
            Step::FinishRequest => {
                let server = self.http.last();
                server.map(|server| server.finish_request());
            }
            Step::Arm(call, wrong) => self.faults.arm(call, wrong),
            Step::Thaw => self.faults.thaw(),
            Step::ServerDies => {
                let server = self.http.last();
                server.into_iter().for_each(|server| server.die("of a bug"));
            }
            Step::LoseRecord => self.world.store.lose_record(),
            Step::LoseOwnership => self.world.store.lose_ownership(),
            Step::TakeOver => self.take_over(),
        }
    }

    fn handle(&self) -> &Handle {
        self.handle.as_ref().expect("the model knows who has one")
    }

    fn ask(&self, ask: Ask) {
        match ask {
            // What comes of it is in the status.
            Ask::Start => drop(self.handle().start().now_or_never()),
            Ask::Restart => self.handle().request_restart(),
            Ask::Stop(drain) => self.handle().request_stop(drain),
        }
    }

    fn begin(&mut self, wish: Wish) {
        let handle = self.handle().clone();
        let was_idle = matches!(handle.status(), Status::Idle);
        let flaw = self.flaw;
        let mut future = Driven::new(async move {
            match wish {
                Wish::Start => Came::Started(handle.start().await),
                Wish::Ready => Came::Started(handle.wait_ready().await),
                Wish::Stopping => {
                    handle.wait_stopping().await;
                    Came::Begun
                }
                Wish::Stopped => Came::Over(handle.wait_stopped().await),
                Wish::Stop(drain) => match handle.stop(drain).await {
                    Ok(report) if flaw == Flaw::ReportsAreMade => {
                        Came::Over(Ok(Arc::new((*report).clone())))
                    }
                    stopped => Came::Over(stopped),
                },
            }
        });
        future.poll();
        self.waiting.push(Waiting {
            wish,
            was_idle,
            future,
        });
    }

    fn drop_future(&mut self, which: usize) {
        if which >= self.waiting.len() {
            return;
        }
        let dropped = self.waiting.swap_remove(which);
        match self.flaw {
            Flaw::FuturesOwnTheRun => self.handle().request_stop(None),
            Flaw::DroppedStopsHurry if matches!(dropped.wish, Wish::Stop(_)) => {
                self.handle().request_stop(Some(Duration::ZERO));
            }
            _ => {}
        }
    }

    fn take_over(&mut self) {
        let store: &MemoryStore = &self.world.store;
        store.lose_ownership();
        let lease = store.acquire().now_or_never().and_then(Result::ok);
        let lease = lease.expect("nobody has it any more");
        let picked = self.world.ports.pick(PortPreference::Any).now_or_never();
        let picked = picked.and_then(Result::ok).expect("a port");
        let record = sample::record(STRANGER, picked.listener.endpoint().port().get());
        let published = lease.publish(&record, None).now_or_never();
        assert!(published.is_some_and(|done| done.is_ok()));
        self.stranger = Some(Stranger {
            _lease: lease,
            listener: picked.listener,
        });
    }

    fn pass(&mut self, span: Duration, reference: &Reference) {
        let mut passed = Duration::ZERO;
        while passed < span {
            if self.flaw != Flaw::TimeStandsStill {
                self.world.clock.advance(TICK);
            }
            self.now += TICK;
            passed += TICK;
            self.settle(reference);
        }
    }

    /// Lets everybody do all they can, and looks at what came of it.
    fn settle(&mut self, reference: &Reference) {
        while self.runner.as_ref().is_some_and(Driven::is_woken)
            || self.waiting.iter().any(|w| w.future.is_woken())
        {
            self.runner.iter_mut().for_each(Driven::settle);
            self.waiting.iter_mut().for_each(|w| w.future.settle());
        }
        self.check_owner();
        self.look(reference);
    }

    /// What is to be seen, through a handle or in its place the runner's own end.
    fn status(&self) -> Option<Status> {
        match (&self.handle, &self.runner) {
            (Some(handle), _) => Some(handle.status()),
            (None, Some(runner)) => runner.output().cloned().map(Status::Stopped),
            _ => None,
        }
    }

    /// Nobody serves for longer where somebody else has the place than it takes to look.
    fn check_owner(&mut self) {
        let serving = match self.status() {
            Some(Status::Ready(record)) if self.runner.is_some() && self.stranger.is_some() => {
                record
            }
            _ => {
                self.serves_since = None;
                return;
            }
        };
        let now = self.now;
        let since = self.serves_since.get_or_insert((serving.clone(), now));
        if !Arc::ptr_eq(&since.0, &serving) {
            *since = (serving, now);
        }
        let until = since.1 + self.plan.look_every;
        assert!(
            now <= until || self.faults.happened() > 0,
            "the place is another's"
        );
    }

    fn look(&mut self, reference: &Reference) {
        let has_runner = self.runner.is_some();
        if let Some(status) = self.status() {
            let rank = rank(&status);
            assert!(rank >= self.rank, "it went back to {status:?}");
            self.rank = rank;
            self.check_deadlines(&status, reference.stop_until);
            if let Status::Stopped(report) = status {
                self.see_report(&report);
            }
        }
        while let Some(Some(event)) = self.events.next().now_or_never() {
            if let LifecycleEvent::Stopped(report) = event {
                self.see_report(&report);
            }
        }
        let (over, rest) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition::<Vec<_>, _>(|w| w.future.output().is_some());
        self.waiting = rest;
        over.iter().for_each(|w| self.check_outcome(w, has_runner));
        for waiting in &self.waiting {
            self.check_still_waits(waiting.wish, has_runner);
        }
    }

    /// Nothing waits for ever: neither a start nor a stop.
    fn check_deadlines(&mut self, status: &Status, asked: Option<Duration>) {
        if self.runner.is_none() {
            return;
        }
        let now = self.now;
        if let Status::Starting = status {
            let since = *self.starting_since.get_or_insert(now);
            let until = since + self.plan.start_timeout;
            assert!(now < until, "it starts for ever");
        }
        if let Status::Stopping = status {
            let since = *self.stopping_since.get_or_insert(now);
            let until = asked.unwrap_or(since + self.plan.drain) + 2 * GRACE + CUT_OFF;
            assert!(now < until, "it stops for ever");
        }
    }

    fn see_report(&mut self, report: &Arc<StopReport>) {
        let first = self.report.get_or_insert_with(|| report.clone());
        assert!(Arc::ptr_eq(first, report), "another report");
    }

    fn check_outcome(&mut self, waiting: &Waiting, has_runner: bool) {
        let status = self.handle().status();
        match waiting.future.output().expect("it is over") {
            Came::Started(Ok(record)) => match &status {
                Status::Ready(now) => assert!(Arc::ptr_eq(now, record), "another record"),
                _ => panic!("ready, but {status:?}"),
            },
            Came::Started(Err(StartError::AlreadyStarted)) => {
                assert!(waiting.wish == Wish::Start && !waiting.was_idle);
            }
            Came::Started(Err(StartError::Gone)) | Came::Over(Err(StopError::Gone)) => {
                assert!(!has_runner && rank(&status) < 4, "gone, but {status:?}");
            }
            Came::Started(Err(_)) => assert_eq!(rank(&status), 4, "{status:?}"),
            Came::Begun => assert!(!has_runner || rank(&status) >= 3, "{status:?}"),
            Came::Over(Ok(report)) => {
                assert!(report.left.is_empty() || waiting.wish == Wish::Stopped);
                self.see_report(&report.clone());
            }
            Came::Over(Err(StopError::Unclean(report))) => {
                assert!(!report.left.is_empty());
                self.see_report(&report.clone());
            }
            Came::Over(Err(error)) => panic!("{error}"),
        }
    }

    fn check_still_waits(&self, wish: Wish, has_runner: bool) {
        let status = self.handle().status();
        let may_wait = has_runner
            && match wish {
                Wish::Start | Wish::Ready => !matches!(rank(&status), 4) && !is_ready(&status),
                Wish::Stopping => rank(&status) < 3,
                Wish::Stop(_) | Wish::Stopped => rank(&status) < 4,
            };
        assert!(may_wait, "{wish:?} waits, but {status:?}");
    }

    /// What is true at every moment, whatever went wrong.
    pub(super) fn check_always(&self, reference: &Reference) {
        self.world.check();
        let believed = self.world.believed();
        if let Some(stranger) = &self.stranger {
            let theirs = believed.as_ref().is_some_and(|record| {
                record.instance_id == Some(InstanceId::from_bits(STRANGER))
                    && record.endpoint == stranger.listener.endpoint()
            });
            assert!(theirs, "somebody's record is not believed any more");
        } else if self.report.is_some() || self.runner.is_none() {
            assert_eq!(believed, None, "it is over");
        }
        assert!(self.http.living() <= 1, "two servers at a time");
        if let Some(report) = &self.report {
            assert!(report.drained + report.aborted <= self.begun);
            let went_wrong = self.faults.happened() > 0;
            assert!(report.left.is_empty() || went_wrong, "{report:?}");
            assert_eq!(self.held(), [], "a port is held");
        }
        if !reference.is_rough {
            self.check_exactly(reference);
        }
    }

    /// The ports that the run holds.
    fn held(&self) -> Vec<std::num::NonZeroU16> {
        let theirs = self.stranger.as_ref().map(|s| s.listener.endpoint().port());
        let mut held = self.world.ports.held();
        held.retain(|port| Some(*port) != theirs);
        held
    }

    /// What is true while nothing goes wrong: what the model says, and nothing else.
    fn check_exactly(&self, reference: &Reference) {
        assert_eq!(self.begun, reference.begun, "another number was accepted");
        let believed = self.world.believed();
        let is_published = match reference.stage {
            Stage::Ready => true,
            // Whoever connects waits for the next server.
            Stage::Replacing(_) => self.plan.held_by == HeldBy::Owner,
            _ => false,
        };
        assert_eq!(believed.is_some(), is_published, "{:?}", reference.stage);
        let Some(status) = self.status() else { return };
        match (reference.stage, &status) {
            (Stage::Idle, Status::Idle)
            | (Stage::Replacing(_), Status::Restarting)
            | (Stage::Draining(..), Status::Stopping)
            | (Stage::Gone, _) => {}
            (Stage::Ready, Status::Ready(record)) => {
                let replaced = self.plan.restarts.map(|_| reference.replaced);
                assert_eq!(record.restarts, replaced);
                assert_eq!(believed.as_ref(), Some(&**record));
            }
            (Stage::Stopped(ended), Status::Stopped(report)) => {
                let counts = (report.drained, report.aborted, report.took);
                assert_eq!(counts, (ended.drained, ended.aborted, ended.took));
                assert!(report.left.is_empty(), "{report:?}");
                let cause = match &report.cause {
                    StopCause::Asked => true,
                    StopCause::StartFailed(StartError::Stopped) => false,
                    other => panic!("{other:?}"),
                };
                assert_eq!(cause, ended.was_ready);
            }
            (stage, status) => panic!("{stage:?}, but {status:?}"),
        }
    }

    /// However it came to be: a stop ends, everything is given back, and the next start succeeds.
    pub(super) fn end_well(mut self, reference: &Reference) {
        let mut reference = reference.clone();
        let stop = Step::Ask(Ask::Stop(None));
        // What hangs after that isn't thawed.
        for step in [Step::Thaw, stop, Step::Pass(200)] {
            if Reference::preconditions(&reference, &step) {
                reference.take(&step);
                self.take(&step, &reference);
                self.check_always(&reference);
            }
        }
        let is_over = self.report.is_some() || self.runner.is_none();
        assert!(is_over, "its stop never ended");
        let is_stuck = self.report.as_ref().is_some_and(|report| {
            let mut left = report.left.iter();
            left.any(|left| matches!(left, Leftover::Stuck))
        });
        if is_stuck {
            return;
        }
        (self.runner, self.stranger) = (None, None);
        self.faults.thaw();
        let mut next = self.world.run(RUN + 2, self.world.store.clone());
        next.start();
        let status = next.handle.status();
        assert!(is_ready(&status), "the next: {status:?}");
        next.stop(None);
    }
}

const fn is_ready(status: &Status) -> bool {
    matches!(status, Status::Ready(_))
}

impl StateMachineTest for Driver {
    type SystemUnderTest = Self;
    type Reference = Reference;

    fn init_test(reference: &Reference) -> Self {
        Self::new(reference, Flaw::None)
    }

    fn apply(mut driver: Self, reference: &Reference, step: Step) -> Self {
        driver.take(&step, reference);
        driver
    }

    fn check_invariants(driver: &Self, reference: &Reference) {
        driver.check_always(reference);
    }

    fn teardown(driver: Self, reference: Reference) {
        driver.end_well(&reference);
    }
}
