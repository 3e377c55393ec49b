//! The `owner` program, from outside: one process that owns a state directory, to be asked, stopped and killed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// What it says, one line each. `owner.rs` writes what is read here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It waits to be let go.
    Loaded,
    /// It is published and serves: URL and instance.
    Ready(String, String),
    /// Another one does: URL and instance.
    Already(String, String),
    /// It couldn't start.
    Failed(String),
    /// It is stopped, and how much it couldn't clear away.
    Stopped(usize),
}

/// Its exit codes.
pub mod exit {
    /// It stopped, and nothing is left.
    pub const CLEAN: i32 = 0;
    /// It couldn't start, or something is left.
    pub const FAILED: i32 = 1;
    /// Another server was there.
    pub const ALREADY_RUNNING: i32 = 4;
}

/// The process, which is killed when this is dropped.
#[derive(Debug)]
pub struct Owner {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Owner {
    /// Starts `program` for `dir`. It loads, and does nothing before [`go`](Self::go).
    #[must_use]
    pub fn load(program: &str, dir: &Path) -> Self {
        let mut command = Command::new(program);
        command
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("stdout is a pipe");
        Self {
            child,
            stdin,
            stdout: BufReader::new(stdout),
        }
    }

    /// Starts `program` for `dir`, and lets it go at once.
    #[must_use]
    pub fn start(program: &str, dir: &Path) -> Self {
        let mut owner = Self::load(program, dir);
        owner.go();
        owner
    }

    /// Lets it start its server.
    pub fn go(&mut self) {
        self.tell("go");
    }

    /// Asks it to stop.
    pub fn ask_to_stop(&mut self) {
        self.tell("stop");
    }

    fn tell(&mut self, word: &str) {
        // It may have been killed before it could hear.
        if let Some(stdin) = &mut self.stdin {
            let _ = writeln!(stdin, "{word}");
        }
    }

    /// Waits until it is loaded.
    pub fn loaded(&mut self) {
        assert_eq!(self.hear_anything(), Some(Said::Loaded));
    }

    /// The next thing it says after it was let go; none when it is gone.
    pub fn hear(&mut self) -> Option<Said> {
        self.hear_anything().and_then(|said| match said {
            Said::Loaded => self.hear_anything(),
            said => Some(said),
        })
    }

    fn hear_anything(&mut self) -> Option<Said> {
        let mut line = String::new();
        let read = self.stdout.read_line(&mut line).expect("read its output");
        if read == 0 {
            return None;
        }
        let words: Vec<&str> = line.trim_end().splitn(3, ' ').collect();
        Some(match *words.as_slice() {
            ["loaded"] => Said::Loaded,
            ["ready", url, instance] => Said::Ready(url.to_owned(), instance.to_owned()),
            ["already", url, instance] => Said::Already(url.to_owned(), instance.to_owned()),
            ["stopped", left] => Said::Stopped(left.parse().expect("a number of leftovers")),
            ["failed", ..] => Said::Failed(line.trim_end().to_owned()),
            // A kill can cut a line short.
            _ if !line.ends_with('\n') => return None,
            _ => panic!("the owner said {line:?}"),
        })
    }

    /// Waits until it is ready; its URL and instance.
    pub fn ready(&mut self) -> (String, String) {
        match self.hear() {
            Some(Said::Ready(url, instance)) => (url, instance),
            other => panic!("not ready: {other:?}"),
        }
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a pid"), signal).expect("it isn't reaped yet");
    }

    /// Halts it (`SIGSTOP`), and returns when none of its threads runs any more, or it is over.
    pub fn halt(&self) {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        self.signal(Signal::STOP);
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let until = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(pid.expect("a pid")), until).expect("it is our child");
    }

    /// `kill -9`, and returns when it is reaped: by then the kernel has closed all its files.
    pub fn kill(mut self) {
        self.child.kill().expect("it isn't reaped yet");
        self.child.wait().expect("it ends");
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("it ends")
    }

    /// Asks it to stop and waits for its end, which must be clean.
    pub fn stop(mut self) {
        self.ask_to_stop();
        assert_eq!(self.hear(), Some(Said::Stopped(0)));
        assert_eq!(self.wait().code(), Some(exit::CLEAN));
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // It may be over already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
