//! Many at once, at the worst moments, and nobody may be wrong about who is there.
//!
//! By default a sample. All of it, in about ten minutes:
//!
//! ```text
//! DAYMARK_TEST_FULL=1 cargo test --release -p daymark-tests --test races -- --nocapture
//! ```
//!
//! Sixteen starters at once, and kills, are in `crash.rs`; what one owner does about what it lost, in `custody.rs`.
#![cfg(target_os = "linux")]

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::time::Duration;

use async_trait::async_trait;
use daymark::{LifecycleEvent, Presence};
use daymark_adapters::clock::SystemClock;
use daymark_adapters::http_server::MemoryHttp;
use daymark_adapters::port_picker::MemoryPorts;
use daymark_adapters::record_json;
use daymark_adapters::state_store::FileStore;
use daymark_core::clock::{Clock, Moment, Timestamp};
use daymark_core::{ServerRunner, StartError};
use daymark_tests::client::Client;
use daymark_tests::files::Ground;
use daymark_tests::onlookers::Onlookers;
use daymark_tests::owner::{Owner, Said, exit};
use daymark_tests::printed_reader::PrintedReader;
use daymark_tests::programs::can_run;
use daymark_tests::sample;
use daymark_tests::scale::{random, rounds};
use rustix::process::Signal;

const OWNER: &str = env!("CARGO_BIN_EXE_owner");

/// Longer than a start takes, or a stop.
const PHASE: Duration = Duration::from_millis(15);

#[test]
fn readers_are_right_about_servers_that_come_and_go() {
    let ground = Ground::new();
    let onlookers = Onlookers::of(&ground.dir());
    for _ in 0..rounds(25, 2_000) {
        let dead = onlookers.nobody_lives();
        let mut owner = Owner::load(OWNER, &ground.dir());
        owner.loaded();
        drop(dead);
        owner.go();
        owner.ready();
        assert_eq!(ground.presence(), Presence::Live);
        owner.stop();
        ground.assert_left_clean();
        let dead = onlookers.nobody_lives();
        onlookers.look_once_more();
        drop(dead);
    }
    println!("{} looks", onlookers.end());
}

#[test]
fn the_printed_reader_is_right_about_servers_that_come_and_go() {
    if !can_run(&["python3"]) {
        return;
    }
    let ground = Ground::new();
    let mut reader = PrintedReader::of(&ground.dir());
    for round in 0..rounds(25, 2_000) {
        reader.somebody_may_live();
        let mut owner = Owner::start(OWNER, &ground.dir());
        let (url, _) = owner.ready();
        let seen = reader.looks_once_more();
        assert!(seen.contains(&format!("live {url}")), "{seen:?}");
        // So that its record is left now and then.
        match round % 2 {
            0 => owner.stop(),
            _ => owner.kill(),
        }
        reader.nobody_lives();
        reader.looks_once_more();
    }
    println!("{} looks", reader.end());
}

/// A stopped process isn't a dead one.
#[test]
fn an_owner_that_is_halted_at_any_moment_is_still_the_only_one() {
    let mut random = random();
    let (mut first_won, mut second_won, mut both_in_turn) = (0, 0, 0);
    for round in 0..rounds(20, 1_000) {
        let ground = Ground::new();
        let mut first = Owner::load(OWNER, &ground.dir());
        first.loaded();
        let onlookers = Onlookers::of(&ground.dir());
        first.go();
        let is_stopping = random.bool();
        let mut said = Vec::new();
        if is_stopping {
            said.push(first.hear().expect("it starts"));
            first.ask_to_stop();
        }
        pause(&mut random);
        first.halt();
        let mut second = Owner::start(OWNER, &ground.dir());
        pause(&mut random);
        first.signal(Signal::CONT);

        let answer = second.hear().expect("it answers");
        said.extend(first.hear());
        match (said.as_slice(), &answer) {
            ([Said::Ready(url, id)], Said::Already(other_url, other_id)) => {
                assert_eq!((url, id), (other_url, other_id), "round {round}");
                assert_serves(&ground, id);
                first_won += 1;
                first.stop();
            }
            ([Said::Already(other_url, other_id)], Said::Ready(url, id)) => {
                assert_eq!((url, id), (other_url, other_id), "round {round}");
                assert_serves(&ground, id);
                second_won += 1;
                second.stop();
            }
            // It was named when it had not heard yet that it is to stop.
            ([Said::Ready(url, id), Said::Stopped(0)], Said::Already(other_url, other_id)) => {
                assert_eq!((url, id), (other_url, other_id), "round {round}");
                first_won += 1;
            }
            ([Said::Ready(..), Said::Stopped(0)], Said::Ready(_, id)) => {
                assert_serves(&ground, id);
                both_in_turn += 1;
                second.stop();
            }
            other => panic!("round {round}: {other:?}"),
        }
        let _ = onlookers.end();
        ground.assert_left_clean();
    }
    println!("{first_won} times the first, {second_won} the second, {both_in_turn} in turn");
}

#[test]
fn an_owner_that_was_halted_while_another_took_its_place_gives_way() {
    for _ in 0..rounds(5, 100) {
        let ground = Ground::new();
        let mut first = Owner::start(OWNER, &ground.dir());
        first.ready();
        first.halt();
        fs::remove_dir_all(ground.dir()).expect("remove the directory");
        let mut second = Owner::start(OWNER, &ground.dir());
        let (_, id) = second.ready();
        first.signal(Signal::CONT);

        assert_eq!(first.hear(), Some(Said::Stopped(0)));

        assert_serves(&ground, &id);
        second.stop();
        ground.assert_left_clean();
    }
}

#[test]
fn a_lock_file_that_is_removed_while_others_start_changes_nothing_for_its_owner() {
    let ground = Ground::new();
    let mut owner = Owner::start(OWNER, &ground.dir());
    let (url, id) = owner.ready();
    let onlookers = Onlookers::of(&ground.dir());
    for round in 0..rounds(20, 500) {
        let mut starters: Vec<Owner> = (0..4).map(|_| Owner::load(OWNER, &ground.dir())).collect();
        starters.iter_mut().for_each(Owner::loaded);
        starters.iter_mut().for_each(Owner::go);
        // It may be that nobody has made it again yet.
        drop(fs::remove_file(ground.lock()));
        for starter in &mut starters {
            let named = Said::Already(url.clone(), id.clone());
            assert_eq!(starter.hear(), Some(named), "round {round}");
            assert_eq!(starter.wait().code(), Some(exit::ALREADY_RUNNING));
        }
        assert_serves(&ground, &id);
    }
    println!("{} looks", onlookers.end());
    owner.stop();
    ground.assert_left_clean();
}

#[test]
fn when_all_is_removed_under_an_owner_while_another_starts_exactly_one_is_left() {
    let (mut stayed, mut succeeded) = (0, 0);
    for round in 0..rounds(20, 500) {
        let ground = Ground::new();
        let mut first = Owner::start(OWNER, &ground.dir());
        let (_, first_id) = first.ready();
        let mut second = Owner::load(OWNER, &ground.dir());
        second.loaded();
        second.go();
        match round % 2 {
            0 => fs::rename(ground.dir(), ground.dir().with_file_name("elsewhere")),
            _ => fs::remove_file(ground.lock()).and_then(|()| fs::remove_file(ground.record())),
        }
        .expect("it is there");

        match second.hear().expect("it answers") {
            Said::Ready(_, id) => {
                assert_eq!(first.hear(), Some(Said::Stopped(0)), "round {round}");
                assert_serves(&ground, &id);
                second.stop();
                succeeded += 1;
            }
            Said::Already(_, named) => {
                assert_eq!(named, first_id, "round {round}");
                second.wait();
                first.stop();
                stayed += 1;
            }
            other => panic!("round {round}: {other:?}"),
        }
        ground.assert_left_clean();
    }
    println!("{stayed} times the first stayed, {succeeded} times the second succeeded it");
}

#[test]
fn a_wall_clock_that_is_set_back_all_the_time_changes_nothing() {
    let ground = Ground::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let ports = MemoryPorts::default();
    let run = |instance| {
        let store = FileStore::new(&ground.dir()).expect("a path");
        let (http, clock) = (MemoryHttp::default(), Backwards::default());
        ServerRunner::new(ports.clone(), http, store, clock, sample::plan(instance))
    };
    runtime.block_on(async {
        let (runner, handle) = run(1);
        let mut events = handle.subscribe();
        let running = tokio::spawn(runner.run());
        let record = handle.start().await.expect("a start");
        for _ in 0..3 {
            fs::remove_file(ground.record()).expect("remove the record");
            while !matches!(events.next().await, Some(LifecycleEvent::Republished)) {}
            let (other, asking) = run(2);
            let other = tokio::spawn(other.run());
            let error = asking.start().await.expect_err("it is owned");
            let StartError::Acquire(_) = &error else {
                panic!("{error}");
            };
            assert_eq!(error.already_running(), Some(&*record));
            other.await.expect("it ends");
            let sighting = ground.place().look();
            // Memory's ports aren't this machine's, but its files are.
            assert_eq!(sighting.record.as_ref(), Some(&*record));
        }
        handle.request_stop(None);
        let report = running.await.expect("it ends");
        assert!(report.left.is_empty(), "{report:?}");
    });
    ground.assert_left_clean();
}

#[test]
fn when_a_server_says_that_it_started_does_not_decide_whether_it_lives() {
    let mut record = sample::record(1, 1);
    record.origin = daymark_adapters::identity::origin().clone();
    for year in [-62_167_219_200_i64, 0, 1_795_328_700, 253_402_300_799] {
        let ground = Ground::new();
        let mut private = fs::DirBuilder::new();
        private
            .mode(0o700)
            .create(ground.dir())
            .expect("a directory");
        record.started_at = Timestamp::from_unix_micros(year * 1_000_000);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(ground.record()).expect("a file");
        file.write_all(&record_json::write(&record)).expect("write");
        assert_eq!(ground.presence(), Presence::Stale, "{year}");
        file.lock().expect("lock it");
        assert_eq!(ground.presence(), Presence::Live, "{year}");
        file.unlock().expect("unlock it");
        assert_eq!(ground.presence(), Presence::Stale, "{year}");
    }
}

/// So that what is said to be right above was seen to be.
#[test]
fn whoever_looks_on_notices_half_a_record_and_a_proof_that_outlives_its_owner() {
    let half = |ground: &Ground| {
        let whole = record_json::write(&sample::record(1, 1));
        fs::write(ground.record(), &whole[..whole.len() / 2]).expect("write half of it");
    };
    let outliving = |ground: &Ground| {
        let file = File::create(ground.record()).expect("a file");
        file.lock().expect("lock it");
        let mut record = sample::record(1, 1);
        record.origin = daymark_adapters::identity::origin().clone();
        (&file)
            .write_all(&record_json::write(&record))
            .expect("write");
        std::mem::forget(file);
    };
    let faults: [&dyn Fn(&Ground); 2] = [&half, &outliving];
    for fault in faults {
        let ground = Ground::new();
        fs::create_dir(ground.dir()).expect("a directory");
        let onlookers = Onlookers::of(&ground.dir());
        let dead = onlookers.nobody_lives();
        onlookers.look_once_more();
        fault(&ground);
        assert!(fails(|| onlookers.look_once_more()));
        drop(dead);
    }
    if !can_run(&["python3"]) {
        return;
    }
    for fault in faults {
        let ground = Ground::new();
        fs::create_dir(ground.dir()).expect("a directory");
        let mut reader = PrintedReader::of(&ground.dir());
        reader.looks_once_more();
        fault(&ground);
        assert!(fails(|| drop(reader.looks_once_more())));
    }
}

fn fails(look: impl FnOnce()) -> bool {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(look)).is_err()
}

/// A clock whose wall time is another year at every look, earlier than before.
#[derive(Debug, Default)]
struct Backwards {
    looks: std::sync::atomic::AtomicI64,
}

#[async_trait]
impl Clock for Backwards {
    fn now(&self) -> Timestamp {
        const YEAR: i64 = 365 * 24 * 60 * 60 * 1_000_000;
        let looks = self.looks.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Timestamp::from_unix_micros(sample::NOW.unix_micros() - looks * YEAR)
    }

    fn monotonic(&self) -> Moment {
        SystemClock.monotonic()
    }

    async fn sleep_until(&self, deadline: Moment) {
        SystemClock.sleep_until(deadline).await;
    }
}

/// The server of this instance is there, is believed, and answers.
fn assert_serves(ground: &Ground, instance: &str) {
    let sighting = ground.place().look();
    assert_eq!(sighting.presence, Presence::Live);
    let record = sighting.record.expect("a live server has a record");
    assert_eq!(
        record.instance_id.map(|id| id.to_string()).as_deref(),
        Some(instance)
    );
    let answer = Client::connect(record.endpoint.addr()).get("/");
    assert_eq!(answer.body, b"hello\n");
}

/// A random time up to a phase's. Nothing waits for it: it is the random moment that something comes at.
fn pause(random: &mut fastrand::Rng) {
    std::thread::sleep(PHASE.mul_f32(random.f32()));
}
