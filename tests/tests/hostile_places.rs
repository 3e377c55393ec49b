//! Hostile places: whatever stands where a state directory or one of its files should be, and whatever takes its place while
//! it is used. Nothing outside is written, believed or removed, and nobody waits for a FIFO.
//!
//! Longer than others: one list of things stands wherever a file or directory may stand.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use daymark::{Place, Presence};
use daymark_adapters::log_file::LogReader;
use daymark_adapters::state_store::{FileStore, LOCK, RECORD};
use daymark_adapters::{identity, record_json};
use daymark_core::clock::Timestamp;
use daymark_core::record::{Endpoint, HeldBy, InstanceId, ServerRecord};
use daymark_core::state_store::{AcquireError, StateStore as _};
use daymark_tests::others::{self, Yard, as_nobody};
use daymark_tests::scale;
use rustix::fs::{CWD, FileType, Mode, RenameFlags, mkfifoat, mknodat, renameat_with};

const DAYMARK: &str = env!("CARGO_BIN_EXE_supervisor");
const SERVANT: &str = env!("CARGO_BIN_EXE_servant");

/// What may stand somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thing {
    /// A symbolic link to a file, or to a directory, or to nothing.
    LinkToFile,
    LinkToDir,
    LinkToNothing,
    /// Another name of a file.
    HardLink,
    Fifo,
    Socket,
    /// `/dev/zero` under another name; only root can make one.
    Device,
    File,
    /// Another user's; only root can make one.
    ForeignFile,
    ForeignDir,
    EmptyDir,
    FullDir,
    /// A directory of ours with this mode.
    Loose(u32),
}

use Thing::*;

/// A place, and a victim next to it.
struct Ground {
    temp: tempfile::TempDir,
}

impl Ground {
    fn new() -> Self {
        let temp = tempfile::tempdir().expect("a directory");
        let ground = Self { temp };
        fs::create_dir(ground.victim()).expect("a directory");
        fs::set_permissions(ground.victim(), Permissions::from_mode(0o700)).expect("its mode");
        fs::write(
            ground.secret(),
            "what nobody may touch, nor take for a record\n",
        )
        .expect("a file");
        // It has all that is ever looked for.
        fs::write(ground.victim().join(RECORD), record_json::write(&record(7))).expect("a file");
        fs::write(ground.victim().join(LOCK), "1 - starting -\n").expect("a file");
        fs::create_dir(ground.victim().join("logs")).expect("a directory");
        fs::write(ground.victim().join("logs/server.log"), "secret\n").expect("a file");
        ground
    }

    fn dir(&self) -> PathBuf {
        self.temp.path().join("state")
    }

    fn victim(&self) -> PathBuf {
        self.temp.path().join("victim")
    }

    fn secret(&self) -> PathBuf {
        self.victim().join("secret")
    }

    fn make_dir(&self) {
        fs::create_dir(self.dir()).expect("a directory");
        fs::set_permissions(self.dir(), Permissions::from_mode(0o700)).expect("its mode");
    }

    /// Puts it there; false where only root could.
    fn plant(&self, thing: Thing, path: &Path) -> bool {
        let root = rustix::process::geteuid().is_root();
        let dir = |mode| {
            fs::create_dir(path).expect("a directory");
            fs::set_permissions(path, Permissions::from_mode(mode)).expect("its mode");
        };
        match thing {
            LinkToFile => symlink(self.secret(), path).expect("a link"),
            LinkToDir => symlink(self.victim(), path).expect("a link"),
            LinkToNothing => symlink(self.victim().join("nothing"), path).expect("a link"),
            HardLink => fs::hard_link(self.secret(), path).expect("a link"),
            Fifo => mkfifoat(CWD, path, Mode::RWXU).expect("a fifo"),
            Socket => drop(UnixListener::bind(path).expect("a socket")),
            Device if root => {
                let zero = rustix::fs::makedev(1, 5);
                mknodat(CWD, path, FileType::CharacterDevice, Mode::RWXU, zero).expect("a device");
            }
            File => fs::write(path, "something else").expect("a file"),
            ForeignFile if root => {
                fs::write(path, record_json::write(&record(8))).expect("a file");
                std::os::unix::fs::chown(path, Some(others::NOBODY), None).expect("its owner");
            }
            ForeignDir if root => {
                dir(0o700);
                std::os::unix::fs::chown(path, Some(others::NOBODY), None).expect("its owner");
            }
            EmptyDir => dir(0o700),
            FullDir => {
                dir(0o700);
                fs::write(path.join("mine"), "mine").expect("a file");
            }
            Loose(mode) => dir(mode),
            Device | ForeignFile | ForeignDir => return false,
        }
        true
    }
}

/// What there is. Linking a file changes its ctime, which therefore isn't looked at; writing to it changes its mtime.
#[derive(Debug, PartialEq, Eq)]
struct State {
    mode: u32,
    user: u32,
    inode: u64,
    written: (i64, i64),
    content: Vec<u8>,
}

/// Everything below a path, as it would show that somebody was there.
fn state_of(path: &Path) -> BTreeMap<PathBuf, State> {
    let mut found = BTreeMap::new();
    let mut paths = vec![path.to_owned()];
    while let Some(path) = paths.pop() {
        let Ok(meta) = path.symlink_metadata() else {
            continue;
        };
        let content = match meta.file_type() {
            kind if kind.is_dir() => {
                let entries = fs::read_dir(&path).expect("a directory");
                paths.extend(entries.map(|entry| entry.expect("an entry").path()));
                Vec::new()
            }
            kind if kind.is_file() => fs::read(&path).expect("a file"),
            _ => Vec::new(),
        };
        let state = State {
            mode: meta.mode(),
            user: meta.uid(),
            inode: meta.ino(),
            written: (meta.mtime(), meta.mtime_nsec()),
            content,
        };
        found.insert(path, state);
    }
    found
}

fn record(instance: u128) -> ServerRecord {
    ServerRecord {
        endpoint: Endpoint::v4(std::num::NonZeroU16::MIN),
        pid: std::process::id(),
        started_at: Timestamp::from_unix_micros(0),
        name: None,
        instance_id: Some(InstanceId::from_bits(instance)),
        held_by: HeldBy::Owner,
        restarts: None,
        origin: identity::origin().clone(),
        app: None,
        token: None,
    }
}

fn store(dir: &Path) -> FileStore {
    FileStore::new(dir).expect("an absolute path")
}

/// A whole run: owned, cleared, published, withdrawn, given back. What was to be believed when it was published.
async fn run(dir: &Path) -> Result<Presence, AcquireError> {
    let lease = store(dir).acquire().await?;
    lease.recover().await?;
    let _ = lease.publish(&record(9), None).await;
    let believed = Place::at(dir).expect("a place").look().presence;
    let _ = lease.withdraw().await;
    let _ = lease.release().await;
    Ok(believed)
}

/// Every look that there is; none of them may wait.
fn look_everywhere(dir: &Path) -> Presence {
    let _ = store(dir).check();
    let _ = store(dir).is_free();
    if let Ok(Some(mut log)) = LogReader::open(dir) {
        let _ = log.read(|line| assert_ne!(line, b"secret"));
    }
    Place::at(dir).expect("a place").look().presence
}

#[tokio::test]
async fn what_is_no_private_directory_of_ours_is_refused_and_left_as_it_is() {
    for thing in [
        LinkToFile,
        LinkToDir,
        LinkToNothing,
        HardLink,
        Fifo,
        Socket,
        Device,
        File,
        ForeignDir,
        Loose(0o755),
        Loose(0o710),
        Loose(0o701),
        Loose(0o770),
        Loose(0o777),
        Loose(0o1777),
    ] {
        let ground = Ground::new();
        if !ground.plant(thing, &ground.dir()) {
            continue;
        }
        // A lock on what the link leads to makes it look alive, if it is looked at.
        let live = File::open(ground.victim().join(RECORD)).expect("the record");
        live.try_lock().expect("nobody else has it");
        let before = state_of(ground.temp.path());

        let refused = run(&ground.dir()).await.expect_err("it is refused");
        let presence = look_everywhere(&ground.dir());
        let pruned = store(&ground.dir()).prune();

        let expected = matches!(refused, AcquireError::Unsafe { .. });
        assert!(expected, "{thing:?}: {refused:?}");
        let nobody = [Presence::Refused, Presence::Absent, Presence::Unknown];
        assert!(nobody.contains(&presence), "{thing:?}: {presence}");
        assert!(pruned.is_err(), "{thing:?}");
        assert_eq!(state_of(ground.temp.path()), before, "{thing:?}");
    }
}

#[tokio::test]
async fn what_stands_in_for_a_record_is_neither_followed_nor_believed_and_makes_way() {
    for thing in [
        LinkToFile,
        LinkToDir,
        LinkToNothing,
        HardLink,
        Fifo,
        Socket,
        Device,
        File,
        ForeignFile,
        EmptyDir,
        FullDir,
    ] {
        let ground = Ground::new();
        ground.make_dir();
        let path = ground.dir().join(RECORD);
        if !ground.plant(thing, &path) {
            continue;
        }
        let foreign = (thing == ForeignFile).then(|| File::open(&path).expect("a file"));
        if let Some(file) = &foreign {
            file.try_lock().expect("nobody else has it");
        }
        let before = state_of(&ground.victim());
        let presence = look_everywhere(&ground.dir());
        drop(foreign);

        let run = run(&ground.dir()).await;

        let expected = match thing {
            ForeignFile => Presence::Refused,
            _ => Presence::Corrupt,
        };
        assert_eq!(presence, expected, "{thing:?}");
        let believed = run.as_ref().ok().copied();
        let expected = (thing != FullDir).then_some(Presence::Live);
        assert_eq!(believed, expected, "{thing:?}: {run:?}");
        assert_eq!(state_of(&ground.victim()), before, "{thing:?}");
        assert_eq!(path.join("mine").exists(), thing == FullDir);
    }
}

#[tokio::test]
async fn what_stands_in_for_a_lock_file_is_refused_and_never_written_to() {
    for thing in [
        LinkToFile,
        LinkToDir,
        LinkToNothing,
        HardLink,
        Fifo,
        Socket,
        Device,
        ForeignFile,
        EmptyDir,
    ] {
        let ground = Ground::new();
        ground.make_dir();
        if !ground.plant(thing, &ground.dir().join(LOCK)) {
            continue;
        }
        let before = (state_of(&ground.victim()), state_of(&ground.dir()));
        assert_eq!(
            look_everywhere(&ground.dir()),
            Presence::Absent,
            "{thing:?}"
        );
        run(&ground.dir()).await.expect_err("nobody can own it");
        store(&ground.dir()).prune().expect_err("nobody can own it");
        assert_eq!(
            (state_of(&ground.victim()), state_of(&ground.dir())),
            before,
            "{thing:?}"
        );
    }
}

#[tokio::test]
async fn what_writers_left_is_cleared_away_and_not_what_it_leads_to() {
    for thing in [
        LinkToFile,
        LinkToDir,
        LinkToNothing,
        HardLink,
        Fifo,
        Socket,
        Device,
        File,
        ForeignFile,
        EmptyDir,
    ] {
        let ground = Ground::new();
        ground.make_dir();
        let path = ground
            .dir()
            .join(".server.json.00000000000000000000000000000007.tmp");
        if !ground.plant(thing, &path) {
            continue;
        }
        let before = state_of(&ground.victim());
        run(&ground.dir()).await.expect("it makes way");
        assert!(path.symlink_metadata().is_err(), "{thing:?}");
        assert_eq!(state_of(&ground.victim()), before, "{thing:?}");
    }
}

/// A lock file that was loose is closed to others, and one that others made isn't used.
#[tokio::test]
async fn a_lock_file_is_closed_to_others_before_it_is_locked() {
    let ground = Ground::new();
    ground.make_dir();
    let lock = ground.dir().join(LOCK);
    fs::write(&lock, "").expect("a file");
    fs::set_permissions(&lock, Permissions::from_mode(0o666)).expect("its mode");
    run(&ground.dir()).await.expect("it is ours");
    assert_eq!(fs::metadata(&lock).expect("a file").mode() & 0o7777, 0o600);
}

/// Swaps the state directory for a link to the victim, or for another directory, as fast as it can.
struct Swapper {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<u64>>,
}

impl Swapper {
    fn start(here: PathBuf, there: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let swap = move || {
            let mut swaps = 0;
            while !stopped.load(Ordering::Relaxed) {
                // One of them isn't there when a directory was just removed.
                let swapped = renameat_with(CWD, &here, CWD, &there, RenameFlags::EXCHANGE);
                swaps += u64::from(swapped.is_ok());
                std::thread::yield_now();
            }
            swaps
        };
        let thread = Some(std::thread::spawn(swap));
        Self { stop, thread }
    }

    fn finish(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("it runs");
        thread.join().expect("it ends")
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Everything that is done to a state directory, again and again, while its path leads now here and now there.
async fn use_it_all(dir: &Path, rounds: usize) {
    for _ in 0..rounds {
        let _ = run(dir).await;
        look_everywhere(dir);
        let _ = store(dir).prune();
    }
}

#[tokio::test]
async fn a_link_that_takes_a_state_directory_s_place_at_any_moment_leads_nobody_out_of_it() {
    let ground = Ground::new();
    ground.make_dir();
    let link = ground.temp.path().join("link");
    symlink(ground.victim(), &link).expect("a link");
    fs::set_permissions(ground.victim(), Permissions::from_mode(0o750)).expect("its mode");
    let before = state_of(&ground.victim());
    let swapper = Swapper::start(ground.dir(), link);
    use_it_all(&ground.dir(), scale::rounds(200, 5_000)).await;
    swapper.finish();
    assert_eq!(state_of(&ground.victim()), before);
}

/// The directory above is a link by turns, and everything below it looks like ours.
#[tokio::test]
async fn a_directory_that_takes_another_s_place_at_any_moment_keeps_what_is_its_own() {
    let ground = Ground::new();
    let other = ground.temp.path().join("other");
    for dir in [ground.dir(), other.clone()] {
        fs::create_dir(&dir).expect("a directory");
        fs::set_permissions(&dir, Permissions::from_mode(0o700)).expect("its mode");
        fs::create_dir(dir.join("logs")).expect("a directory");
        for own in ["mine", "server.json.bak", ".server.json.tmp", "logs/mine"] {
            fs::write(dir.join(own), own).expect("a file");
        }
    }
    let swapper = Swapper::start(ground.dir(), other.clone());
    use_it_all(&ground.dir(), scale::rounds(200, 5_000)).await;
    swapper.finish();
    for dir in [ground.dir(), other] {
        for own in ["mine", "server.json.bak", ".server.json.tmp", "logs/mine"] {
            let kept = fs::read_to_string(dir.join(own)).expect("it is still there");
            assert_eq!(kept, own);
        }
    }
}

/// A directory may only be removed where it was opened, and not another one that the path leads to by then.
#[tokio::test]
async fn an_empty_directory_that_came_to_stand_there_is_not_removed_for_another() {
    let ground = Ground::new();
    let link = ground.temp.path().join("above");
    let (first, second) = (
        ground.temp.path().join("first"),
        ground.temp.path().join("second"),
    );
    for dir in [&first, &second] {
        fs::create_dir(dir).expect("a directory");
    }
    symlink(&first, &link).expect("a link");
    let lease = store(&link.join("state"))
        .acquire()
        .await
        .expect("it is new");
    fs::remove_file(&link).expect("a link");
    symlink(&second, &link).expect("a link");
    fs::create_dir(second.join("state")).expect("a directory");
    fs::set_permissions(second.join("state"), Permissions::from_mode(0o700)).expect("its mode");
    // A start that failed removes what it made.
    lease.release().await.expect("it is given back");
    assert!(second.join("state").exists());
}

#[test]
fn the_doctor_makes_nothing_where_a_link_leads() {
    let (yard, ground) = (Yard::new(), Ground::new());
    ground.plant(LinkToDir, &ground.dir());
    let before = state_of(&ground.victim());
    let mut doctor = yard.daymark(DAYMARK);
    let done = doctor
        .arg("doctor")
        .arg("--state-dir")
        .arg(ground.dir())
        .output();
    let done = done.expect("it runs");
    assert_eq!(done.status.code(), Some(1));
    assert!(others::words(&done).contains("symbolic link"), "{done:?}");
    assert_eq!(state_of(&ground.victim()), before);
}

/// What is in the way of a log costs the log, not the server, and isn't touched.
#[test]
fn what_stands_in_for_a_log_is_neither_written_nor_read() {
    for (inside, thing) in [
        ("logs", LinkToDir),
        ("logs", Fifo),
        ("logs", ForeignDir),
        ("logs/server.log", LinkToFile),
        ("logs/server.log", Fifo),
        ("logs/server.log", ForeignFile),
        ("logs/server.log", Socket),
        ("logs/server.log", FullDir),
    ] {
        let (yard, ground) = (Yard::new(), Ground::new());
        ground.make_dir();
        let path = ground.dir().join(inside);
        if inside != "logs" {
            fs::create_dir(ground.dir().join("logs")).expect("a directory");
        }
        if !ground.plant(thing, &path) {
            continue;
        }
        let before = (state_of(&ground.victim()), state_of(&path));
        let running = Running::start(
            yard.daymark(DAYMARK),
            &yard,
            &["--state-dir"],
            &ground.dir(),
        );
        let logs = |mut command: Command| {
            command.arg("logs").arg("--state-dir").arg(ground.dir());
            command.output().expect("it runs")
        };
        let refused = logs(yard.daymark(DAYMARK));
        assert_eq!(
            refused.status.code(),
            Some(1),
            "{inside} {thing:?}: {refused:?}"
        );
        running.stop();
        assert_eq!(
            (state_of(&ground.victim()), state_of(&path)),
            before,
            "{inside} {thing:?}"
        );
    }
}

/// `daymark run`, ready.
struct Running(std::process::Child);

impl Running {
    fn start(mut command: Command, yard: &Yard, option: &[&str], value: &Path) -> Self {
        command
            .arg("run")
            .args(option)
            .arg(value)
            .arg("--json")
            .arg("--");
        command.arg(yard.program(SERVANT)).arg("{port}");
        let command = command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut running = Self(command.spawn().expect("it runs"));
        let mut said = Vec::new();
        let out = running.0.stdout.take().expect("a pipe");
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            said.push(line);
            if said.last().is_some_and(|line| line.contains("\"ready\"")) {
                return running;
            }
        }
        panic!("it was never ready: {said:?}");
    }

    fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is there");
        assert!(self.0.wait().expect("it ends").success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn no_umask_opens_anything_to_others_or_closes_it_to_us() {
    for (umask, other) in [("000", false), ("777", false), ("000", true), ("777", true)] {
        if other && !others::can_be_had() {
            continue;
        }
        let yard = Yard::new();
        // All of the way there has to be made.
        let dir = yard.commons().join("home/.local/state/daymark/run/api");
        let daymark = yard.daymark(DAYMARK);
        let mut command = Command::new("sh");
        command
            .args(["-c", "umask $0 && exec \"$@\"", umask])
            .arg(daymark.get_program());
        command.envs(
            daymark
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        if other {
            as_nobody(&mut command);
        }
        let running = Running::start(command, &yard, &["--state-dir"], &dir);
        let mut look = yard.daymark(DAYMARK);
        look.arg("status").arg("--state-dir").arg(&dir);
        if other {
            as_nobody(&mut look);
        }
        let seen = others::words(&look.output().expect("it runs"));
        assert!(seen.contains("  live  "), "{umask} {other}: {seen}");
        for (path, State { mode, .. }) in state_of(&yard.commons().join("home")) {
            let expected = match path.is_dir() {
                true => 0o700,
                false => 0o600,
            };
            assert_eq!(
                mode & 0o7777,
                expected,
                "{umask} {other}: {}",
                path.display()
            );
        }
        running.stop();
    }
}
