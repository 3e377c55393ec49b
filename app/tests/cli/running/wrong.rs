//! What bad input gets: one sentence, one hint, and a code of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::sandbox::{Sandbox, write_program};

#[test]
fn a_command_that_is_not_there() {
    let sandbox = Sandbox::with_server();
    let done = sandbox
        .run(&["run", "--", "no-such-command", "x"])
        .exits(127);
    done.fails_saying("there is no command no-such-command", "PATH");
    let done = sandbox.run(&["run", "--", "./no/such"]).exits(127);
    done.fails_saying("there is no command ./no/such", "spelling");
    sandbox
        .run(&["run", "--", ""])
        .exits(127)
        .fails_saying("the command is empty", "");
    assert!(!sandbox.state_dir("site").exists());
}

#[test]
fn a_command_that_cannot_be_executed() {
    let sandbox = Sandbox::with_server();
    fs::write(sandbox.path("site/script"), "#!/bin/sh\n").unwrap();
    let done = sandbox.run(&["run", "--", "./script"]).exits(126);
    done.fails_saying("./script: it is not executable", "chmod +x ./script");
    let done = sandbox.run(&["run", "--", "/etc"]).exits(126);
    done.fails_saying("/etc: it is a directory", "");
}

#[test]
fn a_command_that_the_system_refuses() {
    let sandbox = Sandbox::with_server();
    let script = sandbox.path("bin/odd");
    fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let done = sandbox.run(&["run", "--", "odd"]).exits(127);
    assert!(done.err.contains("cannot execute odd"), "{done:?}");
    assert!(
        done.err
            .contains("hint: check the command after --, and what its first line says"),
        "{done:?}"
    );
}

#[test]
fn a_command_line_that_makes_no_sense() {
    let sandbox = Sandbox::with_server();
    write_program(&sandbox.path("bin/ran"), "touch ran");
    for args in [
        &["run"] as &[_],
        &["run", "--"],
        &["run", "--restart", "sometimes", "--", "ran"],
        &["run", "--listen", "here", "--", "ran"],
        &["run", "-p", "70000", "--", "ran"],
        &["run", "--ready-timeout", "soon", "--", "ran"],
        &["run", "--drain", "-1s", "--", "ran"],
        &["run", "-n", "No Name", "--", "ran"],
        &["run", "--ready", "sometime", "--", "ran"],
        &["run", "--ready", "http:health", "--", "ran"],
    ] {
        let done = sandbox.run(args).exits(2);
        assert_eq!(done.out, "", "{args:?}");
    }
    assert!(!fs::exists(sandbox.path("site/ran")).unwrap());
}

#[test]
fn a_regular_expression_that_does_not_compile() {
    let sandbox = Sandbox::with_server();
    let done = sandbox
        .run(&["run", "--ready", "log:(", "--", "server"])
        .exits(2);
    assert!(
        done.err
            .contains("error: --ready: the regular expression is not valid"),
        "{done:?}"
    );
    assert!(done.err.contains("unclosed group"), "{done:?}");
    assert!(done.err.contains("hint: for instance"), "{done:?}");
    done.fails_saying("the regular expression is not valid", "log:");
}

#[test]
fn a_reason_is_an_event_as_well() {
    let sandbox = Sandbox::with_server();
    for (args, code) in [
        (&["run", "--json", "--", "no-such-command"] as &[_], 127),
        (&["run", "--json", "--", "/etc"], 126),
        (&["run", "--json", "--ready", "log:(", "--", "server"], 2),
    ] {
        let failed = sandbox.run(args).exits(code).json();
        assert_eq!(
            (&failed["event"], &failed["exit"]),
            (&"failed".into(), &code.into())
        );
        assert!(failed["reason"].is_string() && failed["hint"].is_string());
    }
}

#[test]
fn readiness_that_is_never_reached() {
    let sandbox = Sandbox::with_server();
    let done = sandbox
        .run(&[
            "run",
            "-n",
            "api",
            "--ready-timeout",
            "2s",
            "--",
            "server",
            "err=last words",
            "status=500",
        ])
        .exits(124);
    assert!(
        done.err.contains("error: api was not ready within 2 s: "),
        "{done:?}"
    );
    assert!(done.err.contains("was answered with 500"), "{done:?}");
    // Once as it came, once with the error.
    assert_eq!(done.err.matches("last words").count(), 2, "{done:?}");
    assert!(!sandbox.record().exists());
}

#[test]
fn an_unsafe_state_directory() {
    let sandbox = Sandbox::with_server();
    let dir = sandbox.text("open");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    let notes = format!("note={}", sandbox.text("notes"));
    let done = sandbox
        .run(&["run", "--state-dir", &dir, "--", "server", &notes])
        .exits(125);
    done.fails_saying("is not safe", &format!("chmod 700 {dir}"));
    assert!(!fs::exists(sandbox.path("notes")).unwrap());
}
