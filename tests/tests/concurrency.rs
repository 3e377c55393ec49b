//! Many who start and stop at once: every order in which futures can be polled, and real threads.
//!
//! What threads share is tokio's channels, and mutexes under which nothing is awaited. Neither loom nor shuttle sees into those
//! channels, so orders are explored where they matter, between polls, and threads are let loose on the rest.

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use axum::Router;
use daymark::Server;
use daymark_core::state_store::StateStore as _;
use daymark_core::{Handle, Leftover, StartError, StopError, StopReport};
use daymark_tests::failing::{FailingStore, Faults};
use daymark_tests::files::Ground;
use daymark_tests::mutants::{FlawedStore, StoreFlaw};
use daymark_tests::sample;
use daymark_tests::scale::{random, rounds};
use daymark_tests::world::{Driven, World};
use futures_util::FutureExt as _;

const NOW: Option<Duration> = Some(Duration::ZERO);

/// What a client does with its handle.
#[derive(Clone, Copy, Debug)]
enum Client {
    Starts,
    Stops(Option<Duration>),
    WaitsForReady,
    WaitsForTheEnd,
    /// Starts, waits for that, then stops.
    Visits,
}

/// What it saw of the end, if it waited for that.
type Saw = Option<Arc<StopReport>>;

impl Client {
    async fn act(self, handle: Handle) -> Saw {
        match self {
            Self::Starts => {
                check(&handle.start().await);
                None
            }
            Self::WaitsForReady => {
                check(&handle.wait_ready().await);
                None
            }
            Self::Stops(drain) => Some(handle.stop(drain).await.expect("it is clean")),
            Self::WaitsForTheEnd => Some(handle.wait_stopped().await.expect("it ends")),
            Self::Visits => {
                check(&handle.start().await);
                Some(handle.stop(None).await.expect("it is clean"))
            }
        }
    }
}

/// A start succeeds unless a stop or another start came first.
fn check<T>(started: &Result<T, StartError>) {
    match started {
        Ok(_) | Err(StartError::Stopped | StartError::AlreadyStarted) => {}
        Err(error) => panic!("{error}"),
    }
}

/// One way through all choices: what was chosen, of how many.
#[derive(Default)]
struct Path(Vec<(usize, usize)>);

impl Path {
    /// The choice at this point: as it was, or the first one.
    fn choose(&mut self, at: usize, of: usize) -> usize {
        if at == self.0.len() {
            self.0.push((0, of));
        }
        let (choice, before) = self.0[at];
        assert_eq!(before, of, "the same choices lead to the same place");
        choice
    }

    /// Goes on to the next path; false if that was the last one.
    fn advance(&mut self) -> bool {
        while let Some((choice, of)) = self.0.pop() {
            if choice + 1 < of {
                self.0.push((choice + 1, of));
                return true;
            }
        }
        false
    }
}

/// Plays one order to its end: only who asks for it is polled, whoever that is. One client may be dropped midway.
fn play(flaw: StoreFlaw, clients: &[Client], may_drop: Option<usize>, path: &mut Path) {
    let world = World::new();
    let faults = Faults::none_but_each_call_yields();
    let store = FlawedStore::new(world.store.clone(), flaw);
    let store = FailingStore::with(store, faults.clone());
    let mut run = world.run_among(&faults, sample::plan(1), store);
    let acts = clients.iter().map(|client| {
        let act = client.act(run.handle.clone());
        Some(Driven::new(act))
    });
    let mut acts: Vec<Option<Driven<Saw>>> = acts.collect();
    let mut has_begun = false;
    for at in 0.. {
        let woken = |act: &Option<Driven<Saw>>| act.as_ref().is_some_and(Driven::is_woken);
        let mut choices: Vec<usize> = (0..acts.len()).filter(|&i| woken(&acts[i])).collect();
        let (runner, dropped) = (acts.len(), acts.len() + 1);
        choices.extend(run.runner.is_woken().then_some(runner));
        if choices.is_empty() {
            break;
        }
        // What was never polled has asked for nothing yet.
        let drops = may_drop
            .filter(|&i| has_begun && acts[i].as_ref().is_some_and(|act| act.output().is_none()));
        choices.extend(drops.map(|_| dropped));
        let choice = choices[path.choose(at, choices.len())];
        if choice == runner {
            run.runner.poll();
        } else if choice == dropped {
            acts[may_drop.expect("it was asked for")] = None;
        } else {
            has_begun |= may_drop == Some(choice);
            acts[choice].iter_mut().for_each(Driven::poll);
        }
        world.check();
    }
    let ended = run.runner.output().expect("it ends");
    for act in acts.iter().flatten() {
        let saw = act.output().expect("nobody waits for ever");
        let same = saw.as_ref().is_none_or(|report| Arc::ptr_eq(report, ended));
        assert!(same, "another report");
    }
    assert!(ended.left.is_empty(), "{ended:?}");
    assert_eq!(world.believed(), None);
    assert_eq!(world.ports.held(), []);
    let acquired = world.store.acquire().now_or_never();
    assert!(acquired.is_some_and(|lease| lease.is_ok()));
}

/// How many orders there are.
fn play_all(clients: &[Client], may_drop: Option<usize>) -> usize {
    let mut path = Path::default();
    let mut orders = 0;
    loop {
        play(StoreFlaw::None, clients, may_drop, &mut path);
        orders += 1;
        if !path.advance() {
            return orders;
        }
    }
}

#[test]
fn every_order_of_polls_ends_alike() {
    use Client::{Starts, Stops, Visits, WaitsForReady, WaitsForTheEnd};
    let small: [(&[Client], Option<usize>); 3] = [
        (&[Starts, Stops(None)], None),
        (&[Starts, Stops(NOW)], Some(0)),
        (&[Starts, Stops(None)], Some(1)),
    ];
    let large: [(&[Client], Option<usize>); 3] = [
        (&[Visits, WaitsForTheEnd], Some(1)),
        (&[Visits, WaitsForReady], None),
        (&[Starts, Stops(None), Stops(NOW)], None),
    ];
    let how_many_large = rounds(0, large.len());
    let mut all = 0;
    for (clients, may_drop) in small.iter().chain(&large[..how_many_large]) {
        let orders = play_all(clients, *may_drop);
        println!("{clients:?}, dropped: {may_drop:?}: {orders} orders");
        all += orders;
    }
    println!("{all} orders");
}

#[test]
fn an_order_that_leaves_something_is_noticed() {
    let first = |flaw| play(flaw, &[Client::Visits], None, &mut Path::default());
    first(StoreFlaw::None);
    for flaw in [StoreFlaw::WithdrawsNothing, StoreFlaw::ReleasesNothing] {
        let played = catch_unwind(|| first(flaw));
        assert!(played.is_err(), "{flaw:?} is not noticed");
    }
}

/// So many threads.
const THREADS: usize = 16;

#[test]
fn sixteen_threads_on_one_handle_get_one_start_and_one_report() {
    let mut random = random();
    for _ in 0..rounds(20, 1_000) {
        let ground = Ground::new();
        let server = start(&ground).expect("nobody is there");
        let begin = Barrier::new(THREADS);
        let reports: Vec<Arc<StopReport>> = thread::scope(|scope| {
            let threads = (0..THREADS).map(|i| {
                let (handle, begin) = (server.handle(), &begin);
                let delay = random.u64(..200);
                scope.spawn(move || {
                    begin.wait();
                    (0..delay).for_each(|_| std::hint::spin_loop());
                    act(&handle, i)
                })
            });
            let threads: Vec<_> = threads.collect();
            let joined = threads.into_iter().map(|thread| thread.join());
            joined.map(|report| report.expect("no panic")).collect()
        });
        for report in &reports {
            assert!(Arc::ptr_eq(report, &reports[0]), "another report");
        }
        if reports[0].left.is_empty() {
            ground.assert_left_clean();
        }
    }
}

/// What a stop told. On a disk that takes longer than [`GRACE`](daymark_core::GRACE), the place stays with this process, which
/// is no fault.
fn report(stopped: Result<Arc<StopReport>, StopError>) -> Arc<StopReport> {
    match stopped {
        Ok(report) => report,
        Err(StopError::Unclean(report)) if matches!(report.left[..], [Leftover::Stuck]) => report,
        Err(error) => panic!("{error}"),
    }
}

/// One thread's part: it looks, asks again for what is there, gives up waiting, and stops.
fn act(handle: &Handle, i: usize) -> Arc<StopReport> {
    let mut events = handle.subscribe();
    for _ in 0..20 {
        // Whatever they are.
        drop((handle.status(), handle.stats(), handle.is_running()));
        drop(handle.wait_stopped().now_or_never());
        let second = handle.start().now_or_never();
        assert!(matches!(second, Some(Err(StartError::AlreadyStarted))));
    }
    let drain = Duration::from_millis(u64::try_from(i).unwrap_or_default());
    // Asked and given up.
    drop(handle.stop(Some(drain)).now_or_never());
    let stopped = wait_for(handle.stop(Some(drain)));
    while events.blocking_next().is_some() {}
    assert!(!handle.is_running());
    report(stopped)
}

/// Waits for a future in a thread of its own.
fn wait_for<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(future)
}

fn start(ground: &Ground) -> Result<Server, StartError> {
    Server::builder("concurrency-test")
        .state_dir(ground.dir())
        .app(Router::new())
        .start()
}

#[test]
fn of_sixteen_threads_that_start_in_one_place_one_at_a_time_serves() {
    let ground = Ground::new();
    let (serving, served) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let is_stuck = AtomicBool::new(false);
    let begin = Barrier::new(THREADS);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                begin.wait();
                for _ in 0..rounds(10, 300) {
                    let Some(server) = start_or_be_told(&ground) else {
                        continue;
                    };
                    assert_eq!(serving.fetch_add(1, Ordering::SeqCst), 0, "two at a time");
                    served.fetch_add(1, Ordering::SeqCst);
                    serving.fetch_sub(1, Ordering::SeqCst);
                    let left = !report(server.stop(Duration::ZERO)).left.is_empty();
                    is_stuck.fetch_or(left, Ordering::SeqCst);
                }
            });
        }
    });
    println!("{served:?} served");
    // Whoever found the place taken was told by whom, so the first of all has served.
    assert!(served.into_inner() > 0);
    if !is_stuck.into_inner() {
        ground.assert_left_clean();
    }
}

/// A server, or none if somebody else's is there.
fn start_or_be_told(ground: &Ground) -> Option<Server> {
    match start(ground) {
        Ok(server) => Some(server),
        // It is live, or comes and goes all the time.
        Err(StartError::Acquire(_) | StartError::TimedOut { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}
