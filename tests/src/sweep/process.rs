//! One run of the command, and what may be seen of it from outside.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use daymark::Presence;
use daymark_core::record::ServerRecord;
use rustix::process::{Pid, Signal, kill_process};

use super::{Site, Verb, Were};
use crate::files::Ground;
use crate::supervised::members;
use crate::trace::Trail;

/// A finding, or what is wrong.
pub(super) type Checked<T> = Result<T, String>;

/// What takes longer hangs. No machine is that slow.
const DEADLINE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A run of the command, killed when this is dropped.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) child: Child,
    pub(super) mark: String,
    output: PathBuf,
    errors: PathBuf,
    /// What its tracer writes, if there is one.
    pub(super) log: Option<PathBuf>,
    /// Whether it was looked at while it was frozen, and shall go on however often it stops from now on: each thread
    /// comes to its own call.
    pub(super) thaws: bool,
    /// Whether others of its tree may be stopped in its place.
    has_tree: bool,
}

impl Process {
    pub(super) fn start(site: &Site, verb: Verb, ground: &Ground, through: Vec<String>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let mark = format!("{}-sweep-{next}.", std::process::id());
        let program = match through.is_empty() {
            true => &site.real,
            false => &site.program,
        };
        let mut words = through;
        words.push(program.display().to_string());
        words.extend(site.words(verb, &ground.dir()));
        let output = ground.dir().with_extension(format!("{next}.out"));
        let errors = ground.dir().with_extension(format!("{next}.err"));
        let file = |path| Stdio::from(File::create(path).expect("a file for output"));
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .env("TEST_MARK", &mark)
            .env("FAULT", site.fault)
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .stdin(Stdio::null())
            .stdout(file(&output))
            .stderr(file(&errors));
        let child = command.spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        Self {
            child,
            mark,
            output,
            errors,
            log: None,
            thaws: false,
            has_tree: verb == Verb::Run,
        }
    }

    /// Lets it go on, if it shall; and kills what has met an error that the kernel doesn't have.
    pub(super) fn nudge(&self) {
        if self.thaws && is_stopped(self) {
            self.signal(Signal::CONT);
        } else if self.thaws && self.has_tree {
            for member in members(&self.mark) {
                // It may be gone by now.
                let _ = kill_process(member.pid, Signal::CONT);
            }
        }
        let trail = self.log.as_ref();
        if trail.is_some_and(|log| Trail::read(log, self.child.id()).impossible) {
            self.signal(Signal::KILL);
        }
    }

    pub(super) fn pid(&self) -> Pid {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        pid.expect("a pid")
    }

    pub(super) fn signal(&self, signal: Signal) {
        // It may be over, and then it is a zombie: nobody else has its number.
        let _ = kill_process(self.pid(), signal);
    }

    pub(super) fn said(&self) -> String {
        let read = |path| fs::read(path).unwrap_or_default();
        let text = [read(&self.output), read(&self.errors)].concat();
        String::from_utf8_lossy(&text).into_owned()
    }

    pub(super) fn has_complained(&self) -> bool {
        fs::metadata(&self.errors).is_ok_and(|file| file.len() > 0)
    }

    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is a child of ours")
    }

    pub(super) fn end(&mut self) -> Checked<ExitStatus> {
        eventually("end", || {
            self.nudge();
            Ok(self.ended())
        })
        .map_err(|wrong| format!("{wrong}: {}", self.said()))
    }

    /// Its record, once it is live; none if it ended before.
    pub(super) fn live(&mut self, ground: &Ground) -> Checked<Option<ServerRecord>> {
        let pid = self.child.id();
        eventually("be live, or end", || {
            if let Some(record) = live(ground).filter(|record| record.pid == pid) {
                return Ok(Some(Some(record)));
            }
            self.nudge();
            Ok(self.ended().map(|_| None))
        })
        .map_err(|wrong| format!("{wrong}: {}", self.said()))
    }

    /// Through all of its life; a server is stopped when it is live.
    pub(super) fn lives_and_ends(&mut self, ground: &Ground, were: Were) -> Checked<ExitStatus> {
        if were != Were::Alive && self.live(ground)?.is_some() {
            self.signal(Signal::TERM);
        }
        self.end()
    }

    /// What the log tells of it, when it is complete.
    pub(super) fn trail(&self, log: &Path) -> Trail {
        let begun = Instant::now();
        loop {
            let trail = Trail::read(log, self.child.id());
            if trail.over || begun.elapsed() > Duration::from_secs(10) {
                return trail;
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be over already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn live(ground: &Ground) -> Option<ServerRecord> {
    let sighting = ground.place().look();
    sighting
        .record
        .filter(|_| sighting.presence == Presence::Live)
}

/// Waits for what must come.
pub(super) fn eventually<T>(
    what: &str,
    mut found: impl FnMut() -> Checked<Option<T>>,
) -> Checked<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = found()? {
            return Ok(found);
        }
        if begun.elapsed() > DEADLINE {
            return Err(format!("it hangs: it doesn't {what}"));
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Whether somebody answers, whatever that is.
pub(super) fn answers(port: u16) -> bool {
    let ask = || -> std::io::Result<bool> {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = TcpStream::connect_timeout(&addr, DEADLINE)?;
        stream.set_read_timeout(Some(Duration::from_millis(500)))?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut start = [0; 5];
        stream.read_exact(&mut start)?;
        Ok(&start == b"HTTP/")
    };
    ask().unwrap_or(false)
}

pub(super) fn accepts(port: u16) -> bool {
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&addr, DEADLINE).is_ok()
}

/// The files in the state directory, whatever else may be there.
pub(super) fn files(ground: &Ground) -> Vec<String> {
    ground.names()
}

pub(super) fn is_temporary(name: &str) -> bool {
    name.starts_with(".server.json.") && name.ends_with(".tmp")
}

fn is_stopped(process: &Process) -> bool {
    let path = format!("/proc/{}/stat", process.child.id());
    let stat = fs::read_to_string(path).unwrap_or_default();
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    matches!(state, Some('T' | 't'))
}
