//! `daymark run`: any command that serves HTTP, found, published and looked after like a server of our own.

mod detach;
mod failures;
mod program;
mod then;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use daymark_adapters::http_server::{Passthrough, Readiness};
use daymark_core::RestartPolicy;
use daymark_core::port_picker::PortPreference;

use crate::compose::make_room_for_descriptors;
use crate::signals;
use crate::supervise::Supervised;
use crate::{
    AcquireError, FirstSignal, Name, Place, Prepared, ServerRecord, Signal, StartError, StopCause,
    StopOptions, StopReport, directories,
};

use super::args::{Listen, Restart, RunArgs};
use super::exit::{Exit, Failure};
use super::output::Output;
use super::place::{self, Target, parse_name};
use super::telling::{Manner, Telling, conclude, event, report_of, without_failure};
use super::{Context, block_on, explain};

/// How often to try for a place that others may take again as soon as it is free.
const TRIES: usize = 5;

/// How long another one may take to be ready, and so to be named, or to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many of the last lines of output to show when a start has failed.
const LINES: usize = 20;

pub(super) fn run(args: &RunArgs, context: Context) -> Exit {
    if args.detach && !context.detached {
        return detach::run(context);
    }
    if context.detached {
        // It can't fail: whoever has just been started leads no group (setsid(2)).
        let _ = rustix::process::setsid();
        // How `ps` and `top` call it, instead of "exe": it was started by that name (tree.rs).
        let _ = std::fs::write("/proc/self/comm", "daymark");
    }
    let made = Running::make(args, &context);
    // Before there is a second thread.
    make_room_for_descriptors();
    let output = Arc::new(context.output.into_background());
    let (name, done) = match made {
        Ok(running) => (Some(running.name.clone()), running.go(&output)),
        Err(mut failure) => {
            if failure.exit == Exit::Failed {
                failure.exit = Exit::RunnerFailed;
            }
            (None, Err(failure))
        }
    };
    let exit = conclude(done, name.as_ref(), &output);
    if let Some(output) = Arc::into_inner(output) {
        output.finish();
    }
    exit
}

/// Whether it could be begun.
pub(super) fn check(args: &RunArgs, context: &Context) -> Result<(), Failure> {
    Running::make(args, context).map(drop)
}

/// What is to be run.
struct Running<'a> {
    args: &'a RunArgs,
    begun: std::time::Instant,
    name: Name,
    /// How to name it on a command line.
    selector: String,
    state_dir: PathBuf,
    /// The directory that lent its name, where neither that nor a place was given.
    lent_by: Option<PathBuf>,
    readiness: Readiness,
    passthrough: Passthrough,
}

/// How a run ended that had begun.
struct Ended {
    report: Arc<StopReport>,
    /// The exit code of `--then`.
    then: Option<u8>,
    first_signal: FirstSignal,
}

/// Why a run didn't begin.
enum Obstacle {
    /// The place is another's.
    Taken(StartError),
    Other(Failure),
}

impl<'a> Running<'a> {
    fn make(args: &'a RunArgs, context: &Context) -> Result<Self, Failure> {
        let readiness: Readiness = args.ready.parse().map_err(failures::invalid_readiness)?;
        let (name, lent_by) = match &args.name {
            Some(name) => (parse_name(name)?, None),
            None => {
                let dir = place::current_dir()?;
                (place::name_of(&dir)?, Some(dir))
            }
        };
        let (selector, state_dir) = match &context.state_dir {
            Some(dir) => (place::state_dir_option(dir), std::path::absolute(dir)),
            None => (name.to_string(), directories::state_dir(&name)),
        };
        program::check(&args.command)?;
        Ok(Self {
            args,
            begun: context.begun,
            selector,
            state_dir: state_dir.map_err(|error| explain::no_directories(&error))?,
            lent_by: lent_by.filter(|_| context.state_dir.is_none()),
            readiness,
            passthrough: match (context.detached, context.output.json || args.then.is_some()) {
                (true, _) => Passthrough::Nothing,
                (false, true) => Passthrough::AllToStderr,
                (false, false) => Passthrough::AsItIs,
            },
            name,
        })
    }

    fn go(&self, output: &Arc<Output>) -> Result<Exit, Failure> {
        for _ in 0..TRIES {
            let taken = match self.supervise(output) {
                Ok(ended) => return self.conclude(ended, output),
                Err(Obstacle::Other(failure)) => return Err(failure),
                Err(Obstacle::Taken(error)) => error,
            };
            let there = taken.already_running();
            if let Some(namesake) = there.and_then(|record| self.namesake(record)) {
                return Err(namesake);
            }
            match there {
                Some(record) if self.args.reuse => return self.reuse(record, output),
                _ if self.args.replace => self.make_way(output)?,
                _ => return Err(self.not_started(&taken, Vec::new())),
            }
        }
        Err(Failure::new(
            Exit::AlreadyRunning,
            format!("others keep taking the place of {}", self.name),
            format!("daymark watch {} shows who comes and goes", self.selector),
        ))
    }

    /// Why the one that is there is none that this could mean.
    fn namesake(&self, there: &ServerRecord) -> Option<Failure> {
        place::namesake(there, self.lent_by.as_deref(), &self.name)
    }

    /// Runs it to its end.
    fn supervise(&self, output: &Arc<Output>) -> Result<Ended, Obstacle> {
        let (prepared, child) = match self.supervised(output).prepare() {
            Ok(prepared) => prepared,
            Err(error) => return Err(Obstacle::Other(self.not_started(&error, Vec::new()))),
        };
        let (handle, first_signal) = (prepared.handle(), prepared.first_signal());
        let events = prepared.subscribe();
        let shown = child.clone();
        let telling = Telling {
            begun: self.begun,
            name: self.name.clone(),
            selector: self.selector.clone(),
            state_file: place::text(prepared.state_file()),
            manner: Manner::Run,
            child: Box::new(move || shown.pid()),
        };
        let mut then = None;
        let serving = self.serve(prepared, &mut then, output);
        let ended = block_on(async {
            let ended = telling.during(serving, events, output).await;
            child.finish().await;
            ended
        });
        let report = match report_of(ended.map_err(Obstacle::Other)?, &handle) {
            Ok(report) => report,
            Err(
                error
                @ StartError::Acquire(AcquireError::AlreadyRunning(_) | AcquireError::Busy(_)),
            ) => {
                return Err(Obstacle::Taken(error));
            }
            Err(error) => {
                let lines = child.last_lines(LINES);
                return Err(Obstacle::Other(self.not_started(&error, lines)));
            }
        };
        Ok(Ended {
            report,
            then,
            first_signal,
        })
    }

    /// The exit code of a run that had begun.
    fn conclude(&self, ended: Ended, output: &Output) -> Result<Exit, Failure> {
        let Ended { report, then, .. } = &ended;
        let failure =
            explain::unclean(report).or_else(|| failures::ended(&report.cause, &self.selector));
        let fell = matches!(report.cause, StopCause::ServerEnded(_));
        let Some(failure) = failure else {
            if then.is_some() && fell {
                output.warning("the server has ended before --then was done");
            }
            return Ok(match (then, &self.args.then) {
                (Some(code), _) => Exit::Of(*code),
                // It was told to end before that was run.
                (None, Some(_)) => Exit::Of(match ended.first_signal.get() {
                    Some(Signal::Interrupt) => 130,
                    _ => 143,
                }),
                (None, None) => without_failure(&ended.first_signal),
            });
        };
        output.failure(&failure);
        // What `--then` made of it counts, unless it was cut short by just that.
        Ok(match then {
            Some(code) if *code != 0 && !fell => Exit::Of(*code),
            _ => failure.exit,
        })
    }

    fn supervised(&self, output: &Arc<Output>) -> Supervised {
        let output = Arc::downgrade(output);
        Supervised {
            name: self.name.clone(),
            state_dir: self.state_dir.clone(),
            dir: std::env::current_dir().ok().as_deref().map(place::text),
            command: self.args.command.clone(),
            port: match self.args.port.map(std::num::NonZeroU16::new) {
                Some(Some(port)) => PortPreference::Exact(port),
                _ => PortPreference::Any,
            },
            sticky: self.args.port.is_none(),
            pass_socket: self.args.listen == Listen::Fd,
            readiness: self.readiness.clone(),
            own_timeout: match (self.args.reuse, self.args.replace) {
                // That it gets ready is what is wished for.
                (true, _) => self.args.ready_timeout,
                // It will be stopped, ready or not.
                (false, true) => Duration::from_secs(1),
                (false, false) => PATIENCE,
            },
            ready_timeout: self.args.ready_timeout,
            drain: self.args.drain,
            restart: match self.args.restart {
                Restart::Never => RestartPolicy::Never,
                Restart::OnFailure => RestartPolicy::OnFailure,
                Restart::Always => RestartPolicy::Always,
            },
            passthrough: self.passthrough,
            warn: Arc::new(move |sentence| {
                if let Some(output) = output.upgrade() {
                    output.warning(sentence);
                }
            }),
        }
    }

    /// Starts it, and waits for its end, or that of `--then`.
    async fn serve(
        &self,
        prepared: Prepared,
        then: &mut Option<u8>,
        output: &Output,
    ) -> Result<Arc<StopReport>, StartError> {
        let first_signal = prepared.first_signal();
        let starting = format!("starting {}", self.name);
        let server = output.meanwhile(&starting, prepared.start_async()).await?;
        let handle = server.handle();
        if let Some(command) = &self.args.then {
            let next = then::Then::start(command, server.record(), &self.state_dir, output);
            let ending = async {
                handle.wait_stopping().await;
                passed_on(first_signal.get())
            };
            *then = then::status(next, ending, output).await;
            handle.request_stop(None);
        }
        handle.wait_stopped().await.map_err(|_| StartError::Gone)
    }

    fn not_started(&self, error: &StartError, lines: Vec<String>) -> Failure {
        let (name, selector) = (self.name.as_str(), &self.selector);
        failures::not_started(error, name, selector, lines, self.args.listen)
    }

    /// The server that is there is as good.
    fn reuse(&self, record: &ServerRecord, output: &Output) -> Result<Exit, Failure> {
        match output.json {
            true => output.object(
                &event("ready", Some(&self.name))
                    .with("url", record.endpoint.url())
                    .with("port", record.endpoint.port().get())
                    .with("pid", record.pid)
                    .with("instance_id", record.instance_id.map(|id| id.to_string()))
                    .with(
                        "state_file",
                        place::text(&self.state_dir.join("server.json")),
                    )
                    .with("ms", super::duration::millis(self.begun.elapsed()))
                    .with("reused", true),
            ),
            false => output.note(&format!(
                "{}  is there already  {}  (pid {})",
                self.name,
                record.endpoint.url().trim_end_matches('/'),
                record.pid
            )),
        }
        let Some(command) = &self.args.then else {
            return Ok(Exit::Done);
        };
        let code = block_on(async {
            let next = then::Then::start(command, record, &self.state_dir, output);
            let told = async { passed_on(Some(signals::next().await)) };
            then::status(next, told, output).await
        })?;
        Ok(code.map_or(Exit::RunnerFailed, Exit::Of))
    }

    /// Stops the server that is there.
    fn make_way(&self, output: &Output) -> Result<(), Failure> {
        let place = Place::at(&self.state_dir).map_err(|error| explain::place(&error))?;
        let target = Target::given(place, self.selector.clone());
        let stopping = target.place.stop(StopOptions::new(self.args.drain, true));
        let what = format!("stopping the other {}", self.name);
        let stopped = block_on(async {
            tokio::select! {
                biased;
                stopped = output.meanwhile(&what, stopping) => Ok(stopped),
                signal = signals::next() => Err(signal),
            }
        })?;
        match stopped {
            Ok(stopped) => stopped
                .map(drop)
                .map_err(|error| explain::not_stopped(&error, &target)),
            Err(signal) => Err(failures::interrupted(signal, &self.selector)),
        }
    }
}

/// What `--then` is told when it is to end, for this reason.
const fn passed_on(signal: Option<Signal>) -> rustix::process::Signal {
    match signal {
        Some(Signal::Interrupt) => rustix::process::Signal::INT,
        _ => rustix::process::Signal::TERM,
    }
}
