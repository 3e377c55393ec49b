//! What the environment says.

use crate::sandbox::{Sandbox, Serving};

#[test]
fn flags_have_twins_in_the_environment() {
    let sandbox = Sandbox::new();
    let dir = sandbox.path("elsewhere");
    let mut command = sandbox.daymark(&["serve"]);
    let command = command
        .env("DAYMARK_STATE_DIR", &dir)
        .env("DAYMARK_NAME", "api")
        .env("DAYMARK_JSON", "1")
        .env("DAYMARK_PORT", "0");
    let mut server = Serving::begin(command);
    let ready = server.next().unwrap().clone();
    assert_eq!(
        (&ready["event"], &ready["name"]),
        (&"ready".into(), &"api".into())
    );
    assert!(dir.join("server.json").exists());
    let status = |name: &str, value: &str| {
        let mut command = sandbox.daymark(&["status", "--json"]);
        let output = command.env(name, value).output().unwrap();
        output.status.code()
    };
    assert_eq!(status("DAYMARK_STATE_DIR", dir.to_str().unwrap()), Some(0));
    assert_eq!(status("DAYMARK_NAME", "api"), Some(3));
    server.signal(rustix::process::Signal::TERM);
}

#[test]
fn the_command_line_comes_before_the_environment() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.daymark(&["status", "one", "--json"]);
    let output = command.env("DAYMARK_NAME", "two").output().unwrap();
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["name"], "one");
}

#[test]
fn a_name_that_was_typed_comes_before_a_directory_that_was_not() {
    let sandbox = Sandbox::new();
    let _server = sandbox.serve(&["-n", "api"]);
    let mut command = sandbox.daymark(&["status", "api"]);
    command.env("DAYMARK_STATE_DIR", sandbox.path("elsewhere"));
    assert_eq!(command.output().unwrap().status.code(), Some(0));
}

#[test]
fn a_variable_that_is_empty_or_says_no_is_not_set() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.daymark(&["status", "api"]);
    for name in ["STATE_DIR", "NAME", "JSON", "COLOR", "QUIET"] {
        command.env(format!("DAYMARK_{name}"), "");
    }
    let output = command.env("DAYMARK_VERBOSE", "false").output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(output.stdout, b"api  absent\n");
    assert_eq!(output.stderr, b"");
}

#[test]
fn the_current_directory_lends_its_name() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    assert_eq!(server.ready()["name"], "site");
    assert_eq!(sandbox.run(&["url"]).exits(0).out.trim_end(), server.url());
}

#[test]
fn without_a_home_it_says_what_to_set() {
    let sandbox = Sandbox::new();
    for args in [&["serve"] as &[_], &["status"], &["list"], &["stop", "api"]] {
        let mut command = sandbox.daymark(args);
        command.env("HOME", "relative").env_remove("XDG_STATE_HOME");
        let output = command.output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert!(err.contains("there is no home directory"), "{err}");
        assert!(err.contains("hint: set HOME"), "{err}");
    }
}

#[test]
fn sockets_that_nobody_could_pass_are_refused() {
    let sandbox = Sandbox::new();
    for (name, value) in [
        ("LISTEN_FDS", "2147483647"),
        ("LISTEN_FDS_FIRST_FD", "2147483647"),
    ] {
        let mut command = sandbox.daymark(&["serve"]);
        let output = command.env("LISTEN_FDS", "1").env(name, value).output();
        let output = output.unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{err}");
        assert!(err.contains(&format!("{name} is {value}")), "{err}");
    }
}
