//! Killed, stopped and given errors at every system call: the command's `serve`, `status` and `stop`, black-box, over a
//! fresh directory, a stale record, a stale temporary file and a server that lives; and the library's start and stop.
//!
//! By default a sample. All of it, on a quiet machine in a quarter of an hour, with `run` a good deal more:
//!
//! ```text
//! DAYMARK_TEST_FULL=1 cargo test --release -p daymark-tests --test every_syscall --test supervised_syscalls
//! ```
//!
//! `DAYMARK_TEST_CASES=1000` tries that many cases of each verb. What each verb came to stands in a line on stderr.
//!
//! Where the library's own start and stop fail, `write` is left out, for the runtime's threads wake each other by it. The
//! command is given errors there, too; a case in which one met the runtime's own descriptors is counted apart.
#![cfg(target_os = "linux")]

use daymark::Presence;
use daymark_tests::files::Ground;
use daymark_tests::owner::{Owner, Said, exit};
use daymark_tests::programs::can_run;
use daymark_tests::scale::{random, rounds};
use daymark_tests::sweep::{Case, Site, Verb, Were, cases, sweep, try_all};
use daymark_tests::trace::{Blow, Tracer};

const OWNER: &str = env!("CARGO_BIN_EXE_owner");

/// The calls by which a server comes and goes.
const CALLS: [&str; 22] = [
    "openat",
    "mkdirat",
    "fchmodat",
    "fstat",
    "newfstatat",
    "statx",
    "getdents64",
    "lseek",
    "read",
    "write",
    "pread64",
    "pwrite64",
    "flock",
    "fcntl",
    "fsync",
    "renameat",
    "unlink",
    "unlinkat",
    "socket",
    "bind",
    "listen",
    "accept4",
];

/// What can be wrong with files.
const FAILURES: [(&str, &[&str]); 13] = [
    ("openat", &["EIO", "ENOSPC", "EROFS", "EMFILE"]),
    ("mkdirat", &["EIO", "ENOSPC", "EROFS"]),
    ("fchmodat", &["EIO", "EROFS"]),
    ("newfstatat", &["EIO"]),
    ("getdents64", &["EIO"]),
    ("pread64", &["EIO"]),
    ("pwrite64", &["EIO", "ENOSPC"]),
    ("flock", &["EIO", "ENOLCK"]),
    ("fsync", &["EIO", "ENOSPC"]),
    ("renameat", &["EIO", "ENOSPC", "EROFS"]),
    ("unlinkat", &["EIO", "EROFS"]),
    ("bind", &["EIO"]),
    ("listen", &["EIO"]),
];

/// More than any thread makes of any call.
const MOST: usize = 60;

/// The numbers of the calls to try: all of them, or some. It ends when one doesn't happen any more.
fn moments(random: &mut fastrand::Rng) -> impl Iterator<Item = usize> + '_ {
    let stride = rounds(3, 1);
    let further = move |nth: &usize| Some(nth + random.usize(1..=stride));
    std::iter::successors(Some(1), further).take_while(|nth| *nth <= MOST)
}

/// What came of a server that was tampered with.
struct Outcome {
    ground: Ground,
    /// What it said, up to the end or until it was ready.
    said: Option<Said>,
    /// Nothing is to be said of a process that was killed.
    code: Option<i32>,
}

/// A server's start under a tracer, and if it comes so far, its stop.
fn start_under(syscall: &str, what: &str, nth: usize) -> Outcome {
    let ground = Ground::new();
    let mut owner = Owner::load(OWNER, &ground.dir());
    owner.loaded();
    let tracer = Tracer::attach(owner.pid(), syscall, what, nth);
    owner.go();
    let mut said = owner.hear();
    if matches!(said, Some(Said::Ready(..))) {
        if what.starts_with("error") {
            assert_eq!(ground.presence(), Presence::Live, "it says it is ready");
        }
        owner.ask_to_stop();
        said = owner.hear();
    }
    let code = owner.wait().code();
    drop(tracer);
    Outcome { ground, said, code }
}

/// The stop of a server under a tracer.
fn stop_under(syscall: &str, what: &str, nth: usize) -> Outcome {
    let ground = Ground::new();
    let mut owner = Owner::start(OWNER, &ground.dir());
    owner.ready();
    let tracer = Tracer::attach(owner.pid(), syscall, what, nth);
    owner.ask_to_stop();
    let said = owner.hear();
    let code = owner.wait().code();
    drop(tracer);
    Outcome { ground, said, code }
}

impl Outcome {
    /// Nobody believes what is left, and the next one starts and stops as if nothing had been.
    fn assert_recoverable(&self) {
        self.ground.assert_survivable();
        let mut next = Owner::start(OWNER, &self.ground.dir());
        next.ready();
        assert_eq!(self.ground.presence(), Presence::Live);
        next.stop();
        self.ground.assert_left_clean();
    }

    fn has_temporary(&self) -> bool {
        self.ground
            .names()
            .iter()
            .any(|name| name.ends_with(".tmp"))
    }
}

fn kill_at_every_call(tamper: fn(&str, &str, usize) -> Outcome) -> usize {
    let mut random = random();
    let mut kills = 0;
    for syscall in CALLS {
        for nth in moments(&mut random) {
            let outcome = tamper(syscall, "signal=KILL", nth);
            outcome.assert_recoverable();
            if outcome.code.is_some() {
                assert_eq!(outcome.code, Some(exit::CLEAN), "{syscall} {nth}");
                break;
            }
            kills += 1;
        }
    }
    kills
}

#[test]
fn a_start_that_is_killed_at_any_call_leaves_nothing_that_anybody_believes() {
    if !can_run(&["strace"]) {
        return;
    }
    let kills = kill_at_every_call(start_under);
    println!("{kills} kills");
    assert!(kills >= CALLS.len());
}

#[test]
fn a_stop_that_is_killed_at_any_call_leaves_nothing_that_anybody_believes() {
    if !can_run(&["strace"]) {
        return;
    }
    let kills = kill_at_every_call(stop_under);
    println!("{kills} kills");
    assert!(kills >= 8);
}

#[test]
fn a_start_with_a_call_that_fails_succeeds_or_says_why_not_and_leaves_nothing() {
    if !can_run(&["strace"]) {
        return;
    }
    let mut random = random();
    let (mut failed, mut succeeded) = (0, 0);
    for (syscall, errors) in FAILURES {
        let errors = &errors[..rounds(1, errors.len())];
        for error in errors {
            let what = format!("error={error}");
            for nth in moments(&mut random).take_while(|nth| *nth <= 15) {
                println!("{syscall} {error} {nth}");
                let outcome = start_under(syscall, &what, nth);
                match &outcome.said {
                    Some(Said::Failed(_)) => {
                        assert_eq!(outcome.code, Some(exit::FAILED));
                        let kept = outcome.has_temporary() && !syscall.starts_with("unlink");
                        assert!(!kept, "{:?}", outcome.ground.names());
                        failed += 1;
                    }
                    Some(Said::Stopped(left)) => {
                        let expected = if *left == 0 {
                            exit::CLEAN
                        } else {
                            exit::FAILED
                        };
                        assert_eq!(outcome.code, Some(expected));
                        succeeded += 1;
                    }
                    other => panic!("{syscall} {error} {nth}: {other:?}, {:?}", outcome.code),
                }
                outcome.assert_recoverable();
            }
        }
    }
    println!("{failed} starts failed, {succeeded} succeeded");
    assert!(failed > 0 && succeeded > 0);
}

#[test]
fn a_stop_with_a_call_that_fails_ends_and_says_what_is_left() {
    if !can_run(&["strace"]) {
        return;
    }
    let mut random = random();
    let mut unclean = 0;
    for (syscall, errors) in FAILURES {
        for nth in moments(&mut random).take_while(|nth| *nth <= 8) {
            let what = format!("error={}", errors[0]);
            let outcome = stop_under(syscall, &what, nth);
            let Some(Said::Stopped(left)) = outcome.said else {
                panic!("{syscall} {nth}: {:?}, {:?}", outcome.said, outcome.code);
            };
            let expected = if left == 0 { exit::CLEAN } else { exit::FAILED };
            assert_eq!(outcome.code, Some(expected));
            unclean += usize::from(left > 0);
            outcome.assert_recoverable();
        }
    }
    assert!(unclean > 0, "a record that can't be removed is told of");
}

/// The command, as it is shipped.
const COMMAND: &str = env!("CARGO_BIN_EXE_supervisor");
const SERVANT: &str = env!("CARGO_BIN_EXE_servant");

#[test]
fn serve_survives_whatever_happens_at_any_call() {
    if can_run(&["strace"]) {
        try_all(COMMAND, SERVANT, Verb::Serve, 60);
    }
}

#[test]
fn status_survives_whatever_happens_at_any_call() {
    if can_run(&["strace"]) {
        try_all(COMMAND, SERVANT, Verb::Status, 40);
    }
}

#[test]
fn stop_survives_whatever_happens_at_any_call() {
    if can_run(&["strace"]) {
        try_all(COMMAND, SERVANT, Verb::Stop, 40);
    }
}

/// A fault, where it shows, and at which blows.
type Mutant = (&'static str, &'static [&'static str], Blow);

const MUTANTS: [Mutant; 6] = [
    ("write in place", &["write"], Blow::Kill),
    (
        "publish before bind",
        &["rename", "renameat", "bind"],
        Blow::Freeze,
    ),
    (
        "lock after rename",
        &["rename", "renameat", "flock"],
        Blow::Freeze,
    ),
    ("release before withdraw", &["flock"], Blow::Freeze),
    ("silent", &["bind"], Blow::Fail("EIO")),
    ("litter", &["rename", "renameat"], Blow::Fail("EIO")),
];

/// What such a sweep finds wrong with a program that has this fault.
fn found(fault: &'static str, syscalls: &[&str], blow: Blow) -> Result<(), String> {
    let mut site = Site::new(COMMAND.into(), SERVANT.into());
    site.program = env!("CARGO_BIN_EXE_misordered").into();
    site.fault = fault;
    let all = cases(&site, Verb::Serve, Were::Fresh);
    let is_meant = |case: &Case| case.blow == blow && syscalls.contains(&&*case.call.syscall);
    let meant: Vec<Case> = all.into_iter().filter(is_meant).collect();
    assert!(!meant.is_empty(), "it makes none of {syscalls:?}");
    sweep(&site, &meant, 2, 1).map(drop)
}

#[test]
fn each_wrong_order_is_found_by_a_sweep_that_finds_nothing_wrong_with_the_right_one() {
    if !can_run(&["strace"]) {
        return;
    }
    for (fault, syscalls, blow) in MUTANTS {
        let right = found("", syscalls, blow);
        assert_eq!(right, Ok(()), "in place of {fault:?}");
        let wrong = found(fault, syscalls, blow);
        println!("{fault}: {wrong:?}");
        assert!(wrong.is_err(), "nobody finds {fault:?}");
    }
}
