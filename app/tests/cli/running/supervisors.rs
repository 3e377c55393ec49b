//! What becomes of a server whose supervisor or whose guard is killed.

use std::fs;
use std::net::TcpListener;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::{is_gone, pid};
use crate::sandbox::{Sandbox, Serving};

/// The guard of a server: the parent of the main process.
fn guard_of(server: &Serving) -> Pid {
    let stat =
        fs::read_to_string(format!("/proc/{}/stat", server.child_pid())).expect("it can be done");
    let (_, fields) = stat.rsplit_once(") ").expect("its name");
    pid(fields.split(' ').nth(1).expect("its parent"))
}

/// Waits until there is no such process. Nobody tells when somebody else's child is gone.
fn wait_until_gone(process: Pid) {
    while !is_gone(process) {
        std::thread::yield_now();
    }
}

#[test]
fn nothing_survives_a_supervisor_that_is_killed() {
    let sandbox = Sandbox::with_server();
    let server = sandbox.running(&["--", "server", "ignore"]);
    let (guard, child) = (guard_of(&server), pid(&server.child_pid().to_string()));
    let daemon = pid(&server.body("/daemon"));
    let port = server.port();
    server.signal(Signal::KILL);
    assert_eq!(server.end().0.code, None);
    [guard, child, daemon].into_iter().for_each(wait_until_gone);
    TcpListener::bind(("127.0.0.1", port)).expect("nobody listens");
    assert_eq!(sandbox.presence("api"), "stale");
    let next = sandbox.running(&["--", "server"]);
    assert_eq!(next.events[0]["event"], "recovered");
    assert!(next.body("/").starts_with("pid "));
}

#[test]
fn a_new_run_never_meets_the_old_server() {
    let sandbox = Sandbox::with_server();
    for listen in ["number", "fd"] {
        let words = [
            "--drain", "100ms", "--listen", listen, "--", "server", listen, "ignore",
        ];
        let server = sandbox.running(&words);
        let (guard, child) = (guard_of(&server), pid(&server.child_pid().to_string()));
        let daemon = pid(&server.body("/daemon"));
        // Guard and supervisor at once: nobody is left to end the daemon.
        kill_process(guard, Signal::STOP).unwrap();
        server.signal(Signal::KILL);
        kill_process(guard, Signal::KILL).unwrap();
        let port = server.port();
        server.end();
        let next = sandbox.running(&words);
        assert!(is_gone(daemon), "{listen}");
        assert!(is_gone(child), "{listen}");
        assert_eq!(next.port(), port);
        assert_eq!(next.body("/"), format!("pid {}", next.child_pid()));
        next.signal(Signal::TERM);
        let (done, _) = next.end();
        let warning = "warning: ended a process that an earlier server had left behind\n";
        assert!(done.exits(0).err.contains(warning), "{listen}");
    }
}

#[test]
fn strangers_are_not_taken_for_what_a_dead_supervisor_left() {
    let sandbox = Sandbox::with_server();
    let mut other =
        Serving::begin(&mut sandbox.daymark(&["run", "--json", "-n", "other", "--", "server"]));
    other.await_ready();
    let server = sandbox.running(&["--", "server"]);
    server.signal(Signal::KILL);
    server.end();
    sandbox.running(&["--", "server"]).stops();
    assert_eq!(other.body("/"), format!("pid {}", other.child_pid()));
    other.stops();
}

#[test]
fn a_guard_that_is_killed_takes_the_server_with_it_and_the_run_ends() {
    let sandbox = Sandbox::with_server();
    let server = sandbox.running(&["--", "server", "ignore"]);
    let child = pid(&server.child_pid().to_string());
    let daemon = pid(&server.body("/daemon"));
    kill_process(guard_of(&server), Signal::KILL).unwrap();
    let (done, events) = server.end();
    done.exits(137);
    assert!(is_gone(child) && is_gone(daemon));
    let reason = events.last().unwrap()["reason"].as_str().unwrap();
    assert!(reason.contains("killed along with its guard"), "{reason}");
}

#[test]
fn a_guard_that_is_killed_is_replaced_with_its_server_if_that_is_wished() {
    let sandbox = Sandbox::with_server();
    for policy in ["on-failure", "always"] {
        let mut server = sandbox.running(&[
            "--drain",
            "100ms",
            "--restart",
            policy,
            "--",
            "server",
            "ignore",
        ]);
        let child = pid(&server.child_pid().to_string());
        let daemon = pid(&server.body("/daemon"));
        kill_process(guard_of(&server), Signal::KILL).unwrap();
        let restarted = server.awaits("restarted");
        assert!(is_gone(child) && is_gone(daemon));
        assert_eq!(server.body("/"), format!("pid {}", restarted["child_pid"]));
        server.stops();
    }
}

#[test]
fn a_guard_that_is_asked_to_end_ends_its_server() {
    let sandbox = Sandbox::with_server();
    let server = sandbox.running(&["--", "server", "graceful"]);
    let child = pid(&server.child_pid().to_string());
    assert!(test_kill_process(child).is_ok());
    kill_process(guard_of(&server), Signal::TERM).unwrap();
    server.end().0.exits(0);
    assert!(is_gone(child));
}
