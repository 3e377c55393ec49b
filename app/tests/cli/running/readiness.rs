//! What has to be seen before a server is published.

use std::fs;

use crate::sandbox::{Sandbox, get};

/// Runs one that isn't ready in time; what it said.
fn in_vain(sandbox: &Sandbox, args: &[&str]) -> String {
    let timeout = ["run", "-n", "api", "--ready-timeout", "2s"];
    let done = sandbox.run(&[&timeout, args].concat()).exits(124);
    assert!(
        done.err.contains("api was not ready within 2 s"),
        "{done:?}"
    );
    assert!(!sandbox.record().exists());
    done.err
}

#[test]
fn an_answer_below_500_is_enough() {
    let sandbox = Sandbox::with_server();
    sandbox.running(&["--", "server", "status=404"]).stops();
    let said = in_vain(&sandbox, &["--", "server", "status=503"]);
    assert!(
        said.contains("was answered with 503, not with anything below 500"),
        "{said}"
    );
    assert!(
        said.contains("hint: say which path tells that it is ready"),
        "{said}"
    );
}

#[test]
fn a_path_can_be_asked_for() {
    let sandbox = Sandbox::with_server();
    sandbox
        .running(&["--ready", "http:/status/302", "--", "server", "status=500"])
        .stops();
    let said = in_vain(&sandbox, &["--ready", "http:/status/404", "--", "server"]);
    assert!(
        said.contains("/status/404 was answered with 404, not with 200 to 399"),
        "{said}"
    );
}

#[test]
fn a_status_can_be_asked_for() {
    let sandbox = Sandbox::with_server();
    sandbox
        .running(&["--ready", "http:/status/204=204", "--", "server"])
        .stops();
    sandbox
        .running(&["--ready", "http:/status/503=503", "--", "server"])
        .stops();
    let said = in_vain(&sandbox, &["--ready", "http:/=204", "--", "server"]);
    assert!(
        said.contains("was answered with 200, not with 204"),
        "{said}"
    );
}

#[test]
fn a_connection_can_be_enough() {
    let sandbox = Sandbox::with_server();
    for (listen, word) in [("number", "x"), ("fd", "fd")] {
        let server = sandbox.running(&[
            "--ready",
            "tcp",
            "--listen",
            listen,
            "--",
            "server",
            word,
            "status=500",
        ]);
        assert!(get(server.port(), "/").starts_with("HTTP/1.1 500"));
        server.stops();
    }
}

#[test]
fn it_can_say_so_itself() {
    let sandbox = Sandbox::with_server();
    for (listen, word) in [("number", "x"), ("fd", "fd")] {
        sandbox
            .running(&[
                "--ready",
                "notify",
                "--listen",
                listen,
                "--",
                "server",
                word,
                "notify",
                "status=500",
            ])
            .stops();
    }
    let said = in_vain(&sandbox, &["--ready", "notify", "--", "server"]);
    assert!(
        said.contains("it has not sent READY=1 to NOTIFY_SOCKET"),
        "{said}"
    );
}

#[test]
fn only_who_is_to_say_so_is_told_where() {
    let sandbox = Sandbox::with_server();
    let mut command = sandbox.daymark(&["run", "--json", "-n", "api", "--", "server"]);
    command
        .env("NOTIFY_SOCKET", "@ours")
        .env("WATCHDOG_USEC", "1");
    let mut server = crate::sandbox::Serving::begin(&mut command);
    server.await_ready();
    assert_eq!(server.body("/env/NOTIFY_SOCKET"), "unset");
    assert_eq!(server.body("/env/WATCHDOG_USEC"), "unset");
}

#[test]
fn a_line_can_say_so() {
    let sandbox = Sandbox::with_server();
    for say in ["out=\u{1b}[32mup at last\u{1b}[0m", "err=up at last"] {
        sandbox
            .running(&["--ready", "log:^up at", "--", "server", say, "status=500"])
            .stops();
    }
    let said = in_vain(
        &sandbox,
        &["--ready", "log:^up at", "--", "server", "out=it is up at"],
    );
    assert!(
        said.contains("it has printed no line that matches ^up at"),
        "{said}"
    );
    assert!(said.contains("it is up at"), "{said}");
}

#[test]
fn a_line_can_tell_the_port() {
    let sandbox = Sandbox::with_server();
    let ready = "log:listening on port (?<port>[0-9]+)";
    let chosen = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = chosen.local_addr().unwrap().port();
    drop(chosen);
    let word = format!("port={port}");
    let server = sandbox.running(&["--ready", ready, "--", "server", "listens", &word]);
    assert_eq!(server.port(), port);
    assert_eq!(server.body("/"), format!("pid {}", server.child_pid()));
    let url = sandbox.run(&["url", "api"]).exits(0).out;
    assert_eq!(url, format!("http://127.0.0.1:{port}/\n"));
    server.stops();
}

#[test]
fn a_server_of_somebody_else_is_never_believed() {
    let sandbox = Sandbox::with_server();
    let other = sandbox.serve(&["-n", "other"]);
    let ready = "log:port (?<port>[0-9]+)";
    let lie = format!("port {}", other.port());
    let said = in_vain(
        &sandbox,
        &[
            "--ready",
            ready,
            "--",
            "sh",
            "-c",
            "echo \"$0\"; exec sleep 1000",
            &lie,
        ],
    );
    assert!(
        said.contains(&format!("port {} belongs to ", other.port())),
        "{said}"
    );
    assert!(said.contains("which is not part of it"), "{said}");
}

#[test]
fn nobody_finds_it_before_it_is_ready() {
    let sandbox = Sandbox::with_server();
    let go = sandbox.fifo("go");
    let mut server = sandbox.starting(&["--", "server", &format!("wait={go}")]);
    // Somebody waits at the other end: it has begun.
    let let_it_go = fs::File::options().write(true).open(&go).unwrap();
    assert_eq!(sandbox.presence("api"), "starting");
    assert!(!sandbox.record().exists());
    sandbox.run(&["url", "api"]).exits(3);
    drop(let_it_go);
    server.await_ready();
    assert_eq!(sandbox.presence("api"), "live");
}

#[test]
fn what_was_printed_last_is_told_when_time_is_up() {
    let sandbox = Sandbox::with_server();
    let script = "for i in $(seq 100); do echo \"line $i\"; done; exec sleep 1000";
    let said = in_vain(&sandbox, &["--ready", "tcp", "--", "sh", "-c", script]);
    let (_, after) = said.split_once("error: ").expect("an error");
    assert!(after.contains("nothing listens on port"), "{said}");
    let told = after.lines().filter(|line| line.contains("line ")).count();
    assert_eq!(told, 20, "{said}");
    assert!(
        after.contains("line 81\n") && after.contains("line 100\n"),
        "{said}"
    );
}
