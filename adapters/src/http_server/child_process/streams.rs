//! What a child's three standard streams lead to.
//!
//! Its output passes to ours untouched and to the log. Where ours is a terminal, it gets one too.

use std::io::{self, IsTerminal as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::log_file::LogFile;
use super::pump::{Outlets, pump};
use super::sink::{self, Sink};
use super::tail::{Lines, Tail};
use super::terminal::{Terminal, own_size};

/// Where a child's output goes, next to its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passthrough {
    /// Its standard output to ours, its standard error to ours.
    AsItIs,
    /// Both to our standard error.
    AllToStderr,
    /// Nowhere else: nobody is there to read it.
    Nothing,
}

/// Told in words when output is lost.
pub type Warn = Arc<dyn Fn(&str) + Send + Sync>;

/// How long a run that is over waits for what it has printed to be written.
const FLUSH: Duration = Duration::from_secs(1);

/// How long to go on reading when all processes are gone, in case somebody else was given their output.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Where the output of all of a run's children goes.
pub(super) struct Channels {
    passthrough: Passthrough,
    out: Option<Sink>,
    err: Option<Sink>,
    log: Option<Sink>,
    tail: Tail,
    /// What a child reads that has nothing to read: a pipe that never ends. At an end of file many would end, too.
    silence: (io::PipeReader, io::PipeWriter),
}

/// One child's ends.
pub(super) struct Ends {
    pub(super) stdin: OwnedFd,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    /// Whether standard input is a terminal, to become the child's own.
    pub(super) has_terminal: bool,
}

/// What carries one child's output.
pub(super) struct Carrying {
    log: Option<Sink>,
    shown: Vec<Sink>,
    pumps: Vec<JoinHandle<()>>,
    /// Keeps the size of the child's terminal that of ours.
    resizing: Option<JoinHandle<()>>,
}

impl Channels {
    /// Opens them. A log that can't be written is warned of, and no reason to fail.
    pub(super) fn open(
        state_dir: &Path,
        passthrough: Passthrough,
        tail: Tail,
        warn: &Warn,
    ) -> io::Result<Self> {
        let sink = |name: &'static str| {
            let warn = warn.clone();
            move |trouble: &sink::Trouble| match trouble {
                // Who has left doesn't want it.
                sink::Trouble::Failed(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                trouble => warn(&in_words(name, trouble)),
            }
        };
        let log = LogFile::open(state_dir).and_then(|log| Sink::log(log, sink("the log")));
        let log = log
            .map_err(|error| warn(&in_words("the log", &sink::Trouble::Failed(error))))
            .ok();
        let (out, err) = match passthrough {
            Passthrough::Nothing => (None, None),
            Passthrough::AllToStderr => {
                let both = Sink::stream(io::stderr(), sink("standard error")).ok();
                (both.clone(), both)
            }
            Passthrough::AsItIs => (
                Sink::stream(io::stdout(), sink("standard output")).ok(),
                Sink::stream(io::stderr(), sink("standard error")).ok(),
            ),
        };
        Ok(Self {
            passthrough,
            out,
            err,
            log,
            tail,
            silence: io::pipe()?,
        })
    }

    /// Ends for one child, and what carries its output from now on. Needs a tokio runtime.
    pub(super) fn connect(&self, lines: Lines) -> io::Result<(Ends, Carrying)> {
        let (out_shows, err_shows) = match self.passthrough {
            Passthrough::Nothing => (false, false),
            Passthrough::AllToStderr => (io::stderr().is_terminal(), io::stderr().is_terminal()),
            Passthrough::AsItIs => (io::stdout().is_terminal(), io::stderr().is_terminal()),
        };
        let mut carrying = Carrying {
            log: self.log.clone(),
            shown: [&self.out, &self.err]
                .into_iter()
                .flatten()
                .cloned()
                .collect(),
            pumps: Vec::new(),
            resizing: None,
        };
        let mut terminal = None;
        let stdout = match out_shows {
            true => {
                let (master, slave) = Terminal::open(own_size())?;
                carrying.begin(master.output()?, self.outlets(&self.out, lines.clone()));
                carrying.resizing = Some(tokio::spawn(async move {
                    // Without the signal it keeps the size that it has, and the terminal stays all the same.
                    let _ = master.follow(own_size).await;
                    std::future::pending::<()>().await;
                }));
                terminal = Some(slave.try_clone()?);
                slave
            }
            false => carrying.pipe(self.outlets(&self.out, lines.clone()))?,
        };
        let stderr = match (&terminal, err_shows) {
            (Some(slave), true) => slave.try_clone()?,
            _ => carrying.pipe(self.outlets(&self.err, lines))?,
        };
        let own_input = self.passthrough != Passthrough::Nothing && !io::stdin().is_terminal();
        let (stdin, has_terminal) = match terminal {
            _ if own_input => (io::stdin().as_fd().try_clone_to_owned()?, false),
            Some(slave) => (slave, true),
            None => (self.silence.0.try_clone()?.into(), false),
        };
        let ends = Ends {
            stdin,
            stdout,
            stderr,
            has_terminal,
        };
        Ok((ends, carrying))
    }

    fn outlets(&self, shown: &Option<Sink>, lines: Lines) -> Outlets {
        Outlets {
            shown: shown.clone(),
            log: self.log.clone(),
            tail: self.tail.clone(),
            lines,
        }
    }

    /// Waits a little until everything is written.
    pub(super) async fn finish(&self) {
        let sinks = [&self.out, &self.err, &self.log].into_iter().flatten();
        join_all(sinks.map(|sink| sink.finish(FLUSH))).await;
    }
}

impl Carrying {
    fn pipe(&mut self, outlets: Outlets) -> io::Result<OwnedFd> {
        let (from, to) = io::pipe()?;
        self.begin(from.into(), outlets);
        Ok(to.into())
    }

    fn begin(&mut self, from: OwnedFd, outlets: Outlets) {
        self.pumps.push(tokio::spawn(async move {
            // What can't be read any more has no more to say.
            let _ = pump(from, outlets).await;
        }));
    }

    /// Waits a little until all is read, and is in the log: whoever finds the server gone finds there what it said. For a
    /// child that is gone.
    pub(super) async fn end(&mut self) {
        if !self.have_read_all(LAST_WORDS).await {
            // Somebody who looks on may be too slow to go along.
            self.shown.iter().for_each(Sink::hurry);
            // If time runs out again, somebody else has the other ends.
            self.have_read_all(LAST_WORDS).await;
        }
        self.let_go();
        if let Some(log) = &self.log {
            log.flush(LAST_WORDS).await;
        }
    }

    /// Puts a line of our own behind all that, where nobody else would tell of it.
    pub(super) async fn conclude(&self, line: &str) {
        if let (true, Some(log)) = (self.shown.is_empty(), &self.log) {
            log.push(format!("daymark: {line}\n").as_bytes()).await;
            log.flush(LAST_WORDS).await;
        }
    }

    async fn have_read_all(&mut self, within: Duration) -> bool {
        let pumps = self.pumps.iter_mut().filter(|task| !task.is_finished());
        timeout(within, join_all(pumps)).await.is_ok()
    }

    fn let_go(&self) {
        let tasks = self.pumps.iter().chain(&self.resizing);
        tasks.for_each(JoinHandle::abort);
    }
}

impl Drop for Carrying {
    fn drop(&mut self) {
        self.let_go();
    }
}

fn in_words(name: &str, trouble: &sink::Trouble) -> String {
    match trouble {
        sink::Trouble::TooSlow => {
            format!("{name} is not read fast enough: some of the output is lost there")
        }
        sink::Trouble::Failed(error) => {
            format!("{name} cannot be written ({error}): output is lost there; serving goes on")
        }
    }
}
