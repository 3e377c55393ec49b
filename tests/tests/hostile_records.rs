//! Hostile records: whatever stands in `server.json`, and in whatever else is read, every verb ends with a reason, in bounded
//! memory, follows no URL that isn't a loopback literal, and says nothing that could command a terminal.
//!
//! Longer than others: it is mostly lists of what may stand there.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use daymark::{Place, Presence};
use daymark_adapters::identity;
use daymark_adapters::log_file::LogReader;
use daymark_adapters::state_store::RECORD;
use daymark_tests::others::{Yard, words};
use daymark_tests::scale;
use rustix::process::{Pid, Signal, kill_process};

const DAYMARK: &str = env!("CARGO_BIN_EXE_supervisor");

/// What commands terminals, in all the ways there are: CSI, OSC with both ends, DCS, one byte C1, a bell, a carriage return,
/// and what turns, hides or breaks lines.
const NASTY: &str = "\u{1b}[31m\u{1b}]0;title\u{7}\u{1b}]8;;http://evil/\u{1b}\\\u{1b}P+q\u{1b}\\\u{9b}2J\r\u{8}\u{7f}\
                     \u{202e}\u{2066}\u{61c}\u{200b}\u{feff}\u{e0041}\u{85}\u{2028}";

/// How long a verb may take. They take milliseconds; this is for machines that have no time.
const SOON: Duration = Duration::from_secs(60);

/// How much memory a verb may address, in KiB; and how much it may really use.
const ADDRESSED: &str = "1000000";
const USED: u64 = 64 * 1024;

/// The fields that make a record.
fn with(fields: &str) -> Vec<u8> {
    format!(r#"{{"port":4711,"pid":1,"started_at":"2026-01-01T00:00:00Z"{fields}}}"#).into_bytes()
}

/// Records that aren't any.
fn corrupt() -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    let mut add = |name: &str, bytes: Vec<u8>| all.push((name.to_owned(), bytes));
    add("nothing", Vec::new());
    add("open brackets", vec![b'['; 16 * 1024]);
    add("open braces", br#"{"a":"#.repeat(3_276));
    add(
        "deep and closed",
        [vec![b'['; 8_000], vec![b']'; 8_000]].concat(),
    );
    add(
        "deep field",
        with(&format!(
            ",\"x\":{}{}",
            "[".repeat(7_000),
            "]".repeat(7_000)
        )),
    );
    add(
        "a byte too many",
        with(&format!(",\"x\":\"{}\"", "x".repeat(16 * 1024))),
    );
    add("zeros", vec![0; 16 * 1024]);
    add("no text", vec![0xff; 1024]);
    add(
        "invalid UTF-8",
        with(",\"x\":\"")
            .into_iter()
            .chain(*b"\xc3\x28\"}")
            .collect(),
    );
    add("lone surrogate", with(r#","name":"\ud800""#));
    add("NUL in text", with(r#","name":"a\u0000b""#));
    add(
        "byte order mark",
        [b"\xef\xbb\xbf".to_vec(), with("")].concat(),
    );
    add(
        "huge number",
        br#"{"port":1e400,"pid":1,"started_at":"2026-01-01T00:00:00Z"}"#.to_vec(),
    );
    add(
        "long number",
        with(&format!(",\"restarts\":{}", "9".repeat(8_000))),
    );
    add("port twice", with(",\"port\":4711"));
    add(
        "nasty key twice",
        with(&format!(",{0:?}:1,{0:?}:2", "k".repeat(4_000))),
    );
    for url in [
        "http://example.com:4711/",
        "http://localhost:4711/",
        "http://127.0.0.1:4712/",
        "http://127.0.0.1:4711",
        "http://127.0.0.1:4711/x",
        "http://127.0.0.1@evil:4711/",
        "http://u:p@127.0.0.1:4711/",
        "https://127.0.0.1:4711/",
        "http://127.0.0.1.evil:4711/",
        "http://0177.0.0.1:4711/",
        "http://2130706433:4711/",
        "http://0x7f.1:4711/",
        "http://127.1:4711/",
        "http://127.0.0.2:4711/",
        "http://0.0.0.0:4711/",
        "http://[::]:4711/",
        "http://[::ffff:127.0.0.1]:4711/",
        "http://[0:0:0:0:0:0:0:1]:4711/",
        "http://[::1%25lo]:4711/",
        "HTTP://127.0.0.1:4711/",
        "http://127.0.0.1:04711/",
        "http://127.0.0.1:4711/#",
        "//127.0.0.1:4711/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "data:text/html,x",
        "-x",
        "",
        " http://127.0.0.1:4711/",
    ] {
        add(url, with(&format!(",\"url\":{url:?}")));
    }
    let nasty = serde_json::Value::from(NASTY).to_string();
    for field in [
        "url",
        "name",
        "instance_id",
        "token",
        "started_at\":\"x\",\"started_at",
    ] {
        add(
            &format!("nasty {field}"),
            with(&format!(",\"{field}\":{nasty}")),
        );
    }
    add("raw controls", with(&format!(",\"x\":\"{NASTY}\"")));
    add("nasty garbage", NASTY.repeat(100).into_bytes());
    all
}

/// Records that can be read, with something in every place that takes any text.
fn readable(with_instance: bool) -> Vec<u8> {
    let nasty = serde_json::Value::from(NASTY).to_string();
    let origin = identity::origin();
    let instance = match with_instance {
        true => format!(",\"instance_id\":\"{:032x}\"", 7),
        false => String::new(),
    };
    with(&format!(
        ",\"app\":{{\"name\":{nasty},\"version\":{nasty},\"dir\":{nasty}}},\"x\":{nasty},\"listener\":{nasty},\"boot_id\":{:?},\"pid_ns\":{},\
         \"net_ns\":{}{instance}",
        origin.boot_id.as_deref().unwrap_or_default(),
        origin.pid_ns.unwrap_or_default(),
        origin.net_ns.unwrap_or_default(),
    ))
}

/// A home with state directories in it.
struct Home {
    yard: Yard,
}

impl Home {
    fn new() -> Self {
        let home = Self { yard: Yard::new() };
        make_private(&home.root());
        home
    }

    fn root(&self) -> PathBuf {
        self.yard.path("home/.local/state/daymark/run")
    }

    fn put(&self, name: &str, record: &[u8]) -> PathBuf {
        let dir = self.root().join(name);
        make_private(&dir);
        let file = dir.join(RECORD);
        fs::write(&file, record).expect("a record");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("its mode");
        file
    }

    /// Runs a verb with little memory, and makes sure of its output.
    fn run(&self, verb: &[&str]) -> Output {
        let daymark = self.yard.daymark(DAYMARK);
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -v $0 && exec \"$@\"", ADDRESSED]);
        command.arg(daymark.get_program()).args(verb);
        command.envs(
            daymark
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let begun = Instant::now();
        let child = command.spawn().expect("it runs");
        let pid = Pid::from_child(&child);
        let done = AtomicBool::new(false);
        let (output, most) = std::thread::scope(|scope| {
            let watcher = scope.spawn(|| watch(pid, begun, &done));
            let output = child.wait_with_output().expect("it ends");
            done.store(true, Ordering::Relaxed);
            (output, watcher.join().expect("no panic"))
        });
        let code = output.status.code();
        assert!(code.is_some_and(|code| code != 101), "{verb:?}: {output:?}");
        assert!(most < USED, "{verb:?} has used {most} KiB");
        assert_harmless(verb, &output);
        output
    }
}

/// The most memory that a process has used, in KiB, as long as it can be seen. `watch` never ends by itself, nor does what
/// hangs: both are ended here.
fn watch(pid: Pid, begun: Instant, done: &AtomicBool) -> u64 {
    let mut most = 0;
    let status = format!("/proc/{}/status", pid.as_raw_nonzero());
    while !done.load(Ordering::Relaxed) {
        if let Ok(status) = fs::read_to_string(&status) {
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let used = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
            most = most.max(used.unwrap_or(0));
        }
        if begun.elapsed() > SOON {
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    most
}

fn make_private(dir: &Path) {
    fs::create_dir_all(dir).expect("a directory");
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).expect("its mode");
}

/// Nothing in it does anything to a terminal but end a line.
#[track_caller]
fn assert_harmless(verb: &[&str], output: &Output) {
    for stream in [&output.stdout, &output.stderr] {
        let text = std::str::from_utf8(stream).unwrap_or_else(|_| panic!("{verb:?}: {output:?}"));
        let nasty: Vec<char> = NASTY
            .chars()
            .filter(|c| c.is_control() || !c.is_ascii())
            .collect();
        let found = text
            .chars()
            .find(|&c| c != '\n' && (c.is_control() || nasty.contains(&c)));
        assert_eq!(found, None, "{verb:?}: {text:?}");
    }
}

const OF_ONE: [&[&str]; 12] = [
    &["status", "-v"],
    &["status", "-v", "--json"],
    &["url"],
    &["url", "--with-token", "--json"],
    &["open"],
    &["wait", "--for", "ready", "--timeout", "1ms"],
    &["wait", "--for", "down", "--timeout", "1ms", "--json"],
    &["doctor"],
    &["logs"],
    &["restart", "--timeout", "1ms"],
    &["stop", "--drain", "0s"],
    &["stop", "--drain", "0s", "--json"],
];

#[test]
fn no_bytes_make_a_record_that_is_believed_and_every_one_has_a_reason() {
    for (name, bytes) in corrupt() {
        let home = Home::new();
        let file = home.put("api", &bytes);
        let vouched = File::open(&file).expect("the record");
        vouched.try_lock().expect("nobody else has it");
        let sighting = Place::at(home.root().join("api")).expect("a place").look();
        assert_eq!(sighting.presence, Presence::Corrupt, "{name}");
        let reason = sighting.reason.expect("a reason");
        assert!(
            !reason.is_empty() && reason.len() < 1_000,
            "{name}: {reason}"
        );
        assert_eq!(sighting.record, None, "{name}");
    }
}

#[test]
fn every_verb_ends_with_a_reason_in_little_memory_and_says_nothing_to_the_terminal() {
    let all = corrupt();
    // Each verb meets each record in a full run, and a few of them in every other.
    let mut random = scale::random();
    for verb in OF_ONE {
        for _ in 0..scale::rounds(3, all.len() * 3) {
            let (name, bytes) = &all[random.usize(..all.len())];
            let home = Home::new();
            home.put("api", bytes);
            let output = home.run(&[verb, &["api"]].concat());
            let said = words(&output);
            // Nobody owns the place. So nobody is there who could be stopped, and that is no failure.
            let (code, reason) = match verb[0] {
                "stop" => (0, "was"),
                "wait" => (124, "corrupt"),
                "logs" => (3, "has left no log"),
                "doctor" | "restart" | "status" | "url" | "open" => {
                    (output.status.code().unwrap_or(0), "corrupt")
                }
                verb => panic!("{verb} is not known"),
            };
            assert_eq!(output.status.code(), Some(code), "{verb:?} {name}: {said}");
            assert!(
                (code == 0) == (verb[0] == "stop"),
                "{verb:?} {name}: {said}"
            );
            assert!(said.contains(reason), "{verb:?} {name}: {said}");
            assert_eq!(home.yard.shown(), "", "{verb:?} {name}");
        }
    }
}

#[test]
fn all_of_them_at_once_are_listed_and_pruned() {
    let home = Home::new();
    let all = corrupt();
    for (number, (_, bytes)) in all.iter().enumerate() {
        home.put(&format!("server-{number}"), bytes);
    }
    // What isn't a name is nobody's server, and isn't shown.
    let odd = home.root().join(NASTY.replace('/', ""));
    fs::create_dir(&odd).expect("a directory");
    for verb in [
        &["list", "-a"][..],
        &["list", "-a", "--json"],
        &["doctor"],
        &["doctor", "--json"],
    ] {
        home.run(verb);
    }
    let listed = words(&home.run(&["list", "-a"]));
    assert_eq!(listed.matches("corrupt").count(), all.len(), "{listed}");
    home.run(&["prune", "-v"]);
    assert_eq!(fs::read_dir(home.root()).expect("the root").count(), 1);
    assert!(odd.exists());
}

#[test]
fn what_a_living_server_says_of_itself_cannot_command_a_terminal_either() {
    for with_instance in [true, false] {
        let home = Home::new();
        let file = home.put("api", &readable(with_instance));
        let vouched = File::open(&file).expect("the record");
        vouched.try_lock().expect("nobody else has it");
        fs::create_dir(home.root().join("api/logs")).expect("a directory");
        fs::write(home.root().join("api/logs/server.log"), NASTY).expect("a log");
        for verb in OF_ONE.iter().filter(|verb| verb[0] != "open") {
            home.run(&[verb, &["api"][..]].concat());
        }
        for verb in [
            &["list", "-a"][..],
            &["list", "--json"],
            &["logs", "api", "--json"],
            &["prune", "-v"],
        ] {
            home.run(verb);
        }
        let seen = words(&home.run(&["status", "-v", "api"]));
        assert!(
            seen.contains("  live  ") && seen.contains("\\u{1b}"),
            "{seen}"
        );
        let dir = home.root().join("api");
        let nasty = home.root().join("../").join(NASTY.replace('/', ""));
        fs::rename(&dir, &nasty).expect("another name");
        let nasty = nasty.to_str().expect("text");
        for verb in OF_ONE
            .iter()
            .filter(|verb| !["open", "doctor"].contains(&verb[0]))
        {
            home.run(&[verb, &["--state-dir", nasty][..]].concat());
        }
    }
}

#[test]
fn a_file_of_any_size_is_read_no_further_than_a_record_can_be() {
    let home = Home::new();
    let file = home.put("api", b"");
    let sparse = File::options().write(true).open(&file).expect("the record");
    sparse.set_len(1 << 40).expect("a sparse file");
    fs::create_dir(home.root().join("api/logs")).expect("a directory");
    let log = home.root().join("api/logs/server.log");
    let sparse = File::create(&log).expect("a log");
    sparse.set_len(1 << 40).expect("a sparse file");
    for verb in OF_ONE
        .iter()
        .filter(|verb| !["logs", "stop"].contains(&verb[0]))
    {
        let said = words(&home.run(&[verb, &["api"][..]].concat()));
        assert!(said.contains("larger than 16 KiB"), "{verb:?}: {said}");
    }
    let mut reader = LogReader::open(&home.root().join("api"))
        .expect("a log")
        .expect("one");
    let mut read = 0;
    reader.read(|line| read += line.len()).expect("it ends");
    assert!(read <= 16 * 1024 * 1024, "{read}");
}

/// Ends what goes on beside a test, however that ends.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_record_that_grows_or_is_replaced_while_it_is_read_is_read_to_an_end() {
    let home = Home::new();
    let file = home.put("api", b"");
    let place = Place::at(home.root().join("api")).expect("a place");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let whole = with("");
            let mut round = 0_u32;
            while !stop.load(Ordering::Relaxed) {
                round += 1;
                match round % 3 {
                    // It grows under the reader, and shrinks again.
                    0 => {
                        let grown = File::options().append(true).open(&file);
                        let mut filler = std::io::repeat(b'[').take(1 << 20);
                        let _ = grown.and_then(|mut file| std::io::copy(&mut filler, &mut file));
                    }
                    1 => drop(fs::write(&file, &whole)),
                    _ => {
                        let next = file.with_extension("next");
                        let written = fs::write(&next, &whole);
                        let _ = written.and_then(|()| fs::rename(&next, &file));
                    }
                }
            }
        });
        let _ending = Ending(&stop);
        for _ in 0..scale::rounds(2_000, 50_000) {
            let sighting = place.look();
            let one_of = [Presence::Corrupt, Presence::Unproven, Presence::Unknown];
            assert!(one_of.contains(&sighting.presence), "{sighting:?}");
        }
    });
}
