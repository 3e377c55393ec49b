//! Other users, and processes in other namespaces: real ones, where the machine lets a test have them.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use crate::programs;

/// A user who isn't this one, and whom nobody is logged in as.
pub const NOBODY: u32 = 65534;

/// Whether this process may become others. Where it may not, the test says that it wasn't run.
#[must_use]
pub fn can_be_had() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        programs::not_run("only root can be another user");
    }
    root
}

/// What runs a program in other namespaces: `unshare` with these options, as root or as what passes for it in a user
/// namespace. None where the machine doesn't allow it, and then the test says that it wasn't run.
#[must_use]
pub fn elsewhere(options: &[&str]) -> Option<Command> {
    if !programs::can_run(&["unshare"]) {
        return None;
    }
    let unshare = || {
        let mut command = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(options).arg("--");
        command
    };
    let tried = unshare().arg("true").output().expect("unshare runs");
    if !tried.status.success() {
        let why = String::from_utf8_lossy(&tried.stderr).trim().to_owned();
        programs::not_run(&format!("no namespaces of its own here: {why}"));
        return None;
    }
    Some(unshare())
}

/// A place that every user can look into, with programs that everybody can run.
#[derive(Debug)]
pub struct Yard(TempDir);

impl Yard {
    /// A fresh one.
    #[must_use]
    pub fn new() -> Self {
        let yard = Self(tempfile::tempdir().expect("a directory"));
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(yard.0.path(), mode).expect("its mode");
        yard
    }

    /// A path in it.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        self.0.path().join(inside)
    }

    /// A directory in it that anybody may write to.
    #[must_use]
    pub fn commons(&self) -> PathBuf {
        let dir = self.path("commons");
        if !dir.exists() {
            fs::create_dir(&dir).expect("a directory");
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).expect("its mode");
        }
        dir
    }

    /// A program of this package's, where everybody can run it.
    #[must_use]
    pub fn program(&self, built: &str) -> PathBuf {
        let built = Path::new(built);
        let here = self.0.path().join(built.file_name().expect("a name"));
        if !here.exists() && fs::hard_link(built, &here).is_err() {
            fs::copy(built, &here).expect("a copy");
        }
        here
    }

    /// `daymark` with no environment that could matter, and a browser that only notes what it is shown. See
    /// [`shown`](Self::shown).
    #[must_use]
    pub fn daymark(&self, built: &str) -> Command {
        let bin = self.path("bin");
        if !bin.exists() {
            fs::create_dir(&bin).expect("a directory");
            let note = self.path("shown");
            let script = format!("#!/bin/sh\necho \"$@\" >>{}\n", note.display());
            let browser = bin.join("xdg-open");
            fs::write(&browser, script).expect("a program");
            fs::set_permissions(&browser, fs::Permissions::from_mode(0o755)).expect("its mode");
        }
        let mut command = Command::new(self.program(built));
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.display());
        command.env_clear().env("PATH", path);
        command.env("HOME", self.path("home"));
        command.stdin(Stdio::null());
        command
    }

    /// What the browser was shown.
    #[must_use]
    pub fn shown(&self) -> String {
        fs::read_to_string(self.path("shown")).unwrap_or_default()
    }
}

impl Default for Yard {
    fn default() -> Self {
        Self::new()
    }
}

/// Has a command run as [nobody](NOBODY).
pub fn as_nobody(command: &mut Command) -> &mut Command {
    command.uid(NOBODY).gid(NOBODY)
}

/// The command, run by another one.
#[must_use]
pub fn through(mut outer: Command, inner: &Command) -> Command {
    outer.arg(inner.get_program()).args(inner.get_args());
    outer.env_clear();
    for (name, value) in inner.get_envs() {
        outer.env(name, value.unwrap_or(OsStr::new("")));
    }
    outer.stdin(Stdio::null());
    outer
}

/// The `stranger` program, which stays until this is dropped.
#[derive(Debug)]
pub struct Stranger {
    child: Child,
    /// The line that it said when it was done.
    pub said: String,
}

impl Stranger {
    /// Starts it.
    ///
    /// # Panics
    ///
    /// If it doesn't get done.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it runs");
        let mut said = String::new();
        let out = child.stdout.take().expect("a pipe");
        let read = BufReader::new(out).read_line(&mut said);
        assert!(read.expect("its output") > 0, "{command:?} has failed");
        said.truncate(said.trim_end().len());
        Self { child, said }
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether nobody has ended it.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("it is a child").is_none()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a stranger that listens has written down so far: all that was sent by those who had connected before this call.
///
/// # Panics
///
/// If it doesn't listen.
#[must_use]
pub fn heard(at: SocketAddr, file: &Path) -> String {
    const LAST: &str = "that is all";
    let mut stream = TcpStream::connect(at).expect("it listens");
    stream.write_all(LAST.as_bytes()).expect("it reads");
    // It takes one after the other, and answers what it has written down.
    let answered = stream.read(&mut [0; 16]).expect("it answers");
    assert!(answered > 0);
    let heard = fs::read(file).expect("its notes");
    let heard = String::from_utf8_lossy(&heard).into_owned();
    heard.strip_suffix(LAST).expect("the last words").to_owned()
}

/// What a command said, on both streams.
#[must_use]
pub fn words(output: &Output) -> String {
    let streams = [&output.stdout, &output.stderr];
    streams.map(|s| String::from_utf8_lossy(s)).join("")
}
