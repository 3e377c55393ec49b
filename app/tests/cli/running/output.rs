//! The output of a command passes through, and harms neither it nor us.

use std::fs::File;
use std::io::{PipeReader, Write as _, pipe};
use std::process::{Command, Stdio};

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};

use super::Plain;
use super::body;
use crate::sandbox::{Mortal, Sandbox, get};

fn run(sandbox: &Sandbox, words: &[&str]) -> Command {
    let mut command = sandbox.daymark(&["run", "-n", "api", "--", "server"]);
    command.args(words);
    command
}

/// Waits until it is ready; its port.
fn port(sandbox: &Sandbox) -> u16 {
    let url = sandbox.run(&["wait", "api"]).exits(0).out;
    let (_, port) = url
        .trim_end_matches("/\n")
        .rsplit_once(':')
        .expect("a port");
    port.parse().expect("a port")
}

fn ends_cleanly(mut run: Mortal) {
    kill_process(Pid::from_child(&run.0), Signal::TERM).expect("it is there");
    assert_eq!(run.0.wait().expect("it ends").code(), Some(0));
}

#[test]
fn each_stream_passes_through_byte_for_byte() {
    let sandbox = Sandbox::with_server();
    let script = r"printf 'a\000b\377\r\n\033[31mno end'; printf 'e\001\377' >&2; exit 3";
    let output = sandbox
        .daymark(&["run", "-q", "-n", "api", "--", "sh", "-c", script])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(output.stdout, b"a\0b\xff\r\n\x1b[31mno end");
    assert!(output.stderr.starts_with(b"e\x01\xff"), "{output:?}");
    let log = std::fs::read(sandbox.state_dir("api").join("logs/server.log")).unwrap();
    assert_eq!(log.len(), output.stdout.len() + 3);
}

#[test]
fn much_output_passes_through_whole() {
    let sandbox = Sandbox::with_server();
    let script = "seq 300000; exit 3";
    let output = sandbox
        .daymark(&["run", "-q", "-n", "api", "--", "sh", "-c", script])
        .output()
        .unwrap();
    let expected: String = (1..=300_000).map(|n| format!("{n}\n")).collect();
    assert!(
        output.stdout == expected.as_bytes(),
        "{} bytes",
        output.stdout.len()
    );
}

#[test]
fn output_comes_as_it_is_written() {
    let sandbox = Sandbox::with_server();
    let mut plain = Plain::begin(run(&sandbox, &[]).stderr(Stdio::null()));
    let port = port(&sandbox);
    for word in ["one", "two"] {
        get(port, &format!("/out/{word}"));
        assert_eq!(plain.line(), format!("{word}\n"));
    }
    plain.signal(Signal::TERM);
    assert_eq!(plain.line(), "");
    assert_eq!(plain.exit_code(), Some(0));
}

#[test]
fn with_json_nothing_but_events_is_on_standard_output() {
    let sandbox = Sandbox::with_server();
    let server = sandbox.running(&["--", "server", "out=to out", "err=to err", "listens"]);
    get(server.port(), "/lines/3");
    server.signal(Signal::TERM);
    // Reading them fails if one is no event.
    let (done, events) = server.end();
    assert!(
        events
            .iter()
            .all(|event| event["schema"] == 1 && event["name"] == "api")
    );
    for line in ["to out\n", "to err\n", "line 0\nline 1\nline 2\n"] {
        assert!(done.err.contains(line), "{done:?}");
    }
}

#[test]
fn ready_is_told_with_all_that_is_needed_to_use_it() {
    let sandbox = Sandbox::with_server();
    let server = sandbox.running(&["--", "server"]);
    let ready = server.ready();
    let record: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(sandbox.record()).unwrap()).unwrap();
    for field in ["name", "url", "port", "pid", "instance_id"] {
        assert_eq!(ready[field], record[field], "{field}");
    }
    assert_eq!(ready["schema"], 1);
    assert_eq!(ready["state_file"], sandbox.record().to_str().unwrap());
    assert!(ready["ms"].is_u64() && ready["child_pid"].is_u64());
    assert_ne!(ready["child_pid"], ready["pid"]);
    assert!(
        !std::fs::read_to_string(sandbox.record())
            .unwrap()
            .contains("token")
    );
}

#[test]
fn quiet_is_for_us_and_not_for_the_command() {
    let sandbox = Sandbox::with_server();
    let mut command = sandbox.daymark(&[
        "run", "-q", "-n", "api", "--", "server", "out=out", "err=err",
    ]);
    let run = Mortal(
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    port(&sandbox);
    sandbox.run(&["stop", "api"]).exits(0);
    let mut run = run;
    let (mut out, mut err) = (String::new(), String::new());
    use std::io::Read as _;
    run.0
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut out)
        .unwrap();
    run.0
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut err)
        .unwrap();
    assert_eq!((out.as_str(), err.as_str()), ("out\n", "err\n"));
    ends(run);
}

fn ends(mut run: Mortal) {
    assert_eq!(run.0.wait().expect("it can be done").code(), Some(0));
}

#[test]
fn closed_streams_do_no_harm() {
    let sandbox = Sandbox::with_server();
    let mut command = sandbox.command("sh");
    let script = r#"exec "$0" run -n api -- server out=x err=x listens <&- >&- 2>&-"#;
    command.args(["-c", script, env!("CARGO_BIN_EXE_daymark")]);
    let run = Mortal(command.spawn().unwrap());
    let port = port(&sandbox);
    assert!(body(port, "/lines/10000").starts_with("pid "));
    ends_cleanly(run);
}

#[test]
fn streams_that_nobody_reads_any_more_do_no_harm() {
    let sandbox = Sandbox::with_server();
    let (_, out) = pipe().unwrap();
    let (_, err) = pipe().unwrap();
    let run = Mortal(
        run(&sandbox, &["out=x", "err=x"])
            .stdout(out)
            .stderr(err)
            .spawn()
            .unwrap(),
    );
    let port = port(&sandbox);
    assert!(body(port, "/lines/10000").starts_with("pid "));
    assert!(body(port, "/out/last").starts_with("pid "));
    ends_cleanly(run);
    let log = sandbox.run(&["logs", "api", "-n", "1"]).exits(0);
    assert_eq!(log.out, "last\n");
}

/// Both ends of a pipe into which nothing more goes.
fn clogged() -> (PipeReader, File) {
    let (reader, mut writer) = pipe().expect("it can be done");
    fcntl_setfl(&writer, OFlags::NONBLOCK).expect("it can be done");
    while writer.write(&[b'x'; 4096]).is_ok() {}
    fcntl_setfl(&writer, OFlags::empty()).expect("it can be done");
    (reader, File::from(std::os::fd::OwnedFd::from(writer)))
}

#[test]
fn a_reader_that_has_stopped_reading_does_not_stop_the_server() {
    let sandbox = Sandbox::with_server();
    let (out, err) = (clogged(), clogged());
    let run = Mortal(
        run(&sandbox, &["out=x"])
            .stdout(out.1)
            .stderr(err.1)
            .spawn()
            .unwrap(),
    );
    let port = port(&sandbox);
    // More than all buffers hold.
    assert!(body(port, "/lines/300000").starts_with("pid "));
    assert!(body(port, "/out/last").starts_with("pid "));
    ends_cleanly(run);
    let log = sandbox.run(&["logs", "api", "-n", "2"]).exits(0);
    assert_eq!(log.out, "line 299999\nlast\n");
    drop((out.0, err.0));
}

#[test]
fn full_streams_do_no_harm() {
    let sandbox = Sandbox::with_server();
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let run = Mortal(
        run(&sandbox, &["out=x", "err=x"])
            .stdout(full())
            .stderr(full())
            .spawn()
            .unwrap(),
    );
    assert!(body(port(&sandbox), "/lines/1000").starts_with("pid "));
    ends_cleanly(run);
}
