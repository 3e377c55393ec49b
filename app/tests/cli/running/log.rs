//! The log of a run, and what happens when it can't be written.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use rustix::process::Signal;

use super::Plain;
use crate::sandbox::{Sandbox, get};

#[test]
fn what_was_printed_can_be_read_while_it_runs_and_afterwards() {
    let sandbox = Sandbox::with_server();
    let server = sandbox.running(&["--", "server", "out=to out", "graceful"]);
    // Printed before it was ready, and written soon.
    while sandbox.run(&["logs", "api"]).exits(0).out != "to out\n" {}
    server.stops();
    let done = sandbox.run(&["logs", "api"]).exits(0);
    assert_eq!(
        (done.out.as_str(), done.err.as_str()),
        ("to out\nSIGTERM\n", "")
    );
    let done = sandbox.run(&["logs", "api", "-n", "1", "--json"]).exits(0);
    assert_eq!(done.out, "{\"schema\":1,\"line\":\"SIGTERM\"}\n");
}

#[test]
fn what_failed_to_start_has_left_its_log() {
    let sandbox = Sandbox::with_server();
    sandbox
        .run(&["run", "-n", "api", "--", "server", "err=why", "exit=3"])
        .exits(3);
    assert_eq!(sandbox.run(&["logs", "api"]).exits(0).out, "why\n");
}

#[test]
fn a_log_is_for_its_owner_alone() {
    let sandbox = Sandbox::with_server();
    let server = sandbox.running(&["--", "server", "out=secret"]);
    let log = sandbox.state_dir("api").join("logs/server.log");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&log), 0o600);
    assert_eq!(mode(log.parent().unwrap()), 0o700);
    server.stops();
}

#[test]
fn following_goes_on_across_a_restart_and_ends_with_the_server() {
    let sandbox = Sandbox::with_server();
    let mut server = sandbox.running(&[
        "--listen",
        "fd",
        "--",
        "server",
        "fd",
        "out=hello",
        "graceful",
    ]);
    let mut logs = Plain::begin(&mut sandbox.daymark(&["logs", "-f", "api"]));
    assert_eq!(logs.line(), "hello\n");
    sandbox.run(&["restart", "api"]).exits(0);
    assert_eq!(
        (logs.line(), logs.line()),
        ("SIGTERM\n".to_owned(), "hello\n".to_owned())
    );
    server.awaits("restarted");
    get(server.port(), "/out/again");
    assert_eq!(logs.line(), "again\n");
    server.stops();
    assert_eq!(
        (logs.line(), logs.line()),
        ("SIGTERM\n".to_owned(), String::new())
    );
    assert_eq!(logs.exit_code(), Some(0));
}

#[test]
fn a_log_has_a_bounded_size() {
    let sandbox = Sandbox::with_server();
    let script = "seq -f 'line %020.0f' 700000; exit 3";
    let mut command = sandbox.daymark(&["run", "-n", "api", "--", "sh", "-c", script]);
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert_eq!(status.unwrap().code(), Some(3));
    let files = fs::read_dir(sandbox.state_dir("api").join("logs")).unwrap();
    let sizes: Vec<u64> = files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .collect();
    assert!(
        sizes.len() == 2 && sizes.iter().all(|&size| size <= 6 << 20),
        "{sizes:?}"
    );
    let last = sandbox.run(&["logs", "api", "-n", "1"]).exits(0).out;
    assert_eq!(last, format!("line {:020}\n", 700_000));
}

/// Runs a server whose log can't be written, and gives what it said of that.
fn serves_without_a_log(sandbox: &Sandbox) -> String {
    let server = sandbox.running(&["--", "server", "out=hello"]);
    for _ in 0..2 {
        assert!(server.body("/lines/2000").starts_with("pid "));
    }
    server.signal(Signal::TERM);
    let done = server.end().0.exits(0);
    let warnings: Vec<&str> = done
        .err
        .lines()
        .filter(|line| line.contains("warning: "))
        .collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(done.err.contains("hello\n"));
    warnings[0].to_owned()
}

#[test]
fn a_log_that_cannot_be_made_is_told_of_once() {
    let sandbox = Sandbox::with_server();
    let dir = sandbox.state_dir("api");
    fs::create_dir_all(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(dir.join("logs"), "in the way").unwrap();
    let warning = serves_without_a_log(&sandbox);
    assert!(warning.contains("the log cannot be written"), "{warning}");
    assert!(warning.contains("serving goes on"), "{warning}");
    assert_eq!(fs::read_to_string(dir.join("logs")).unwrap(), "in the way");
}

#[test]
fn a_log_that_leads_elsewhere_is_not_written() {
    let sandbox = Sandbox::with_server();
    let dir = sandbox.state_dir("api").join("logs");
    fs::create_dir_all(&dir).unwrap();
    for dir in [&dir, dir.parent().unwrap()] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
    }
    fs::write(sandbox.path("mine"), "mine").unwrap();
    std::os::unix::fs::symlink(sandbox.path("mine"), dir.join("server.log")).unwrap();
    sandbox.running(&["--", "server", "out=hello"]).stops();
    assert_eq!(sandbox.read("mine"), "mine");
}

#[test]
fn a_full_disk_costs_the_log_and_not_the_server() {
    let sandbox = Sandbox::with_server();
    let logs = sandbox.state_dir("api").join("logs");
    fs::create_dir_all(&logs).unwrap();
    fs::set_permissions(logs.parent().unwrap(), fs::Permissions::from_mode(0o700)).unwrap();
    let Some(_mounted) = Mounted::tiny(&logs) else {
        eprintln!("NOT RUN: mounting a file system needs root and mount(8)");
        return;
    };
    let warning = serves_without_a_log(&sandbox);
    assert!(
        warning.contains("the log cannot be written (No space left"),
        "{warning}"
    );
}

/// A file system of two pages.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn tiny(at: &std::path::Path) -> Option<Self> {
        let mut mount = std::process::Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=8k,mode=700", "tmpfs"])
            .arg(at);
        let mounted = mount.stderr(Stdio::null()).status();
        mounted
            .is_ok_and(|status| status.success())
            .then(|| Self(at.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .status();
    }
}
