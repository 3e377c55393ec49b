//! A home of its own for every test, and the program in it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Directories that nobody else knows.
pub(crate) struct Sandbox(TempDir);

/// How a command that has ended did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        let sandbox = Self(tempfile::tempdir().expect("a directory"));
        for dir in ["site", "state", "bin"] {
            fs::create_dir(sandbox.path(dir)).expect("a directory");
        }
        fs::write(sandbox.path("site/index.html"), "hello").expect("a page");
        sandbox
    }

    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.0.path().join(inside)
    }

    /// Where the state of the server `name` is.
    pub(crate) fn state_dir(&self, name: &str) -> PathBuf {
        self.path("state/daymark/run").join(name)
    }

    /// Puts a record there that nobody vouches for.
    pub(crate) fn leave_record(&self, name: &str, record: &str) {
        let dir = self.state_dir(name);
        fs::create_dir_all(&dir).expect("a directory");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).expect("its mode");
        fs::write(dir.join("server.json"), record).expect("a record");
    }

    /// Any program, in the sandbox: in `site`, with nothing of this process's environment that could matter.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", self.path("bin").display()),
            )
            .env("HOME", self.0.path())
            .env("XDG_STATE_HOME", self.path("state"))
            .current_dir(self.path("site"))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn daymark(&self, args: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_daymark"));
        command.args(args);
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Done {
        end(&mut self.daymark(args))
    }

    /// Runs `daymark` in a shell, as `"$0"`, with these arguments and a redirection.
    pub(crate) fn run_in_shell(&self, script: &str, args: &[&str]) -> Done {
        let mut command = self.command("sh");
        command.args(["-c", script, env!("CARGO_BIN_EXE_daymark")]);
        end(command.args(args))
    }

    /// A server that is ready.
    pub(crate) fn serve(&self, args: &[&str]) -> Serving {
        let mut serving = Serving::begin(self.daymark(&["serve", "--json"]).args(args));
        serving.await_ready();
        serving
    }
}

pub(crate) fn end(command: &mut Command) -> Done {
    let output = command.output().expect("it runs");
    Done {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

impl Done {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// Asserts the exit code, and shows everything if it is another.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// Asserts that there is one sentence and one hint, which hold these words.
    #[track_caller]
    pub(crate) fn fails_saying(&self, sentence: &str, hint: &str) {
        let lines: Vec<&str> = self.err.lines().collect();
        assert!(
            matches!(lines[..], [error, advice]
                if error.starts_with("error: ") && error.contains(sentence)
                && advice.starts_with("hint: ") && advice.contains(hint)),
            "{self:?}"
        );
    }
}

/// A command that runs and says a JSON object a line.
pub(crate) struct Serving {
    child: Mortal,
    out: BufReader<ChildStdout>,
    err: ChildStderr,
    pub(crate) events: Vec<Value>,
}

impl Serving {
    pub(crate) fn begin(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        Self {
            out: BufReader::new(child.stdout.take().expect("piped")),
            err: child.stderr.take().expect("piped"),
            child: Mortal(child),
            events: Vec::new(),
        }
    }

    /// The next object; none when there will be no more.
    pub(crate) fn next(&mut self) -> Option<&Value> {
        let mut line = String::new();
        if self.out.read_line(&mut line).expect("a line") == 0 {
            return None;
        }
        let event = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        self.events.push(event);
        self.events.last()
    }

    pub(crate) fn await_ready(&mut self) {
        while self.next().is_some_and(|event| event["event"] != "ready") {}
        if self
            .events
            .last()
            .is_none_or(|event| event["event"] != "ready")
        {
            let mut err = String::new();
            let _ = self.err.read_to_string(&mut err);
            panic!("it was never ready: {:?} {err}", self.events);
        }
    }

    pub(crate) fn ready(&self) -> &Value {
        let ready = self.events.iter().find(|event| event["event"] == "ready");
        ready.expect("it was ready")
    }

    pub(crate) fn url(&self) -> &str {
        self.ready()["url"].as_str().expect("a URL")
    }

    pub(crate) fn port(&self) -> u16 {
        let port = self.ready()["port"].as_u64().expect("a port");
        port.try_into().expect("a port")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child.0);
        kill_process(pid, signal).expect("it is there");
    }

    /// Waits for its end. Its events are what it said from beginning to end.
    pub(crate) fn end(mut self) -> (Done, Vec<Value>) {
        while self.next().is_some() {}
        let mut err = String::new();
        self.err.read_to_string(&mut err).expect("text");
        let done = Done {
            code: self.child.0.wait().expect("it ends").code(),
            out: String::new(),
            err,
        };
        (done, std::mem::take(&mut self.events))
    }

    /// Lets go of its standard output.
    pub(crate) fn hang_up(self) -> Hushed {
        Hushed(self.child)
    }
}

/// A process that doesn't outlive its test.
pub(crate) struct Mortal(pub(crate) Child);

impl Drop for Mortal {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A command that nobody listens to any more.
pub(crate) struct Hushed(Mortal);

impl Hushed {
    pub(crate) fn exit_code(mut self) -> Option<i32> {
        self.0.0.wait().expect("it ends").code()
    }
}

/// Asks a server on this port for a path; the whole answer.
pub(crate) fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

/// A program that others will run.
pub(crate) fn write_program(path: &Path, script: &str) {
    fs::write(path, format!("#!/bin/sh\n{script}\n")).expect("a program");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("its mode");
}
