//! `daymark status`, `url`, `list` and `open`.

use rustix::process::Signal;

use crate::sandbox::{Sandbox, end, get, write_program};

const ORIGINAL: &str = r#"{"port":9,"pid":1,"started_at":"2026-11-22T06:25:00Z"}"#;

#[test]
fn a_live_server_is_shown_and_nothing_else_ends_well() {
    let sandbox = Sandbox::new();
    let absent = sandbox.run(&["status", "api"]).exits(3);
    assert_eq!(absent.out, "api  absent\n");
    let server = sandbox.serve(&["-n", "api"]);
    let live = sandbox.run(&["status", "api"]).exits(0);
    assert!(
        live.out
            .starts_with(&format!("api  live  {}  (pid ", server.url())),
        "{live:?}"
    );
    assert_eq!(
        sandbox.run(&["url", "api"]).exits(0).out,
        format!("{}\n", server.url())
    );
    server.signal(Signal::KILL);
    server.end();
    let stale = sandbox.run(&["status", "api"]).exits(3);
    assert_eq!(
        stale.out,
        "api  stale  the process that wrote the record is gone\n"
    );
    sandbox
        .run(&["url", "api"])
        .exits(3)
        .fails_saying("api is stale", "daymark list");
}

#[test]
fn status_is_one_object_of_known_shape() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&["-n", "api"]);
    let live = sandbox.run(&["status", "api", "--json"]).exits(0).json();
    assert_eq!(live["schema"], 1);
    assert_eq!(live["name"], "api");
    assert_eq!(live["presence"], "live");
    assert_eq!(live["record"]["port"], server.port());
    assert_eq!(live["record"]["schema"], 1);
    assert!(live["uptime_ms"].is_u64());
    assert!(live["reason"].is_null());
    let absent = sandbox.run(&["status", "other", "--json"]).exits(3).json();
    assert_eq!(
        absent,
        serde_json::json!({"schema": 1, "name": "other", "presence": "absent", "record": null,
                           "uptime_ms": null, "reason": null})
    );
}

#[test]
fn a_record_that_nothing_proves_is_shown_and_not_acted_on() {
    let sandbox = Sandbox::new();
    sandbox.leave_record("old", ORIGINAL);
    let status = sandbox.run(&["status", "old", "--json"]).exits(3).json();
    assert_eq!(status["presence"], "unproven");
    assert_eq!(status["record"]["port"], 9);
    for verb in ["url", "open"] {
        let done = sandbox.run(&[verb, "old"]).exits(3);
        done.fails_saying("old is unproven", "http://127.0.0.1:9/");
        assert_eq!(done.out, "");
    }
}

#[test]
fn a_file_that_is_no_record_is_corrupt() {
    let sandbox = Sandbox::new();
    sandbox.leave_record("bad", "{\"port\":");
    let done = sandbox.run(&["status", "bad"]).exits(3);
    assert!(
        done.out.starts_with("bad  corrupt  not valid JSON"),
        "{done:?}"
    );
    sandbox.run(&["url", "bad"]).exits(3);
}

#[test]
fn nothing_in_a_record_commands_the_terminal() {
    let sandbox = Sandbox::new();
    let nasty = r#"{"port":9,"pid":1,"started_at":"2026-11-22T06:25:00Z",
        "app":{"name":"\u001b[2J\u009b2J\u202e","version":"\u0007"}}"#;
    sandbox.leave_record("nasty", nasty);
    for args in [
        &["status", "nasty", "-v"] as &[_],
        &["status", "nasty", "--json"],
    ] {
        let done = sandbox.run(args).exits(3);
        let raw = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(
            !done.out.contains(raw) && !done.err.contains(raw),
            "{done:?}"
        );
    }
}

#[test]
fn a_list_has_who_is_there_and_all_if_asked() {
    let sandbox = Sandbox::new();
    let empty = sandbox.run(&["list"]).exits(0);
    assert_eq!(
        (empty.out.as_str(), empty.err.as_str()),
        ("", "no server is running\n")
    );
    assert_eq!(
        sandbox.run(&["list", "--json"]).exits(0).json(),
        serde_json::json!([])
    );
    sandbox.leave_record("bad", "");
    let server = sandbox.serve(&["-n", "api"]);
    let list = sandbox.run(&["list"]).exits(0).out;
    let rows: Vec<&str> = list.lines().collect();
    assert_eq!(rows.len(), 2, "{list}");
    assert_eq!(rows[0], "NAME  PRESENCE  WHERE");
    assert!(
        rows[1].starts_with(&format!("api   live      {}", server.url())),
        "{list}"
    );
    let all = sandbox.run(&["list", "-a", "--json"]).exits(0).json();
    let seen = |i: usize, field: &str| all[i][field].clone();
    assert_eq!(
        (seen(0, "name"), seen(0, "presence")),
        ("api".into(), "live".into())
    );
    assert_eq!(
        (seen(1, "name"), seen(1, "presence")),
        ("bad".into(), "corrupt".into())
    );
    assert_eq!((seen(0, "schema"), seen(1, "schema")), (1.into(), 1.into()));
}

#[test]
fn the_browser_is_shown_a_live_server_by_a_link_that_lets_it_in_once() {
    let sandbox = Sandbox::new();
    let note = sandbox.path("opened");
    let script = format!("echo \"$1\" > {}", note.display());
    write_program(&sandbox.path("bin/xdg-open"), &script);
    let server = sandbox.serve(&["-n", "api", "--require-token"]);
    let done = sandbox.run(&["open", "api", "--json"]).exits(0);
    assert_eq!(
        done.json(),
        serde_json::json!({"schema": 1, "url": server.url()})
    );
    let opened = std::fs::read_to_string(note).unwrap();
    let (url, code) = opened.trim_end().split_once("?daymark-code=").unwrap();
    assert_eq!(url, server.url());
    // What stands in the opener's command line is worth nothing any more once the browser has used it.
    let link = format!("/?daymark-code={code}");
    assert!(get(server.port(), &link).starts_with("HTTP/1.1 303"));
    assert!(get(server.port(), &link).starts_with("HTTP/1.1 401"));
    let record = std::fs::read_to_string(sandbox.state_dir("api").join("server.json")).unwrap();
    assert!(!record.contains(code));
}

#[test]
fn the_browser_is_the_one_that_the_user_has_named() {
    let sandbox = Sandbox::new();
    let note = sandbox.path("opened");
    let script = format!("echo \"$1\" > {}", note.display());
    write_program(&sandbox.path("bin/my-browser"), &script);
    write_program(&sandbox.path("bin/xdg-open"), "exit 1");
    let server = sandbox.serve(&["-n", "api"]);
    let open = |named: &str| {
        let mut command = sandbox.daymark(&["open", "api"]);
        end(command.env("BROWSER", named))
    };
    open("no-such-browser:my-browser").exits(0);
    // It isn't waited for.
    let opened = loop {
        match std::fs::read_to_string(&note) {
            Ok(opened) if opened.ends_with('\n') => break opened,
            _ => std::thread::yield_now(),
        }
    };
    assert_eq!(opened.trim_end(), server.url());
    let done = open("no-such-browser").exits(1);
    done.fails_saying("cannot open the browser", "daymark url");
}

#[test]
fn a_name_that_is_not_the_servers_there_is_a_contradiction() {
    let sandbox = Sandbox::new();
    let dir = sandbox.path("here");
    let dir = dir.to_str().unwrap();
    let server = sandbox.serve(&["--state-dir", dir, "-n", "api"]);
    let done = sandbox.run(&["stop", "other", "--state-dir", dir]).exits(2);
    done.fails_saying("is called api, not other", "not both");
    sandbox.run(&["status", "api", "--state-dir", dir]).exits(0);
    drop(server);
}
