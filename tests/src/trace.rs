//! strace(1), which kills, stops or fails a process at a chosen system call.

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A tracer that has attached to a process. It ends with that.
#[derive(Debug)]
pub struct Tracer(Child);

impl Tracer {
    /// Attaches to `pid`. The call `syscall` meets `what` (`signal=KILL`, `error=EIO`) at the `nth` time that a thread
    /// makes it; each thread counts its own.
    ///
    /// # Panics
    ///
    /// If strace is missing, or isn't allowed to.
    #[must_use]
    pub fn attach(pid: u32, syscall: &str, what: &str, nth: usize) -> Self {
        let mut command = Command::new("strace");
        command
            .args(["-f", "-o", "/dev/null", "-e"])
            .arg(format!("trace={syscall}"))
            .arg("-e")
            .arg(format!("inject={syscall}:{what}:when={nth}"))
            .args(["-p", &pid.to_string()])
            .stderr(Stdio::piped());
        let strace = command.spawn();
        let mut strace = strace.unwrap_or_else(|error| panic!("cannot run strace: {error}"));
        let mut said = String::new();
        let mut words = BufReader::new(strace.stderr.take().expect("stderr is a pipe"));
        words.read_line(&mut said).expect("read what strace says");
        assert!(said.contains("attached"), "strace: {said}");
        // It goes on talking, and must not be stopped by that.
        std::thread::spawn(move || std::io::copy(&mut words, &mut std::io::sink()));
        Self(strace)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // What it traced is gone, or doesn't need it any more.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One system call of one thread, by its number among that thread's calls of this name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// Its name.
    pub syscall: String,
    /// Which one, from 1.
    pub nth: usize,
}

/// What happens at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// SIGKILL, before the call does anything.
    Kill,
    /// SIGSTOP, when it has done what it does.
    Freeze,
    /// This error in place of the call, once.
    Fail(&'static str),
    /// This error in place of the call, and of all later ones.
    FailOn(&'static str),
}

/// How often a call is interrupted "from then on". For ever is no case: the C library's convention is to try such a call
/// again, so that would be a loop without an end, in any program.
const INTERRUPTIONS: usize = 8;

impl Blow {
    /// Whether it is an error.
    #[must_use]
    pub const fn is_error(self) -> bool {
        matches!(self, Self::Fail(_) | Self::FailOn(_))
    }

    fn words(self, call: &Call) -> String {
        let Call { syscall, nth } = call;
        let (what, when) = match self {
            Self::Kill => ("signal=KILL".to_owned(), nth.to_string()),
            Self::Freeze => ("signal=STOP".to_owned(), nth.to_string()),
            Self::Fail(error) => (format!("error={error}"), nth.to_string()),
            Self::FailOn("EINTR") => {
                let last = nth + INTERRUPTIONS;
                ("error=EINTR".to_owned(), format!("{nth}..{last}"))
            }
            Self::FailOn(error) => (format!("error={error}"), format!("{nth}+")),
        };
        format!("inject={syscall}:{what}:when={when}")
    }
}

/// The words before a command that have all of its calls written to `log`.
#[must_use]
pub fn watched(log: &Path) -> Vec<String> {
    words(log, &[])
}

/// The words before a command that give it `blow` at `call`; what is seen of that call goes to `log`.
#[must_use]
pub fn struck(call: &Call, blow: Blow, log: &Path) -> Vec<String> {
    let (trace, inject) = (format!("trace={}", call.syscall), blow.words(call));
    let mut more = vec!["-yy", "-e", &trace, "-e", &inject];
    if blow.is_error() {
        // Only the calls that matter stop the process, which saves most of the time. Signals aren't delivered then.
        more.push("--seccomp-bpf");
    }
    words(log, &more)
}

fn words(log: &Path, more: &[&str]) -> Vec<String> {
    // By -D the traced process is the child of who starts it, and not the tracer.
    let words = ["strace", "-f", "-D", "-o", &log.display().to_string()].map(str::to_owned);
    let more = more.iter().copied().map(str::to_owned);
    words.into_iter().chain(more).collect()
}

/// Where a thread is, in a log.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// In the dynamic linker and the runtime, before `main`.
    Loading,
    Running,
    /// It has become another program.
    Foreign,
}

/// The calls in `log` that a program makes after it came to its `main`, and what it starts of itself by `/proc/self/exe`.
///
/// Before `main` nothing of ours is run. It begins after the runtime's look at the three standard streams, by poll(2).
///
/// # Panics
///
/// If the log isn't there.
#[must_use]
pub fn calls(log: &Path, program: &str) -> BTreeSet<Call> {
    let mut threads: HashMap<&str, (Phase, HashMap<&str, usize>)> = HashMap::new();
    let mut calls = BTreeSet::new();
    let text = std::fs::read_to_string(log);
    let text = text.unwrap_or_else(|error| panic!("{}: {error}", log.display()));
    for line in text.lines() {
        let Some((thread, call)) = line.split_once(' ') else {
            continue;
        };
        let Some((syscall, rest)) = call.trim_start().split_once('(') else {
            continue;
        };
        if !syscall
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_')
        {
            continue;
        }
        let fresh = || (Phase::Running, HashMap::new());
        let (phase, counts) = threads.entry(thread).or_insert_with(fresh);
        let nth = counts.entry(syscall).or_insert(0);
        *nth += 1;
        if *phase == Phase::Running {
            let (syscall, nth) = (syscall.to_owned(), *nth);
            calls.insert(Call { syscall, nth });
        }
        *phase = match syscall {
            "execve" if rest.contains("ENOENT") => *phase,
            "execve" if rest.starts_with("\"/proc/self/exe\"") || rest.contains(program) => {
                Phase::Loading
            }
            "execve" => Phase::Foreign,
            "poll" if *phase == Phase::Loading => Phase::Running,
            _ => *phase,
        };
    }
    calls
}

/// What a log tells of a blow.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trail {
    /// Whether an error was injected.
    pub failed: bool,
    /// Whether one was at a call that only the asynchronous runtime makes to talk with itself: on an eventfd, an epoll
    /// set or its pair of sockets for signals. The kernel has no such errors there, and the runtime panics at them.
    pub impossible: bool,
    /// Whether one was at a write to standard output or standard error.
    pub mute: bool,
    /// How often a thread stopped.
    pub stops: usize,
    /// Whether the tracer has seen this process end.
    pub over: bool,
}

impl Trail {
    /// What `log` tells of the process `pid`.
    #[must_use]
    pub fn read(log: &Path, pid: u32) -> Self {
        let mut trail = Self::default();
        let text = std::fs::read(log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        // A call that another thread's line cuts in two says at its end whether it failed, and at its beginning on what.
        let mut begun: HashMap<&str, &str> = HashMap::new();
        let pid = pid.to_string();
        for line in text.lines() {
            trail.stops += usize::from(line.ends_with("--- stopped by SIGSTOP ---"));
            let Some((thread, call)) = line.split_once(' ') else {
                continue;
            };
            trail.over |= thread == pid && call.trim_start().starts_with("+++ ");
            if line.ends_with("<unfinished ...>") {
                begun.insert(thread, call);
            }
            if !line.contains("(INJECTED)") {
                continue;
            }
            let beginning = begun.get(thread).copied().unwrap_or_default();
            let call = match call.trim_start().starts_with("<...") {
                true => beginning,
                false => call,
            };
            let call = call.trim_start();
            trail.failed = true;
            let own = ["[eventfd", "[eventpoll", "UNIX"];
            trail.impossible |= own.iter().any(|own| call.contains(own));
            let streams = ["write(1<", "write(2<", "writev(1<", "writev(2<"];
            trail.mute |= streams.iter().any(|stream| call.starts_with(stream));
        }
        trail
    }
}
