//! What a command finds around it: its environment, its arguments, and where it is.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use crate::sandbox::{Sandbox, Serving};

#[test]
fn a_command_is_told_who_it_is() {
    let sandbox = Sandbox::with_server();
    let server = sandbox.running(&["--", "server"]);
    assert_eq!(server.body("/env/DAYMARK_NAME"), "api");
    let dir = sandbox.state_dir("api");
    assert_eq!(server.body("/env/DAYMARK_STATE_DIR"), dir.to_str().unwrap());
    let id = server.ready()["instance_id"].as_str().unwrap();
    assert_eq!(server.body("/env/DAYMARK_INSTANCE_ID"), id);
    assert_eq!(
        server.body("/env/HOME"),
        sandbox.text("").trim_end_matches('/')
    );
}

#[test]
fn what_was_said_to_us_about_our_sockets_is_not_said_to_it() {
    let sandbox = Sandbox::with_server();
    let mut command = sandbox.daymark(&["run", "--json", "-n", "api", "--", "server"]);
    command
        .env("LISTEN_FDS", "1")
        .env("LISTEN_PID", "1")
        .env("LISTEN_FDNAMES", "ours");
    let mut server = Serving::begin(&mut command);
    server.await_ready();
    for name in ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] {
        assert_eq!(server.body(&format!("/env/{name}")), "unset", "{name}");
    }
}

#[test]
fn variables_stand_for_flags() {
    let sandbox = Sandbox::with_server();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let dir = sandbox.text("elsewhere");
    let mut command = sandbox.daymark(&["run", "--", "server", "fd"]);
    command
        .env("DAYMARK_NAME", "other")
        .env("DAYMARK_PORT", port.to_string())
        .env("DAYMARK_STATE_DIR", &dir)
        .env("DAYMARK_JSON", "1")
        .env("DAYMARK_LISTEN", "fd")
        .env("DAYMARK_READY", "http:/status/204=204");
    let mut server = Serving::begin(&mut command);
    server.await_ready();
    assert_eq!(server.ready()["name"], "other");
    assert_eq!(server.port(), port);
    assert_eq!(server.ready()["state_file"], format!("{dir}/server.json"));
    assert_eq!(server.body("/env/DAYMARK_STATE_DIR"), dir);
    assert_eq!(server.body("/env/DAYMARK_NAME"), "other");
}

#[test]
fn what_stood_for_our_flags_does_not_stand_for_those_of_a_daymark_inside() {
    let sandbox = Sandbox::with_server();
    let mut command = sandbox.daymark(&["run", "--json", "-n", "api", "--", "server"]);
    let ours = [
        "PORT",
        "LISTEN",
        "READY",
        "READY_TIMEOUT",
        "DRAIN",
        "RESTART",
        "THEN",
        "DETACH",
        "REUSE",
        "REPLACE",
        "JSON",
    ];
    for (name, value) in [
        ("DRAIN", "1s"),
        ("RESTART", "always"),
        ("READY", "tcp"),
        ("JSON", "1"),
        ("PORT", "0"),
    ] {
        command.env(format!("DAYMARK_{name}"), value);
    }
    let mut server = Serving::begin(&mut command);
    server.await_ready();
    for name in ours {
        let value = server.body(&format!("/env/DAYMARK_{name}"));
        assert_eq!(value, "unset", "DAYMARK_{name}");
    }
    server.stops();
}

#[test]
fn a_command_finds_itself() {
    let sandbox = Sandbox::with_server();
    let daymark = env!("CARGO_BIN_EXE_daymark");
    let script = "server & pid=$!; trap 'kill $pid' TERM; \"$0\" wait --timeout 30s > found; wait";
    let mut server = sandbox.starting(&["--", "sh", "-c", script, daymark]);
    server.await_ready();
    let url = server.url().to_owned();
    let found = || std::fs::read_to_string(sandbox.path("site/found")).unwrap_or_default();
    while !found().ends_with('\n') {
        std::thread::yield_now();
    }
    assert_eq!(found().trim_end(), url);
    server.stops();
}

#[test]
fn arguments_arrive_as_they_are() {
    let sandbox = Sandbox::with_server();
    let words: [&[u8]; 7] = [
        b"two words",
        b"\"quoted\" 'twice'",
        b"{\"port\": {}, \"a\": []}",
        b"$HOME `id` ; | &",
        b"\xff\xfe not text",
        b"",
        b"--json",
    ];
    let mut command = sandbox.daymark(&["run", "--json", "-n", "api", "--", "server"]);
    command.args(words.iter().map(|word| OsStr::from_bytes(word)));
    let mut server = Serving::begin(&mut command);
    server.await_ready();
    let args: Vec<String> = serde_json::from_str(&server.body("/args")).unwrap();
    let hex = |word: &&[u8]| word.iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(args, words.iter().map(hex).collect::<Vec<_>>());
}

#[test]
fn a_state_directory_may_be_longer_than_the_address_of_a_socket() {
    let sandbox = Sandbox::with_server();
    let dir = sandbox.text(&format!("{}/{}", "long-".repeat(20), "er".repeat(60)));
    assert!(dir.len() > 200);
    for mode in [["--ready", "notify"], ["--listen", "fd"]] {
        let words = match mode[1] {
            "fd" => "fd",
            _ => "notify",
        };
        let server =
            sandbox.running(&[&mode[..], &["--state-dir", &dir, "--", "server", words]].concat());
        assert_eq!(server.ready()["name"], "api");
        assert_eq!(server.ready()["state_file"], format!("{dir}/server.json"));
        let url = sandbox.run(&["url", "--state-dir", &dir]).exits(0);
        assert_eq!(url.out.trim_end(), server.url());
        sandbox.run(&["restart", "--state-dir", &dir]).exits(0);
        sandbox.run(&["stop", "--state-dir", &dir]).exits(0);
        server.end().0.exits(0);
    }
}

#[test]
fn the_name_comes_from_the_directory() {
    let sandbox = Sandbox::with_server();
    let mut server = Serving::begin(&mut sandbox.daymark(&["run", "--json", "--", "server"]));
    server.await_ready();
    assert_eq!(server.ready()["name"], "site");
    assert_eq!(sandbox.run(&["url"]).exits(0).out.trim_end(), server.url());
}

#[test]
fn what_we_are_handed_on_standard_input_the_command_reads() {
    let sandbox = Sandbox::with_server();
    let mut command = sandbox.command("sh");
    let script = r#"echo hello from outside | "$0" run --json -n api -- server"#;
    command.args(["-c", script, env!("CARGO_BIN_EXE_daymark")]);
    let mut server = Serving::begin(&mut command);
    server.await_ready();
    assert_eq!(server.body("/stdin"), "hello from outside\n");
    sandbox.run(&["stop", "api"]).exits(0);
    server.end().0.exits(0);
}
