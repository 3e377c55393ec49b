//! Which port a command gets as a number, and on which addresses it may listen there.

use std::io::{Read as _, Write as _};
use std::net::{Ipv6Addr, TcpListener, TcpStream};

use crate::sandbox::Sandbox;

#[test]
fn arguments_hold_the_port_the_host_and_the_url() {
    let sandbox = Sandbox::with_server();
    let server = sandbox.running(&[
        "--",
        "server",
        "port={port}",
        "host={host}",
        "x={url}/x",
        "{",
        "{{port}}",
    ]);
    let port = server.port();
    let args: Vec<String> = serde_json::from_str(&server.body("/args")).unwrap();
    let expected = [
        format!("port={port}"),
        "host=127.0.0.1".to_owned(),
        format!("x=http://127.0.0.1:{port}/x"),
        "{".to_owned(),
        format!("{{{port}}}"),
    ];
    let hex = |text: &String| text.bytes().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(args, expected.iter().map(hex).collect::<Vec<_>>());
}

#[test]
fn the_port_is_in_the_environment() {
    let sandbox = Sandbox::with_server();
    let server = sandbox.running(&["--", "server"]);
    let port = server.port();
    assert_eq!(server.body("/env/PORT"), port.to_string());
    assert_eq!(server.body("/env/HOST"), "127.0.0.1");
    assert_eq!(server.body("/env/LISTEN_FDS"), "unset");
    assert_eq!(server.body("/env/DAYMARK_URL"), server.url());
}

#[test]
fn the_port_is_that_of_the_last_run_unless_it_is_taken() {
    let sandbox = Sandbox::with_server();
    let first = sandbox.running(&["--", "server"]);
    let port = first.port();
    first.stops();
    for listen in ["number", "fd"] {
        let word = listen.replace("number", "x");
        let again = sandbox.running(&["--listen", listen, "--", "server", &word]);
        assert_eq!(again.port(), port);
        again.stops();
    }
    let _taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let moved = sandbox.running(&["--", "server"]);
    assert_ne!(moved.port(), port);
    moved.signal(rustix::process::Signal::TERM);
    let done = moved.end().0.exits(0);
    assert!(done.err.contains(&format!("port {port}")), "{done:?}");
}

#[test]
fn a_port_that_is_taken_is_an_error_that_names_who_has_it() {
    let sandbox = Sandbox::with_server();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    for listen in ["number", "fd"] {
        let done = sandbox
            .run(&["run", "-p", &port, "--listen", listen, "--", "server"])
            .exits(125);
        done.fails_saying(&format!("port {port} is taken"), "-p PORT");
        #[cfg(target_os = "linux")]
        done.fails_saying(&format!("(pid {})", std::process::id()), "-p PORT");
    }
}

#[test]
fn a_port_that_is_held_for_another_command_is_taken() {
    let sandbox = Sandbox::with_server();
    let asked = sandbox.fifo("asked");
    let script = format!("echo $PORT > {asked}; exec sleep 1000");
    // It never listens, and has the port all the same.
    let _other = sandbox.starting(&["--", "sh", "-c", &script]);
    let port = std::fs::read_to_string(&asked).unwrap();
    let port = port.trim();
    for listen in ["number", "fd"] {
        let done = sandbox
            .run(&[
                "run", "-n", "two", "-p", port, "--listen", listen, "--", "server",
            ])
            .exits(125);
        done.fails_saying(&format!("port {port} is taken"), "-p PORT");
    }
}

#[test]
fn a_server_that_listens_on_ipv6_only_is_found_there() {
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        eprintln!("NOT RUN: this machine has no IPv6");
        return;
    }
    let sandbox = Sandbox::with_server();
    let server = sandbox.running(&["--", "server", "host=::1"]);
    let port = server.port();
    assert_eq!(server.url(), format!("http://[::1]:{port}/"));
    assert_eq!(
        sandbox.run(&["url", "api"]).exits(0).out,
        format!("http://[::1]:{port}/\n")
    );
    let mut client = TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with(&format!("pid {}", server.child_pid())));
    server.stops();
}

#[test]
fn a_server_that_listens_on_every_address_is_found_on_loopback() {
    let sandbox = Sandbox::with_server();
    for host in ["host=0.0.0.0", "host=::"] {
        if host == "host=::" && TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
            eprintln!("NOT RUN for ::, this machine has no IPv6");
            continue;
        }
        let server = sandbox.running(&["--", "server", host]);
        let loopback = match host {
            "host=::" => "[::1]",
            _ => "127.0.0.1",
        };
        let expected = format!("http://{loopback}:{}/", server.port());
        assert_eq!(server.url(), expected, "{host}");
        server.stops();
    }
}

/// A port that is free, most likely.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("it can be done");
    listener.local_addr().expect("it can be done").port()
}

#[test]
fn a_server_that_ignores_its_port_is_told_of_with_the_port_it_chose() {
    let sandbox = Sandbox::with_server();
    let other = free_port();
    let word = format!("port={other}");
    let given = ["run", "-n", "api", "--ready-timeout", "7s", "--"];
    let done = sandbox.run(&[&given[..], &["server", &word]].concat());
    let done = done.exits(124);
    let says = |what: &str| assert!(done.err.contains(what), "{done:?}");
    let elsewhere = format!("it listens on {other}, not on ");
    says(&format!("warning: {elsewhere}"));
    says(", so far: pass it the port");
    says(&format!("not ready within 7 s: {elsewhere}"));
    says("hint: pass it the port, for instance as `--port {port}`");
    TcpListener::bind(("127.0.0.1", other)).expect("it is gone");
}

#[test]
fn a_port_that_only_seems_taken_is_explained() {
    let sandbox = Sandbox::with_server();
    let said = "err=OSError: [Errno 98] Address already in use";
    let failed = |listen| {
        let given = ["run", "--listen", listen, "--", "server", said, "exit=1"];
        sandbox.run(&given).exits(1)
    };
    let (number, socket) = (failed("number"), failed("fd"));
    assert!(number.err.contains("with SO_REUSEADDR"), "{number:?}");
    assert!(
        socket.err.contains("hint: what it printed last"),
        "{socket:?}"
    );
}

#[test]
fn another_port_is_also_what_a_timeout_tells_of() {
    let sandbox = Sandbox::with_server();
    let other = free_port();
    let word = format!("port={other}");
    let done = sandbox
        .run(&[
            "run",
            "-n",
            "api",
            "--ready-timeout",
            "2s",
            "--",
            "server",
            &word,
            "x={port}",
        ])
        .exits(124);
    done.fails_saying(
        &format!("it listens on {other}, not on "),
        "move to another",
    );
}
