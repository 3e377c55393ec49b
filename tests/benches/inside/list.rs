//! Looking at one to ten thousand state directories, half of them live, against reading and parsing the files.

use std::fs::File;
use std::hint::black_box;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use daymark_adapters::record_json;
use daymark_core::clock::Timestamp;
use daymark_core::record::{Endpoint, HeldBy, InstanceId, Name, Origin, ServerRecord};
use rustix::process::{Resource, getrlimit};

use super::figures::plot::Plot;
use super::figures::{Contender, Report, Target, on_disk, rounds};

const PLACES: [u16; 4] = [1, 100, 1_000, 10_000];

/// Set for the process that measures, which finds the directories where a user's are.
const MEASURES: &str = "DAYMARK_BENCH_MEASURES";

/// A link to the homes of one, a hundred and so on, one after the other.
const CURRENT: &str = "current";

pub(super) fn is_measuring_process() -> bool {
    std::env::var_os(MEASURES).is_some()
}

pub(super) fn measure(_: &mut Report) {
    let disk = on_disk();
    let myself = std::env::current_exe().expect("this program");
    let measured = std::process::Command::new(myself)
        .env("XDG_STATE_HOME", disk.path().join(CURRENT))
        .env(MEASURES, "1")
        .status();
    assert!(measured.expect("it can be run").success());
}

/// A process of its own, for it is the environment that says where servers are found.
pub(super) fn in_a_process_of_its_own() {
    let root = daymark::directories::state_root().expect("it was given");
    let current = root.ancestors().nth(2).expect("what was given").to_owned();
    let mut report = Report::new("list");
    let mut curves: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
    for places in PLACES {
        // Not there before the first.
        let _ = std::fs::remove_file(&current);
        symlink(places.to_string(), &current).expect("a link");
        let _live = fill(&current.with_file_name(places.to_string()), places);
        let many = rounds((20_000 / usize::from(places).max(100)).max(10));
        let timed = |work: &dyn Fn() -> usize| -> Duration {
            let began = Instant::now();
            assert_eq!(black_box(work()), usize::from(places));
            began.elapsed()
        };
        let rows = report.compare(
            &format!("list of {places}, half of them live, µs"),
            many,
            vec![
                Contender::new("readdir, open, read, parse, try the lock", || {
                    timed(&|| read_all(&root, true))
                }),
                Contender::new("the same without the lock", || {
                    timed(&|| read_all(&root, false))
                }),
                Contender::new("daymark::list", || {
                    timed(&|| {
                        let all = daymark::list().expect("they are listed");
                        let live = all.iter().filter(|sighting| sighting.is_live()).count();
                        assert_eq!(live, live_of(places));
                        all.len()
                    })
                })
                .target(Target::Times(1.5)),
            ],
        );
        for row in rows {
            let point = (f64::from(places), row.median);
            match curves.iter_mut().find(|(name, _)| *name == row.name) {
                Some((_, points)) => points.push(point),
                None => curves.push((row.name, vec![point])),
            }
        }
    }
    Plot {
        title: "Listing servers",
        across: "servers",
        up: "microseconds",
        lines: curves,
    }
    .write("list");
    report.finish();
}

/// Every second one, as far as there are descriptors for their locks.
fn live_of(places: u16) -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let most = usize::try_from(limit / 3).unwrap_or(usize::MAX);
    (usize::from(places) / 2).min(most)
}

/// Makes state directories as servers leave them, which are live as long as the files are open.
fn fill(home: &Path, places: u16) -> Vec<File> {
    let live = live_of(places);
    (1..=places)
        .filter_map(|port| {
            let name = format!("server-{port}");
            let dir = home.join("daymark/run").join(&name);
            std::fs::create_dir_all(&dir).expect("a state directory");
            let path = dir.join("server.json");
            write(&path, &record(&name, port));
            let lock = dir.join("server.lock");
            let is_live = port % 2 == 0 && usize::from(port / 2) <= live;
            // No process has the other number (proc(5), pid_max).
            let pid = match is_live {
                true => std::process::id(),
                false => i32::MAX.cast_unsigned(),
            };
            write(
                &lock,
                format!("{pid} {port:032x} serving {port}\n").as_bytes(),
            );
            is_live.then_some([path, lock])
        })
        .flatten()
        .map(|path| {
            let file = File::open(path).expect("it is there");
            file.lock().expect("it is free");
            file
        })
        .collect()
}

/// A new file that is its owner's alone: else a lock on it would prove nothing.
pub(super) fn write(path: &Path, record: &[u8]) {
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .expect("a new record");
    file.write_all(record).expect("it is written");
}

pub(super) fn record(name: &str, port: u16) -> Vec<u8> {
    record_json::write(&ServerRecord {
        endpoint: Endpoint::v4(port.try_into().expect("not zero")),
        pid: std::process::id(),
        started_at: Timestamp::from_unix_micros(1_800_000_000_000_000),
        name: Name::made_from(name),
        instance_id: Some(InstanceId::from_bits(port.into())),
        held_by: HeldBy::Owner,
        restarts: None,
        origin: Origin::default(),
        app: None,
        token: None,
    })
}

fn read_all(root: &Path, with_lock: bool) -> usize {
    let entries = std::fs::read_dir(root).expect("the root");
    entries
        .map(|entry| {
            let path = entry.expect("an entry").path().join("server.json");
            let (file, port) = super::looking::read(&path);
            black_box(port);
            if with_lock && file.try_lock_shared().is_ok() {
                file.unlock().expect("it was locked");
            }
        })
        .count()
}
