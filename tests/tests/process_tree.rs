//! Trees of real processes: whatever is killed, nothing of them stays.
//!
//! Longer than others: they share one keeper, and what each does to it is short. Who is to be gone writes its pid to a file in a directory that only its test has.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use daymark_adapters::http_server::Orphans;
use daymark_core::record::InstanceId;
use daymark_tests::scale::rounds;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How soon nothing is left of a tree that is killed.
const SOON: Duration = Duration::from_secs(1);
/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A daemon as they are made: forked twice, in a session of its own. It writes its pid to `daemon`, and it ignores SIGTERM.
const DAEMON: &str = "(setsid sh -c 'trap \"\" TERM; echo $$ > daemon.new; mv daemon.new daemon; exec sleep 60' &) &";

/// One `treekeeper` and its tree, in a directory of its own.
struct Keeper {
    child: Child,
    said: BufReader<ChildStdout>,
    guard: u32,
    main: u32,
    dir: TempDir,
}

impl Keeper {
    /// Keeps `script`, run by sh, which is the main process.
    fn of_script(script: &str) -> Self {
        Self::of(&[], &["sh", "-c", script])
    }

    fn of(options: &[&str], command: &[&str]) -> Self {
        let dir = TempDir::new().expect("a directory");
        let stderr = fs::File::create(dir.path().join("output")).expect("a file");
        let mut child = Command::new(env!("CARGO_BIN_EXE_treekeeper"))
            .args(options)
            .arg("--")
            .args(command)
            .current_dir(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("run treekeeper");
        let said = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        let mut keeper = Self {
            child,
            said,
            guard: 0,
            main: 0,
            dir,
        };
        keeper.guard = keeper.number("guard ");
        keeper.main = keeper.number("main ");
        keeper
    }

    /// What it says next; empty when it is dead.
    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).expect("read its output");
        line.trim_end().to_owned()
    }

    fn number(&mut self, word: &str) -> u32 {
        let line = self.hear();
        let number = line.strip_prefix(word).and_then(|rest| rest.parse().ok());
        number.unwrap_or_else(|| panic!("it said {line:?}, not {word}"))
    }

    fn ask(&mut self, how: u8) {
        let stdin = self.child.stdin.as_mut().expect("stdin is a pipe");
        stdin.write_all(&[how]).expect("it listens");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The file's words, once it is there.
    fn words(&self, name: &str) -> String {
        let path = self.path(name);
        eventually(&format!("{name} is there"), || path.exists());
        fs::read_to_string(path).expect("read it")
    }

    fn pid_in(&self, name: &str) -> u32 {
        self.words(name).trim().parse().expect("a pid")
    }

    /// All that the command wrote. To be called when it has ended.
    fn output(&self) -> String {
        // A shell also says how its sleeps were ended.
        self.words("output").replace("Terminated\n", "")
    }

    fn kill(&mut self) {
        self.child.kill().expect("it isn't reaped yet");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        thread::sleep(LOOK_EVERY);
    }
}

/// Whether the process does anything any more. One that is dead and not reaped doesn't.
fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

fn gone_soon(pids: &[u32]) {
    let begun = Instant::now();
    eventually(&format!("{pids:?} are gone"), || {
        !pids.iter().any(|&pid| lives(pid))
    });
    assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a pid"), signal).expect("it is there");
}

#[test]
fn a_daemon_is_gone_within_a_second_of_its_supervisor_s_kill() {
    let script = format!("trap '' TERM INT HUP; {DAEMON} while :; do sleep 1; done");
    let mut keeper = Keeper::of_script(&script);
    let daemon = keeper.pid_in("daemon");
    assert!(lives(daemon) && lives(keeper.main));
    keeper.kill();
    gone_soon(&[daemon, keeper.main, keeper.guard]);
}

#[test]
fn a_stopped_process_is_gone_within_a_second_of_its_supervisor_s_kill() {
    let mut keeper = Keeper::of_script("sleep 60 & echo $! > child.new; mv child.new child; wait");
    let child = keeper.pid_in("child");
    signal(keeper.main, Signal::STOP);
    signal(child, Signal::STOP);
    keeper.kill();
    gone_soon(&[child, keeper.main, keeper.guard]);
}

#[test]
fn a_daemon_is_gone_within_a_second_of_its_guard_s_kill() {
    // One is known by its session, the other by its environment.
    let script = format!(
        "(trap '' TERM; exec env -i /bin/sleep 60) & echo $! > worker.new; mv worker.new worker; {DAEMON} wait"
    );
    let instance = format!("DAYMARK_INSTANCE_ID={}", InstanceId::from_bits(1));
    let mut keeper = Keeper::of(&[&instance], &["sh", "-c", &script]);
    let daemon = keeper.pid_in("daemon");
    let worker = keeper.pid_in("worker");
    signal(keeper.guard, Signal::KILL);
    gone_soon(&[daemon, worker, keeper.main, keeper.guard]);
    assert_eq!(keeper.hear(), "lost");
    assert_eq!(keeper.hear(), "gone 0");
    assert!(keeper.child.wait().expect("it ends").success());
}

#[test]
fn whoever_comes_to_the_supervisor_late_is_gone_too_after_its_guard_s_kill() {
    // Each comes to it when the one above has ended, which can be at any moment.
    let chain = "echo $$ > $1.new; mv $1.new $1; [ $1 = 0 ] && exec sleep 60; sh ./chain $(($1 - 1)) & wait";
    let script = format!("echo '{chain}' > chain; exec sh ./chain 9");
    for _ in 0..rounds(5, 200) {
        let mut keeper = Keeper::of_script(&script);
        let pids: Vec<u32> = (0..10).map(|n| keeper.pid_in(&n.to_string())).collect();
        signal(keeper.guard, Signal::KILL);
        assert_eq!(keeper.hear(), "lost");
        assert_eq!(keeper.hear(), "gone 0");
        let left: Vec<&u32> = pids.iter().filter(|&&pid| lives(pid)).collect();
        assert!(left.is_empty(), "{left:?} of {pids:?}");
    }
}

#[test]
fn a_kill_leaves_nothing() {
    let script = format!("trap '' TERM INT; {DAEMON} while :; do sleep 1; done");
    let mut keeper = Keeper::of_script(&script);
    let daemon = keeper.pid_in("daemon");
    keeper.ask(b'K');
    assert_eq!(keeper.hear(), "signal 9");
    assert_eq!(keeper.hear(), "gone 0");
    assert!(!lives(daemon) && !lives(keeper.main) && !lives(keeper.guard));
}

#[test]
fn a_stopped_guard_is_killed_with_its_tree() {
    let script = format!("trap '' TERM INT; {DAEMON} while :; do sleep 1; done");
    let instance = format!("DAYMARK_INSTANCE_ID={}", InstanceId::from_bits(1));
    let mut keeper = Keeper::of(&[&instance], &["sh", "-c", &script]);
    let daemon = keeper.pid_in("daemon");
    signal(keeper.guard, Signal::STOP);
    keeper.ask(b'K');
    assert_eq!(keeper.hear(), "lost");
    assert_eq!(keeper.hear(), "gone 0");
    assert!(!lives(daemon) && !lives(keeper.main) && !lives(keeper.guard));
}

#[test]
fn a_graceful_end_is_waited_for_and_asked_for_once() {
    // It ends when the test lets it, and a second request would show in its output.
    let script = "trap 'echo asked; touch asked' TERM; echo $$ > ready.new; mv ready.new ready
        until [ -e finish ]; do sleep 0.01; done; echo finished; exit 5";
    let mut keeper = Keeper::of_script(script);
    keeper.words("ready");
    keeper.ask(b'T');
    keeper.words("asked");
    keeper.ask(b'T');
    keeper.ask(b'I');
    signal(keeper.guard, Signal::TERM);
    fs::write(keeper.path("finish"), "").expect("write it");
    assert_eq!(keeper.hear(), "exit 5");
    assert_eq!(keeper.hear(), "gone 0");
    assert_eq!(keeper.output(), "asked\nfinished\n");
}

#[test]
fn an_interrupt_reaches_whom_the_shell_made_deaf_to_it() {
    // Jobs of a shell without job control ignore SIGINT, and so would their children.
    let script = "trap 'exit 6' INT; echo $$ > ready.new; mv ready.new ready
        while :; do sleep 0.01; done";
    let dir = TempDir::new().expect("a directory");
    let deaf = format!(
        "trap '' INT TERM HUP QUIT USR1 USR2; exec {} -- sh -c \"$1\"",
        env!("CARGO_BIN_EXE_treekeeper")
    );
    let mut child = Command::new("sh")
        .args(["-c", &deaf, "sh", script])
        .current_dir(&dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("run sh");
    let ready = dir.path().join("ready");
    eventually("it is ready", || ready.exists());
    let stdin = child.stdin.as_mut().expect("stdin is a pipe");
    stdin.write_all(b"I").expect("it listens");
    let said = child.wait_with_output().expect("it ends").stdout;
    let said = String::from_utf8(said).expect("text");
    assert!(said.ends_with("exit 6\ngone 0\n"), "{said}");
}

#[test]
fn who_is_stopped_is_asked_too_and_so_is_the_group() {
    let script = "trap 'echo the main process; touch finish' TERM
        (trap 'echo the worker' TERM; echo $$ > ready.new; mv ready.new ready
            until [ -e finish ]; do sleep 0.01; done) &
        until [ -e finish ]; do sleep 0.01; done; wait; exit 4";
    let mut keeper = Keeper::of_script(script);
    keeper.words("ready");
    signal(keeper.main, Signal::STOP);
    keeper.ask(b'T');
    assert_eq!(keeper.hear(), "exit 4");
    assert_eq!(keeper.hear(), "gone 0");
    let output = keeper.output();
    let mut lines: Vec<&str> = output.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["the main process", "the worker"]);
}

#[test]
fn a_command_sits_in_front_of_its_terminal() {
    // Group, session, terminal, and the group in front: proc_pid_stat(5).
    let script = "cut -d ' ' -f 5-8 < /proc/$$/stat; [ -t 0 ] && echo yes < /dev/tty";
    let mut keeper = Keeper::of(&["--terminal"], &["sh", "-c", script]);
    assert_eq!(keeper.hear(), "exit 0");
    assert_eq!(keeper.hear(), "gone 0");
    let output = keeper.output();
    let words: Vec<&str> = output.split_ascii_whitespace().collect();
    let main = keeper.main.to_string();
    let [group, session, terminal, front, yes] = words[..] else {
        panic!("{output}");
    };
    assert_eq!([group, session, front, yes], [&main, &main, &main, "yes"]);
    assert_ne!(terminal, "0");
}

#[test]
fn a_tree_is_gone_only_when_its_last_process_is() {
    // The main process ends as it is asked to. Its daemon takes until the test lets it, and so does what it started in its
    // own group, which was asked with it and isn't again.
    let script = "trap 'exit 0' TERM
        (trap 'echo the worker' TERM; echo $$ > worker
            until [ -e finish ]; do sleep 0.01; done) &
        until [ -e worker ]; do sleep 0.01; done
        (setsid sh -c 'trap \"touch asked\" TERM; echo $$ > daemon.new; mv daemon.new daemon
            until [ -e finish ]; do sleep 0.01; done; echo the last' &) &
        while :; do sleep 0.01; done";
    let mut keeper = Keeper::of_script(script);
    let daemon = keeper.pid_in("daemon");
    keeper.ask(b'T');
    assert_eq!(keeper.hear(), "exit 0");
    keeper.words("asked");
    assert!(lives(daemon) && lives(keeper.guard));
    fs::write(keeper.path("finish"), "").expect("write it");
    assert_eq!(keeper.hear(), "gone 0");
    let output = keeper.output();
    let mut lines: Vec<&str> = output.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["the last", "the worker"]);
    assert!(!lives(daemon) && !lives(keeper.guard));
}

#[test]
fn what_a_main_process_leaves_behind_is_ended_too() {
    let script = format!("{DAEMON} until [ -e daemon ]; do sleep 0.01; done; exit 3");
    let mut keeper = Keeper::of_script(&script);
    let daemon = keeper.pid_in("daemon");
    assert_eq!(keeper.hear(), "exit 3");
    assert_eq!(keeper.hear(), "gone 0");
    assert!(!lives(daemon));
}

#[test]
fn a_guard_that_is_asked_to_end_ends_its_tree() {
    let mut keeper =
        Keeper::of_script("echo $$ > ready.new; mv ready.new ready; while :; do sleep 0.01; done");
    keeper.words("ready");
    signal(keeper.guard, Signal::HUP);
    signal(keeper.guard, Signal::INT);
    signal(keeper.guard, Signal::TERM);
    assert_eq!(keeper.hear(), "signal 15");
    assert_eq!(keeper.hear(), "gone 0");
}

#[test]
fn a_script_gets_its_listener_and_its_own_pid() {
    let dir = TempDir::new().expect("a directory");
    let script = dir.path().join("server");
    let words = "#!/bin/sh\necho $$ $LISTEN_PID\nreadlink /proc/self/fd/3\n";
    fs::write(&script, words).expect("write it");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).expect("make it executable");
    let mut keeper = Keeper::of(&["--listener"], &[script.to_str().expect("text")]);
    assert_eq!(keeper.hear(), "exit 0");
    assert_eq!(keeper.hear(), "gone 0");
    let main = keeper.main;
    let output = keeper.output();
    let expected = format!("{main} {main}\nsocket:[");
    assert!(output.starts_with(&expected), "{output}");
}

#[test]
fn a_command_has_no_descriptors_but_its_own() {
    let keeper = env!("CARGO_BIN_EXE_treekeeper");
    // ls opens one more to list them.
    for (options, expected) in [("", "0\n1\n2\n3\n"), ("--listener", "0\n1\n2\n3\n4\n")] {
        let leaky = format!("exec {keeper} {options} -- ls /proc/self/fd 3</dev/null 9</dev/null");
        let ran = Command::new("sh").args(["-c", &leaky]).output();
        let ran = ran.expect("run sh");
        assert_eq!(String::from_utf8_lossy(&ran.stderr), expected, "{options}");
    }
}

#[test]
fn a_command_that_cannot_be_executed_says_so() {
    for (command, exit, words) in [
        ("/nonexistent/command", "exit 127", "No such file"),
        ("no-such-command-anywhere", "exit 127", "No such file"),
        ("/dev/null", "exit 126", "Permission denied"),
    ] {
        let mut keeper = Keeper::of(&[], &[command]);
        assert_eq!(keeper.hear(), exit);
        assert_eq!(keeper.hear(), "gone 0");
        let output = keeper.output();
        let expected = format!("daymark: cannot execute {command}: {words}");
        assert!(output.starts_with(&expected), "{output}");
    }
}

/// A process by itself, with this environment.
fn bystander(dir: &Path, instance: Option<InstanceId>) -> Child {
    let mut command = Command::new("sleep");
    command.arg("60").env("DAYMARK_STATE_DIR", dir);
    if let Some(instance) = instance {
        command.env("DAYMARK_INSTANCE_ID", instance.to_string());
    }
    command.spawn().expect("run sleep")
}

#[test]
fn orphans_of_a_dead_instance_are_ended_and_nobody_else() {
    let (dir, other) = (TempDir::new().expect("one"), TempDir::new().expect("two"));
    let (dead, own) = (InstanceId::from_bits(1), InstanceId::from_bits(2));
    let instance = format!("DAYMARK_INSTANCE_ID={dead}");
    let state_dir = format!("DAYMARK_STATE_DIR={}", dir.path().display());
    let script = format!("{DAEMON} exec sleep 60");
    let mut keeper = Keeper::of(&[&instance, &state_dir], &["sh", "-c", &script]);
    let daemon = keeper.pid_in("daemon");
    let mut spared = [
        bystander(other.path(), Some(dead)),
        bystander(dir.path(), Some(own)),
        bystander(dir.path(), None),
    ];
    // A stopped guard can't see its supervisor's end.
    signal(keeper.guard, Signal::STOP);
    keeper.kill();
    signal(keeper.guard, Signal::KILL);
    eventually("the main process is gone", || !lives(keeper.main));
    assert!(lives(daemon), "else there is nothing to clear");

    // Another path to the same directory.
    let path = other.path().join("link");
    std::os::unix::fs::symlink(dir.path(), &path).expect("a link");
    assert_eq!(Orphans::find(&path, &own).end(), Ok(1));
    assert!(!lives(daemon));
    assert!(Orphans::find(dir.path(), &own).is_empty());
    let alive = spared.each_mut().map(|child| child.try_wait());
    for child in &mut spared {
        child.kill().expect("it isn't reaped yet");
        child.wait().expect("it ends");
    }
    assert!(alive.iter().all(|ended| matches!(ended, Ok(None))));
}
