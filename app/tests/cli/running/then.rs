//! `--then`: a command that needs the server, and whose exit code is that of the run.

use std::fs;

use rustix::process::Signal;

use super::{is_gone, names, pid};
use crate::sandbox::Sandbox;

fn then<'a>(command: &'a str, words: &[&'a str]) -> Vec<&'a str> {
    [
        &["run", "-n", "api", "--then", command, "--", "server"],
        words,
    ]
    .concat()
}

#[test]
fn its_exit_code_is_that_of_the_run() {
    let sandbox = Sandbox::with_server();
    for (command, code) in [
        ("true", 0),
        ("exit 5", 5),
        ("kill -KILL $$", 137),
        ("no-such-command", 127),
    ] {
        sandbox.run(&then(command, &[])).exits(code);
        assert_eq!(sandbox.presence("api"), "absent", "{command}");
    }
}

#[test]
fn it_finds_the_server_and_has_the_output_for_itself() {
    let sandbox = Sandbox::with_server();
    let script = "import os, urllib.request as u; print(u.urlopen(os.environ['DAYMARK_URL']).read().decode())";
    let command = format!(
        "python3 -c \"{script}\"; echo $PORT $HOST $DAYMARK_NAME $DAYMARK_STATE_DIR $DAYMARK_URL >&2"
    );
    let done = sandbox
        .run(&then(&command, &["out=from the server"]))
        .exits(0);
    assert!(done.out.starts_with("pid "), "{done:?}");
    assert_eq!(done.out.lines().count(), 1, "{done:?}");
    assert!(done.err.contains("from the server\n"), "{done:?}");
    let dir = sandbox.state_dir("api");
    let tail = format!(" 127.0.0.1 api {} http://127.0.0.1:", dir.display());
    assert!(done.err.contains(&tail), "{done:?}");
}

#[test]
fn it_may_use_daymark_itself() {
    let sandbox = Sandbox::with_server();
    let command = format!("{} url", env!("CARGO_BIN_EXE_daymark"));
    let done = sandbox.run(&then(&command, &[])).exits(0);
    assert!(done.out.starts_with("http://127.0.0.1:"), "{done:?}");
}

#[test]
fn the_server_is_gone_when_the_run_is() {
    let sandbox = Sandbox::with_server();
    let command = "python3 -c \"import os, urllib.request as u; print(u.urlopen(os.environ['DAYMARK_URL'] + 'daemon').read().decode())\"";
    let mut args = then(command, &["ignore"]);
    args.splice(1..1, ["--drain", "100ms"]);
    let done = sandbox.run(&args).exits(0);
    assert!(is_gone(pid(&done.out)));
}

#[test]
fn without_a_server_it_is_not_run() {
    let sandbox = Sandbox::with_server();
    sandbox.run(&then("touch ran", &["exit=3"])).exits(3);
    assert!(!fs::exists(sandbox.path("site/ran")).unwrap());
}

#[test]
fn a_server_that_dies_meanwhile_ends_it_and_is_the_reason() {
    let sandbox = Sandbox::with_server();
    let begun = sandbox.fifo("begun");
    let command = format!("echo $$ > {begun}; exec sleep 1000");
    let server = sandbox.starting(&["--then", &command, "--", "server"]);
    let then = pid(&fs::read_to_string(&begun).unwrap());
    let mut server = server;
    server.await_ready();
    crate::sandbox::get(server.port(), "/exit/3");
    let (done, events) = server.end();
    // It was ended by SIGTERM, and that isn't what went wrong first.
    let done = done.exits(3);
    assert!(done.err.contains("server exited with code 3"), "{done:?}");
    assert_eq!(names(&events).last(), Some(&"stopped"));
    assert!(is_gone(then));
}

#[test]
fn a_signal_ends_it_and_the_server() {
    let sandbox = Sandbox::with_server();
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let begun = sandbox.fifo(&format!("begun{code}"));
        let command = format!("echo $$ > {begun}; exec sleep 1000");
        let server = sandbox.starting(&["--then", &command, "--", "server"]);
        let then = pid(&fs::read_to_string(&begun).unwrap());
        server.signal(signal);
        let (done, _) = server.end();
        assert!(is_gone(then));
        assert!(done.code != Some(0), "{done:?}");
        done.exits(code);
    }
}

#[test]
fn one_that_will_not_end_is_killed_and_that_is_no_success() {
    let sandbox = Sandbox::with_server();
    let begun = sandbox.fifo("begun");
    let command = format!("trap '' TERM; echo $$ > {begun}; exec sleep 1000");
    let server = sandbox.starting(&["--then", &command, "--", "server"]);
    let then = pid(&fs::read_to_string(&begun).unwrap());
    server.signal(Signal::TERM);
    server.end().0.exits(137);
    assert!(is_gone(then));
}

#[test]
fn what_it_has_started_ends_with_it() {
    let sandbox = Sandbox::with_server();
    for deaf in ["", "trap '' TERM;"] {
        let begun = sandbox.fifo(&format!("begun{}", deaf.len()));
        let command =
            format!("sh -c \"{deaf} sleep 1000 & echo \\$! > {begun}; wait; wait\"; true");
        let server = sandbox.starting(&["--then", &command, "--", "server"]);
        let sleeping = pid(&fs::read_to_string(&begun).unwrap());
        server.signal(Signal::TERM);
        server.end().0.exits(143);
        assert!(is_gone(sleeping), "{deaf}");
    }
}

#[test]
fn it_is_asked_to_end_before_the_server_has() {
    let sandbox = Sandbox::with_server();
    let begun = sandbox.fifo("begun");
    let (note, drain) = (sandbox.text("note"), ["--drain", "20s", "--then"]);
    // Only this ends the server.
    let command = format!(
        "trap 'kill -KILL $(cat {note}); exit 9' TERM; echo > {begun}; while :; do sleep 0.01; done"
    );
    let noted = format!("note={note}");
    let args = [&drain[..], &[&command, "--", "server", "ignore", &noted]].concat();
    let server = sandbox.starting(&args);
    fs::read_to_string(&begun).unwrap();
    server.signal(Signal::TERM);
    server.end().0.exits(9);
}

#[test]
fn what_was_said_to_us_is_not_said_to_it() {
    let sandbox = Sandbox::with_server();
    let mut command = sandbox.daymark(&then("env >&2", &[]));
    command.env("DAYMARK_DRAIN", "1s").env("LISTEN_FDS", "1");
    let done = String::from_utf8(command.output().unwrap().stderr).unwrap();
    for name in ["DAYMARK_DRAIN=", "DAYMARK_INSTANCE_ID=", "LISTEN_FDS="] {
        assert!(!done.contains(name), "{done}");
    }
    assert!(done.contains("DAYMARK_URL="), "{done}");
}

#[test]
fn what_it_prints_does_not_come_between_events() {
    let sandbox = Sandbox::with_server();
    let server = sandbox.starting(&["--then", "echo not an event", "--", "server"]);
    let (done, _) = server.end();
    assert!(done.exits(0).err.contains("not an event\n"));
}

#[test]
fn a_server_that_is_there_already_is_used_and_left_alone() {
    let sandbox = Sandbox::with_server();
    let server = sandbox.running(&["--", "server"]);
    let done = sandbox
        .run(&[
            "run",
            "-n",
            "api",
            "--reuse",
            "--then",
            "echo $DAYMARK_URL; exit 6",
            "--",
            "server",
        ])
        .exits(6);
    assert_eq!(done.out.trim_end(), server.url());
    assert!(server.body("/").starts_with("pid "));
    server.stops();
}

#[test]
fn it_may_restart_the_server() {
    let sandbox = Sandbox::with_server();
    let command = format!("{} restart api && exit 9", env!("CARGO_BIN_EXE_daymark"));
    sandbox.run(&then(&command, &[])).exits(9);
}

#[test]
fn one_that_was_never_run_is_no_success() {
    let sandbox = Sandbox::with_server();
    let starting = sandbox.starting(&["--then", "true", "--", "sleep", "1000"]);
    while sandbox.presence("api") != "starting" {}
    starting.signal(Signal::TERM);
    starting.end().0.exits(143);
}
