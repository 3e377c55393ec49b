//! The command, struck at its system calls: killed, stopped, or given an error; at each call, wherever it is started.
//!
//! Nothing here knows how the command is made. Which calls there are is seen in a run that nothing happens to; each case is
//! then one more run of the command, and a look at what is left (`trial`).

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::scale::cases_of;
use crate::trace::{Blow, Call};

mod process;
mod site;
mod trial;

pub use site::{Site, Verb, Were};
use trial::{Outcome, Worker};

/// What calls may fail with.
const ERRORS: [&str; 6] = ["EIO", "ENOSPC", "EACCES", "EROFS", "EMFILE", "EINTR"];

/// The calls that are given errors. Not among them: what is about memory, time and signals; `close`, whose errors nobody
/// may act on; and `poll`.
const FALLIBLE: &[&str] = &[
    "accept4",
    "access",
    "bind",
    "chdir",
    "clone3",
    "connect",
    "dup",
    "dup2",
    "dup3",
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "eventfd2",
    "execve",
    "faccessat2",
    "fchmod",
    "fchmodat",
    "fcntl",
    "fdatasync",
    "flock",
    "fstat",
    "fsync",
    "ftruncate",
    "getcwd",
    "getdents64",
    "getpeername",
    "getsockname",
    "getsockopt",
    "inotify_add_watch",
    "inotify_init1",
    "inotify_rm_watch",
    "ioctl",
    "kill",
    "link",
    "linkat",
    "listen",
    "lseek",
    "mkdir",
    "mkdirat",
    "newfstatat",
    "open",
    "openat",
    "pidfd_open",
    "pidfd_send_signal",
    "pipe2",
    "prctl",
    "pread64",
    "pwrite64",
    "read",
    "readlink",
    "readlinkat",
    "recvfrom",
    "recvmsg",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "sendmsg",
    "sendto",
    "setpgid",
    "setsid",
    "setsockopt",
    "shutdown",
    "socket",
    "socketpair",
    "statx",
    "unlink",
    "unlinkat",
    "wait4",
    "waitid",
    "write",
    "writev",
];

/// Those of them that have to do with files. What comes after a place is cleared is the same wherever it was started; so
/// only these are given errors where something was left.
const OF_FILES: &[&str] = &[
    "fchmodat",
    "flock",
    "fstat",
    "fsync",
    "getdents64",
    "lseek",
    "mkdir",
    "mkdirat",
    "newfstatat",
    "openat",
    "read",
    "renameat",
    "statx",
    "unlinkat",
    "write",
];

/// Calls that the store makes, and no connection.
const OF_THE_STORE: &[&str] = &[
    "fchmodat",
    "flock",
    "fsync",
    "getdents64",
    "mkdir",
    "mkdirat",
    "renameat",
    "unlinkat",
    "bind",
    "listen",
];

/// After so many violations there is enough to think about.
const ENOUGH: usize = 20;

/// No more of one call than that: what comes after is done for each process of the machine, or each line of its tables.
const MOST: usize = 60;

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// What is started.
    pub verb: Verb,
    /// What was there before.
    pub were: Were,
    /// Where it is struck.
    pub call: Call,
    /// By what.
    pub blow: Blow,
}

/// How many there were.
#[derive(Debug, Default)]
pub struct Total {
    cases: AtomicUsize,
    kills: AtomicUsize,
    stops: AtomicUsize,
    errors: AtomicUsize,
    impossible: AtomicUsize,
    missed: AtomicUsize,
}

impl Total {
    fn add(&self, blow: Blow, outcome: Outcome) {
        self.cases.fetch_add(1, Ordering::Relaxed);
        let counter = match (outcome, blow) {
            (Outcome::Missed, _) => &self.missed,
            (Outcome::Impossible, _) => &self.impossible,
            (Outcome::Struck, Blow::Kill) => &self.kills,
            (Outcome::Struck, Blow::Freeze) => &self.stops,
            (Outcome::Struck, _) => &self.errors,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl std::fmt::Display for Total {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let read = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        write!(
            f,
            "{} cases: {} kills, {} stops, {} errors, {} errors at the runtime's own descriptors, {} that it didn't come to",
            read(&self.cases),
            read(&self.kills),
            read(&self.stops),
            read(&self.errors),
            read(&self.impossible),
            read(&self.missed),
        )
    }
}

/// All that can happen to `verb` where `were` was.
#[must_use]
pub fn cases(site: &Site, verb: Verb, were: Were) -> Vec<Case> {
    let mut cases = Vec::new();
    let calls = trial::calls(site, verb, were).into_iter();
    for call in calls.filter(|call| call.nth <= MOST) {
        let mut add = |blow| {
            let call = call.clone();
            cases.push(Case {
                verb,
                were,
                call,
                blow,
            });
        };
        add(Blow::Kill);
        if were == Were::Fresh && matches!(verb, Verb::Serve | Verb::Run) {
            add(Blow::Freeze);
        }
        let fallible = match were {
            Were::Fresh | Were::Alive => FALLIBLE,
            Were::Stale | Were::HalfWritten => OF_FILES,
        };
        if !fallible.contains(&call.syscall.as_str()) {
            continue;
        }
        // That call is only ever interrupted (epoll_wait(2)).
        let interrupted = &ERRORS[ERRORS.len() - 1..];
        let errors: &[&str] = match call.syscall.as_str() {
            "epoll_wait" => interrupted,
            // What a start of a thread or process fails with (clone(2)).
            "clone3" => &["EAGAIN"],
            _ => &ERRORS,
        };
        for error in errors {
            add(Blow::Fail(error));
            add(Blow::FailOn(error));
        }
    }
    cases
}

/// Tries these cases, `at_once` of them at the same time, and counts them.
///
/// # Errors
///
/// The violations. After `enough` of them no more are looked for.
pub fn sweep(site: &Site, cases: &[Case], at_once: usize, enough: usize) -> Result<Total, String> {
    let total = Total::default();
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    let number_wrong = || wrong.lock().unwrap_or_else(PoisonError::into_inner).len();
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                let mut worker = Worker::new(site);
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match worker.tries(case) {
                        Ok(outcome) => total.add(case.blow, outcome),
                        Err(what) => {
                            let what = format!("{case:?}\n    {what}");
                            wrong
                                .lock()
                                .unwrap_or_else(PoisonError::into_inner)
                                .push(what);
                        }
                    }
                    if number_wrong() >= enough {
                        return;
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    match wrong.is_empty() {
        true => Ok(total),
        false => Err(format!("{}\nof {total}", wrong.join("\n"))),
    }
}

/// Tries what can happen to `verb`, wherever it is started: `sample` cases, or all of them when everything is to be tried.
/// What it came to is said in a line, past the capture of the test harness.
///
/// # Panics
///
/// At a violation.
pub fn try_all(program: &'static str, servant: &'static str, verb: Verb, sample: usize) {
    use std::io::Write as _;
    let begun = Instant::now();
    let site = Site::new(PathBuf::from(program), PathBuf::from(servant));
    let mut all = Vec::new();
    for were in [Were::Fresh, Were::Stale, Were::HalfWritten, Were::Alive] {
        all.extend(cases(&site, verb, were));
    }
    let found = all.len();
    crate::scale::random().shuffle(&mut all);
    all.truncate(cases_of(sample, found));
    // Most of the time each waits for something.
    let at_once = 2 * std::thread::available_parallelism().map_or(2, usize::from);
    let result = sweep(&site, &all, at_once, ENOUGH);
    let line = match &result {
        Ok(total) => total.to_string(),
        Err(_) => "violations".to_owned(),
    };
    // If nobody hears it, there is nothing else to do.
    let _ = writeln!(
        std::io::stderr(),
        "\n{verb:?}: {line}; of {found} that there are; {} s",
        begun.elapsed().as_secs()
    );
    if let Err(wrong) = result {
        panic!("{verb:?}:\n{wrong}");
    }
}

/// Whether `path` is there.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
