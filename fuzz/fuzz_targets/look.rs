//! Whatever stands in `server.json` and `server.lock`: looking neither panics nor hangs, changes nothing, and never takes
//! for alive what nobody vouches for.
//!
//! The input is the record's bytes and the lock file's, with a NUL between them.

#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::LazyLock;

use daymark_adapters::identity;
use daymark_adapters::state_store::{LOCK, Look, RECORD};
use daymark_core::presence::{LockSeen, Observation, Presence, judge};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static DIR: LazyLock<TempDir> = LazyLock::new(daymark_fuzz::scratch);

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |&b| b == 0);
    for name in [RECORD, LOCK] {
        let path = DIR.path().join(name);
        match parts.next() {
            Some(content) => fs::write(path, content).expect("a file is written"),
            None => drop(fs::remove_file(path)),
        }
    }
    look_and_check(DIR.path());
    // The same with an owner, who has published none of it.
    if let Ok(lock) = fs::File::open(DIR.path().join(LOCK)) {
        lock.lock().expect("the lock file is locked");
        look_and_check(DIR.path());
        lock.unlock().expect("the lock file is unlocked");
    }
});

fn look_and_check(dir: &Path) {
    let before = everything_in(dir);
    let look = Look::at(dir);
    assert_eq!(everything_in(dir), before);

    let seen = look.observation();
    assert!(
        !matches!(seen, Observation::Record(_, LockSeen::Held)),
        "{seen:?}"
    );
    assert!(!look.still_holds(), "{seen:?}");
    let presence = judge(seen, identity::origin()).presence;
    assert!(
        !matches!(presence, Presence::Live | Presence::Unreachable),
        "{seen:?}"
    );
}

type Files = BTreeMap<std::ffi::OsString, (u64, u32, i64, i64, Vec<u8>)>;

fn everything_in(dir: &Path) -> Files {
    let entries = fs::read_dir(dir).expect("the directory is listed");
    entries
        .map(|entry| {
            let entry = entry.expect("an entry");
            let meta = entry.metadata().expect("its metadata");
            let content = fs::read(entry.path()).expect("its content");
            let (modified, changed) = (meta.mtime_nsec(), meta.ctime_nsec());
            let file = (meta.ino(), meta.mode(), modified, changed, content);
            (entry.file_name(), file)
        })
        .collect()
}
