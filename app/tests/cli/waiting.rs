//! `daymark wait` and `watch`.

use rustix::process::Signal;

use crate::sandbox::{Sandbox, Serving};

#[test]
fn a_watch_sees_a_server_come_and_be_killed() {
    let sandbox = Sandbox::new();
    let mut watch = Serving::begin(&mut sandbox.daymark(&["watch", "api", "--json"]));
    assert_eq!(watch.next().unwrap()["presence"], "absent");
    let server = sandbox.serve(&["-n", "api"]);
    let mut until = |presence: &str| {
        while watch.next().unwrap()["presence"] != presence {}
        watch.events.last().unwrap().clone()
    };
    assert_eq!(until("live")["record"]["port"], server.port());
    server.signal(Signal::KILL);
    assert_eq!(until("stale")["schema"], 1);
    watch.signal(Signal::KILL);
}

#[test]
fn a_wait_that_began_before_the_server_ends_with_its_url() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.daymark(&["wait", "api", "--json"]);
    let mut waiter = Serving::begin(&mut command);
    let server = sandbox.serve(&["-n", "api"]);
    assert_eq!(waiter.next().unwrap()["presence"], "live");
    waiter.end().0.exits(0);
    let done = sandbox.run(&["wait", "api", "--for", "ready"]).exits(0);
    assert_eq!(done.out.trim_end(), server.url());
}

#[test]
fn a_wait_for_down_ends_when_the_server_is_killed() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&["-n", "api"]);
    let mut command = sandbox.daymark(&["wait", "api", "--for", "down", "--json"]);
    let mut waiter = Serving::begin(&mut command);
    server.signal(Signal::KILL);
    assert_eq!(waiter.next().unwrap()["presence"], "stale");
    waiter.end().0.exits(0);
    let done = sandbox.run(&["wait", "never", "--for", "down"]).exits(0);
    assert_eq!(done.out, "");
}

#[test]
fn a_wait_that_takes_too_long_says_what_is_there() {
    let sandbox = Sandbox::new();
    let ready = sandbox
        .run(&["wait", "api", "--timeout", "30ms"])
        .exits(124);
    ready.fails_saying("api was not ready within 30 ms: it is absent", "--timeout");
    assert_eq!(ready.out, "");
    let _server = sandbox.serve(&["-n", "api"]);
    let args = ["wait", "api", "--for", "down", "--timeout", "0"];
    let down = sandbox.run(&args).exits(124);
    down.fails_saying(
        "api was not down within 0 ms: it is live",
        "daymark stop api",
    );
}

#[test]
fn a_watch_ends_when_nobody_reads_it_any_more() {
    let sandbox = Sandbox::new();
    let mut watch = Serving::begin(&mut sandbox.daymark(&["watch", "api", "--json"]));
    assert_eq!(watch.next().unwrap()["presence"], "absent");
    let deaf = watch.hang_up();
    let _server = sandbox.serve(&["-n", "api"]);
    assert_eq!(deaf.exit_code(), Some(0));
}
