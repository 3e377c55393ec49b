//! `--listen fd`: the command is passed the listening socket.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use rustix::process::Signal;

use super::{is_gone, pid};
use crate::sandbox::{Sandbox, write_program};

const FD: [&str; 5] = ["--listen", "fd", "--", "server", "fd"];

#[test]
fn the_socket_is_the_third_descriptor_and_meant_for_the_command() {
    let sandbox = Sandbox::with_server();
    let server = sandbox.running(&FD);
    assert_eq!(server.body("/env/LISTEN_FDS"), "1");
    assert_eq!(server.body("/env/LISTEN_FDNAMES"), "http");
    assert_eq!(
        server.body("/env/LISTEN_PID"),
        server.child_pid().to_string()
    );
    assert_eq!(server.body("/"), format!("pid {}", server.child_pid()));
    assert_eq!(server.body("/env/PORT"), server.port().to_string());
    server.stops();
}

#[test]
fn a_shell_script_is_named_by_listen_pid_and_so_is_what_it_becomes() {
    let sandbox = Sandbox::with_server();
    let script = "echo \"$LISTEN_PID $$\" > pids\nexec server fd";
    write_program(&sandbox.path("bin/script"), script);
    let server = sandbox.running(&["--listen", "fd", "--", "script"]);
    let child = server.child_pid();
    assert_eq!(sandbox.read("site/pids"), format!("{child} {child}\n"));
    assert_eq!(server.body("/"), format!("pid {child}"));
}

#[test]
fn nothing_else_is_open_in_the_command() {
    let sandbox = Sandbox::with_server();
    for (args, open) in [(&FD[..], "0 1 2 3 4 5"), (&["--", "server"], "0 1 2 3 4 5")] {
        let server = sandbox.running(args);
        let descriptors = server.body("/descriptors");
        let mut descriptors: Vec<_> = descriptors.split(' ').collect();
        descriptors.sort_unstable();
        // 3 is the listener, 4 the connection, 5 the directory that is read.
        assert_eq!(descriptors.join(" "), open, "{args:?}");
        server.stops();
    }
}

#[test]
fn a_client_that_comes_before_the_server_has_started_is_answered() {
    let sandbox = Sandbox::with_server();
    let (asked, go) = (sandbox.fifo("asked"), sandbox.fifo("go"));
    let script = format!("echo $PORT > {asked}; read _ < {go}; exec server fd");
    let args = ["--listen", "fd", "--", "sh", "-c", script.as_str()];
    let mut server = sandbox.starting(&args);
    let port: u16 = fs::read_to_string(&asked).unwrap().trim().parse().unwrap();
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    client.write_all(b"GET /env/PORT HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(sandbox.presence("api"), "starting");
    fs::write(&go, "\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with(&format!("\r\n\r\n{port}")), "{answer:?}");
    server.await_ready();
    assert_eq!(server.port(), port);
}

#[test]
fn the_socket_is_blocking_for_each_new_server() {
    let sandbox = Sandbox::with_server();
    let mut server = sandbox.running(&FD);
    for _ in 0..2 {
        assert_eq!(server.body("/blocking"), "True");
        sandbox.run(&["restart", "api"]).exits(0);
        server.awaits("restarted");
    }
    assert_eq!(server.body("/blocking"), "True");
}

#[test]
fn a_socket_that_nobody_accepts_from_is_not_ready() {
    let sandbox = Sandbox::with_server();
    for ready in ["auto", "tcp"] {
        let done = sandbox
            .run(&[
                "run",
                "-n",
                "api",
                "--listen",
                "fd",
                "--ready",
                ready,
                "--ready-timeout",
                "2s",
                "--",
                "sleep",
                "1000",
            ])
            .exits(124);
        assert!(
            done.err.contains("api was not ready within 2 s"),
            "{done:?}"
        );
        assert!(
            done.err
                .contains("--listen fd is only for servers that use the socket"),
            "{done:?}"
        );
    }
}

#[test]
fn a_server_that_listens_on_another_socket_is_told_of() {
    let sandbox = Sandbox::with_server();
    let chosen = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other = chosen.local_addr().unwrap().port();
    drop(chosen);
    let word = format!("port={other}");
    let given = ["run", "--listen", "fd", "--ready-timeout", "2s", "--"];
    let done = sandbox.run(&[&given[..], &["server", &word]].concat());
    done.exits(124).fails_saying(
        &format!("it listens on {other}, not on the socket it was passed"),
        "descriptor 3",
    );
}

#[test]
fn a_restart_refuses_no_connection() {
    let sandbox = Sandbox::with_server();
    let mut server = sandbox.running(&["--listen", "fd", "--", "server", "fd", "graceful"]);
    let port = server.port();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let client = std::thread::spawn(move || {
        let mut answers = 0;
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            // The connection must come about. What a server does that is killed with it in hand is its own affair.
            TcpStream::connect(("127.0.0.1", port)).expect("never refused");
            answers += 1;
        }
        answers
    });
    for _ in 0..3 {
        sandbox.run(&["restart", "api"]).exits(0);
        server.awaits("restarted");
    }
    drop(stop);
    assert!(client.join().expect("no connection is refused") > 0);
    assert_eq!(server.port(), port);
}

#[test]
fn the_record_stays_while_the_server_is_replaced() {
    let sandbox = Sandbox::with_server();
    let (notes, go) = (sandbox.text("notes"), sandbox.fifo("go"));
    let (note, wait) = (format!("note={notes}"), format!("wait2={go}"));
    let mut server = sandbox.running(&[
        "--listen",
        "fd",
        "--restart",
        "on-failure",
        "--",
        "server",
        "fd",
        &note,
        &wait,
    ]);
    let old = pid(&server.child_pid().to_string());
    rustix::process::kill_process(old, Signal::KILL).unwrap();
    server.awaits("restarting");
    // The new one has begun, and waits.
    let mut let_it_go = File::options().write(true).open(&go).unwrap();
    assert!(is_gone(old));
    assert!(sandbox.record().exists());
    assert_eq!(sandbox.presence("api"), "live");
    let mut client = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let_it_go.write_all(b"\n").unwrap();
    drop(let_it_go);
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    let restarted = server.awaits("restarted");
    assert!(answer.ends_with(&format!("pid {}", restarted["child_pid"])));
    assert_eq!(restarted["port"], server.port());
}
