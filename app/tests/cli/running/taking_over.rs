//! `--reuse` and `--replace`: when there is one already.

use std::fs;

use super::{Left, body, is_gone, pid};
use crate::sandbox::{Sandbox, end};

#[test]
fn a_second_one_is_told_where_the_first_is() {
    let sandbox = Sandbox::with_server();
    let server = sandbox.running(&["--", "server"]);
    let notes = sandbox.text("notes");
    let note = format!("note={notes}");
    for more in [&[] as &[_], &["-d"]] {
        let args = [&["run", "-n", "api"], more, &["--", "server", &note]].concat();
        let second = sandbox.run(&args).exits(4);
        second.fails_saying(&format!("already running at {}", server.url()), "--replace");
        second.fails_saying("api", "--reuse");
        assert_eq!(second.out, "");
    }
    assert!(!fs::exists(&notes).unwrap());
}

#[test]
fn the_one_that_is_there_can_be_as_good() {
    let sandbox = Sandbox::with_server();
    let server = sandbox.running(&["--", "server"]);
    let plain = sandbox
        .run(&["run", "-n", "api", "--reuse", "--", "server"])
        .exits(0);
    assert_eq!(plain.out, "");
    assert!(
        plain.err.contains(server.url().trim_end_matches('/')),
        "{plain:?}"
    );
    let json = ["run", "-n", "api", "--reuse", "--json", "--", "server"];
    for args in [&json[..], &[&["run", "-d"], &json[1..]].concat()] {
        let ready = sandbox.run(args).exits(0).json();
        assert_eq!(ready["event"], "ready");
        for field in ["url", "port", "pid", "instance_id", "state_file", "name"] {
            assert_eq!(ready[field], server.ready()[field], "{field}");
        }
    }
    let detached = sandbox
        .run(&["run", "-d", "-n", "api", "--reuse", "--", "server"])
        .exits(0);
    assert!(
        detached.out.contains(server.url().trim_end_matches('/')),
        "{detached:?}"
    );
    assert_eq!(server.body("/"), format!("pid {}", server.child_pid()));
    server.stops();
}

#[test]
fn a_namesake_of_another_project_is_neither_used_nor_replaced() {
    let sandbox = Sandbox::with_server();
    for project in ["a/web/deep/web", "b/web"] {
        fs::create_dir_all(sandbox.path(project)).unwrap();
    }
    let at = |dir: &str, args: &[&str]| {
        let mut command = sandbox.daymark(args);
        end(command.current_dir(sandbox.path(dir)))
    };
    let _left = Left(&sandbox, "web");
    at("a/web", &["run", "-d", "--", "server"]).exits(0);
    let url = sandbox.run(&["url", "web"]).exits(0).out;
    let theirs = sandbox.path("a/web").display().to_string();

    for how in ["--reuse", "--replace"] {
        let other = at("b/web", &["run", how, "--", "server"]).exits(4);
        other.fails_saying(&theirs, "-n NAME");
        // Whoever says which one is meant means it, and so does whoever is within.
        let _ = at("b/web", &["run", "--reuse", "-n", "web", "--", "server"]).exits(0);
        let _ = at("a/web/deep/web", &["run", "--reuse", "--", "server"]).exits(0);
    }
    at("b/web", &["serve"])
        .exits(4)
        .fails_saying(&theirs, "-n NAME");
    let found = at("b/web", &["url"]).exits(0);
    assert_eq!(found.out, url);
    assert!(found.err.contains(&theirs), "{found:?}");
    assert_eq!(at("a/web", &["url"]).exits(0).err, "");
}

#[test]
fn reuse_starts_one_where_there_is_none() {
    let sandbox = Sandbox::with_server();
    let server = sandbox.running(&["--reuse", "--", "server"]);
    assert_eq!(server.body("/"), format!("pid {}", server.child_pid()));
    server.stops();
}

#[test]
fn one_that_is_starting_is_waited_for_and_reused() {
    let sandbox = Sandbox::with_server();
    let go = sandbox.fifo("go");
    let mut first = sandbox.starting(&["--", "server", &format!("wait={go}")]);
    let let_it_go = fs::File::options().write(true).open(&go).unwrap();
    let mut second = sandbox.starting(&["--reuse", "--", "server"]);
    assert_eq!(sandbox.presence("api"), "starting");
    drop(let_it_go);
    first.await_ready();
    second.await_ready();
    assert_eq!(second.ready()["instance_id"], first.ready()["instance_id"]);
    second.end().0.exits(0);
    first.stops();
}

#[test]
fn many_that_reuse_at_once_get_the_same_one() {
    let sandbox = Sandbox::with_server();
    let _left = Left(&sandbox, "api");
    let all: Vec<_> = (0..4)
        .map(|_| sandbox.starting(&["-d", "--reuse", "--", "server"]))
        .collect();
    let ids: Vec<_> = all
        .into_iter()
        .map(|run| {
            let (done, events) = run.end();
            done.exits(0);
            events.last().unwrap()["instance_id"].clone()
        })
        .collect();
    assert!(
        ids.iter().all(|id| id.is_string() && id == &ids[0]),
        "{ids:?}"
    );
}

#[test]
fn the_one_that_is_there_can_be_replaced() {
    let sandbox = Sandbox::with_server();
    let first = sandbox.running(&["--", "server", "graceful"]);
    let (old, port) = (pid(&first.child_pid().to_string()), first.port());
    let second = sandbox.running(&["--replace", "--", "server"]);
    assert!(is_gone(old));
    assert_eq!(second.port(), port);
    assert_eq!(second.body("/"), format!("pid {}", second.child_pid()));
    let (done, events) = first.end();
    done.exits(0);
    assert_eq!(events.last().unwrap()["cause"], "asked");
    second.stops();
}

#[test]
fn one_that_will_not_end_is_replaced_all_the_same() {
    let sandbox = Sandbox::with_server();
    let first = sandbox.running(&["--drain", "1h", "--", "server", "ignore"]);
    let old = pid(&first.child_pid().to_string());
    let second = sandbox.running(&["--replace", "--drain", "200ms", "--", "server"]);
    assert!(is_gone(old));
    assert!(second.body("/").starts_with("pid "));
    first.end();
    second.stops();
}

#[test]
fn a_server_of_another_kind_is_replaced_as_well() {
    let sandbox = Sandbox::with_server();
    let first = sandbox.serve(&["-n", "api"]);
    let second = sandbox.running(&["--replace", "--", "server"]);
    first.end().0.exits(0);
    assert!(second.body("/").starts_with("pid "));
    second.stops();
}

#[test]
fn replacing_from_the_background_works_too() {
    let sandbox = Sandbox::with_server();
    let _left = Left(&sandbox, "api");
    let first = sandbox.running(&["--", "server"]);
    let second = sandbox
        .run(&[
            "run",
            "-d",
            "--json",
            "-n",
            "api",
            "--replace",
            "--",
            "server",
        ])
        .exits(0);
    first.end().0.exits(0);
    let port = second.json()["port"].as_u64().unwrap();
    assert!(body(port.try_into().unwrap(), "/").starts_with("pid "));
}

#[test]
fn both_at_once_make_no_sense() {
    let sandbox = Sandbox::with_server();
    sandbox
        .run(&["run", "--reuse", "--replace", "--", "server"])
        .exits(2);
    sandbox
        .run(&["run", "-d", "--then", "true", "--", "server"])
        .exits(2);
}
