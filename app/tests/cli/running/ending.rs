//! How a run ends, and what is left then: nothing.

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::{Plain, is_gone, names, pid};
use crate::sandbox::{Sandbox, get};

#[test]
fn sigterm_is_a_clean_end_with_a_report() {
    let sandbox = Sandbox::with_server();
    let server = sandbox.running(&["--", "server"]);
    let child = pid(&server.child_pid().to_string());
    server.signal(Signal::TERM);
    let (done, events) = server.end();
    done.exits(0);
    assert_eq!(names(&events), ["ready", "draining", "stopped"]);
    let stopped = events.last().unwrap();
    assert_eq!(stopped["cause"], "asked");
    assert_eq!(stopped["left"], serde_json::json!([]));
    assert!(is_gone(child));
    assert!(!sandbox.record().exists());
}

#[test]
fn ctrl_c_is_passed_on_and_has_a_code_of_its_own() {
    let sandbox = Sandbox::with_server();
    let server = sandbox.running(&["--", "server", "graceful"]);
    server.signal(Signal::INT);
    let (done, _) = server.end();
    assert_eq!(done.exits(130).err.lines().next(), Some("SIGINT"));
}

#[test]
fn sigterm_and_hangup_reach_the_command_as_sigterm() {
    let sandbox = Sandbox::with_server();
    for signal in [Signal::TERM, Signal::HUP] {
        let server = sandbox.running(&["--", "server", "graceful"]);
        server.signal(signal);
        let (done, _) = server.end();
        assert_eq!(done.exits(0).err.lines().next(), Some("SIGTERM"));
    }
}

#[test]
fn it_ends_when_it_is_stopped_from_elsewhere() {
    let sandbox = Sandbox::with_server();
    let server = sandbox.running(&["--", "server", "graceful"]);
    sandbox.run(&["stop", "api"]).exits(0);
    let (done, events) = server.end();
    done.exits(0);
    assert_eq!(events.last().unwrap()["cause"], "asked");
}

#[test]
fn one_that_does_not_end_in_time_is_killed() {
    let sandbox = Sandbox::with_server();
    let server = sandbox.running(&["--drain", "100ms", "--", "server", "ignore"]);
    let child = pid(&server.child_pid().to_string());
    server.signal(Signal::TERM);
    let (done, events) = server.end();
    done.exits(0);
    assert!(is_gone(child));
    let took = events.last().unwrap()["ms"].as_u64().unwrap();
    assert!((100..4000).contains(&took), "{took}");
}

#[test]
fn a_second_signal_kills_at_once() {
    let sandbox = Sandbox::with_server();
    for (signal, code) in [(Signal::TERM, 0), (Signal::INT, 130)] {
        let mut server = sandbox.running(&["--drain", "1h", "--", "server", "ignore"]);
        let child = pid(&server.child_pid().to_string());
        server.signal(signal);
        server.awaits("draining");
        assert!(test_kill_process(child).is_ok());
        server.signal(Signal::INT);
        server.end().0.exits(code);
        assert!(is_gone(child));
    }
}

#[test]
fn its_own_end_is_the_end_with_its_own_code() {
    let sandbox = Sandbox::with_server();
    for (path, code, told, reason) in [
        ("/exit/0", 0, 0, "server exited with code 0"),
        ("/exit/3", 3, 3, "server exited with code 3"),
        ("/exit/255", 255, 255, "server exited with code 255"),
        ("/kill/9", 137, 137, "server was ended by signal 9"),
        ("/kill/11", 139, 139, "server was ended by signal 11"),
    ] {
        let server = sandbox.running(&["--", "server"]);
        get(server.port(), path);
        let (done, events) = server.end();
        let done = done.exits(code);
        assert_eq!(names(&events), ["ready", "stopped"], "{path}");
        let stopped = &events[1];
        assert_eq!(stopped["cause"], "server_ended");
        assert_eq!(stopped["exit_code"], told);
        assert_eq!(stopped["reason"], reason);
        assert!(!sandbox.record().exists());
        match code {
            0 => assert_eq!(done.err, ""),
            _ => done.fails_saying(reason, "daymark logs api"),
        }
    }
}

#[test]
fn what_ends_before_it_is_ready_is_told_with_its_code_and_its_last_words() {
    let sandbox = Sandbox::with_server();
    let done = sandbox
        .run(&[
            "run",
            "-n",
            "api",
            "--",
            "server",
            "err=no module named app",
            "exit=3",
        ])
        .exits(3);
    assert!(
        done.err
            .contains("error: server exited with code 3 before it was ready\n"),
        "{done:?}"
    );
    assert_eq!(
        done.err.matches("no module named app").count(),
        2,
        "{done:?}"
    );
    let json = sandbox.starting(&["--", "server", "err=no module named app", "kill=11"]);
    let (done, events) = json.end();
    done.exits(139);
    assert_eq!(names(&events), ["failed"]);
    assert_eq!(events[0]["exit"], 139);
    assert_eq!(events[0]["log"], serde_json::json!(["no module named app"]));
    assert!(
        events[0]["reason"]
            .as_str()
            .unwrap()
            .contains("ended by signal 11")
    );
}

#[test]
fn an_end_without_an_error_is_no_success_before_it_is_ready() {
    let sandbox = Sandbox::with_server();
    let done = sandbox.run(&["run", "--", "true"]).exits(125);
    done.fails_saying("true exited with code 0 before it was ready", "foreground");
}

#[test]
fn a_signal_before_it_is_ready_is_a_clean_end() {
    let sandbox = Sandbox::with_server();
    for (signal, code) in [(Signal::TERM, 0), (Signal::INT, 130)] {
        let begun = sandbox.fifo(&format!("begun{code}"));
        let script = format!("echo $$ > {begun}; exec sleep 1000");
        let server = sandbox.starting(&["--", "sh", "-c", &script]);
        let child = pid(&std::fs::read_to_string(&begun).unwrap());
        server.signal(signal);
        let (done, events) = server.end();
        done.exits(code);
        assert!(!names(&events).contains(&"failed"), "{events:?}");
        assert!(is_gone(child));
    }
}

#[test]
fn nothing_is_left_not_even_what_made_itself_a_daemon() {
    let sandbox = Sandbox::with_server();
    // It ignores SIGTERM, so only the deadline ends it.
    let server = sandbox.running(&["--drain", "100ms", "--", "server"]);
    let daemon = pid(&server.body("/daemon"));
    assert!(test_kill_process(daemon).is_ok());
    sandbox.run(&["stop", "api"]).exits(0);
    assert!(is_gone(daemon));
    server.end().0.exits(0);
}

#[test]
fn a_daemon_goes_also_when_the_server_has_ended_by_itself() {
    let sandbox = Sandbox::with_server();
    let server = sandbox.running(&["--", "server"]);
    let daemon = pid(&server.body("/daemon"));
    get(server.port(), "/exit/3");
    server.end().0.exits(3);
    assert!(is_gone(daemon));
}

#[test]
fn the_workers_of_a_server_go_with_it() {
    let sandbox = Sandbox::with_server();
    let (worker, begun) = (sandbox.text("worker"), sandbox.fifo("begun"));
    // The shell stays in between, and would die of a signal without passing it on.
    let script = format!("(echo > {begun}; exec sleep 1000) & echo $! > {worker}; server; true");
    let mut server = sandbox.starting(&["--", "sh", "-c", &script]);
    std::fs::read_to_string(&begun).unwrap();
    server.await_ready();
    let worker = pid(&sandbox.read("worker"));
    let python = pid(server.body("/").strip_prefix("pid ").unwrap());
    assert_ne!(
        u64::from(python.as_raw_nonzero().get().unsigned_abs()),
        server.child_pid()
    );
    server.stops();
    assert!(is_gone(worker) && is_gone(python));
}

#[test]
fn people_are_told_where_it_is_and_how_it_ended() {
    let sandbox = Sandbox::with_server();
    let mut command = sandbox.command("sh");
    let script = r#"exec "$0" run -n api -- server listens graceful 2>&1"#;
    command.args(["-c", script, env!("CARGO_BIN_EXE_daymark")]);
    let mut run = Plain::begin(&mut command);
    assert!(run.line().starts_with("listening on port "));
    let ready = run.line();
    let pid = Pid::from_child(&run.process.0);
    assert!(ready.starts_with("api  ready in "), "{ready}");
    assert!(ready.contains("  http://127.0.0.1:"), "{ready}");
    assert!(
        ready.ends_with(&format!("  (pid {})\n", pid.as_raw_nonzero())),
        "{ready}"
    );
    assert_eq!(run.line(), "stop it with Ctrl-C, or daymark stop api\n");
    kill_process(pid, Signal::TERM).unwrap();
    let rest = [run.line(), run.line(), run.line()];
    assert!(
        rest.contains(&"stopping it; another Ctrl-C kills it\n".to_owned()),
        "{rest:?}"
    );
    assert!(rest.contains(&"SIGTERM\n".to_owned()), "{rest:?}");
    assert!(rest[2].starts_with("stopped in "), "{rest:?}");
    assert_eq!(run.exit_code(), Some(0));
}
