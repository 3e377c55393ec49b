//! Who is let in, over real connections: only requests that are meant for this very server, and that no foreign page has
//! sent. Nobody else reaches the app.

use axum::Router;
use daymark::{Builder, Server, StartError};
use daymark_tests::files::Ground;
use daymark_tests::guarded::{Guarded, assert_problem};
use daymark_tests::raw::Raw;

#[test]
fn a_request_that_is_meant_for_this_server_reaches_the_app() {
    let guarded = Guarded::start();
    for request in [
        "GET /a HTTP/1.1\r\nHost: HOST\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n",
        "GET /a HTTP/1.1\r\nhost: LocalHost:PORT\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: [::1]:PORT\r\n\r\n",
        "GET /a HTTP/1.0\r\nHost: HOST\r\n\r\n",
        "GET http://HOST/a HTTP/1.1\r\nHost: HOST\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: HOST\r\nOrigin: http://HOST\r\nContent-Length: 0\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: HOST\r\nSec-Fetch-Site: same-origin\r\nContent-Length: 0\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: HOST\r\nSec-Fetch-Site: none\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: HOST\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n\r\n",
    ] {
        let said = guarded.ask(request);
        assert_eq!(said.status, 200, "{request:?}: {said:?}");
    }
}

#[test]
fn a_request_under_another_name_reaches_nobody() {
    let guarded = Guarded::start();
    for host in [
        "evil-mark.example",
        "evil-mark.example:PORT",
        "127.0.0.1",
        "localhost",
        "127.0.0.1:1",
        "127.0.0.1:PORT.evil-mark.example",
        "127.0.0.1.evil-mark.example:PORT",
        "localhost.:PORT",
        "evil-mark.localhost:PORT",
        "evil-mark@127.0.0.1:PORT",
        "",
    ] {
        guarded.assert_refused(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), 421);
    }
    for target in [
        "GET http://evil-mark.example/",
        "GET https://HOST/evil-mark",
        "GET http://evil-mark@HOST/",
        "CONNECT evil-mark.example:443",
    ] {
        guarded.assert_refused(&format!("{target} HTTP/1.1\r\nHost: HOST\r\n\r\n"), 421);
    }
}

#[test]
fn a_request_that_names_no_host_or_two_or_is_none_reaches_nobody() {
    let guarded = Guarded::start();
    for request in [
        "GET /evil-mark HTTP/1.1\r\n\r\n",
        "GET /evil-mark HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: HOST\r\nHost: evil-mark.example\r\n\r\n",
        "GET http://localhost:PORT/evil-mark HTTP/1.1\r\nHost: HOST\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: HOST\r\n\r\n",
        "GET HOST HTTP/1.1\r\nHost: HOST\r\n\r\n",
        "CONNECT localhost:PORT HTTP/1.1\r\nHost: HOST\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: HOST\r\nOrigin: http://HOST\r\nOrigin: http://evil-mark.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: HOST\r\nSec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site\r\n\r\n",
    ] {
        let said = guarded.assert_refused(request, 400);
        assert_eq!(said.header("connection"), Some("close"), "{said:?}");
    }
}

#[test]
fn a_page_of_another_origin_reaches_nobody() {
    let guarded = Guarded::start();
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    for origin in [
        "null",
        "http://evil-mark.example",
        "https://HOST",
        "http://localhost:PORT",
        "http://HOST.evil-mark.example",
        "http://HOST/",
    ] {
        for (method, more) in [
            ("GET", ""),
            ("POST", "Content-Length: 0\r\n"),
            ("GET", upgrade),
        ] {
            guarded.assert_refused(
                &format!("{method} / HTTP/1.1\r\nHost: HOST\r\nOrigin: {origin}\r\n{more}\r\n"),
                403,
            );
        }
    }
    for (method, site, mode, dest) in [
        ("GET", "cross-site", "no-cors", "image"),
        ("GET", "same-site", "cors", "empty"),
        ("GET", "cross-site", "navigate", "iframe"),
        ("POST", "cross-site", "navigate", "document"),
        ("HEAD", "cross-site", "navigate", "document"),
        ("GET", "evil-mark", "cors", "empty"),
    ] {
        let request = format!(
            "{method} / HTTP/1.1\r\nHost: HOST\r\nSec-Fetch-Site: {site}\r\nSec-Fetch-Mode: {mode}\r\n\
             Sec-Fetch-Dest: {dest}\r\nConnection: close\r\n\r\n"
        );
        match method {
            // It has a head alone.
            "HEAD" => {
                let mut raw = Raw::connect(guarded.addr());
                raw.send(guarded.filled(&request));
                assert!(raw.read_to_end().starts_with("HTTP/1.1 403 "));
            }
            _ => drop(guarded.assert_refused(&request, 403)),
        }
    }
    assert_eq!(guarded.seen(), 0);
}

#[test]
fn a_websocket_of_its_own_page_reaches_the_app() {
    let guarded = Guarded::start();
    let said = guarded.ask(
        "GET / HTTP/1.1\r\nHost: HOST\r\nOrigin: http://HOST\r\nSec-Fetch-Site: same-origin\r\n\
         Sec-Fetch-Mode: websocket\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    assert_eq!(said.status, 101, "{said:?}");
}

#[test]
fn a_refused_body_is_neither_asked_for_nor_read_and_ends_the_connection() {
    let guarded = Guarded::start();
    for more in ["", "Expect: 100-continue\r\n"] {
        let mut raw = Raw::connect(guarded.addr());
        raw.send(format!(
            "POST / HTTP/1.1\r\nHost: evil-mark.example\r\nContent-Length: 1000000\r\n{more}\r\n"
        ));
        let said = raw.hear().expect("an answer");
        assert_problem(&said, 421, more);
        assert_eq!(said.header("connection"), Some("close"), "{said:?}");
        assert!(raw.is_closed());
    }
    assert_eq!(guarded.seen(), 0);
}

#[test]
fn a_refusal_without_a_body_leaves_the_connection_to_better_requests() {
    let guarded = Guarded::start();
    let mut raw = Raw::connect(guarded.addr());
    raw.send("GET / HTTP/1.1\r\nHost: evil-mark.example\r\n\r\n");
    assert_eq!(raw.hear().expect("an answer").status, 421);
    raw.send(guarded.filled("GET / HTTP/1.1\r\nHost: HOST\r\n\r\n"));
    assert_eq!(raw.hear().expect("an answer").status, 200);
}

#[test]
fn what_comes_after_a_request_that_is_none_is_not_read() {
    let guarded = Guarded::start();
    let good = guarded.filled("GET / HTTP/1.1\r\nHost: HOST\r\n\r\n");
    let mut raw = Raw::connect(guarded.addr());
    raw.send(format!(
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n{good}"
    ));
    assert_eq!(raw.hear().expect("an answer").status, 400);
    assert!(raw.is_closed());
    assert_eq!(guarded.seen(), 0);
}

#[test]
fn a_server_on_the_other_loopback_address_answers_to_that() {
    let guarded = Guarded::with(Builder::ipv6);
    let said =
        guarded.ask("GET / HTTP/1.1\r\nHost: [::1]:PORT\r\nOrigin: http://[::1]:PORT\r\n\r\n");
    assert_eq!(said.status, 200, "{said:?}");
    let elsewhere = guarded.ask("GET / HTTP/1.1\r\nHost: [::1]:1\r\n\r\n");
    assert_eq!(elsewhere.status, 421);
    assert_eq!(guarded.seen(), 1);
}

#[test]
fn what_was_allowed_is_let_in_and_is_given_no_cors_headers() {
    let guarded = Guarded::with(|builder| {
        builder
            .allow_host("my.dev:3000")
            .allow_origin("http://localhost:5173")
    });
    let said = guarded.ask("GET / HTTP/1.1\r\nHost: my.dev:3000\r\n\r\n");
    assert_eq!(said.status, 200, "{said:?}");
    let preflight = guarded.ask(
        "OPTIONS / HTTP/1.1\r\nHost: HOST\r\nOrigin: http://localhost:5173\r\nSec-Fetch-Site: same-site\r\n\
         Access-Control-Request-Method: PUT\r\n\r\n",
    );
    assert_eq!(preflight.status, 200, "{preflight:?}");
    assert!(!preflight.head.to_lowercase().contains("access-control"));
    assert_eq!(guarded.seen(), 2);
    assert_eq!(
        guarded.ask("GET / HTTP/1.1\r\nHost: my.dev\r\n\r\n").status,
        421
    );
    let any = Guarded::with(Builder::allow_any_host);
    assert_eq!(
        any.ask("GET / HTTP/1.1\r\nHost: any.example\r\n\r\n")
            .status,
        200
    );
}

#[test]
fn what_is_no_host_or_origin_cannot_be_allowed() {
    let start = |settings: fn(Builder) -> Builder| {
        let ground = Ground::new();
        let builder = settings(Server::builder("guard-test").state_dir(ground.dir()));
        let failed = builder.app(Router::new()).start();
        assert!(!ground.dir().exists());
        failed.expect_err("it can't start")
    };
    for error in [
        start(|builder| builder.allow_host("http://my.dev")),
        start(|builder| builder.allow_origin("my.dev")),
        start(|builder| builder.allow_origin("null")),
    ] {
        assert!(matches!(error, StartError::Setup { .. }), "{error:?}");
    }
}
