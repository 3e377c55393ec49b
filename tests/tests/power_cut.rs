//! A real file system that loses its power.
//!
//! By default a sample. All of it, 300 cuts at random moments, in about four minutes:
//!
//! ```text
//! DAYMARK_TEST_FULL=1 cargo test --release -p daymark-tests --test power_cut -- --nocapture
//! ```
//!
//! It takes root and loop devices; where those aren't to be had, each test says so. No boot differs here from the one
//! before, so what keeps a reader from believing is the lock alone.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use daymark::Presence;
use daymark_adapters::record_json;
use daymark_tests::disk::Disk;
use daymark_tests::files::read_whole;
use daymark_tests::owner::{Owner, Said};
use daymark_tests::programs::can_run;
use daymark_tests::scale::{random, rounds};
use daymark_tests::trace::Tracer;

const OWNER: &str = env!("CARGO_BIN_EXE_owner");

/// The default, and what leaves most to the programs: data when it suits, and no care for who renames without a sync
/// (ext4(5)).
const OPTIONS: [&str; 2] = ["data=ordered", "data=writeback,noauto_da_alloc"];

#[test]
fn a_record_outlives_a_power_cut_whole_and_is_believed_by_nobody() {
    for options in OPTIONS {
        let Some(mut disk) = Disk::new(options) else {
            return;
        };
        let mut owner = Owner::start(OWNER, &disk.ground().dir());
        owner.ready();
        let published = read_whole(&disk.ground().record()).expect("it is ready");
        let switch = disk.switch();
        // So the rename is on the disk, and whether the content is, too, is up to the server.
        disk.commit().expect("it has power");
        switch.press();
        owner.kill();

        disk.mount_again(options);

        let ground = disk.ground();
        assert_eq!(read_whole(&ground.record()), Some(published), "{options}");
        assert_eq!(ground.presence(), Presence::Stale);
        assert_can_be_started_in(&disk);
    }
}

/// So the test above can fail.
#[test]
fn without_its_sync_a_record_is_torn_by_the_same_power_cut() {
    if !can_run(&["strace"]) {
        return;
    }
    for options in OPTIONS {
        let Some(mut disk) = Disk::new(options) else {
            return;
        };
        let mut owner = Owner::load(OWNER, &disk.ground().dir());
        owner.loaded();
        // The call is told that it succeeded, and nothing was done.
        let tracer = Tracer::attach(owner.pid(), "fsync", "retval=0", 1);
        owner.go();
        owner.ready();
        let switch = disk.switch();
        disk.commit().expect("it has power");
        switch.press();
        owner.kill();
        drop(tracer);

        disk.mount_again(options);

        let ground = disk.ground();
        let bytes = fs::read(ground.record()).expect("its rename was committed");
        assert!(record_json::read(&bytes).is_err(), "{options}: {bytes:?}");
        assert_eq!(ground.presence(), Presence::Corrupt);
        assert_can_be_started_in(&disk);
    }
}

#[test]
fn a_copy_of_a_living_servers_disk_is_believed_by_nobody() {
    let Some(disk) = Disk::new(OPTIONS[0]) else {
        return;
    };
    let mut owner = Owner::start(OWNER, &disk.ground().dir());
    owner.ready();
    disk.commit().expect("it has power");

    let copy = disk.copy(OPTIONS[0]);

    assert_eq!(disk.ground().presence(), Presence::Live);
    assert_eq!(copy.ground().presence(), Presence::Stale);
    assert_eq!(
        read_whole(&copy.ground().record()),
        read_whole(&disk.ground().record())
    );
    assert_can_be_started_in(&copy);
    owner.stop();
}

#[test]
fn a_power_cut_at_any_moment_leaves_a_whole_record_or_none_and_nothing_in_the_way() {
    let mut random = random();
    let (mut records, mut temporary, mut nothing) = (0, 0, 0);
    for options in OPTIONS {
        let Some(mut disk) = Disk::new(options) else {
            return;
        };
        let life = typical_life(&disk);
        for _ in 0..rounds(5, 150) {
            let switch = disk.switch();
            let dir = disk.ground().dir();
            let moment = life.mul_f32(3.0 * random.f32());
            let others_commit = random.bool();
            let owner = std::thread::scope(|scope| {
                let lives = random.fork();
                let living = scope.spawn(move || start_and_stop_until_it_fails(&dir, life, lives));
                if others_commit {
                    scope.spawn(|| while disk.commit().is_ok() {});
                }
                // Nothing waits for it: it is the random moment at which the power goes.
                std::thread::sleep(moment);
                switch.press();
                living.join().expect("nothing else goes wrong")
            });
            drop(owner);

            disk.mount_again(options);

            let ground = disk.ground();
            if ground.dir().exists() {
                ground.assert_survivable();
            }
            let names = ground.names();
            records += usize::from(ground.record().exists());
            temporary += usize::from(names.iter().any(|name| name.ends_with(".tmp")));
            nothing += usize::from(names.is_empty());
            assert_can_be_started_in(&disk);
        }
    }
    println!("left: {records} whole records, {temporary} temporary files, {nothing} times nothing");
}

/// One server after another in `dir`, until one can't start or stop there any more. Gives back the one that is left, which
/// lives.
fn start_and_stop_until_it_fails(dir: &Path, life: Duration, mut random: fastrand::Rng) -> Owner {
    loop {
        let mut owner = Owner::start(OWNER, dir);
        if !matches!(owner.hear(), Some(Said::Ready(..))) {
            return owner;
        }
        // It serves for a while, or not at all.
        std::thread::sleep(life.mul_f32((2.0 * random.f32() - 1.0).max(0.0)));
        owner.ask_to_stop();
        match owner.hear() {
            Some(Said::Stopped(0)) => drop(owner),
            _ => return owner,
        }
    }
}

/// How long a start and a stop take here.
fn typical_life(disk: &Disk) -> Duration {
    let begun = Instant::now();
    let mut owner = Owner::start(OWNER, &disk.ground().dir());
    owner.ready();
    owner.stop();
    begun.elapsed()
}

/// The next start succeeds, and its stop leaves nothing but the free lock.
fn assert_can_be_started_in(disk: &Disk) {
    let ground = disk.ground();
    let mut owner = Owner::start(OWNER, &ground.dir());
    owner.ready();
    assert_eq!(ground.presence(), Presence::Live);
    let temporary = |name: &String| name.ends_with(".tmp");
    assert!(
        !ground.names().iter().any(temporary),
        "{:?}",
        ground.names()
    );
    owner.stop();
    ground.assert_left_clean();
}
