//! `daymark run`, and what goes with it. The server that is run is `running/server.py`, which does as it is told.

mod detached;
mod ending;
mod environment;
mod handover;
mod log;
mod output;
mod ports;
mod readiness;
mod restarting;
mod supervisors;
mod taking_over;
mod terminal;
mod then;
mod wrong;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{ChildStdout, Command, Stdio};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

use crate::sandbox::{Mortal, Sandbox, Serving, get};

impl Sandbox {
    /// One in which there is a command `server`.
    fn with_server() -> Self {
        let sandbox = Self::new();
        let server = sandbox.path("bin/server");
        fs::write(&server, include_str!("running/server.py")).expect("a program");
        fs::set_permissions(&server, fs::Permissions::from_mode(0o755)).expect("its mode");
        sandbox
    }

    /// A server called `api` that is run, and ready. The arguments are those of `daymark run`.
    fn running(&self, args: &[&str]) -> Serving {
        let mut running = self.starting(args);
        running.await_ready();
        running
    }

    fn starting(&self, args: &[&str]) -> Serving {
        Serving::begin(self.daymark(&["run", "--json", "-n", "api"]).args(args))
    }

    /// The text of a file in the sandbox.
    fn read(&self, inside: &str) -> String {
        fs::read_to_string(self.path(inside)).expect("a file")
    }

    /// A path in the sandbox, as text.
    fn text(&self, inside: &str) -> String {
        self.path(inside)
            .into_os_string()
            .into_string()
            .expect("text")
    }

    /// A named pipe in the sandbox. Opening it waits for the other end.
    fn fifo(&self, inside: &str) -> String {
        let made = self.command("mkfifo").arg(self.path(inside)).status();
        assert!(made.expect("mkfifo(1) is needed").success());
        self.text(inside)
    }

    fn presence(&self, name: &str) -> String {
        let status = self.run(&["status", name, "--json"]).json();
        status["presence"].as_str().expect("a word").to_owned()
    }

    fn record(&self) -> PathBuf {
        self.state_dir("api").join("server.json")
    }
}

impl Serving {
    /// The next event with this name. Those before it are passed over.
    #[track_caller]
    fn awaits(&mut self, name: &str) -> Value {
        while let Some(event) = self.next() {
            if event["event"] == name {
                return event.clone();
            }
        }
        panic!("{name} never came: {:?}", self.events);
    }

    fn child_pid(&self) -> u64 {
        self.ready()["child_pid"].as_u64().expect("a pid")
    }

    /// The words after the head of the answer.
    fn body(&self, path: &str) -> String {
        body(self.port(), path)
    }

    /// Ends it by SIGTERM.
    #[track_caller]
    fn stops(self) {
        self.signal(Signal::TERM);
        self.end().0.exits(0);
    }
}

fn body(port: u16, path: &str) -> String {
    let answer = get(port, path);
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    body.to_owned()
}

/// The names of events.
fn names(events: &[Value]) -> Vec<&str> {
    let name = |event: &'_ Value| event["event"].as_str().map(str::len);
    assert!(events.iter().all(|event| name(event).is_some()));
    events.iter().filter_map(|e| e["event"].as_str()).collect()
}

fn pid(number: &str) -> Pid {
    Pid::from_raw(number.trim().parse().expect("a number")).expect("a pid")
}

/// Whether there is no such process any more. A dead one that nobody has reaped is none: those of a supervisor that was
/// killed are for process 1, which in a container may not care.
fn is_gone(process: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    let is_dead = |stat: String| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('Z'))
    };
    test_kill_process(process) == Err(Errno::SRCH) || stat.is_ok_and(is_dead)
}

/// A run that speaks to people.
struct Plain {
    process: Mortal,
    out: BufReader<ChildStdout>,
}

impl Plain {
    /// Both streams come as one.
    fn begin(command: &mut Command) -> Self {
        let mut process = Mortal(command.stdout(Stdio::piped()).spawn().expect("it starts"));
        let out = BufReader::new(process.0.stdout.take().expect("piped"));
        Self { process, out }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).expect("text");
        line
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process.0), signal).expect("it is there");
    }

    fn exit_code(&mut self) -> Option<i32> {
        self.process.0.wait().expect("it ends").code()
    }
}

/// Ends a server that was left running.
struct Left<'a>(&'a Sandbox, &'a str);

impl Drop for Left<'_> {
    fn drop(&mut self) {
        // What has ended already can't be stopped, and needn't be.
        self.0
            .run(&["stop", "--force", "--drain", "100ms", "-q", self.1]);
    }
}
