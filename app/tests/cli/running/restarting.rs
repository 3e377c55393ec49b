//! Servers that are started again: because somebody asks, or because they have ended.

use std::fs::{self, File};
use std::io::Write as _;

use rustix::process::{Signal, kill_process};

use super::{is_gone, names, pid};
use crate::sandbox::{Sandbox, get};

#[test]
fn a_restart_replaces_the_server_and_keeps_its_port_and_place() {
    let sandbox = Sandbox::with_server();
    let mut server = sandbox.running(&["--", "server", "graceful"]);
    let (old, port) = (server.child_pid(), server.port());
    let done = sandbox.run(&["restart", "api"]).exits(0);
    assert_eq!(
        done.out,
        format!("api  restarted  http://127.0.0.1:{port}\n")
    );
    let new = server.body("/");
    assert_ne!(new, format!("pid {old}"));
    assert!(is_gone(pid(&old.to_string())));
    let restarting = server.awaits("restarting");
    assert_eq!(restarting["reason"], "asked");
    let restarted = server.awaits("restarted");
    assert_eq!(new, format!("pid {}", restarted["child_pid"]));
    assert_eq!(restarted["port"], port);
    assert_eq!(restarted["pid"], server.ready()["pid"]);
    assert_eq!(restarted["restarts"], 1);
    let json = sandbox.run(&["restart", "api", "--json"]).exits(0).json();
    assert_eq!(
        (&json["event"], &json["restarts"]),
        (&"restarted".into(), &2.into())
    );
    server.stops();
}

#[test]
fn what_is_not_running_cannot_be_restarted() {
    let sandbox = Sandbox::with_server();
    let done = sandbox.run(&["restart", "api"]).exits(3);
    done.fails_saying("api is not running", "start it");
    sandbox
        .run(&["restart"])
        .exits(2)
        .fails_saying("restart needs a NAME", "daymark list");
}

#[test]
fn what_runs_by_itself_is_not_restarted() {
    let sandbox = Sandbox::with_server();
    let server = sandbox.serve(&["-n", "api"]);
    let done = sandbox.run(&["restart", "api"]).exits(1);
    done.fails_saying("nobody supervises it", "daymark run");
    assert!(get(server.port(), "/").ends_with("hello"));
}

#[test]
fn a_restart_that_takes_too_long_is_told_of_and_goes_on() {
    let sandbox = Sandbox::with_server();
    let (notes, go) = (sandbox.text("notes"), sandbox.fifo("go"));
    let (note, wait) = (format!("note={notes}"), format!("wait2={go}"));
    let mut server = sandbox.running(&["--", "server", &note, &wait]);
    let done = sandbox
        .run(&["restart", "api", "--timeout", "200ms"])
        .exits(124);
    done.fails_saying("it is not back within 200 ms", "--timeout");
    fs::write(&go, "\n").unwrap();
    server.awaits("restarted");
    assert!(server.body("/").starts_with("pid "));
    server.stops();
}

#[test]
fn a_new_server_that_does_not_start_ends_the_run_and_the_restart() {
    let sandbox = Sandbox::with_server();
    let once = format!("once={}", sandbox.text("once"));
    let server = sandbox.running(&["--", "server", &once]);
    let done = sandbox.run(&["restart", "api"]).exits(1);
    done.fails_saying(
        "it did not come back, and its run has ended",
        "daymark logs api",
    );
    let (done, events) = server.end();
    done.exits(7);
    assert_eq!(names(&events), ["ready", "restarting", "stopped"]);
    assert_eq!(events[2]["exit_code"], 7);
}

#[test]
fn a_server_that_was_killed_is_started_again_if_that_is_wished() {
    let sandbox = Sandbox::with_server();
    for policy in ["on-failure", "always"] {
        let mut server = sandbox.running(&["--restart", policy, "--", "server"]);
        let port = server.port();
        kill_process(pid(&server.child_pid().to_string()), Signal::KILL).unwrap();
        let restarting = server.awaits("restarting");
        assert_eq!(restarting["reason"], "server was ended by signal 9");
        assert_eq!(restarting["exit_code"], 137);
        assert_eq!(restarting["pause_ms"], 100);
        let restarted = server.awaits("restarted");
        assert_eq!(restarted["port"], port);
        assert_eq!(server.body("/"), format!("pid {}", restarted["child_pid"]));
        server.stops();
    }
    let server = sandbox.running(&["--", "server"]);
    kill_process(pid(&server.child_pid().to_string()), Signal::KILL).unwrap();
    server.end().0.exits(137);
}

#[test]
fn an_end_without_an_error_is_followed_by_a_start_only_if_it_always_is() {
    let sandbox = Sandbox::with_server();
    let server = sandbox.running(&["--restart", "on-failure", "--", "server"]);
    get(server.port(), "/exit/0");
    server.end().0.exits(0);
    let mut server = sandbox.running(&["--restart", "always", "--", "server"]);
    get(server.port(), "/exit/0");
    server.awaits("restarted");
    server.stops();
}

#[test]
fn what_never_was_ready_is_not_started_again() {
    let sandbox = Sandbox::with_server();
    let notes = sandbox.text("notes");
    let note = format!("note={notes}");
    sandbox
        .run(&[
            "run",
            "-n",
            "api",
            "--restart",
            "always",
            "--",
            "server",
            &note,
            "exit=3",
        ])
        .exits(3);
    assert_eq!(sandbox.read("notes").lines().count(), 1);
}

#[test]
fn a_server_that_keeps_dying_is_given_up_after_longer_and_longer_pauses() {
    let sandbox = Sandbox::with_server();
    let once = format!("once={}", sandbox.text("once"));
    let server = sandbox.running(&["--restart", "on-failure", "--", "server", &once]);
    get(server.port(), "/exit/4");
    let (done, events) = server.end();
    let done = done.exits(7);
    let (last, restarts) = events[1..].split_last().unwrap();
    let pauses: Vec<_> = restarts
        .iter()
        .map(|event| event["pause_ms"].as_u64().unwrap())
        .collect();
    assert_eq!(pauses[..5], [100, 200, 400, 800, 1600]);
    assert!(restarts.iter().all(|event| event["event"] == "restarting"));
    assert_eq!(restarts[0]["exit_code"], 4);
    assert_eq!(restarts[1]["exit_code"], 7);
    assert_eq!(last["event"], "stopped");
    assert_eq!(last["exit_code"], 7);
    let reason = &format!(
        "server exited with code 7, after {} restarts in a row",
        pauses.len()
    );
    assert_eq!(last["reason"], *reason);
    done.fails_saying(reason, "daymark logs api");
    assert!(!sandbox.record().exists());
}

#[test]
fn a_pause_before_a_start_can_be_cut_short_by_a_stop() {
    let sandbox = Sandbox::with_server();
    let once = format!("once={}", sandbox.text("once"));
    let mut server = sandbox.running(&["--restart", "always", "--", "server", &once]);
    get(server.port(), "/exit/4");
    while server.awaits("restarting")["pause_ms"] != 800 {}
    server.signal(Signal::TERM);
    let (done, events) = server.end();
    done.exits(0);
    assert_eq!(events.last().unwrap()["cause"], "asked");
}

#[test]
fn a_server_that_listens_by_itself_is_not_found_while_it_is_down() {
    let sandbox = Sandbox::with_server();
    let (notes, go) = (sandbox.text("notes"), sandbox.fifo("go"));
    let (note, wait) = (format!("note={notes}"), format!("wait2={go}"));
    let mut server = sandbox.running(&["--restart", "on-failure", "--", "server", &note, &wait]);
    let port = server.port();
    kill_process(pid(&server.child_pid().to_string()), Signal::KILL).unwrap();
    server.awaits("restarting");
    let mut let_it_go = File::options().write(true).open(&go).unwrap();
    assert!(!sandbox.record().exists());
    assert_eq!(sandbox.presence("api"), "starting");
    sandbox.run(&["url", "api"]).exits(3);
    // It isn't anybody else's meanwhile.
    let taken = sandbox
        .run(&["serve", "-n", "other", "-p", &port.to_string()])
        .exits(1);
    assert!(taken.err.contains("is taken"), "{taken:?}");
    sandbox.run(&["run", "-n", "api", "--", "server"]).exits(4);
    let_it_go.write_all(b"\n").unwrap();
    drop(let_it_go);
    assert_eq!(server.awaits("restarted")["port"], port);
    assert_eq!(sandbox.presence("api"), "live");
    server.stops();
}
