//! `daymark prune` and `doctor`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rustix::process::Signal;

use crate::sandbox::Sandbox;

#[test]
fn what_the_dead_left_goes_and_the_living_stay() {
    let sandbox = Sandbox::new();
    let live = sandbox.serve(&["-n", "live"]);
    let dead = sandbox.serve(&["-n", "dead"]);
    dead.signal(Signal::KILL);
    dead.end();
    sandbox.leave_record("bad", "garbage");
    sandbox.leave_record(
        "old",
        r#"{"port":9,"pid":1,"started_at":"2026-11-22T06:25:00Z"}"#,
    );
    let done = sandbox.run(&["prune", "--json"]).exits(0).json();
    let names = |field: &str| -> Vec<String> {
        let list = done[field].as_array().unwrap();
        list.iter()
            .map(|place| place["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(done["schema"], 1);
    assert_eq!(names("removed"), ["bad", "dead"]);
    assert_eq!(names("kept"), ["live", "old"]);
    assert!(!sandbox.state_dir("dead").exists() && !sandbox.state_dir("bad").exists());
    assert_eq!(
        sandbox.run(&["url", "live"]).exits(0).out.trim_end(),
        live.url()
    );
    let again = sandbox.run(&["prune"]).exits(0);
    assert_eq!(
        (again.out.as_str(), again.err.as_str()),
        ("", "there is nothing to remove\n")
    );
}

#[test]
fn a_directory_that_was_never_a_servers_is_left_alone() {
    let sandbox = Sandbox::new();
    let dir = sandbox.path("mine");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(dir.join("server.json"), "{\"my\": \"settings\"}").unwrap();
    let dir = dir.to_str().unwrap();
    let done = sandbox
        .run(&["prune", "--state-dir", dir, "--json"])
        .exits(0)
        .json();
    assert_eq!(done["removed"], serde_json::json!([]));
    assert_eq!(fs::read_dir(dir).unwrap().count(), 1);
    sandbox.run(&["prune", "--state-dir", "nowhere"]).exits(0);
    assert!(!sandbox.path("site/nowhere").exists());
}

#[test]
fn other_files_in_a_state_directory_stay() {
    let sandbox = Sandbox::new();
    let dead = sandbox.serve(&["-n", "dead"]);
    dead.signal(Signal::KILL);
    dead.end();
    fs::write(sandbox.state_dir("dead").join("notes"), "mine").unwrap();
    let done = sandbox.run(&["prune", "--json"]).exits(0).json();
    assert!(
        done["kept"][0]["reason"]
            .as_str()
            .unwrap()
            .contains("other files"),
        "{done}"
    );
    let left: Vec<_> = fs::read_dir(sandbox.state_dir("dead")).unwrap().collect();
    assert_eq!(left.len(), 1);
}

#[test]
fn a_log_goes_with_its_server_and_what_is_not_one_stays() {
    let sandbox = Sandbox::new();
    let live = sandbox.serve(&["-n", "live"]);
    sandbox.leave_record("dead", "garbage");
    sandbox.leave_record("other", "garbage");
    sandbox.leave_record("linked", "garbage");
    let elsewhere = sandbox.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, sandbox.state_dir("linked").join("logs")).unwrap();
    let mut logs = vec![elsewhere.clone()];
    for name in ["live", "dead", "other"] {
        logs.push(sandbox.state_dir(name).join("logs"));
        fs::create_dir(&logs[logs.len() - 1]).unwrap();
    }
    for dir in &logs {
        fs::write(dir.join("server.log"), "new").unwrap();
        fs::write(dir.join("server.log.1"), "old").unwrap();
    }
    fs::write(logs[3].join("server.log.2"), "mine").unwrap();
    sandbox.run(&["prune"]).exits(0);
    assert!(!sandbox.state_dir("dead").exists());
    let count = |dir: &std::path::Path| fs::read_dir(dir).unwrap().count();
    assert_eq!(count(&logs[1]), 2, "a server that runs keeps its log");
    assert_eq!(count(&logs[3]), 1, "a file that is no log stays");
    assert_eq!(count(&elsewhere), 2, "no link is followed");
    drop(live);
}

#[test]
fn what_cannot_be_removed_is_a_failure() {
    let sandbox = Sandbox::new();
    sandbox.leave_record("bad", "garbage");
    let dir = sandbox.state_dir("bad");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    let done = sandbox.run(&["prune"]).exits(1);
    done.fails_saying("is not safe", "chmod 700");
    assert!(dir.join("server.json").exists());
}

#[test]
fn all_is_well_here_and_the_doctor_leaves_no_trace() {
    let sandbox = Sandbox::new();
    let done = sandbox.run(&["doctor", "--json"]).exits(0).json();
    assert_eq!((&done["schema"], &done["ok"]), (&1.into(), &true.into()));
    let checks = done["checks"].as_array().unwrap();
    let names: Vec<_> = checks
        .iter()
        .map(|check| check["name"].as_str().unwrap())
        .collect();
    let expected = [
        "identity",
        "ipv4",
        "ipv6",
        "state_root",
        "locks",
        "record",
        "watch",
        "leftovers",
    ];
    assert_eq!(names, expected);
    assert_eq!(fs::read_dir(sandbox.path("state")).unwrap().count(), 0);
    let server = sandbox.serve(&["-n", "api"]);
    let human = sandbox.run(&["doctor", "api"]).exits(0).out;
    assert!(
        human.lines().all(|line| line.starts_with("ok   ")),
        "{human}"
    );
    assert!(
        human.contains("api is live, and it is the one that answers"),
        "{human}"
    );
    drop(server);
    assert_eq!(
        fs::read_dir(sandbox.state_dir("api").parent().unwrap())
            .unwrap()
            .count(),
        1
    );
}

#[test]
fn the_doctor_says_what_is_wrong_and_what_to_do() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&["-n", "dead"]);
    server.signal(Signal::KILL);
    server.end();
    let done = sandbox.run(&["doctor"]).exits(0).out;
    assert!(done.contains("hint: daymark prune"), "{done}");
    let dir = sandbox.state_dir("dead");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    let done = sandbox.run(&["doctor", "dead"]).exits(1).out;
    assert!(done.contains("bad  the state directory"), "{done}");
    assert!(
        done.contains(&format!("hint: chmod 700 {}", dir.display())),
        "{done}"
    );
}
