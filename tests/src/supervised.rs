//! `daymark run` from outside: a supervisor, and the processes of its tree, to be found, counted and killed.
//!
//! They are found by a mark in their environment that only one start has, and killed through descriptors of theirs, so that a
//! test harms no stranger either.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Carries the mark.
const MARK: &str = "TEST_MARK";

/// What to start.
#[derive(Clone, Debug)]
pub struct Start {
    /// The `supervisor` program.
    pub program: &'static str,
    /// The `servant` program.
    pub servant: &'static str,
    /// Its state directory.
    pub dir: PathBuf,
    /// Whether a socket is passed, and not a number.
    pub pass_socket: bool,
    /// When to start it again.
    pub restart: &'static str,
    /// The port; 0 for any.
    pub port: u16,
    /// Options for the servant.
    pub shape: &'static [&'static str],
    /// The process group to be in; none for one of its own.
    pub group: Option<u32>,
    /// What it is started by, with its arguments; empty for nothing.
    pub through: Vec<String>,
}

/// What a process is in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// What the supervisor was started through.
    Tracer,
    /// `daymark run`.
    Supervisor,
    /// `daymark __guard`.
    Guard,
    /// The guard's own child that isn't an orphan: the command, or what becomes it.
    Main,
    /// What the command started.
    Other,
}

/// A process of a tree.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// Its pid.
    pub pid: Pid,
    /// What it is.
    pub role: Role,
}

/// A supervisor, killed when this is dropped.
#[derive(Debug)]
pub struct Supervisor {
    child: Child,
    mark: String,
}

impl Start {
    /// Starts it, and waits for nothing. Its output goes to a file beside the state directory.
    ///
    /// # Panics
    ///
    /// If it can't be started.
    #[must_use]
    pub fn go(&self) -> Supervisor {
        use std::os::unix::process::CommandExt as _;
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let mark = format!("{}-{next}.", std::process::id());
        let mut words = self.through.clone();
        words.push(self.program.to_owned());
        let output = self.dir.with_extension("output");
        let output = File::options().create(true).append(true).open(output);
        let output = output.expect("a file for output");
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .arg("--state-dir")
            .arg(&self.dir)
            .args(["run", "-n", "supervised", "--drain", "1s"])
            .args(["--ready-timeout", "15s", "--restart", self.restart])
            .args(self.listen())
            .env(MARK, &mark)
            .process_group(self.group.map_or(0, u32::cast_signed))
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("it twice"))
            .stderr(output);
        if self.port != 0 {
            command.arg("--port").arg(self.port.to_string());
        }
        command.arg("--");
        if self.pass_socket {
            // A shell that becomes the server, which is what many are started by.
            let script = "exec \"$0\" \"$@\" <&3 3<&-";
            command.args(["sh", "-c", script, self.servant]);
        } else {
            command.arg(self.servant);
        }
        command.args(self.shape);
        command.arg(if self.pass_socket { "-" } else { "{port}" });
        let child = command.spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        Supervisor { child, mark }
    }

    const fn listen(&self) -> [&'static str; 2] {
        match self.pass_socket {
            true => ["--listen", "fd"],
            false => ["--listen", "number"],
        }
    }

    /// What it and its servants have said.
    #[must_use]
    pub fn output(&self) -> String {
        fs::read_to_string(self.dir.with_extension("output")).unwrap_or_default()
    }
}

impl Supervisor {
    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What marks its tree.
    #[must_use]
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// Sends it a signal.
    ///
    /// # Panics
    ///
    /// If it can't be sent.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a pid"), signal).expect("it isn't reaped yet");
    }

    /// Whether it has ended, and how.
    ///
    /// # Panics
    ///
    /// If that can't be known.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is a child of ours")
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        eventually("it ends", || self.ended());
        self.ended().unwrap_or_default()
    }

    /// The processes of its tree, itself included.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        members(&self.mark)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // It may be over already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The living processes that have this mark.
#[must_use]
pub fn members(mark: &str) -> Vec<Member> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| member(entry.file_name().to_str()?.parse().ok()?, mark))
        .collect()
}

fn member(pid: i32, mark: &str) -> Option<Member> {
    let path = Path::new("/proc").join(pid.to_string());
    let read = |name| fs::read(path.join(name)).unwrap_or_default();
    let marked = format!("{MARK}={mark}");
    let environ = read("environ");
    let is_marked = environ
        .split(|&byte| byte == 0)
        .any(|variable| variable == marked.as_bytes());
    if !is_marked {
        return None;
    }
    let command = read("cmdline");
    let mut words = command.split(|&byte| byte == 0);
    let (name, first) = (words.next()?, words.next());
    let role = match first {
        Some(b"__guard") => Role::Guard,
        Some(b"__exec") => Role::Main,
        Some(b"--state-dir") if name.ends_with(b"supervisor") => Role::Supervisor,
        Some(b"-f") if name == b"strace" => Role::Tracer,
        Some(b"--launch") => Role::Other,
        _ => Role::Main,
    };
    let pid = Pid::from_raw(pid)?;
    Some(Member { pid, role })
}

impl Member {
    /// `kill -9`, if it is still there.
    pub fn kill(self, mark: &str) {
        let Ok(pidfd) = pidfd_open(self.pid, PidfdFlags::empty()) else {
            return;
        };
        if member(self.pid.as_raw_nonzero().get(), mark).is_some() {
            let _ = pidfd_send_signal(&pidfd, Signal::KILL);
        }
    }
}

/// Waits until nothing is left that has this mark; how long that took.
///
/// # Panics
///
/// If that takes longer than `within`.
pub fn gone(mark: &str, within: Duration) -> Duration {
    let begun = Instant::now();
    loop {
        let left = members(mark);
        let took = begun.elapsed();
        if left.is_empty() {
            return took;
        }
        assert!(took < within, "after {took:?} there are still {left:?}");
        thread::sleep(LOOK_EVERY);
    }
}

/// Waits for what must come.
///
/// # Panics
///
/// If it doesn't.
pub fn eventually<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        thread::sleep(LOOK_EVERY);
    }
}
