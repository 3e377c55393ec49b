//! `daymark run -d`: it returns when the server is ready, and leaves it running.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use rustix::process::{Signal, getsid, kill_process};

use super::{Left, body, is_gone, pid};
use crate::sandbox::{Sandbox, Serving};

const RUN: [&str; 6] = ["run", "-d", "-n", "api", "--", "server"];

fn port(sandbox: &Sandbox) -> u16 {
    let json = sandbox.run(&["url", "api", "--json"]).exits(0).json();
    let url = json["url"].as_str().expect("a URL").trim_end_matches('/');
    let (_, port) = url.rsplit_once(':').expect("a port");
    port.parse().expect("a port")
}

/// How often its server was replaced; none while it has none.
fn restarts(sandbox: &Sandbox) -> Option<u64> {
    let status = sandbox.run(&["status", "api", "--json"]).json();
    status["record"]["restarts"].as_u64()
}

#[test]
fn it_returns_when_the_server_is_ready() {
    let sandbox = Sandbox::with_server();
    let _left = Left(&sandbox, "api");
    let done = sandbox.run(&RUN).exits(0);
    assert!(done.out.starts_with("api  ready in "), "{done:?}");
    assert!(
        done.err.contains("stop it with daymark stop api"),
        "{done:?}"
    );
    assert!(done.err.contains("daymark logs api"), "{done:?}");
    assert_eq!(sandbox.presence("api"), "live");
    assert!(body(port(&sandbox), "/").starts_with("pid "));
    sandbox.run(&["stop", "api"]).exits(0);
    assert_eq!(sandbox.presence("api"), "absent");
}

#[test]
fn how_it_ended_stands_in_its_log() {
    let sandbox = Sandbox::with_server();
    let _left = Left(&sandbox, "api");
    let command = [
        "--restart",
        "on-failure",
        "-n",
        "api",
        "--",
        "server",
        "out=hello",
    ];
    sandbox
        .run(&[&["run", "-d"], &command[..]].concat())
        .exits(0);
    let kill = || {
        let server = body(port(&sandbox), "/");
        let server = pid(server.strip_prefix("pid ").expect("its pid"));
        kill_process(server, Signal::KILL).expect("it is there");
    };
    kill();
    while restarts(&sandbox) != Some(1) {}
    sandbox.run(&["stop", "api"]).exits(0);
    let log = sandbox.run(&["logs", "api"]).exits(0).out;
    let again = "hello\ndaymark: server was ended by signal 9\nhello\n";
    assert_eq!(log, again);

    sandbox.run(&RUN).exits(0);
    kill();
    sandbox.run(&["wait", "api", "--for", "down"]).exits(0);
    let log = sandbox.run(&["logs", "api", "-n1"]).exits(0).out;
    assert_eq!(log, "daymark: server was ended by signal 9\n");
}

#[test]
fn with_json_it_says_the_ready_event_and_nothing_else() {
    let sandbox = Sandbox::with_server();
    let _left = Left(&sandbox, "api");
    let done = sandbox
        .run(&["run", "-d", "--json", "-n", "api", "--", "server", "out=x"])
        .exits(0);
    let ready = done.json();
    assert_eq!(
        (&ready["event"], &ready["name"]),
        (&"ready".into(), &"api".into())
    );
    assert_eq!(ready["port"], port(&sandbox));
    let status = sandbox.run(&["status", "api", "--json"]).json();
    assert_eq!(ready["pid"], status["record"]["pid"]);
}

#[test]
fn who_waits_for_the_end_of_its_output_is_not_kept_waiting() {
    let sandbox = Sandbox::with_server();
    let _left = Left(&sandbox, "api");
    let script = r#"out=$("$0" run -d -n api -- server out=x err=x 2>&1); echo "$? $out""#;
    let done = sandbox.run_in_shell(script, &[]).exits(0);
    assert!(done.out.starts_with("0 api  ready in "), "{done:?}");
    let script = r#""$0" run -d --reuse -n api -- server | cat"#;
    sandbox.run_in_shell(script, &[]).exits(0);
}

#[test]
fn it_is_in_a_session_of_its_own_and_holds_nothing_of_the_caller() {
    let sandbox = Sandbox::with_server();
    let _left = Left(&sandbox, "api");
    // The shell leads a session, and is gone with it.
    let script = r#"setsid sh -c '"$0" run -d -n api -- server; kill -HUP 0' "$0"; true"#;
    sandbox.run_in_shell(script, &[]);
    let record = sandbox.run(&["status", "api", "--json"]).exits(0).json();
    let supervisor = pid(&record["record"]["pid"].to_string());
    assert_eq!(getsid(Some(supervisor)).unwrap(), supervisor);
    let port = port(&sandbox);
    assert!(body(port, "/lines/1000").starts_with("pid "));
    for fd in 0..3 {
        let open = fs::read_link(format!("/proc/{}/fd/{fd}", supervisor.as_raw_nonzero())).unwrap();
        let pipe = open.to_string_lossy().starts_with("pipe:");
        assert!(
            pipe || open == std::path::Path::new("/dev/null"),
            "{fd} {open:?}"
        );
    }
    assert!(body(port, "/out/last").starts_with("pid "));
    sandbox.run(&["stop", "api"]).exits(0);
    assert_eq!(sandbox.run(&["logs", "api", "-n1"]).exits(0).out, "last\n");
}

#[test]
fn it_is_the_same_program_if_another_was_installed_in_its_place() {
    let sandbox = Sandbox::with_server();
    let _left = Left(&sandbox, "api");
    let script =
        r#"cp "$0" old && exec 9<old && rm old && exec /proc/self/fd/9 run -d -n api -- server"#;
    sandbox.run_in_shell(script, &[]).exits(0);
    let record = sandbox.run(&["status", "api", "--json"]).exits(0).json();
    let name = fs::read_to_string(format!("/proc/{}/comm", record["record"]["pid"]));
    assert_eq!(name.unwrap(), "daymark\n");
}

#[test]
fn closed_streams_of_the_caller_do_no_harm() {
    let sandbox = Sandbox::with_server();
    let _left = Left(&sandbox, "api");
    let script = r#""$0" run -d -n api -- server out=x <&- >&- 2>&-"#;
    sandbox.run_in_shell(script, &[]).exits(0);
    assert_eq!(sandbox.presence("api"), "live");
    assert!(body(port(&sandbox), "/out/y").starts_with("pid "));
    sandbox.run(&["stop", "api"]).exits(0);
}

#[test]
fn it_survives_a_restart_of_its_server_after_the_caller_is_gone() {
    let sandbox = Sandbox::with_server();
    let _left = Left(&sandbox, "api");
    let words = [
        "run",
        "-d",
        "-n",
        "api",
        "--restart",
        "on-failure",
        "--",
        "server",
    ];
    let ready = sandbox
        .run(&[&words[..], &["--json"]].concat().as_slice()[..8])
        .exits(0);
    assert!(ready.out.starts_with("api"), "{ready:?}");
    sandbox.run(&["restart", "api"]).exits(0);
    let child = pid(body(port(&sandbox), "/").strip_prefix("pid ").unwrap());
    kill_process(child, Signal::KILL).unwrap();
    // The supervisor may hear of it a moment later.
    while restarts(&sandbox) != Some(2) {}
    assert!(body(port(&sandbox), "/").starts_with("pid "));
}

#[test]
fn a_failure_is_told_with_its_code_its_reason_and_its_last_words() {
    let sandbox = Sandbox::with_server();
    let done = sandbox
        .run(&[&RUN[..], &["err=why", "exit=3"]].concat())
        .exits(3);
    assert!(
        done.err
            .contains("error: server exited with code 3 before it was ready\n"),
        "{done:?}"
    );
    assert!(
        done.err.contains("why\n") && done.err.contains("hint: "),
        "{done:?}"
    );
    assert_eq!(done.out, "");
    let json = [
        "run", "--json", "-d", "-n", "api", "--", "server", "err=why", "exit=3",
    ];
    let failed = sandbox.run(&json).exits(3).json();
    assert_eq!(
        (&failed["event"], &failed["exit"]),
        (&"failed".into(), &3.into())
    );
    assert_eq!(failed["log"], serde_json::json!(["why"]));
    assert_eq!(sandbox.presence("api"), "absent");
}

#[test]
fn warnings_are_passed_on_whatever_is_wished_of_colours() {
    let sandbox = Sandbox::with_server();
    let _left = Left(&sandbox, "api");
    let dir = sandbox.state_dir("api");
    fs::create_dir_all(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(dir.join("logs"), "in the way").unwrap();
    let done = sandbox
        .daymark(&["--color", "always"])
        .args(RUN)
        .env("CLICOLOR_FORCE", "1")
        .output()
        .unwrap();
    let err = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.success(), "{err}");
    assert!(err.contains("warning: the log"), "{err}");
}

#[test]
fn what_is_wrong_from_the_start_is_told_the_same_way() {
    let sandbox = Sandbox::with_server();
    for (args, code) in [
        (&["run", "-d", "--", "no-such-command"] as &[_], 127),
        (&["run", "-d", "--", "/etc/passwd"], 126),
        (&["run", "-d", "--ready", "never", "--", "server"], 2),
        (
            &[
                "run",
                "-d",
                "--ready-timeout",
                "200ms",
                "--",
                "sleep",
                "1000",
            ],
            124,
        ),
    ] {
        let done = sandbox.run(args).exits(code);
        assert_eq!(done.out, "");
        done.fails_saying("", "");
    }
}

#[test]
fn ctrl_c_while_it_starts_ends_it() {
    let sandbox = Sandbox::with_server();
    let begun = sandbox.fifo("begun");
    let script = format!("echo $$ > {begun}; exec sleep 1000");
    let mut command = sandbox.daymark(&["run", "-d", "-n", "api", "--", "sh", "-c", &script]);
    let mut run = crate::sandbox::Mortal(command.stderr(Stdio::piped()).spawn().unwrap());
    let child = pid(&fs::read_to_string(&begun).unwrap());
    kill_process(rustix::process::Pid::from_child(&run.0), Signal::INT).unwrap();
    let mut err = String::new();
    run.0
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut err)
        .unwrap();
    assert_eq!(run.0.wait().unwrap().code(), Some(130), "{err}");
    assert!(is_gone(child));
    assert_eq!(sandbox.presence("api"), "absent");
}

#[test]
fn one_that_is_stopped_before_it_is_ready_has_failed() {
    let sandbox = Sandbox::with_server();
    let command = ["run", "-d", "-n", "api", "--", "sleep", "1000"];
    let starting = Serving::begin(&mut sandbox.daymark(&command));
    while sandbox.presence("api") != "starting" {}
    sandbox.run(&["stop", "api"]).exits(0);
    let (done, _) = starting.end();
    assert_eq!(done.code, Some(143), "{done:?}");
    done.fails_saying("stopped before it was ready", "daymark logs");
}
