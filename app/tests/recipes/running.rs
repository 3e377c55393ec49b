//! A `daymark run` whose events are read as they come.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::ground::Ground;
use crate::processes::{self, Process};

/// How long anything may take: some of these servers take seconds to start, and a machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) struct Running {
    child: Child,
    events: Receiver<Value>,
    err: File,
}

impl Running {
    /// Starts the line of a recipe.
    pub(crate) fn begin(ground: &Ground, line: &str) -> Self {
        let err = tempfile::tempfile().expect("a file");
        let mut child = ground
            .shell(&format!("exec {line}"))
            .stdout(Stdio::piped())
            .stderr(err.try_clone().expect("a descriptor"))
            .spawn()
            .expect("a shell");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, events) = mpsc::channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).unwrap_or(Value::String(line));
                if sender.send(event).is_err() {
                    break;
                }
            }
        });
        Self { child, events, err }
    }

    /// The supervisor.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for an event of this kind; others may come before it.
    #[track_caller]
    pub(crate) fn await_event(&mut self, kind: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left) {
                Ok(event) if event["event"] == kind => return event,
                Ok(event) => seen.push(event),
                Err(error) => panic!(
                    "no {kind}: {error}; seen: {seen:?}; stderr: {}",
                    self.said()
                ),
            }
        }
    }

    /// The process that the command line's CMD became: the guard's child, and the guard is the supervisor's.
    #[track_caller]
    pub(crate) fn main(&self) -> Process {
        let guards = processes::children(self.pid());
        let [guard] = guards[..] else {
            panic!("not one guard: {guards:?}");
        };
        let children = processes::children(guard.pid);
        *children.first().expect("a main process")
    }

    /// Waits for its end, with the exit code.
    #[track_caller]
    pub(crate) fn ends_with(mut self, code: i32) {
        self.await_event("stopped");
        let status = self.child.wait().expect("it ends");
        assert_eq!(status.code(), Some(code), "{}", self.said());
    }

    /// Kills the supervisor, which can do nothing about it.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it is there");
        self.child.wait().expect("it ends");
    }

    /// All that it and the server wrote to stderr.
    fn said(&mut self) -> String {
        let mut said = Vec::new();
        let read = self
            .err
            .rewind()
            .and_then(|()| self.err.read_to_end(&mut said));
        read.map_or_else(
            |error| error.to_string(),
            |_| String::from_utf8_lossy(&said).into_owned(),
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until nothing in this environment is left. Only for what isn't waited for otherwise.
#[track_caller]
pub(crate) fn await_nothing_left(ground: &Ground, tree: &[Process]) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = processes::left_of(tree, &ground.mark());
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "{left:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The whole answer to `GET /`.
pub(crate) fn get(url: &str) -> std::io::Result<String> {
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
