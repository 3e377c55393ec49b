//! The runner over mocks: each test sets the world up, and checks what came out of it, not which calls were made.
//!
//! Longer than others: the fakes and all that is told of the runner through them belong together.

use std::io;
use std::num::NonZeroU16;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use mockall::mock;
use tokio::sync::Notify;

use super::*;
use crate::clock::Timestamp;
use crate::handle::StopError;
use crate::http_server::{DrainReport, ServeError, ServerStats};
use crate::port_picker::{Listener, PickError, Picked};
use crate::presence::{Observation, Phase};
use crate::record::Endpoint;
use crate::restart::ATTEMPTS;
use crate::state_store::{AcquireError, Custody, PublishError, Recovered, WithdrawError};

mock! {
    Ports {}
    #[async_trait]
    impl PortPicker for Ports {
        type Listener = FakeListener;
        async fn pick(&self, preference: PortPreference) -> Result<Picked<FakeListener>, PickError>;
    }
}

mock! {
    Http {}
    #[async_trait]
    impl HttpServer for Http {
        type Listener = FakeListener;
        fn prepare(&self);
        async fn start(&self, listener: Arc<FakeListener>) -> Result<Arc<dyn RunningServer>, ServeError>;
    }
}

mock! {
    Store {}
    #[async_trait]
    impl StateStore for Store {
        async fn acquire(&self) -> Result<Arc<dyn Lease>, AcquireError>;
        async fn observe(&self) -> Observation;
    }
}

/// A store that answers once the server is prepared.
struct PatientStore(MockStore, Arc<Notify>);

#[async_trait]
impl StateStore for PatientStore {
    async fn acquire(&self) -> Result<Arc<dyn Lease>, AcquireError> {
        self.1.notified().await;
        self.0.acquire().await
    }

    async fn observe(&self) -> Observation {
        self.0.observe().await
    }
}

/// Tokio's paused time: when all that is left to do is to sleep, it moves to the next one who wakes up.
struct VirtualClock(tokio::time::Instant);

impl Default for VirtualClock {
    fn default() -> Self {
        Self(tokio::time::Instant::now())
    }
}

#[async_trait]
impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_micros(0)
    }

    fn monotonic(&self) -> Moment {
        Moment(self.0.elapsed())
    }

    async fn sleep_until(&self, deadline: Moment) {
        match self.0.checked_add(deadline.0) {
            Some(instant) => tokio::time::sleep_until(instant).await,
            None => std::future::pending().await,
        }
    }
}

/// What is held in the world, and in which order it was let go.
#[derive(Default)]
struct World {
    log: Mutex<Vec<&'static str>>,
    changed: Notify,
    killed: Notify,
    custody: Mutex<Vec<Custody>>,
    looks: AtomicUsize,
}

impl World {
    fn note(&self, what: &'static str) {
        self.log.lock().unwrap().push(what);
    }

    fn log(&self) -> Vec<&'static str> {
        self.log.lock().unwrap().clone()
    }
}

struct FakeListener(Arc<World>);

impl Listener for FakeListener {
    fn endpoint(&self) -> Endpoint {
        Endpoint::v4(PORT)
    }

    fn highest_descriptor(&self) -> Option<i32> {
        Some(7)
    }
}

impl Drop for FakeListener {
    fn drop(&mut self) {
        self.0.note("listener closed");
    }
}

const PORT: NonZeroU16 = NonZeroU16::new(4711).unwrap();

/// A lease that keeps a log; where a fault is set, it fails or hangs there.
struct FakeLease {
    world: Arc<World>,
    fault: Option<(&'static str, Fault)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    Fails,
    Hangs,
}

impl FakeLease {
    async fn meet(&self, call: &'static str) -> Result<(), io::Error> {
        match self.fault {
            Some((at, Fault::Fails)) if at == call => Err(io::Error::other("injected")),
            Some((at, Fault::Hangs)) if at == call => std::future::pending().await,
            _ => Ok(()),
        }
    }
}

fn withdraw_error(source: io::Error) -> WithdrawError {
    WithdrawError {
        action: "test",
        path: "/nowhere".into(),
        source: Arc::new(source),
    }
}

#[async_trait]
impl Lease for FakeLease {
    async fn recover(&self) -> Result<Recovered, AcquireError> {
        self.meet("recover")
            .await
            .map_err(|_| AcquireError::Busy(None))?;
        let has_leavings = matches!(self.fault, Some(("leavings", _)));
        Ok(Recovered {
            last_port: Some(PORT),
            removed: if has_leavings { 2 } else { 0 },
            ..Recovered::default()
        })
    }

    async fn publish(&self, _: &ServerRecord, above: Option<i32>) -> Result<(), PublishError> {
        assert_eq!(above, Some(7), "the proof is numbered above the listener");
        // It lands, even if it fails.
        let is_first = !self.world.log().contains(&"published");
        self.world.note("published");
        if !is_first && matches!(self.fault, Some(("republish", _))) {
            return Err(PublishError::Io {
                action: "write",
                path: "/nowhere".into(),
                source: Arc::new(io::Error::other("injected")),
            });
        }
        if !is_first && matches!(self.fault, Some(("slow republish", _))) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        self.meet("publish")
            .await
            .map_err(|_| PublishError::Withdrawn)
    }

    async fn retract(&self) -> Result<(), WithdrawError> {
        self.world.note("retracted");
        self.meet("retract").await.map_err(withdraw_error)
    }

    async fn withdraw(&self) -> Result<(), WithdrawError> {
        self.world.note("unbelieved");
        self.meet("withdraw").await.map_err(withdraw_error)
    }

    fn disown(&self) {
        self.world.note("unbelieved");
    }

    async fn changed(&self) {
        self.world.changed.notified().await;
    }

    async fn inspect(&self) -> Custody {
        self.world.looks.fetch_add(1, Ordering::SeqCst);
        let next = self.world.custody.lock().unwrap().pop();
        next.unwrap_or(Custody::Intact)
    }

    async fn reclaim(&self) -> Result<(), AcquireError> {
        match self.fault {
            Some(("reclaim", _)) => Err(AcquireError::Busy(Some(Phase::Starting))),
            _ => Ok(()),
        }
    }

    async fn release(&self) -> Result<(), WithdrawError> {
        self.meet("release").await.map_err(withdraw_error)?;
        self.world.note("released");
        Ok(())
    }
}

/// A server that is ready at once, and then does as it is told.
#[derive(Clone, Copy)]
enum Behaviour {
    Drains,
    NeverDrains,
    /// Neither drains nor lets itself be cut off.
    NeverEnds,
    /// Leaves processes that don't end.
    LeavesProcesses,
    /// Takes a second to be ready.
    IsSlow,
    Dies,
}

struct FakeServer(Arc<World>, Behaviour);

impl FakeServer {
    const fn survivors(&self) -> u64 {
        match self.1 {
            Behaviour::LeavesProcesses => 2,
            _ => 0,
        }
    }
}

#[async_trait]
impl RunningServer for FakeServer {
    async fn ready(&self) -> Result<Endpoint, ServeError> {
        if matches!(self.1, Behaviour::IsSlow) {
            self.0.note("probed");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok(Endpoint::v4(PORT))
    }

    async fn drain(&self) -> DrainReport {
        self.0.note("draining");
        if matches!(self.1, Behaviour::NeverDrains | Behaviour::NeverEnds) {
            std::future::pending::<()>().await;
        }
        DrainReport {
            drained: 3,
            aborted: 0,
            survivors: self.survivors(),
        }
    }

    async fn abort(&self) -> DrainReport {
        self.0.note("aborted");
        if matches!(self.1, Behaviour::NeverEnds) {
            std::future::pending::<()>().await;
        }
        DrainReport {
            drained: 1,
            aborted: 2,
            survivors: self.survivors(),
        }
    }

    async fn ended(&self) -> ServerEnd {
        match self.1 {
            Behaviour::Dies => self.0.killed.notified().await,
            _ => std::future::pending().await,
        }
        ServerEnd::because("it was shot")
    }

    fn stats(&self) -> ServerStats {
        ServerStats {
            requests: 7,
            ..ServerStats::default()
        }
    }
}

fn plan() -> Plan {
    Plan {
        name: "test".parse().unwrap(),
        instance_id: InstanceId::from_bits(1),
        pid: 1,
        origin: Origin::default(),
        app: AppInfo {
            name: "test".into(),
            version: String::new(),
            dir: None,
        },
        token: None,
        held_by: HeldBy::Owner,
        restarts: None,
        port: PortPreference::Any,
        sticky: false,
        own_timeout: Duration::from_secs(10),
        start_timeout: Duration::from_secs(10),
        drain: Duration::from_secs(10),
        look_every: Duration::MAX,
    }
}

struct Setup {
    world: Arc<World>,
    ports: MockPorts,
    http: MockHttp,
    store: MockStore,
    plan: Plan,
}

fn setup(fault: Option<(&'static str, Fault)>, behaviour: Behaviour) -> Setup {
    let world = Arc::new(World::default());
    let mut ports = MockPorts::new();
    let held = world.clone();
    ports.expect_pick().returning(move |_| {
        let listener = FakeListener(held.clone());
        Ok(Picked {
            listener,
            moved_from: None,
        })
    });
    let mut http = MockHttp::new();
    let held = world.clone();
    http.expect_start().returning(move |listener| {
        drop(listener);
        let server: Arc<dyn RunningServer> = Arc::new(FakeServer(held.clone(), behaviour));
        Ok(server)
    });
    let mut store = MockStore::new();
    let held = world.clone();
    store.expect_acquire().returning(move || {
        let lease: Arc<dyn Lease> = Arc::new(FakeLease {
            world: held.clone(),
            fault,
        });
        Ok(lease)
    });
    Setup {
        world,
        ports,
        http,
        store,
        plan: plan(),
    }
}

impl Setup {
    fn launch(self) -> (Arc<World>, Handle) {
        let (runner, handle) = ServerRunner::new(
            self.ports,
            self.http,
            self.store,
            VirtualClock::default(),
            self.plan,
        );
        tokio::spawn(runner.run());
        (self.world, handle)
    }
}

const STOP: Option<Duration> = Some(Duration::from_secs(5));

#[tokio::test(start_paused = true)]
async fn a_stop_ends_belief_then_the_listener_then_requests_then_ownership() {
    let (world, handle) = setup(None, Behaviour::Drains).launch();
    let record = handle.start().await.unwrap();
    assert_eq!(record.endpoint.port(), PORT);
    assert!(handle.is_running());

    let report = handle.stop(STOP).await.unwrap();

    assert_eq!((report.drained, report.aborted), (3, 0));
    let order = [
        "published",
        "unbelieved",
        "listener closed",
        "draining",
        "released",
    ];
    assert_eq!(world.log()[..5], order);
}

#[tokio::test(start_paused = true)]
async fn requests_that_outlast_the_deadline_are_cut_off() {
    let (_, handle) = setup(None, Behaviour::NeverDrains).launch();
    handle.start().await.unwrap();
    let report = handle.stop(STOP).await.unwrap();
    assert_eq!((report.drained, report.aborted), (1, 2));
    assert_eq!(Some(report.took), STOP, "not the run's own drain time");
}

#[tokio::test(start_paused = true)]
async fn stopping_twice_gives_the_same_report() {
    let (_, handle) = setup(None, Behaviour::Drains).launch();
    handle.start().await.unwrap();
    let (first, second) = tokio::join!(handle.stop(STOP), handle.stop(STOP));
    let third = handle.stop(None).await.unwrap();
    assert!(Arc::ptr_eq(&first.unwrap(), &second.unwrap()));
    assert_eq!(third.drained, 3);
}

#[tokio::test(start_paused = true)]
async fn the_server_is_prepared_while_the_store_is_asked_for_the_place() {
    let setup = setup(None, Behaviour::Drains);
    let (prepared, mut http) = (Arc::new(Notify::new()), setup.http);
    let told = prepared.clone();
    http.expect_prepare().returning(move || told.notify_one());
    let store = PatientStore(setup.store, prepared);
    let clock = VirtualClock::default();
    let (runner, handle) = ServerRunner::new(setup.ports, http, store, clock, setup.plan);
    tokio::spawn(runner.run());
    assert!(handle.start().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_second_start_is_an_error() {
    let (_, handle) = setup(None, Behaviour::Drains).launch();
    handle.start().await.unwrap();
    assert!(matches!(
        handle.start().await,
        Err(StartError::AlreadyStarted)
    ));
}

#[tokio::test(start_paused = true)]
async fn a_live_owner_is_reported_at_once() {
    let mut parts = setup(None, Behaviour::Drains);
    parts.store = MockStore::new();
    parts.store.expect_acquire().times(1).returning(|| {
        let record = ServerRecord {
            endpoint: Endpoint::v4(PORT),
            pid: 2,
            started_at: Timestamp::from_unix_micros(0),
            name: None,
            instance_id: None,
            held_by: HeldBy::Owner,
            restarts: None,
            origin: Origin::default(),
            app: None,
            token: None,
        };
        Err(AcquireError::AlreadyRunning(Box::new(record)))
    });
    let (_, handle) = parts.launch();
    let error = handle.start().await.unwrap_err();
    assert_eq!(error.already_running().unwrap().pid, 2);
}

#[tokio::test(start_paused = true)]
async fn a_dying_owner_is_waited_for() {
    let mut parts = setup(None, Behaviour::Drains);
    let world = parts.world.clone();
    let mut tries = 0;
    parts.store = MockStore::new();
    parts.store.expect_acquire().returning(move || {
        tries += 1;
        let lease: Arc<dyn Lease> = Arc::new(FakeLease {
            world: world.clone(),
            fault: None,
        });
        let busy = tries < 4;
        match busy {
            true => Err(AcquireError::Busy(Some(Phase::Stopping))),
            false => Ok(lease),
        }
    });
    let (_, handle) = parts.launch();
    assert!(handle.start().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_stays_busy_is_named_after_the_start_timeout() {
    let mut parts = setup(None, Behaviour::Drains);
    parts.store = MockStore::new();
    parts
        .store
        .expect_acquire()
        .returning(|| Err(AcquireError::Busy(Some(Phase::Stopping))));
    let (_, handle) = parts.launch();
    let error = handle.start().await.unwrap_err();
    assert!(
        matches!(
            error,
            StartError::Acquire(AcquireError::Busy(Some(Phase::Stopping)))
        ),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_fails_may_have_landed_and_is_withdrawn() {
    let (world, handle) = setup(Some(("publish", Fault::Fails)), Behaviour::Drains).launch();
    let error = handle.start().await.unwrap_err();
    assert!(matches!(error, StartError::Publish(_)), "{error:?}");
    let order = [
        "published",
        "unbelieved",
        "listener closed",
        "aborted",
        "released",
    ];
    assert_eq!(world.log()[..5], order);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_removed_makes_the_stop_unclean_and_stops_nothing_else() {
    let (world, handle) = setup(Some(("withdraw", Fault::Fails)), Behaviour::Drains).launch();
    handle.start().await.unwrap();
    let Err(StopError::Unclean(report)) = handle.stop(STOP).await else {
        panic!("the stop was clean");
    };
    assert!(matches!(report.left[..], [Leftover::Record(_)]));
    assert!(world.log().contains(&"released"));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_reported_and_ownership_kept() {
    for call in ["recover", "publish", "withdraw", "release"] {
        let (world, handle) = setup(Some((call, Fault::Hangs)), Behaviour::Drains).launch();
        let started = handle.start().await;
        let report = match handle.stop(STOP).await {
            Err(StopError::Unclean(report)) => report,
            other => panic!("{call}: {other:?}"),
        };
        assert_eq!(
            started.is_ok(),
            matches!(call, "withdraw" | "release"),
            "{call}"
        );
        assert!(
            matches!(report.left.last(), Some(Leftover::Stuck)),
            "{call}"
        );
        assert!(!world.log().contains(&"released"), "{call}");
        let log = world.log();
        let closed = log.iter().position(|l| *l == "listener closed");
        let unbelieved = log.iter().position(|l| *l == "unbelieved");
        assert!(closed.is_none() || unbelieved < closed, "{call}: {log:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_record_is_published_again() {
    let (world, handle) = setup(None, Behaviour::Drains).launch();
    let mut events = handle.subscribe();
    handle.start().await.unwrap();
    world.custody.lock().unwrap().push(Custody::RecordLost);
    world.changed.notify_one();
    while !matches!(events.next().await, Some(LifecycleEvent::Republished)) {}
    assert_eq!(world.log(), ["published", "published"]);
}

#[tokio::test(start_paused = true)]
async fn an_ownership_that_others_have_ends_the_run() {
    let (world, handle) = setup(Some(("reclaim", Fault::Fails)), Behaviour::Drains).launch();
    handle.start().await.unwrap();
    world.custody.lock().unwrap().push(Custody::OwnershipLost);
    world.changed.notify_one();
    let report = handle.wait_stopped().await.unwrap();
    assert!(matches!(report.cause, StopCause::OwnershipLost));
    assert_eq!(
        world.log()[1..4],
        ["unbelieved", "listener closed", "draining"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_dies_is_withdrawn_and_says_why() {
    let (world, handle) = setup(None, Behaviour::Dies).launch();
    handle.start().await.unwrap();
    world.killed.notify_one();
    let report = handle.wait_stopped().await.unwrap();
    assert!(matches!(&report.cause, StopCause::ServerEnded(end) if end.reason == "it was shot"));
    let order = [
        "published",
        "unbelieved",
        "listener closed",
        "aborted",
        "released",
    ];
    assert_eq!(world.log()[..5], order);
}

#[tokio::test(start_paused = true)]
async fn a_start_whose_future_is_dropped_goes_on() {
    let (_, handle) = setup(None, Behaviour::Drains).launch();
    {
        let start = std::pin::pin!(handle.start());
        let mut start = Some(start);
        std::future::poll_fn(|cx| {
            let _ = start.take().map(|s| s.poll(cx));
            Poll::Ready(())
        })
        .await;
    }
    assert!(handle.wait_ready().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_stop_whose_future_is_dropped_goes_on() {
    let (_, handle) = setup(None, Behaviour::Drains).launch();
    handle.start().await.unwrap();
    handle.request_stop(STOP);
    assert_eq!(handle.wait_stopped().await.unwrap().drained, 3);
}

#[tokio::test(start_paused = true)]
async fn a_runner_that_is_dropped_lets_go_in_order() {
    let parts = setup(None, Behaviour::Drains);
    let world = parts.world.clone();
    let (runner, handle) = ServerRunner::new(
        parts.ports,
        parts.http,
        parts.store,
        VirtualClock::default(),
        parts.plan,
    );
    let task = tokio::spawn(runner.run());
    handle.start().await.unwrap();
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_eq!(world.log(), ["published", "unbelieved", "listener closed"]);
    assert!(matches!(handle.stop(None).await, Err(StopError::Gone)));
}

#[tokio::test(start_paused = true)]
async fn the_last_port_is_preferred_when_it_is_sticky() {
    let mut parts = setup(None, Behaviour::Drains);
    parts.plan.sticky = true;
    let world = parts.world.clone();
    parts.ports = MockPorts::new();
    parts
        .ports
        .expect_pick()
        .withf(|preference| *preference == PortPreference::Prefer(PORT))
        .returning(move |_| {
            let listener = FakeListener(world.clone());
            Ok(Picked {
                listener,
                moved_from: None,
            })
        });
    let (_, handle) = parts.launch();
    assert!(handle.start().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_start_that_takes_too_long_says_so() {
    for call in ["recover", "publish"] {
        let (_, handle) = setup(Some((call, Fault::Hangs)), Behaviour::Drains).launch();
        let error = handle.start().await.unwrap_err();
        assert!(
            matches!(error, StartError::TimedOut { .. }),
            "{call}: {error:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_believed_that_lands_after_a_stop_began() {
    let (world, handle) = setup(Some(("publish", Fault::Hangs)), Behaviour::Drains).launch();
    let start = tokio::spawn({
        let handle = handle.clone();
        async move { handle.start().await }
    });
    while world.log().is_empty() {
        tokio::task::yield_now().await;
    }
    handle.request_stop(STOP);
    assert!(matches!(start.await.unwrap(), Err(StartError::Stopped)));
    assert_eq!(world.log()[..2], ["published", "unbelieved"]);
}

#[tokio::test(start_paused = true)]
async fn the_events_end_with_the_run() {
    let (_, handle) = setup(None, Behaviour::Drains).launch();
    let mut events = handle.subscribe();
    handle.start().await.unwrap();
    handle.stop(STOP).await.unwrap();
    while events.next().await.is_some() {}
    assert!(handle.subscribe().next().await.is_none());
}

fn supervised(behaviour: Behaviour, held_by: HeldBy, policy: RestartPolicy) -> Setup {
    let mut parts = setup(None, behaviour);
    (parts.plan.held_by, parts.plan.restarts) = (held_by, Some(policy));
    parts
}

async fn next_restart(events: &mut crate::Events) -> Arc<ServerRecord> {
    loop {
        match events.next().await {
            Some(LifecycleEvent::Restarted(record)) => return record,
            Some(_) => {}
            None => panic!("the run is over"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_falls_is_unpublished_until_the_next_one_answers() {
    let parts = supervised(Behaviour::Dies, HeldBy::Child, RestartPolicy::Always);
    let (world, handle) = parts.launch();
    let mut events = handle.subscribe();
    let before = handle.start().await.unwrap();
    world.killed.notify_one();
    let after = next_restart(&mut events).await;
    assert_eq!(
        world.log(),
        ["published", "retracted", "aborted", "published"]
    );
    assert_eq!((before.restarts, after.restarts), (Some(0), Some(1)));
    assert_eq!(before.started_at, after.started_at);
    assert!(handle.is_running());
}

#[tokio::test(start_paused = true)]
async fn a_record_whose_socket_the_owner_holds_stays_while_the_server_is_replaced() {
    let parts = supervised(Behaviour::Drains, HeldBy::Owner, RestartPolicy::Never);
    let (world, handle) = parts.launch();
    let mut events = handle.subscribe();
    handle.start().await.unwrap();
    handle.request_restart();
    next_restart(&mut events).await;
    assert_eq!(world.log(), ["published", "draining", "published"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_drain_is_cut_off_before_it_is_replaced() {
    let parts = supervised(Behaviour::NeverDrains, HeldBy::Child, RestartPolicy::Never);
    let (world, handle) = parts.launch();
    let mut events = handle.subscribe();
    handle.start().await.unwrap();
    handle.request_restart();
    next_restart(&mut events).await;
    assert_eq!(
        world.log(),
        ["published", "retracted", "draining", "aborted", "published"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_keeps_falling_is_given_up() {
    let parts = supervised(Behaviour::Dies, HeldBy::Child, RestartPolicy::OnFailure);
    let (world, handle) = parts.launch();
    let mut events = handle.subscribe();
    handle.start().await.unwrap();
    for _ in 0..ATTEMPTS {
        world.killed.notify_one();
        next_restart(&mut events).await;
    }
    world.killed.notify_one();
    let report = handle.wait_stopped().await.unwrap();
    let StopCause::ServerEnded(end) = &report.cause else {
        panic!("{report:?}");
    };
    assert_eq!(end.reason, "it was shot, after 8 restarts in a row");
    assert!(world.log().contains(&"released"));
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_heeded_while_a_restart_is_waited_for() {
    let parts = supervised(Behaviour::Dies, HeldBy::Child, RestartPolicy::Always);
    let (world, handle) = parts.launch();
    let mut events = handle.subscribe();
    handle.start().await.unwrap();
    world.killed.notify_one();
    while !matches!(events.next().await, Some(LifecycleEvent::Restarting(_))) {}
    let report = handle.stop(None).await.unwrap();
    assert!(matches!(report.cause, StopCause::Asked));
    let published = world
        .log()
        .iter()
        .filter(|&&what| what == "published")
        .count();
    assert_eq!(published, 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_be_replaced_is_not() {
    let (world, handle) = setup(None, Behaviour::Drains).launch();
    handle.start().await.unwrap();
    handle.request_restart();
    handle.stop(None).await.unwrap();
    assert_eq!(world.log()[..2], ["published", "unbelieved"]);
}

/// Asks for a stop `after` so long, without waiting for its end.
async fn ask_for_stop(handle: &Handle, after: Duration, drain: Duration) {
    tokio::time::sleep(after).await;
    handle.request_stop(Some(drain));
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_stop_that_is_asked_for_again_can_only_be_sooner() {
    for (again, took) in [(SECOND, 2 * SECOND), (20 * SECOND, 5 * SECOND)] {
        let (_, handle) = setup(None, Behaviour::NeverDrains).launch();
        handle.start().await.unwrap();
        let (report, ()) = tokio::join!(handle.stop(STOP), ask_for_stop(&handle, SECOND, again));
        assert_eq!(report.unwrap().took, took, "{again:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_cut_off_and_stays_is_told_of() {
    let (world, handle) = setup(None, Behaviour::NeverEnds).launch();
    handle.start().await.unwrap();
    let now = Some(Duration::ZERO);
    // It has all of its time to end, whatever is asked meanwhile.
    let (report, ()) = tokio::join!(handle.stop(now), ask_for_stop(&handle, SECOND, SECOND));
    let Err(StopError::Unclean(report)) = report else {
        panic!("the stop was clean");
    };
    assert!(matches!(report.left[..], [Leftover::Server]), "{report:?}");
    assert_eq!(report.took, CUT_OFF);
    assert!(world.log().contains(&"released"));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stays_is_not_replaced() {
    let parts = supervised(Behaviour::NeverEnds, HeldBy::Child, RestartPolicy::Always);
    let (_, handle) = parts.launch();
    handle.start().await.unwrap();
    handle.request_restart();
    let report = handle.wait_stopped().await.unwrap();
    let StopCause::ServerEnded(end) = &report.cause else {
        panic!("{report:?}");
    };
    assert_eq!(end.reason, "the server was cut off, and has not ended");
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_while_a_server_gets_ready_is_put_right() {
    let (world, handle) = setup(None, Behaviour::IsSlow).launch();
    let mut events = handle.subscribe();
    let (started, ()) = tokio::join!(handle.start(), async {
        while !world.log().contains(&"probed") {
            tokio::task::yield_now().await;
        }
        world.custody.lock().unwrap().push(Custody::RecordLost);
        world.changed.notify_one();
    });
    started.unwrap();
    while !matches!(events.next().await, Some(LifecycleEvent::Republished)) {}
}

#[tokio::test(start_paused = true)]
async fn nobody_looks_while_nothing_happens() {
    let (world, handle) = setup(None, Behaviour::Drains).launch();
    handle.start().await.unwrap();
    tokio::time::sleep(3_600 * SECOND).await;
    assert_eq!(world.looks.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_repair_that_fails_is_told_of_once_and_tried_again_by_the_clock() {
    let (world, handle) = setup(Some(("republish", Fault::Fails)), Behaviour::Drains).launch();
    let mut events = handle.subscribe();
    handle.start().await.unwrap();
    let lost = vec![Custody::RecordLost; 4];
    *world.custody.lock().unwrap() = lost;
    world.changed.notify_one();
    tokio::time::sleep(SECOND).await;
    let published = world
        .log()
        .iter()
        .filter(|&&what| what == "published")
        .count();
    assert_eq!(published, 5, "nothing but the clock has woken it");
    handle.stop(STOP).await.unwrap();
    let mut exposed = Vec::new();
    while let Some(event) = events.next().await {
        if let LifecycleEvent::Exposed(reason) = event {
            exposed.push(reason);
        }
    }
    assert_eq!(exposed, ["cannot write /nowhere: injected"]);
}

#[tokio::test(start_paused = true)]
async fn a_handle_tells_whether_it_runs_and_what_it_does() {
    let (_, handle) = setup(None, Behaviour::Drains).launch();
    assert!(!handle.is_running());
    assert_eq!(handle.stats(), ServerStats::default());
    handle.start().await.unwrap();
    assert!(handle.is_running());
    assert_eq!(handle.stats().requests, 7);
    handle.stop(STOP).await.unwrap();
    assert!(!handle.is_running());
    assert_eq!(handle.stats(), ServerStats::default());
}

#[tokio::test(start_paused = true)]
async fn a_stop_is_waited_for_from_its_beginning() {
    let (_, handle) = setup(None, Behaviour::NeverDrains).launch();
    handle.start().await.unwrap();
    let began = tokio::time::Instant::now();
    let wait = handle.wait_stopping();
    tokio::join!(wait, ask_for_stop(&handle, SECOND, 5 * SECOND));
    assert_eq!(began.elapsed(), SECOND);
    assert!(matches!(handle.status(), Status::Stopping));
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_runner_vanished_is_not_ready() {
    let parts = setup(None, Behaviour::Drains);
    let clock = VirtualClock::default();
    let (runner, handle) =
        ServerRunner::new(parts.ports, parts.http, parts.store, clock, parts.plan);
    let task = tokio::spawn(runner.run());
    handle.start().await.unwrap();
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert!(!handle.is_running());
    assert!(matches!(handle.wait_ready().await, Err(StartError::Gone)));
}

#[tokio::test(start_paused = true)]
async fn a_plain_thread_hears_all_events() {
    let (_, handle) = setup(None, Behaviour::Drains).launch();
    let mut events = handle.subscribe();
    handle.start().await.unwrap();
    handle.stop(STOP).await.unwrap();
    let heard = std::thread::spawn(move || {
        let mut heard = Vec::new();
        while let Some(event) = events.blocking_next() {
            heard.push(event);
        }
        heard
    });
    let heard = heard.join().unwrap();
    assert!(matches!(
        heard[..],
        [
            LifecycleEvent::Ready(_),
            LifecycleEvent::Draining(_),
            LifecycleEvent::Stopped(_)
        ]
    ));
}

#[tokio::test(start_paused = true)]
async fn processes_that_do_not_end_make_the_stop_unclean() {
    let (_, handle) = setup(None, Behaviour::LeavesProcesses).launch();
    handle.start().await.unwrap();
    let Err(StopError::Unclean(report)) = handle.stop(STOP).await else {
        panic!("the stop was clean");
    };
    assert!(
        matches!(report.left[..], [Leftover::Processes(2)]),
        "{report:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_leaves_processes_is_not_replaced() {
    let parts = supervised(
        Behaviour::LeavesProcesses,
        HeldBy::Child,
        RestartPolicy::Always,
    );
    let (_, handle) = parts.launch();
    handle.start().await.unwrap();
    handle.request_restart();
    let report = handle.wait_stopped().await.unwrap();
    let StopCause::ServerEnded(end) = &report.cause else {
        panic!("{report:?}");
    };
    let words = "2 processes of the server could not be ended";
    assert_eq!(end.reason, words);
}

#[tokio::test(start_paused = true)]
async fn leavings_are_told_of_where_there_are_any() {
    for (fault, expected) in [(None, 0), (Some(("leavings", Fault::Fails)), 1)] {
        let (_, handle) = setup(fault, Behaviour::Drains).launch();
        let mut events = handle.subscribe();
        handle.start().await.unwrap();
        handle.stop(STOP).await.unwrap();
        let mut told = 0;
        while let Some(event) = events.next().await {
            told += usize::from(matches!(event, LifecycleEvent::Recovered(_)));
        }
        assert_eq!(told, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_falls_while_a_lost_record_is_published_is_replaced_after_that() {
    let mut parts = setup(Some(("slow republish", Fault::Hangs)), Behaviour::Dies);
    parts.plan.restarts = Some(RestartPolicy::Always);
    let (world, handle) = parts.launch();
    let mut events = handle.subscribe();
    handle.start().await.unwrap();
    world.custody.lock().unwrap().push(Custody::RecordLost);
    world.changed.notify_one();
    tokio::time::sleep(SECOND / 2).await;
    world.killed.notify_one();
    let after = next_restart(&mut events).await;
    assert_eq!(after.restarts, Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_is_asked_for_too_early_follows_the_start() {
    let parts = supervised(Behaviour::IsSlow, HeldBy::Owner, RestartPolicy::Never);
    let (world, handle) = parts.launch();
    let mut events = handle.subscribe();
    let (started, ()) = tokio::join!(handle.start(), async {
        while !world.log().contains(&"probed") {
            tokio::task::yield_now().await;
        }
        handle.request_restart();
    });
    assert!(started.is_ok());
    assert_eq!(next_restart(&mut events).await.restarts, Some(1));
}
