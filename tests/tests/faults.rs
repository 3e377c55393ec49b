//! One call to the store goes wrong, in every place and in every way: the run ends all the same, and leaves nothing.

use std::sync::Arc;
use std::time::Duration;

use daymark_adapters::clock::ManualClock;
use daymark_adapters::http_server::MemoryHttp;
use daymark_adapters::port_picker::MemoryPorts;
use daymark_adapters::state_store::FileStore;
use daymark_core::presence::{LockSeen, Observation};
use daymark_core::state_store::StateStore;
use daymark_core::{
    GRACE, Leftover, LifecycleEvent, ServerRunner, Status, StopCause, StopError, StopReport,
};
use daymark_tests::client::PATIENCE;
use daymark_tests::failing::{Call, FailingStore, Fault, Wrong};
use daymark_tests::files::Ground;
use daymark_tests::sample;
use daymark_tests::world::{Run, World};

/// More often than any of them is called in a run.
const MOST_CALLS: usize = 4;

const STEP: Duration = Duration::from_millis(100);

/// How often to look, in real time, whether a fault has happened.
const A_MOMENT: Duration = Duration::from_millis(1);

fn all_faults() -> impl Iterator<Item = Fault> {
    let faults = |call| {
        (1..=MOST_CALLS)
            .flat_map(move |nth| Wrong::ALL.map(|wrong| Fault { call, nth, wrong }))
            // What can't fail can still hang.
            .filter(|fault| fault.call != Call::Inspect || fault.wrong.hangs())
    };
    Call::OF_A_STORE.into_iter().flat_map(faults)
}

/// Moves time on until the run is over; how long that was.
fn wait_until_over(world: &World, run: &mut Run, at_most: Duration) -> (Duration, Arc<StopReport>) {
    let mut waited = Duration::ZERO;
    loop {
        run.settle();
        world.check();
        if let Some(report) = run.report() {
            return (waited, report);
        }
        assert!(waited < at_most, "it waits for ever");
        world.clock.advance(STEP);
        waited += STEP;
    }
}

/// A run that starts, loses its record, then its ownership, and stops with a request in flight.
fn play(fault: Fault, drain: Duration) -> bool {
    let world = World::new();
    let store = FailingStore::new(world.store.clone(), fault);
    let mut run = world.run(1, store.clone());
    let plan = sample::plan(1);

    run.start();
    if !matches!(run.handle.status(), Status::Ready(_)) {
        let (waited, report) = wait_until_over(&world, &mut run, plan.start_timeout + 2 * GRACE);
        assert!(
            matches!(report.cause, StopCause::StartFailed(_)),
            "{report:?}"
        );
        assert!(waited <= plan.start_timeout + GRACE, "too long: {waited:?}");
        assert_nothing_is_left(&world, &store, fault, &run, &report);
        return store.has_failed();
    }
    world.check();
    for lose in [
        daymark_adapters::state_store::MemoryStore::lose_record,
        daymark_adapters::state_store::MemoryStore::lose_ownership,
    ] {
        lose(&world.store);
        run.settle();
        world.check();
        // After a failed repair the clock wakes the next.
        world.clock.advance(plan.look_every);
        run.settle();
        world.check();
    }
    let server = run.http.last().expect("it was started");
    assert!(server.begin_request(), "it serves, whatever the store does");

    run.stop(Some(drain));
    world.check();
    let (waited, report) = wait_until_over(&world, &mut run, drain + 3 * GRACE);
    assert!(matches!(report.cause, StopCause::Asked), "{report:?}");
    assert!(waited <= drain + GRACE, "too long: {waited:?}");
    assert_eq!((report.drained, report.aborted), (0, 1));
    assert_nothing_is_left(&world, &store, fault, &run, &report);
    store.has_failed()
}

fn assert_nothing_is_left(
    world: &World,
    store: &FailingStore<impl StateStore>,
    fault: Fault,
    run: &Run,
    report: &Arc<StopReport>,
) {
    world.check();
    assert_eq!(world.believed(), None, "nobody serves");
    assert_eq!(world.ports.held(), [], "a port is held");

    let again = futures_util::FutureExt::now_or_never(run.handle.stop(None));
    match again.expect("it is over") {
        Ok(same) => assert!(Arc::ptr_eq(&same, report) && report.left.is_empty()),
        Err(StopError::Unclean(same)) => {
            assert!(Arc::ptr_eq(&same, report) && !report.left.is_empty());
        }
        Err(error) => panic!("it has a report: {error}"),
    }
    let is_stuck = report
        .left
        .iter()
        .any(|left| matches!(left, Leftover::Stuck));
    // An inspection changes nothing, so nobody has to wait for its end.
    let hangs = store.has_failed() && fault.wrong.hangs() && fault.call != Call::Inspect;
    assert_eq!(is_stuck, hangs, "{report:?}");

    if !is_stuck {
        let mut next = world.run(2, world.store.clone());
        next.start();
        let status = next.handle.status();
        assert!(matches!(status, Status::Ready(_)), "{status:?}");
    }
}

#[test]
fn whichever_call_goes_wrong_a_run_ends_and_leaves_nothing() {
    let mut happened = 0;
    for fault in all_faults() {
        for drain in [Duration::ZERO, Duration::from_secs(5)] {
            println!("{fault:?}, drain {drain:?}");
            happened += usize::from(play(fault, drain));
        }
    }
    println!("{happened} faults");
    assert!(happened >= 70, "only {happened} of the faults happened");
}

#[test]
fn a_call_that_hangs_is_reported_after_the_deadline_and_one_grace() {
    let drain = Duration::from_secs(5);
    let fault = Fault {
        call: Call::Withdraw,
        nth: 1,
        wrong: Wrong::HangsBefore,
    };
    let world = World::new();
    let mut run = world.run(1, FailingStore::new(world.store.clone(), fault));
    run.start();
    run.stop(Some(drain));
    assert!(
        world.believed().is_some(),
        "the call that would end it hangs"
    );
    let (waited, report) = wait_until_over(&world, &mut run, drain + 2 * GRACE);
    assert_eq!((waited, report.took), (drain + GRACE, drain + GRACE));
    assert!(matches!(*report.left, [Leftover::Stuck]), "{report:?}");
    assert_eq!(world.believed(), None);

    // Whatever hangs may still write, so nobody else owns the place before this process has ended.
    let mut next = world.run(2, world.store.clone());
    next.start();
    assert!(matches!(next.handle.status(), Status::Starting));
}

#[test]
fn a_run_over_real_files_ends_and_leaves_nothing_either() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    for fault in all_faults().filter(|fault| fault.nth <= 2) {
        println!("{fault:?}");
        runtime.block_on(async {
            tokio::time::timeout(PATIENCE, play_over_files(fault))
                .await
                .unwrap_or_else(|_| panic!("{fault:?}: it waits for ever"));
        });
    }
    runtime.shutdown_background();
}

/// Returns when the fault has happened.
async fn until_failed(store: &FailingStore<FileStore>) {
    while !store.has_failed() {
        tokio::time::sleep(A_MOMENT).await;
    }
}

async fn play_over_files(fault: Fault) {
    let ground = Ground::new();
    let plan = sample::plan(1);
    let files = FileStore::new(&ground.dir()).expect("an absolute path");
    let store = FailingStore::new(files.clone(), fault);
    let (ports, clock) = (MemoryPorts::default(), ManualClock::at(sample::NOW));
    let (runner, handle) = ServerRunner::new(
        ports.clone(),
        MemoryHttp::default(),
        store.clone(),
        clock.clone(),
        plan,
    );
    let mut events = handle.subscribe();
    let running = tokio::spawn(runner.run());
    let scenario = async {
        if handle.start().await.is_err() {
            return;
        }
        for path in [ground.record(), ground.lock()] {
            std::fs::remove_file(path).expect("it is there");
            let put_right = async {
                while let Some(event) = events.next().await {
                    if matches!(event, LifecycleEvent::Republished) {
                        break;
                    }
                }
            };
            tokio::select! {
                () = put_right => {}
                () = until_failed(&store) => {}
            }
        }
        // Only a stop's own report is asked for.
        drop(handle.stop(None).await);
    };
    // Time stands still, until a call hangs: then nothing else is left to wait for.
    let time = async {
        until_failed(&store).await;
        while fault.wrong.hangs() {
            clock.advance(STEP);
            tokio::time::sleep(A_MOMENT).await;
        }
        std::future::pending().await
    };
    tokio::select! {
        () = scenario => {}
        () = time => {}
    }
    let report = running.await.expect("it doesn't panic");

    let observation = store.observe().await;
    let is_believed = matches!(observation, Observation::Record(_, LockSeen::Held));
    assert!(!is_believed, "nobody serves: {observation:?}");
    assert_eq!(ports.held(), [], "a port is held");
    let is_stuck = report
        .left
        .iter()
        .any(|left| matches!(left, Leftover::Stuck));
    if !is_stuck {
        files
            .acquire()
            .await
            .unwrap_or_else(|error| panic!("{error}"));
    }
}
