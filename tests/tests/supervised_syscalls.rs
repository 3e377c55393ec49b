//! `daymark run` and all that it starts, killed at system calls: the supervisor, its guard and its child, whoever makes it.
//!
//! In one test they are killed at moments that only shapes of trees and sockets decide; in the other `daymark run` is struck
//! as the other verbs are (`every_syscall.rs`). By default a sample of the moments. A lot more of them:
//!
//! ```text
//! DAYMARK_TEST_FULL=1 cargo test --release -p daymark-tests --test supervised_syscalls
//! ```
#![cfg(target_os = "linux")]

use daymark::Presence;
use daymark_tests::files::Ground;
use daymark_tests::programs::can_run;
use daymark_tests::scale::{random, rounds};
use daymark_tests::supervised::{Role, Start, Supervisor, eventually, members};
use daymark_tests::sweep::{Verb, try_all};
use daymark_tests::watcher::ask;
use rustix::process::{Signal, kill_process};

/// The calls by which supervisors, guards and children come and go, and how often one of them makes each, about.
const CALLS: [(&str, usize); 24] = [
    ("execve", 2),
    ("clone3,clone,vfork", 8),
    ("socketpair", 4),
    ("sendmsg", 2),
    ("recvmsg", 1),
    ("prctl", 3),
    ("setsid", 1),
    ("setpgid", 1),
    ("wait4", 6),
    ("waitid", 2),
    ("kill", 4),
    ("pidfd_open", 2),
    ("pipe2", 4),
    ("dup2,dup3", 4),
    ("flock", 12),
    ("fsync", 2),
    ("renameat", 2),
    ("unlinkat", 4),
    ("bind", 3),
    ("close", 40),
    ("openat", 60),
    ("read", 40),
    ("write", 30),
    ("epoll_wait", 30),
];

struct Scene {
    ground: Ground,
    start: Start,
}

impl Scene {
    fn new(pass_socket: bool, shape: &'static [&'static str]) -> Self {
        let ground = Ground::new();
        let start = Start {
            program: env!("CARGO_BIN_EXE_supervisor"),
            servant: env!("CARGO_BIN_EXE_servant"),
            dir: ground.dir(),
            pass_socket,
            restart: "never",
            port: 0,
            shape,
            group: None,
            through: Vec::new(),
        };
        Self { ground, start }
    }

    /// Whether it is published by now; or that it has ended.
    fn outcome(&self, supervisor: &mut Supervisor) -> bool {
        eventually("it is published or has ended", || {
            match supervisor.ended() {
                Some(_) => Some(false),
                None => (self.ground.presence() == Presence::Live).then_some(true),
            }
        })
    }

    /// Starts and stops it while all of it is traced; whether anything was killed.
    fn tamper(&mut self, syscall: &str, nth: usize) -> bool {
        let words = ["strace", "-f", "-o", "/dev/null", "-e"];
        self.start.through = words.map(str::to_owned).to_vec();
        self.start.through.extend([
            format!("trace={syscall}"),
            "-e".to_owned(),
            format!("inject={syscall}:signal=KILL:when={nth}"),
        ]);
        let mut traced = self.start.go();
        if self.outcome(&mut traced) {
            let members = traced.members();
            let supervisors = members.iter().filter(|m| m.role == Role::Supervisor);
            for supervisor in supervisors {
                // It may have been killed meanwhile.
                let _ = kill_process(supervisor.pid, Signal::TERM);
            }
        }
        let status = traced.wait();
        let presence = self.ground.presence();
        assert!(
            matches!(presence, Presence::Absent | Presence::Stale),
            "{presence}"
        );
        self.start.through.clear();
        self.recovers(traced.mark());
        !status.success()
    }

    /// The next one comes up, with nothing left of what was there, and goes.
    fn recovers(&self, killed: &str) {
        let mut next = self.start.go();
        assert!(self.outcome(&mut next), "{}", self.start.output());
        let left = members(killed);
        assert!(left.is_empty(), "{left:?}");
        let record = self.ground.place().look().record.expect("it is published");
        ask(record.endpoint.port().get(), "/").expect("who is published answers");
        next.signal(Signal::TERM);
        let status = next.wait();
        assert!(status.success(), "{status}: {}", self.start.output());
        assert_eq!(self.ground.presence(), Presence::Absent);
    }
}

#[test]
fn a_supervised_start_and_stop_that_is_killed_at_any_call_leaves_nothing_after_the_next() {
    if !can_run(&["strace"]) {
        return;
    }
    let mut random = random();
    let mut kills = 0;
    for _ in 0..rounds(6, 300) {
        let (syscall, often) = CALLS[random.usize(..CALLS.len())];
        let nth = random.usize(1..=often);
        let shape: &[&str] = match random.bool() {
            true => &["--workers", "1", "--daemon"],
            false => &[],
        };
        let mut scene = Scene::new(random.bool(), shape);
        println!("{syscall} {nth} {:?}", scene.start);
        kills += usize::from(scene.tamper(syscall, nth));
    }
    println!("{kills} kills");
}

#[test]
fn run_survives_whatever_happens_at_any_call() {
    if can_run(&["strace"]) {
        try_all(
            env!("CARGO_BIN_EXE_supervisor"),
            env!("CARGO_BIN_EXE_servant"),
            Verb::Run,
            25,
        );
    }
}
