//! Streams that are closed, full, or read by nobody: they harm no server and panic no command.

use std::fs::{File, OpenOptions};
use std::io::{PipeReader, PipeWriter, Write as _, pipe};
use std::process::{Command, Stdio};

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};

use crate::sandbox::{Mortal, Sandbox, get};

fn full() -> File {
    let full = OpenOptions::new().write(true).open("/dev/full");
    full.expect("/dev/full is there")
}

/// Both ends of a pipe into which nothing more goes.
fn clogged() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().expect("a pipe");
    fcntl_setfl(&writer, OFlags::NONBLOCK).expect("a flag");
    while writer.write(&[b'x'; 4096]).is_ok() {}
    fcntl_setfl(&writer, OFlags::empty()).expect("no flag");
    (reader, writer)
}

/// Starts a server whose events can't be read, uses it, and stops it.
fn serves_and_ends_cleanly(sandbox: &Sandbox, command: &mut Command) {
    let mut server = Mortal(command.spawn().expect("it starts"));
    let url = sandbox.run(&["wait", "api"]).exits(0).out;
    let port = url
        .trim_end_matches("/\n")
        .rsplit_once(':')
        .expect("a port");
    assert!(get(port.1.parse().expect("a port"), "/").ends_with("hello"));
    kill_process(Pid::from_child(&server.0), Signal::TERM).expect("it is there");
    let ended = server.0.wait().expect("it ends");
    assert_eq!(ended.code(), Some(0));
    sandbox.run(&["status", "api"]).exits(3);
}

#[test]
fn a_server_does_not_mind_full_streams() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.daymark(&["serve", "-n", "api"]);
    serves_and_ends_cleanly(&sandbox, command.stdout(full()).stderr(full()));
}

#[test]
fn a_server_does_not_mind_streams_that_nobody_reads_any_more() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.daymark(&["serve", "-n", "api", "--json"]);
    let (_, out) = pipe().unwrap();
    let (_, err) = pipe().unwrap();
    serves_and_ends_cleanly(&sandbox, command.stdout(out).stderr(err));
}

#[test]
fn a_server_does_not_mind_streams_that_block() {
    let sandbox = Sandbox::new();
    let (out, err) = (clogged(), clogged());
    let mut command = sandbox.daymark(&["serve", "-n", "api"]);
    serves_and_ends_cleanly(&sandbox, command.stdout(out.1).stderr(err.1));
    drop((out.0, err.0));
}

#[test]
fn a_server_does_not_mind_closed_streams() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command("sh");
    let script = r#"exec "$0" serve -n api <&- >&- 2>&-"#;
    command.args(["-c", script, env!("CARGO_BIN_EXE_daymark")]);
    serves_and_ends_cleanly(&sandbox, &mut command);
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    let sandbox = Sandbox::new();
    let _server = sandbox.serve(&["-n", "api"]);
    for args in [
        &["status", "api"] as &[_],
        &["list"],
        &["man"],
        &["--version"],
        &["--help"],
    ] {
        let done = sandbox
            .run_in_shell(r#""$0" "$@" >/dev/full"#, args)
            .exits(1);
        assert!(!done.err.contains("panicked"), "{args:?} {done:?}");
    }
    let done = sandbox
        .run_in_shell(r#""$0" watch api >/dev/full"#, &[])
        .exits(1);
    done.fails_saying("cannot write to standard output", "room");
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let sandbox = Sandbox::new();
    let _server = sandbox.serve(&["-n", "api"]);
    for args in [
        &["status", "api"] as &[_],
        &["list", "--json"],
        &["man"],
        &["--help"],
    ] {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let mut command = sandbox.daymark(args);
        command.stdout(writer).stderr(Stdio::piped());
        let output = command.spawn().unwrap().wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*err), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn an_error_that_nobody_hears_keeps_its_exit_code() {
    let sandbox = Sandbox::new();
    for redirection in ["2>&-", "2>/dev/full", ">&- 2>&-"] {
        let script = format!(r#""$0" "$@" {redirection}"#);
        sandbox.run_in_shell(&script, &["url", "api"]).exits(3);
        sandbox.run_in_shell(&script, &["url", "No Name"]).exits(2);
        sandbox
            .run_in_shell(&script, &["serve", "nowhere"])
            .exits(1);
        sandbox.run_in_shell(&script, &["--no-such-flag"]).exits(2);
    }
}

#[test]
fn results_and_messages_never_mix() {
    let sandbox = Sandbox::new();
    let done = sandbox.run(&["wait", "api", "--timeout", "0"]).exits(124);
    assert_eq!(done.out, "");
    let _server = sandbox.serve(&["-n", "api"]);
    let done = sandbox.run(&["status", "api", "--json", "-v"]).exits(0);
    assert_eq!(done.json()["presence"], "live");
    assert!(done.err.contains("instance  "), "{done:?}");
    let quiet = sandbox.run(&["-q", "list", "-v"]).exits(0);
    assert_eq!(quiet.err, "");
}

#[test]
fn colours_are_for_terminals_or_for_who_insists() {
    let sandbox = Sandbox::new();
    let plain = sandbox.run(&["status", "api"]).exits(3);
    assert!(!plain.out.contains('\u{1b}'), "{plain:?}");
    let painted = sandbox
        .run(&["status", "api", "--color", "always"])
        .exits(3);
    assert!(painted.out.contains('\u{1b}'), "{painted:?}");
}
