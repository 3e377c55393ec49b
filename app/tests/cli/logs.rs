//! `daymark logs`.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::Stdio;

use crate::sandbox::{Mortal, Sandbox};

/// A log, written by hand.
struct Log(PathBuf);

impl Log {
    fn of(sandbox: &Sandbox, name: &str) -> Self {
        let dir = sandbox.state_dir(name).join("logs");
        fs::create_dir_all(&dir).expect("a directory");
        Self(dir)
    }

    fn append(&self, bytes: impl AsRef<[u8]>) {
        let mut options = File::options();
        let file = options.append(true).create(true);
        let mut file = file.open(self.0.join("server.log")).expect("a log");
        file.write_all(bytes.as_ref()).expect("room");
    }

    fn rotate(&self) {
        fs::rename(self.0.join("server.log"), self.0.join("server.log.1")).expect("a log");
    }
}

#[test]
fn the_last_lines_of_a_server_that_has_stopped_are_shown() {
    let sandbox = Sandbox::new();
    let log = Log::of(&sandbox, "api");
    log.append("one\ntwo\n");
    log.rotate();
    log.append("three\r\n\nno end");
    let all = sandbox.run(&["logs", "api"]).exits(0);
    assert_eq!(
        (all.out.as_str(), all.err.as_str()),
        ("one\ntwo\nthree\n\nno end\n", "")
    );
    let some = sandbox.run(&["logs", "api", "-n", "3"]).exits(0);
    assert_eq!(some.out, "three\n\nno end\n");
    assert_eq!(sandbox.run(&["logs", "api", "-n", "0"]).exits(0).out, "");
    // There is nobody to wait for.
    assert_eq!(
        sandbox.run(&["logs", "-f", "api", "-n1"]).exits(0).out,
        "no end\n"
    );
}

#[test]
fn fifty_lines_are_the_default() {
    let sandbox = Sandbox::new();
    let log = Log::of(&sandbox, "site");
    let lines: String = (0..100).map(|line| format!("{line}\n")).collect();
    log.append(lines);
    let done = sandbox.run(&["logs"]).exits(0);
    assert_eq!(done.out.lines().count(), 50);
    assert!(done.out.starts_with("50\n"), "{done:?}");
}

#[test]
fn each_line_is_an_object_if_asked() {
    let sandbox = Sandbox::new();
    let log = Log::of(&sandbox, "api");
    log.append(b"a \x1b[2J\n\xff\n");
    let done = sandbox.run(&["logs", "api", "--json"]).exits(0);
    let expected =
        "{\"schema\":1,\"line\":\"a \\u001b[2J\"}\n{\"schema\":1,\"line\":\"\u{fffd}\"}\n";
    assert_eq!(done.out, expected);
}

#[test]
fn nothing_in_a_log_commands_what_shows_it() {
    let sandbox = Sandbox::new();
    let log = Log::of(&sandbox, "api");
    log.append(b"\x1b[31mred\x1b[0m\t\x1b[2J\x1b]0;title\x07\n");
    let plain = sandbox.run(&["logs", "api"]).exits(0);
    assert_eq!(plain.out, "red\t\\u{1b}[2J\\u{1b}]0;title\\u{7}\n");
    let colored = sandbox.run(&["logs", "api", "--color", "always"]).exits(0);
    assert!(
        colored
            .out
            .starts_with("\u{1b}[31mred\u{1b}[0m\t\\u{1b}[2J"),
        "{colored:?}"
    );
}

#[test]
fn without_a_server_and_without_a_log_there_is_nothing_to_show() {
    let sandbox = Sandbox::new();
    for args in [&["logs", "api"] as &[_], &["logs", "api", "-f"]] {
        let done = sandbox.run(args).exits(3);
        done.fails_saying("api is not running, and has left no log", "daymark run");
    }
    let server = sandbox.serve(&["-n", "api"]);
    let done = sandbox.run(&["logs", "api"]).exits(0);
    assert_eq!(
        (done.out.as_str(), done.err.as_str()),
        ("", "api has not written a log\n")
    );
    drop(server);
}

#[test]
fn a_log_that_is_none_is_not_read() {
    let sandbox = Sandbox::new();
    let log = Log::of(&sandbox, "api");
    std::os::unix::fs::symlink("/etc/passwd", log.0.join("server.log")).unwrap();
    let done = sandbox.run(&["logs", "api"]).exits(1);
    done.fails_saying("cannot read ", "see what is there");
    assert_eq!(done.out, "");
    fs::remove_file(log.0.join("server.log")).unwrap();
    let mkfifo = sandbox
        .command("mkfifo")
        .arg(log.0.join("server.log"))
        .status();
    assert!(mkfifo.expect("mkfifo is needed").success());
    let done = sandbox.run(&["logs", "api"]).exits(1);
    done.fails_saying("server.log is not a regular file", "see what is there");
}

#[test]
fn what_is_written_is_followed_from_file_to_file_until_the_server_is_gone() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&["-n", "api"]);
    let log = Log::of(&sandbox, "api");
    log.append("before\nlast\nhalf");
    let mut command = sandbox.daymark(&["logs", "api", "-f", "-n", "1"]);
    let mut child = Mortal(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut out = BufReader::new(child.0.stdout.take().unwrap());
    let mut next = || {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        line
    };
    assert_eq!(next(), "last\n");
    log.append(" a line\n");
    assert_eq!(next(), "half a line\n");
    log.append("old\n");
    log.rotate();
    log.append("new\n");
    assert_eq!((next(), next()), ("old\n".to_owned(), "new\n".to_owned()));
    log.append("no end");
    sandbox.run(&["stop", "api"]).exits(0);
    assert_eq!(next(), "no end\n");
    assert_eq!(next(), "");
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
    server.end();
}

#[test]
fn a_log_that_begins_later_is_followed_as_well() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&["-n", "api"]);
    let mut command = sandbox.daymark(&["logs", "api", "-f"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Mortal(command.spawn().unwrap());
    let mut note = String::new();
    let mut err = BufReader::new(child.0.stderr.take().unwrap());
    err.read_line(&mut note).unwrap();
    assert_eq!(note, "api has not written a log\n");
    Log::of(&sandbox, "api").append("first\n");
    let mut line = String::new();
    let mut out = BufReader::new(child.0.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "first\n");
    sandbox.run(&["stop", "api"]).exits(0);
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
    server.end();
}
