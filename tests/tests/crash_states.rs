//! Whatever a disk may remember of a crash, at whichever operation of the file store.
//!
//! The store's own code runs on a model of a file system. By default a record fits a block, and of the crashes of what comes
//! after a crash it is a sample. All of them, with blocks of 32 bytes, and of 64 where there are two crashes, in some minutes:
//!
//! ```text
//! DAYMARK_TEST_FULL=1 cargo test --release -p daymark-tests --test crash_states -- --nocapture
//! ```

use std::collections::BTreeSet;
use std::path::Path;

use daymark_adapters::state_store::directory::{Access, Directory as _, OpenFile as _};
use daymark_tests::model_fs::explore::{Explorer, Left, Totals};
use daymark_tests::model_fs::scene::{Found, OWNER, Play, Violation};
use daymark_tests::model_fs::{Computer, Disk, Fault};
use daymark_tests::scale::{random, rounds};

/// All crashes of all runs that find what there may be.
fn crashes(explorer: &mut Explorer) -> Result<Vec<Left>, Violation> {
    let mut all = Vec::new();
    for found in Found::ALL {
        for play in Play::ALL {
            let left = explorer.crashes(&found.disk(), play);
            all.extend(left.map_err(|why| format!("{found:?}, {why}"))?);
        }
    }
    Ok(all)
}

fn recover_from(explorer: &mut Explorer, lefts: &[Left]) -> Result<(), Violation> {
    let mut each = lefts.iter();
    each.try_for_each(|left| {
        explorer
            .recover(left)
            .map_err(|why| format!("{left:?}: {why}"))
    })
}

#[expect(clippy::print_stderr, reason = "the totals are what one runs it for")]
fn tell(totals: Totals) {
    eprintln!("{totals:?}");
}

#[test]
fn no_crash_leaves_half_a_record_or_a_believed_one_or_hinders_the_next_start() {
    let mut explorer = Explorer::new(rounds(512, 32));
    let explored = crashes(&mut explorer).and_then(|left| recover_from(&mut explorer, &left));
    explored.unwrap_or_else(|why| panic!("{why}"));
    tell(explorer.totals);
}

#[test]
fn no_crash_of_what_follows_a_crash_does_either() {
    let mut explorer = Explorer::new(rounds(512, 64));
    let mut lefts = crashes(&mut explorer).unwrap_or_else(|why| panic!("{why}"));
    random().shuffle(&mut lefts);
    lefts.truncate(rounds(40, usize::MAX));
    for left in lefts {
        for play in [Play::StartAndStop, Play::Pruned] {
            let explored = explorer.recover_through_crashes(&left, play);
            explored.unwrap_or_else(|why| panic!("{left:?}: {why}"));
        }
    }
    tell(explorer.totals);
}

/// What is found where this goes wrong.
fn violation(fault: Fault) -> Violation {
    let mut explorer = Explorer::new(128);
    explorer.fault = fault;
    let found = crashes(&mut explorer).and_then(|left| recover_from(&mut explorer, &left));
    found.expect_err("a fault that isn't found")
}

fn assert_found(fault: Fault, words: &str) {
    let why = violation(fault);
    assert!(why.contains(words), "{why}");
}

#[test]
fn a_record_that_is_not_synced_is_seen_in_part() {
    assert_found(Fault::NotSynced, "half a record");
}

#[test]
fn a_record_that_is_synced_after_it_is_in_place_is_seen_in_part() {
    assert_found(Fault::SyncedAfterRename, "half a record");
}

#[test]
fn a_record_that_is_written_in_place_is_seen_in_part() {
    assert_found(Fault::WrittenInPlace, "half a record");
}

#[test]
fn a_record_that_is_locked_when_it_is_in_place_is_seen_without_a_proof() {
    assert_found(Fault::LockedAfterRename, "nobody vouches for it");
}

#[test]
fn a_temporary_file_that_a_recovery_leaves_is_found() {
    assert_found(Fault::TemporaryStays, "is still there after a recovery");
}

#[test]
fn a_record_that_is_unlocked_when_it_is_gone_is_believed_too_long() {
    assert_found(Fault::RemovedBeforeUnlock, "it stops, and is believed");
}

#[test]
fn locks_that_outlive_their_holder_are_believed() {
    let mut explorer = Explorer::new(128);
    explorer.locks_survive = true;
    let why = crashes(&mut explorer).expect_err("a fault that isn't found");
    assert!(why.contains("believes who was killed"), "{why}");
}

/// What a power cut may leave, in blocks of two bytes.
fn power_cuts(computer: &Computer) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut tell = |disk: Disk| {
        all.insert(format!("{disk:?}"));
    };
    computer.machine().power_cuts(2, &mut tell);
    all
}

fn disks<const N: usize>(disks: [Disk; N]) -> BTreeSet<String> {
    disks.iter().map(|disk| format!("{disk:?}")).collect()
}

#[test]
fn the_model_keeps_of_unsynced_data_any_blocks_and_any_length() {
    let path = Path::new("/a");
    let computer = Computer::run(Disk::default().with(path, b"1").boot());
    let file = computer.root(OWNER).open(path, Access::Write);
    file.and_then(|file| file.write(b"abc")).expect("written");
    let lefts = ["1", "a", "1\0", "ab", "1\0\0", "1\0c", "ab\0", "abc"];
    let expected = lefts.map(|left| Disk::default().with(path, left.as_bytes()));
    assert_eq!(power_cuts(&computer), disks(expected));
}

#[test]
fn the_model_keeps_synced_data_whole_and_each_name_or_not() {
    let computer = Computer::run(Disk::default().boot());
    let (root, a, b) = (computer.root(OWNER), Path::new("/a"), Path::new("/b"));
    let file = root.open(a, Access::New).expect("made");
    file.write(b"abc")
        .and_then(|()| file.sync())
        .and_then(|()| root.rename(a, b))
        .expect("renamed");
    let none = Disk::default();
    // One file with two names: the same as what a hard link makes.
    let both = none.clone().with(a, b"abc").linked(a, b);
    let expected = [
        none.clone(),
        none.clone().with(a, b"abc"),
        none.with(b, b"abc"),
        both,
    ];
    assert_eq!(power_cuts(&computer), disks(expected));
}
