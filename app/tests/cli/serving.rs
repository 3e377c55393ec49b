//! `daymark serve`.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;

use rustix::process::Signal;

use crate::sandbox::{Sandbox, Serving, get, write_program};

#[test]
fn it_says_that_it_is_ready_when_it_answers_and_can_be_found() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&["--name", "api"]);
    assert!(get(server.port(), "/").ends_with("hello"));
    let ready = server.ready();
    let record = fs::read_to_string(sandbox.state_dir("api").join("server.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    assert_eq!(ready["schema"], 1);
    assert_eq!(ready["name"], "api");
    assert_eq!(ready["url"], format!("http://127.0.0.1:{}/", server.port()));
    for field in ["url", "port", "pid", "instance_id"] {
        assert_eq!(ready[field], record[field], "{field}");
    }
    let state_file = sandbox.state_dir("api").join("server.json");
    assert_eq!(ready["state_file"], state_file.to_str().unwrap());
    assert!(ready["ms"].is_u64());
}

#[test]
fn sigterm_is_a_clean_end_with_a_report() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    server.signal(Signal::TERM);
    let (done, events) = server.end();
    done.exits(0);
    let names: Vec<_> = events
        .iter()
        .map(|e| e["event"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["ready", "draining", "stopped"]);
    let stopped = events.last().unwrap();
    assert_eq!(stopped["cause"], "asked");
    assert_eq!(stopped["drained"], 0);
    assert_eq!(stopped["aborted"], 0);
    assert_eq!(stopped["left"], serde_json::json!([]));
    assert!(stopped["ms"].is_u64());
}

#[test]
fn ctrl_c_is_a_clean_end_with_a_code_of_its_own() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&[]);
    server.signal(Signal::INT);
    let (done, events) = server.end();
    done.exits(130);
    assert_eq!(events.last().unwrap()["event"], "stopped");
}

#[test]
fn a_terminal_that_closes_is_a_clean_end() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&["-n", "api"]);
    server.signal(Signal::HUP);
    let (done, events) = server.end();
    done.exits(0);
    assert_eq!(events.last().unwrap()["event"], "stopped");
    assert!(!sandbox.state_dir("api").join("server.json").exists());
}

#[test]
fn a_start_that_fails_leaves_no_directory() {
    let sandbox = Sandbox::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    sandbox.run(&["serve", "-n", "api", "-p", &port]).exits(1);
    assert!(!sandbox.state_dir("api").exists());
}

#[test]
fn a_record_that_nothing_proved_makes_way_with_a_warning() {
    let sandbox = Sandbox::new();
    let record = r#"{"port":9,"pid":1,"started_at":"2026-11-22T06:25:00Z"}"#;
    sandbox.leave_record("api", record);
    let server = sandbox.serve(&["-n", "api"]);
    server.signal(Signal::TERM);
    let (done, _) = server.end();
    assert!(
        done.err
            .contains("a record that nothing proved, of a server on port 9"),
        "{done:?}"
    );
}

#[test]
fn people_are_told_where_it_is_and_how_to_stop_it() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.daymark(&["serve", "-n", "api"]);
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    sandbox.run(&["wait", "api"]).exits(0);
    let pid = child.id();
    sandbox.run(&["stop", "api"]).exits(0);
    let (mut out, mut err) = (String::new(), String::new());
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut out)
        .unwrap();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut err)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(out.starts_with("api  ready in "), "{out}");
    assert!(out.contains(" ms  http://127.0.0.1:"), "{out}");
    assert!(out.ends_with(&format!("  (pid {pid})\n")), "{out}");
    assert!(err.contains("daymark stop api"), "{err}");
}

#[test]
fn a_second_one_is_told_where_the_first_is() {
    let sandbox = Sandbox::new();
    let server = sandbox.serve(&["-n", "api"]);
    let second = sandbox.run(&["serve", "-n", "api"]).exits(4);
    second.fails_saying(
        &format!("already running at {}", server.url()),
        "daymark stop api",
    );
    assert_eq!(second.out, "");
    let third = sandbox.run(&["serve", "-n", "api", "--json"]).exits(4);
    assert_eq!(third.json()["event"], "failed");
    assert!(
        third.json()["reason"]
            .as_str()
            .unwrap()
            .contains(server.url())
    );
    assert!(
        third.json()["hint"]
            .as_str()
            .unwrap()
            .contains("daymark url api")
    );
}

#[test]
fn two_names_are_two_servers() {
    let sandbox = Sandbox::new();
    let (one, two) = (sandbox.serve(&["-n", "one"]), sandbox.serve(&["-n", "two"]));
    assert_ne!(one.port(), two.port());
    for server in [one, two] {
        server.signal(Signal::TERM);
        server.end().0.exits(0);
    }
}

#[test]
fn the_name_comes_from_the_directory() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("My Site")).unwrap();
    let dir = sandbox.path("My Site");
    let server = sandbox.serve(&[dir.to_str().unwrap()]);
    assert_eq!(server.ready()["name"], "my-site");
}

#[test]
fn the_state_directory_holds_the_record_itself() {
    let sandbox = Sandbox::new();
    let dir = sandbox.path("here/it is");
    let dir = dir.to_str().unwrap();
    let server = sandbox.serve(&["--state-dir", dir, "-n", "api"]);
    assert_eq!(server.ready()["state_file"], format!("{dir}/server.json"));
    let url = sandbox.run(&["url", "--state-dir", dir]).exits(0);
    assert_eq!(url.out.trim_end(), server.url());
    sandbox.run(&["status", "api"]).exits(3);
    sandbox.run(&["stop", "--state-dir", dir]).exits(0);
    server.end().0.exits(0);
}

#[test]
fn a_port_that_is_taken_is_an_error_that_names_who_has_it() {
    let sandbox = Sandbox::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let done = sandbox.run(&["serve", "-p", &port]).exits(1);
    done.fails_saying(&format!("port {port} is taken"), "-p 0");
    #[cfg(target_os = "linux")]
    done.fails_saying(&format!("(pid {})", std::process::id()), "-p PORT");
}

#[test]
fn the_port_is_that_of_the_last_run_unless_it_is_taken() {
    let sandbox = Sandbox::new();
    let ended = |server: Serving| {
        server.signal(Signal::TERM);
        server.end().0.exits(0)
    };
    let first = sandbox.serve(&[]);
    let port = first.port();
    ended(first);
    let second = sandbox.serve(&[]);
    assert_eq!(second.port(), port);
    ended(second);
    let _taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let third = sandbox.serve(&[]);
    assert_ne!(third.port(), port);
    let err = ended(third).err;
    assert!(err.contains(&format!("port {port}")), "{err}");
}

#[test]
fn a_start_over_a_dead_one_tells_what_it_cleared() {
    let sandbox = Sandbox::new();
    let first = sandbox.serve(&[]);
    let pid = first.ready()["pid"].clone();
    first.signal(Signal::KILL);
    assert_eq!(first.end().0.code, None);
    let second = sandbox.serve(&[]);
    let recovered = &second.events[0];
    assert_eq!(recovered["event"], "recovered");
    assert_eq!(recovered["record"]["pid"], pid);
}

#[test]
fn an_unsafe_state_directory_is_refused_with_what_to_change() {
    let sandbox = Sandbox::new();
    let dir = sandbox.path("open");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    let dir = dir.to_str().unwrap();
    let done = sandbox.run(&["serve", "--state-dir", dir]).exits(1);
    done.fails_saying("is not safe", &format!("chmod 700 {dir}"));
    assert_eq!(fs::read_dir(dir).unwrap().count(), 0);
}

#[test]
fn what_is_no_directory_is_not_served() {
    let sandbox = Sandbox::new();
    sandbox
        .run(&["serve", "index.html"])
        .exits(1)
        .fails_saying("cannot serve index.html: it is not a directory", "DIR");
    sandbox
        .run(&["serve", "nowhere"])
        .exits(1)
        .fails_saying("cannot serve nowhere: it does not exist", "DIR");
}

#[test]
fn hidden_files_and_paths_of_an_app_are_served_when_asked_for() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("site/.env"), "secret").unwrap();
    let plain = sandbox.serve(&["-n", "plain"]);
    assert!(get(plain.port(), "/.env").starts_with("HTTP/1.1 404"));
    assert!(get(plain.port(), "/some/page").starts_with("HTTP/1.1 404"));
    let open = sandbox.serve(&["-n", "open", "--hidden", "--spa"]);
    assert!(get(open.port(), "/.env").ends_with("secret"));
    assert!(get(open.port(), "/some/page").ends_with("hello"));
}

#[test]
fn a_request_that_takes_too_long_is_cut_off_and_counted() {
    let sandbox = Sandbox::new();
    let page = fs::File::create(sandbox.path("site/large")).unwrap();
    page.set_len(1 << 30).unwrap();
    let server = sandbox.serve(&["--drain", "50ms"]);
    let mut client = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    client
        .write_all(
            format!(
                "GET /large HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n",
                server.port()
            )
            .as_bytes(),
        )
        .unwrap();
    client.read_exact(&mut [0; 1]).unwrap();
    server.signal(Signal::TERM);
    let (done, events) = server.end();
    done.exits(0);
    let draining = &events[1];
    assert_eq!(
        (&draining["event"], &draining["requests"]),
        (&"draining".into(), &1.into())
    );
    assert_eq!(events[2]["aborted"], 1);
}

#[test]
fn a_socket_that_was_passed_is_the_one_that_serves() {
    let sandbox = Sandbox::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut command = sandbox.command("sh");
    let script = r#"LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" serve --json 3<&0 </dev/null"#;
    command.args(["-c", script, env!("CARGO_BIN_EXE_daymark")]);
    let mut server = Serving::begin(command.stdin(OwnedFd::from(listener)));
    assert_eq!(server.next().unwrap()["port"], port);
    server.signal(Signal::TERM);
    server.end().0.exits(0);
}

#[test]
fn the_browser_is_opened_and_not_waited_for() {
    let sandbox = Sandbox::new();
    let (opened, closed) = (sandbox.path("opened"), sandbox.path("closed"));
    let made = sandbox.command("mkfifo").args([&opened, &closed]).status();
    assert!(made.unwrap().success(), "mkfifo(1) is needed");
    let script = format!(
        "echo \"$1\" > {}; read _ < {}",
        opened.display(),
        closed.display()
    );
    write_program(&sandbox.path("bin/xdg-open"), &script);
    let server = sandbox.serve(&["--open"]);
    assert_eq!(
        fs::read_to_string(&opened).unwrap().trim_end(),
        server.url()
    );
    server.signal(Signal::TERM);
    server.end().0.exits(0);
    // The browser has outlived the server.
    fs::write(&closed, "now\n").unwrap();
}

#[test]
fn a_browser_that_fails_is_a_warning_that_keeps_the_link_to_itself() {
    let sandbox = Sandbox::new();
    for opener in [
        "xdg-open",
        "gio",
        "gnome-open",
        "kde-open6",
        "kde-open5",
        "kde-open",
    ] {
        write_program(&sandbox.path("bin").join(opener), "exit 3");
    }
    let server = sandbox.serve(&["-n", "api", "--open", "--require-token"]);
    let open = sandbox.run(&["open", "api"]).exits(1);
    open.fails_saying("cannot open the browser", "daymark url --with-token api");
    server.signal(Signal::TERM);
    let done = server.end().0.exits(0);
    assert!(!open.err.contains("code="), "{open:?}");
    assert!(!done.err.contains("code="), "{done:?}");
}
