//! The programs that are compared: where they come from, and one run of each.

#![expect(
    clippy::print_stdout,
    reason = "a build and an installation are worth a word"
)]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::figures::{on_disk, root};

/// How often to look for a record. It is the same for all.
const LOOK_EVERY: Duration = Duration::from_micros(50);

/// Longer than any of them takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What can be measured here.
pub(crate) struct Programs {
    /// Of the release profile.
    built: PathBuf,
    /// The command again, without the libraries that a loader has to find; none where the C library can't be had like that.
    pub(crate) linked_statically: Option<PathBuf>,
    /// Python with uvicorn, FastAPI and Jupyter, where it could be had.
    pub(crate) python: Option<PathBuf>,
    pub(crate) node: bool,
}

/// A program that serves, and writes a record into a directory that it is told.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// The command, with `{dir}` for the directory.
    words: Vec<String>,
    /// Where in the directory its record is, or how its name begins.
    record: &'static str,
}

impl Programs {
    pub(crate) fn get() -> Self {
        println!("building the release profile, as it is shipped");
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let built = Command::new(&cargo)
            .args(["build", "--quiet", "--release", "--locked"])
            .args(["-p", "daymark", "-p", "daymark-tests"])
            .args([
                "--bin",
                "daymark",
                "--bin",
                "bare",
                "--bin",
                "roomy",
                "--example",
                "hello",
            ])
            .current_dir(root())
            .status();
        assert!(built.is_ok_and(|status| status.success()), "it builds");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
        Self {
            built: target.expect("the target directory").join("release"),
            linked_statically: link_statically(&cargo),
            python: install_python(),
            node: runs(Command::new("node").arg("--version")),
        }
    }

    pub(crate) fn daymark(&self) -> PathBuf {
        self.built.join("daymark")
    }

    pub(crate) fn bare(&self) -> Peer {
        Peer {
            name: "bare hyper",
            words: vec![self.bare_path().display().to_string(), "{dir}".to_owned()],
            record: "server.json",
        }
    }

    pub(crate) fn bare_path(&self) -> PathBuf {
        self.built.join("bare")
    }

    /// The example, with room for many connections.
    pub(crate) fn roomy(&self) -> Peer {
        Peer {
            words: vec![self.built.join("roomy").display().to_string()],
            ..self.hello()
        }
    }

    /// The example of that name.
    pub(crate) fn hello(&self) -> Peer {
        let path = self.built.join("examples/hello");
        Peer {
            name: "daymark (hello)",
            words: vec![path.display().to_string()],
            record: "daymark/run/hello/server.json",
        }
    }

    pub(crate) fn serve(&self) -> Peer {
        serve("daymark serve", &self.daymark())
    }

    pub(crate) fn static_serve(&self) -> Option<Peer> {
        let path = self.linked_statically.as_ref()?;
        Some(serve("daymark serve, linked statically", path))
    }

    pub(crate) fn node(&self) -> Option<Peer> {
        self.node.then(|| Peer {
            name: "node http",
            words: vec!["node".to_owned(), script("node.js"), "{dir}".to_owned()],
            record: "server.json",
        })
    }

    pub(crate) fn original(&self) -> Option<Peer> {
        let python = self.python.as_ref()?.display().to_string();
        Some(Peer {
            name: "uvicorn + FastAPI, by hand",
            words: vec![python, script("original.py"), "{dir}".to_owned()],
            record: "server.json",
        })
    }

    pub(crate) fn jupyter(&self) -> Option<Peer> {
        let python = self.python.as_ref()?.display().to_string();
        let words = [
            &python,
            "-m",
            "jupyter_server",
            "--no-browser",
            "--allow-root",
            "--log-level=CRITICAL",
            "--ServerApp.root_dir={dir}",
        ];
        Some(Peer {
            name: "Jupyter Server",
            words: words.map(str::to_owned).to_vec(),
            record: "jpserver-",
        })
    }

    /// What is missing, for the reader of the figures.
    pub(crate) fn missing(&self) -> Option<String> {
        let mut missing = Vec::new();
        if self.python.is_none() {
            missing.push("Python with uvicorn, FastAPI and Jupyter");
        }
        if !self.node {
            missing.push("node");
        }
        let list = missing.join(", ");
        (!missing.is_empty()).then(|| format!("Not measured, for it can't be had here: {list}."))
    }
}

fn serve(name: &'static str, program: &Path) -> Peer {
    let path = program.display().to_string();
    let words = [&path, "serve", "{dir}", "-q", "--name", "files"];
    Peer {
        name,
        words: words.map(str::to_owned).to_vec(),
        record: "daymark/run/files/server.json",
    }
}

/// As CONTRIBUTING.md says.
fn link_statically(cargo: &str) -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("static");
    let built = Command::new(cargo)
        .args(["rustc", "--quiet", "--release", "--locked", "-p", "daymark"])
        .args(["--bin", "daymark", "--target-dir"])
        .arg(&target)
        .args(["--", "-C", "target-feature=+crt-static"])
        .current_dir(root())
        .status();
    let is_built = built.is_ok_and(|status| status.success());
    is_built.then(|| target.join("release/daymark"))
}

pub(crate) fn script(name: &str) -> String {
    let path = root().join("tests/benches/peers").join(name);
    path.display().to_string()
}

fn runs(command: &mut Command) -> bool {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A virtual environment with the peers, kept for the next time; none where there is no network, or no Python.
fn install_python() -> Option<PathBuf> {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers-python");
    let python = venv.join("bin/python");
    let imports = ["-c", "import uvicorn, fastapi, jupyter_server"];
    if !runs(Command::new(&python).args(imports)) {
        println!(
            "installing uvicorn, FastAPI and Jupyter into {}",
            venv.display()
        );
        let made = runs(Command::new("python3").args(["-m", "venv"]).arg(&venv))
            && runs(
                Command::new(&python)
                    .args([
                        "-m",
                        "pip",
                        "install",
                        "--quiet",
                        "--retries=1",
                        "--timeout=20",
                    ])
                    .args(["uvicorn", "fastapi", "jupyter_server"]),
            );
        if !made || !runs(Command::new(&python).args(imports)) {
            println!("they can't be had: the rest is measured without them");
            return None;
        }
    }
    Some(python)
}

/// One run of a peer, killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) dir: TempDir,
    record: PathBuf,
    pub(crate) port: u16,
    /// From before the process was made until its first answer.
    pub(crate) answered: Duration,
    /// Until its record was there.
    pub(crate) published: Duration,
    /// How often it refused a connection after it was published.
    pub(crate) refused: u32,
}

impl Peer {
    /// Starts it, waits for its record, and for its first answer.
    pub(crate) fn start(&self) -> Running {
        self.start_in(on_disk())
    }

    pub(crate) fn start_in(&self, dir: TempDir) -> Running {
        let words = self
            .words
            .iter()
            .map(|word| word.replace("{dir}", &dir.path().display().to_string()));
        let words: Vec<String> = words.collect();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        let state = dir.path().join(self.record);
        start(command, dir, state)
    }
}

/// Starts a command that writes a record at `record`, or at what begins so.
pub(crate) fn start(mut command: Command, dir: TempDir, record: PathBuf) -> Running {
    command
        .env("XDG_STATE_HOME", dir.path())
        .env("JUPYTER_RUNTIME_DIR", dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let began = Instant::now();
    let mut child = command.spawn().expect("it can be run");
    let (record, port) = loop {
        if let Some(found) = look_for(&record) {
            break found;
        }
        assert!(began.elapsed() < PATIENCE, "no record of {command:?}");
        let ended = child.try_wait().expect("it is ours");
        assert!(ended.is_none(), "{command:?} ended: {ended:?}");
        thread::sleep(LOOK_EVERY);
    };
    let published = began.elapsed();
    let mut refused = 0;
    let stream = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(_) => refused += 1,
        }
        assert!(began.elapsed() < PATIENCE, "{command:?} never answers");
        thread::sleep(LOOK_EVERY);
    };
    get(&stream, "/", 1);
    Running {
        child,
        dir,
        record,
        port,
        answered: began.elapsed(),
        published,
        refused,
    }
}

fn look_for(record: &Path) -> Option<(PathBuf, u16)> {
    let port_in = |path: &Path| {
        let value: Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        u16::try_from(value["port"].as_u64()?).ok()
    };
    if record.extension().is_some() {
        return port_in(record).map(|port| (record.to_owned(), port));
    }
    let prefix = record.file_name()?.to_str()?;
    let mut entries = std::fs::read_dir(record.parent()?).ok()?.flatten();
    entries.find_map(|entry| {
        let name = entry.file_name();
        let name = name.to_str()?;
        let is_it = name.starts_with(prefix) && name.ends_with(".json");
        is_it.then(|| Some((entry.path(), port_in(&entry.path())?)))?
    })
}

/// Asks for `path`, and waits until so many bytes of an answer are there; how many have come.
pub(crate) fn get(mut stream: &TcpStream, path: &str, at_least: usize) -> usize {
    let addr = stream.peer_addr().expect("it is connected");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {addr}\r\n\r\n").expect("sent");
    let mut buffer = [0; 64 * 1024];
    let mut have = 0;
    while have < at_least {
        match stream.read(&mut buffer).expect("it answers") {
            0 => break,
            read => have += read,
        }
    }
    have
}

/// Asks for `/`, and waits for all of the answer: the server says hello, and ends with that or with an empty chunk.
pub(crate) fn greet(mut stream: &TcpStream) {
    let addr = stream.peer_addr().expect("it is connected");
    write!(stream, "GET / HTTP/1.1\r\nHost: {addr}\r\n\r\n").expect("sent");
    let mut buffer = [0; 4096];
    let mut have = 0;
    while ![&b"hello\n"[..], b"\r\n0\r\n\r\n"]
        .iter()
        .any(|end| buffer[..have].ends_with(end))
    {
        match stream.read(&mut buffer[have..]).expect("it answers") {
            0 => panic!("no answer"),
            read => have += read,
        }
    }
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        stream.set_nodelay(true).expect("a TCP socket");
        stream
    }

    /// SIGTERM: how long until its record is gone, and until it is.
    pub(crate) fn stop(mut self) -> (Duration, Duration) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        let began = Instant::now();
        kill_process(pid.expect("a pid"), Signal::TERM).expect("it isn't reaped yet");
        let mut withdrawn = None;
        loop {
            if withdrawn.is_none() && !self.record.exists() {
                withdrawn = Some(began.elapsed());
            }
            if self.child.try_wait().expect("it is ours").is_some() {
                let ended = began.elapsed();
                return (withdrawn.unwrap_or(ended), ended);
            }
            assert!(began.elapsed() < PATIENCE, "it doesn't stop");
            thread::sleep(LOOK_EVERY);
        }
    }

    /// A field of `/proc/PID/status`, in MiB (proc_pid_status(5)).
    pub(crate) fn memory(&self, field: &str) -> f64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(path).expect("it lives");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| {
            line.trim_matches([':', '\t', ' '])
                .split(' ')
                .next()?
                .parse::<f64>()
                .ok()
        });
        kib.expect("the field") / 1024.0
    }

    /// The processor time of its threads.
    pub(crate) fn processor_time(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid())).expect("it lives");
        let of = |path: PathBuf| {
            let used = std::fs::read_to_string(path.join("schedstat")).ok()?;
            used.split(' ').next()?.parse::<u64>().ok()
        };
        Duration::from_nanos(tasks.flatten().filter_map(|task| of(task.path())).sum())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may be over already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
