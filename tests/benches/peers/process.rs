//! One run of a program: from its start to its first answer, what it uses, and its end.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// How often to look for a record. It is the same for all.
const LOOK_EVERY: Duration = Duration::from_micros(50);

/// Longer than any of them takes.
const PATIENCE: Duration = Duration::from_secs(60);

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
