//! Looking at a thousand state directories, half of them live, against reading and parsing the files and no more.

use std::fs::File;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use daymark_adapters::record_json;
use daymark_core::clock::Timestamp;
use daymark_core::record::{Endpoint, HeldBy, InstanceId, Name, Origin, ServerRecord};

use self::figures::{Contender, compare};

mod figures;

const ROUNDS: usize = 50;
const PLACES: u16 = 1_000;

/// Set for the process that measures, which finds the directories where a user's are.
const MEASURES: &str = "DAYMARK_BENCH_MEASURES";

fn main() {
    if std::env::var_os(MEASURES).is_some() {
        return measure();
    }
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let _live = (1..=PLACES)
        .map(|port| place(home.path(), port))
        .filter(|(port, _)| port % 2 == 0)
        .collect::<Vec<_>>();
    let myself = std::env::current_exe().expect("this program");
    let measured = std::process::Command::new(myself)
        .env("XDG_STATE_HOME", home.path())
        .env(MEASURES, "1")
        .status();
    assert!(measured.expect("it can be run").success());
}

/// Makes a state directory with a record, which is live as long as the file is open.
fn place(home: &Path, port: u16) -> (u16, File) {
    let name = format!("server-{port}");
    let dir = home.join("daymark/run").join(&name);
    std::fs::create_dir_all(&dir).expect("a state directory");
    let record = ServerRecord {
        endpoint: Endpoint::v4(port.try_into().expect("not zero")),
        pid: std::process::id(),
        started_at: Timestamp::from_unix_micros(1_800_000_000_000_000),
        name: Name::made_from(&name),
        instance_id: Some(InstanceId::from_bits(port.into())),
        held_by: HeldBy::Owner,
        restarts: None,
        origin: Origin::default(),
        app: None,
        token: None,
    };
    let path = dir.join("server.json");
    std::fs::write(&path, record_json::write(&record)).expect("a record");
    let file = File::open(path).expect("the record");
    file.lock().expect("it is free");
    (port, file)
}

fn measure() {
    let root = daymark::directories::state_root().expect("it was given");
    let timed = |work: &dyn Fn() -> usize| -> Duration {
        let began = Instant::now();
        assert_eq!(black_box(work()), usize::from(PLACES));
        began.elapsed()
    };
    let contenders = vec![
        Contender::new("open, read, parse", || timed(&|| read_all(&root))),
        Contender::new("daymark::list", || {
            timed(&|| {
                let all = daymark::list().expect("they are listed");
                let live = all.iter().filter(|sighting| sighting.is_live()).count();
                assert_eq!(live, usize::from(PLACES) / 2);
                all.len()
            })
        }),
    ];
    compare("1,000 places, 500 of them live", ROUNDS, contenders);
}

fn read_all(root: &Path) -> usize {
    let entries = std::fs::read_dir(root).expect("the root");
    entries
        .filter_map(|entry| {
            let bytes = std::fs::read(entry.ok()?.path().join("server.json")).ok()?;
            serde_json::from_slice::<serde_json::Value>(&bytes).ok()
        })
        .map(black_box)
        .count()
}
