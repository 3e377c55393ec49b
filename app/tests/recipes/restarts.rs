//! Restarts, planned ones and crashes, under clients that open a new connection for each request.

use rustix::process::{Pid, Signal, kill_process};

use crate::clients::{Clients, Seen};
use crate::ground::Ground;
use crate::page;
use crate::processes::{Process, left_of};
use crate::programs::can_run;
use crate::running::Running;

pub(crate) const TESTED: &[&str] = &["restart"];

const TIMES: usize = 3;
/// Between two restarts, so that each falls among requests.
const REQUESTS: u64 = 200;

/// A server with `--listen fd` that is started anew when it fails.
struct Restarted {
    ground: Ground,
    run: Running,
    clients: Clients,
}

#[test]
fn gunicorn_loses_no_request_in_planned_restarts() {
    if can_run(&["gunicorn"]) {
        let seen = in_planned_restarts(&page::recipe("restart"), "hello from wsgi.py");
        assert!(seen.refused == 0 && seen.lost.is_empty(), "{seen:?}");
    }
}

#[test]
fn listenfd_and_hyper_lose_no_request_in_planned_restarts() {
    let seen = in_planned_restarts(&supervised("rust"), "hello from listening");
    assert!(seen.refused == 0 && seen.lost.is_empty(), "{seen:?}");
}

#[test]
fn node_loses_no_request_in_planned_restarts() {
    if can_run(&["node"]) {
        let seen = in_planned_restarts(&supervised("node-fd"), "hello from server.js");
        assert!(seen.refused == 0 && seen.lost.is_empty(), "{seen:?}");
    }
}

// It closes what it has accepted and not yet read; the page says so.
#[test]
fn uvicorn_refuses_no_connection_in_planned_restarts() {
    if can_run(&["uvicorn"]) {
        let seen = in_planned_restarts(&supervised("uvicorn-fd"), "hello from app.py");
        assert_eq!(seen.refused, 0, "{seen:?}");
    }
}

#[test]
fn gunicorn_refuses_no_connection_when_it_is_killed() {
    if can_run(&["gunicorn"]) {
        let seen = when_killed(&page::recipe("restart"), "hello from wsgi.py");
        assert_eq!(seen.refused, 0, "{seen:?}");
    }
}

#[test]
fn listenfd_and_hyper_refuse_no_connection_when_they_are_killed() {
    let seen = when_killed(&supervised("rust"), "hello from listening");
    assert_eq!(seen.refused, 0, "{seen:?}");
}

#[test]
fn uvicorn_refuses_no_connection_when_it_is_killed() {
    if can_run(&["uvicorn"]) {
        let seen = when_killed(&supervised("uvicorn-fd"), "hello from app.py");
        assert_eq!(seen.refused, 0, "{seen:?}");
    }
}

/// A recipe of the page, supervised.
fn supervised(recipe: &str) -> String {
    let line = page::recipe(recipe);
    line.replacen("--listen fd", "--listen fd --restart on-failure -n api", 1)
}

fn in_planned_restarts(line: &str, answer: &'static str) -> Seen {
    let mut server = Restarted::start(line, answer);
    for _ in 0..TIMES {
        let before = server.run.main();
        server.ground.succeeds("daymark restart api");
        server.is_another_than(before);
    }
    server.end()
}

fn when_killed(line: &str, answer: &'static str) -> Seen {
    let mut server = Restarted::start(line, answer);
    for _ in 0..TIMES {
        let before = server.run.main();
        let pid = i32::try_from(before.pid).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a pid"), Signal::KILL).expect("it is there");
        server.is_another_than(before);
    }
    server.end()
}

impl Restarted {
    fn start(line: &str, answer: &'static str) -> Self {
        let ground = Ground::new("api");
        let mut run = Running::begin(&ground, line);
        let ready = run.await_event("ready");
        let clients = Clients::start(ready["url"].as_str().expect("a URL"), answer);
        clients.await_answers(REQUESTS);
        Self {
            ground,
            run,
            clients,
        }
    }

    #[track_caller]
    fn is_another_than(&mut self, before: Process) {
        self.run.await_event("restarted");
        self.clients.await_answers(REQUESTS);
        assert_ne!(self.run.main(), before);
    }

    fn end(self) -> Seen {
        let seen = self.clients.end();
        assert_eq!(self.ground.json("daymark stop api")["ok"], true);
        self.run.ends_with(0);
        assert_eq!(left_of(&[], &self.ground.mark()), [""; 0]);
        assert!(seen.answered >= REQUESTS, "{seen:?}");
        seen
    }
}
