//! Who `daymark serve` lets in, and what is told of its token.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use rustix::process::Signal;

use crate::sandbox::{Sandbox, get};

#[test]
fn the_token_is_told_only_where_it_is_asked_for() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&["-n", "api", "--require-token"]);
    assert!(get(server.port(), "/").starts_with("HTTP/1.1 401"));
    let told = sandbox.run(&["url", "api", "--with-token", "--json"]);
    let told = told.exits(0).json();
    let token = told["token"].as_str().unwrap();
    assert_eq!(token.len(), 64);
    let link = sandbox.run(&["url", "api", "--with-token"]).exits(0).out;
    let target = link.trim_end().strip_prefix(server.url()).unwrap();
    assert!(get(server.port(), &format!("/{target}")).starts_with("HTTP/1.1 303"));
    let said = [
        &["status", "api", "-v"] as &[_],
        &["status", "api", "--json"],
        &["list", "--json"],
        &["url", "api"],
        &["url", "api", "--json"],
        &["url", "api", "--with-token"],
        &["doctor", "api"],
        &["serve", "-n", "api"],
    ];
    for args in said {
        let done = sandbox.run(args);
        assert!(
            !done.out.contains(token) && !done.err.contains(token),
            "{done:?}"
        );
    }
    for secret in ["cmdline", "environ"] {
        let of_server = fs::read(format!("/proc/{}/{secret}", server.ready()["pid"])).unwrap();
        assert!(
            !String::from_utf8_lossy(&of_server).contains(token),
            "{secret}"
        );
    }
    server.signal(Signal::TERM);
    let (done, events) = server.end();
    assert!(!format!("{done:?} {events:?}").contains(token));
}

#[test]
fn other_names_are_answered_to_only_if_they_are_allowed() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&["--allow-host", "my.dev", "--allow-host", "other.dev:3000"]);
    let ask = |host: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let mut client = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        client.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    };
    for host in ["my.dev", "other.dev:3000"] {
        assert!(ask(host).starts_with("HTTP/1.1 200"), "{host}");
    }
    for host in ["my.dev:3000", "other.dev", "third.dev"] {
        assert!(ask(host).starts_with("HTTP/1.1 421"), "{host}");
    }
    let wrong = sandbox.run(&["serve", "--allow-host", "http://my.dev"]);
    assert!(wrong.exits(2).err.contains("a host is a name"));
}
