//! `daymark stop`.

use std::fs;

use rustix::process::Signal;

use crate::sandbox::{Sandbox, Serving};

#[test]
fn a_server_is_stopped_and_stopping_it_again_is_fine() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&["-n", "api"]);
    assert_eq!(sandbox.run(&["stop", "api"]).exits(0).out, "api  stopped\n");
    server.end().0.exits(0);
    assert!(!sandbox.state_dir("api").join("server.json").exists());
    assert_eq!(
        sandbox.run(&["stop", "api"]).exits(0).out,
        "api  was not running\n"
    );
}

#[test]
fn several_are_stopped_at_once_and_told_in_one_object() {
    let sandbox = Sandbox::new();
    let servers = [sandbox.serve(&["-n", "one"]), sandbox.serve(&["-n", "two"])];
    let done = sandbox
        .run(&["stop", "one", "two", "gone", "one", "--json"])
        .exits(0)
        .json();
    assert_eq!((&done["schema"], &done["ok"]), (&1.into(), &true.into()));
    let told: Vec<_> = done["servers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| (s["name"].as_str().unwrap(), s["outcome"].as_str().unwrap()))
        .collect();
    let expected = [
        ("one", "stopped"),
        ("two", "stopped"),
        ("gone", "was_not_running"),
    ];
    assert_eq!(told, expected);
    servers
        .into_iter()
        .for_each(|server| drop(server.end().0.exits(0)));
}

#[test]
fn a_killed_one_was_not_running() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&["-n", "api"]);
    server.signal(Signal::KILL);
    server.end();
    assert_eq!(
        sandbox.run(&["stop", "api"]).exits(0).out,
        "api  was not running\n"
    );
}

#[test]
fn nobody_is_signalled_for_a_record_that_nothing_proves() {
    let sandbox = Sandbox::new();
    // The pid is this test's own: if it were signalled, that would show.
    let pid = std::process::id();
    let record = format!(r#"{{"port":9,"pid":{pid},"started_at":"2026-11-22T06:25:00Z"}}"#);
    sandbox.leave_record("old", &record);
    let done = sandbox.run(&["stop", "old"]).exits(1);
    done.fails_saying("nobody was signalled", "stop it where it runs");
}

#[test]
fn one_that_hangs_is_killed_only_by_force() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&["-n", "api"]);
    server.signal(Signal::STOP);
    let done = sandbox.run(&["stop", "api", "--drain", "0"]).exits(1);
    done.fails_saying(
        "api is not stopped: it is still live",
        "daymark stop --force api",
    );
    let done = sandbox
        .run(&["stop", "api", "--drain", "0", "--force"])
        .exits(0);
    assert_eq!(done.out, "api  killed\n");
    assert_eq!(server.end().0.code, None);
}

#[test]
fn there_must_be_something_to_stop() {
    let sandbox = Sandbox::new();
    sandbox
        .run(&["stop"])
        .exits(2)
        .fails_saying("stop needs a NAME", "daymark list");
    assert!(
        fs::read_dir(sandbox.path("state"))
            .unwrap()
            .next()
            .is_none()
    );
}

#[test]
fn a_server_that_is_not_ready_yet_is_stopped() {
    let sandbox = Sandbox::new();
    let run = ["run", "--json", "-n", "slow", "--", "sleep", "1000"];
    let starting = Serving::begin(&mut sandbox.daymark(&run));
    while !sandbox.run(&["status", "slow"]).out.contains("starting") {}
    let done = sandbox.run(&["stop", "slow"]).exits(0);
    assert_eq!(done.out, "slow  stopped\n");
    let (done, _) = starting.end();
    assert_eq!(done.code, Some(0), "{done:?}");
}
