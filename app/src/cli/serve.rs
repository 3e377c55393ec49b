//! `daymark serve`: a directory, served by this library as any program would use it.
//!
//! Everything is said from another thread. So a stream that nobody reads keeps neither the server from serving nor the
//! command from ending.

use std::future::poll_fn;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use daymark_adapters::record_json;
use daymark_core::state_store::Recovered;

use crate::directory::Directory;
use crate::{
    Events, LifecycleEvent, Name, Port, Prepared, Server, ServerRecord, Signal, StartError, Status,
    StopCause, StopReport,
};

use super::args::ServeArgs;
use super::exit::{Exit, Failure};
use super::json::Object;
use super::output::{GOOD, Output, paint, shown};
use super::place::{self, parse_name};
use super::{Context, block_on, browser, duration, explain, url};

pub(super) fn run(args: &ServeArgs, context: Context) -> Exit {
    let made = Serving::make(args, &context);
    // Not before: sockets are taken from the environment while there is one thread.
    let output = context.output.into_background();
    let (name, served) = match made {
        Ok((serving, prepared)) => {
            let served = serving.serve(prepared, &output);
            (Some(serving.name), served)
        }
        Err(failure) => (None, Err(failure)),
    };
    let exit = served.unwrap_or_else(|failure| {
        if output.json {
            let failed = event("failed", name.as_ref())
                .with("reason", failure.sentence.as_str())
                .with("hint", failure.hint.as_str());
            output.object(&failed);
        }
        output.failure(&failure);
        failure.exit
    });
    output.finish();
    exit
}

/// One server, and how to speak of it.
struct Serving {
    begun: Instant,
    name: Name,
    /// How to name it on a command line.
    selector: String,
    state_file: String,
    open: bool,
}

impl Serving {
    fn make(args: &ServeArgs, context: &Context) -> Result<(Self, Prepared), Failure> {
        let dir =
            std::fs::canonicalize(&args.dir).map_err(|error| not_served(&args.dir, &error))?;
        let app = Directory::open(&dir)
            .map_err(|error| not_served(&args.dir, &error))?
            .spa(args.spa)
            .hidden_files(args.hidden);
        let name = match &args.name {
            Some(name) => parse_name(name)?,
            None => place::name_of(&dir)?,
        };
        let port = match args.port {
            None => Port::Sticky,
            Some(0) => Port::Any,
            Some(port) => Port::Exact(port),
        };
        let mut builder = Server::builder(name.as_str())
            .about("daymark", env!("CARGO_PKG_VERSION"))
            .port(port)
            .inherit_socket()
            .drain(args.drain)
            .handle_signals()
            .app(app);
        if args.require_token {
            builder = builder.require_token();
        }
        let selector = match &context.state_dir {
            Some(dir) => {
                builder = builder.state_dir(dir);
                place::state_dir_option(dir)
            }
            None => name.to_string(),
        };
        let prepared = builder
            .prepare()
            .map_err(|error| explain::start(&error, name.as_str(), &selector))?;
        let serving = Self {
            begun: context.begun,
            selector,
            state_file: place::text(prepared.state_file()),
            open: args.open,
            name,
        };
        Ok((serving, prepared))
    }

    fn serve(&self, prepared: Prepared, output: &Output) -> Result<Exit, Failure> {
        let first_signal = prepared.first_signal();
        let handle = prepared.handle();
        let events = prepared.subscribe();
        let ended = block_on(async {
            let mut running = pin!(self.run(prepared, output));
            let mut telling = pin!(self.tell_all(events, output));
            let ended = tokio::select! {
                biased;
                () = &mut telling => return running.await,
                ended = &mut running => ended,
            };
            // What happened last was sent before its outcome was known.
            poll_fn(|cx| Poll::Ready(telling.as_mut().poll(cx).is_ready())).await;
            ended
        })?;
        let by_person = first_signal.get() == Some(Signal::Interrupt);
        let exit = match by_person {
            true => Exit::Interrupted,
            false => Exit::Done,
        };
        let report = match ended {
            Ok(report) => report,
            // A signal came first, and that is no failure.
            Err(StartError::Stopped) => match handle.status() {
                Status::Stopped(report) => report,
                _ => return Ok(exit),
            },
            Err(error) => return Err(explain::start(&error, self.name.as_str(), &self.selector)),
        };
        match (
            explain::unclean(&report),
            explain::cause(&report.cause, &self.selector),
        ) {
            (Some(failure), _) | (None, Some(failure)) => {
                output.failure(&failure);
                Ok(failure.exit)
            }
            (None, None) => Ok(exit),
        }
    }

    /// Starts the server, and waits for its end.
    async fn run(
        &self,
        prepared: Prepared,
        output: &Output,
    ) -> Result<Arc<StopReport>, StartError> {
        let starting = format!("starting {}", self.name);
        let server = output.meanwhile(&starting, prepared.start_async()).await?;
        let handle = server.handle();
        let mut stopped = pin!(handle.wait_stopped());
        let report = tokio::select! {
            report = &mut stopped => report,
            () = self.open(server.record(), output) => stopped.await,
        };
        report.map_err(|_| StartError::Gone)
    }

    async fn open(&self, record: &ServerRecord, output: &Output) {
        if !self.open {
            return;
        }
        let url = url::with_token(record);
        let opened = tokio::task::spawn_blocking(move || browser::show(&url)).await;
        if let Ok(Err(error)) = opened {
            let failure = explain::browser(&error, &self.selector);
            output.warning(&format!("{}; {}", failure.sentence, failure.hint));
        }
    }

    async fn tell_all(&self, mut events: Events, output: &Output) {
        while let Some(event) = events.next().await {
            match output.json {
                true => self.tell_json(&event, output),
                false => self.tell(&event, output),
            }
            self.warn(&event, output);
            if matches!(event, LifecycleEvent::Stopped(_)) {
                return;
            }
        }
    }

    fn tell(&self, event: &LifecycleEvent, output: &Output) {
        match event {
            LifecycleEvent::Ready(record) => {
                output.result(&format!(
                    "{}  {} in {}  {}  (pid {})",
                    self.name,
                    paint(GOOD, "ready"),
                    duration::words(self.begun.elapsed()),
                    record.endpoint.url().trim_end_matches('/'),
                    record.pid,
                ));
                let selector = shown(&self.selector);
                if record.token.is_some() {
                    output.note(&format!("it asks for a token: daymark open {selector}"));
                }
                output.note(&format!("stop it with Ctrl-C, or daymark stop {selector}"));
            }
            LifecycleEvent::Recovered(recovered) if unproven_port(recovered).is_none() => output
                .note(&format!(
                    "cleared what was left here ({} files)",
                    recovered.removed
                )),
            LifecycleEvent::Draining(stats) if stats.requests > 0 => output.note(&format!(
                "finishing {} requests; another Ctrl-C cuts them off",
                stats.requests
            )),
            LifecycleEvent::Stopped(report) if !failed_to_start(report) => output.note(&format!(
                "stopped in {}: {} requests finished, {} cut off",
                duration::words(report.took),
                report.drained,
                report.aborted
            )),
            _ => {}
        }
    }

    fn tell_json(&self, happened: &LifecycleEvent, output: &Output) {
        let name = Some(&self.name);
        let object = match happened {
            LifecycleEvent::Ready(record) => event("ready", name)
                .with("url", record.endpoint.url())
                .with("port", record.endpoint.port().get())
                .with("pid", record.pid)
                .with("instance_id", record.instance_id.map(|id| id.to_string()))
                .with("state_file", self.state_file.as_str())
                .with("ms", duration::millis(self.begun.elapsed())),
            LifecycleEvent::Recovered(recovered) => {
                let record = recovered.record.as_deref().map(record_json::without_token);
                event("recovered", name)
                    .with("removed", recovered.removed)
                    .with_json("record", record.as_deref().unwrap_or("null"))
            }
            LifecycleEvent::Draining(stats) => {
                event("draining", name).with("requests", stats.requests)
            }
            // What has failed is told with its reason.
            LifecycleEvent::Stopped(report) if !failed_to_start(report) => {
                let left: Vec<String> = report.left.iter().map(ToString::to_string).collect();
                event("stopped", name)
                    .with("cause", cause(&report.cause))
                    .with("drained", report.drained)
                    .with("aborted", report.aborted)
                    .with("ms", duration::millis(report.took))
                    .with("left", left)
            }
            _ => return,
        };
        output.object(&object);
    }

    /// Says what nobody may have wished for, in whatever form the rest is told.
    fn warn(&self, event: &LifecycleEvent, output: &Output) {
        match event {
            LifecycleEvent::PortMoved { from, to } => output.warning(&format!(
                "{} is on port {to}; port {from}, which it had last time, is not free",
                self.name
            )),
            LifecycleEvent::Recovered(recovered) => {
                if let Some(port) = unproven_port(recovered) {
                    output.warning(&format!(
                        "a record that nothing proved, of a server on port {port}, made way; \
                         if that still runs, nobody finds it any more"
                    ));
                }
            }
            LifecycleEvent::Republished => {
                output.warning("the record was gone or changed, and is published again");
            }
            LifecycleEvent::Exposed(reason) => output.warning(&format!(
                "others may not find it, which will be tried to be put right: {reason}"
            )),
            _ => {}
        }
    }
}

/// The port in a record that carried no instance, so that nobody could tell whether its writer lives.
fn unproven_port(recovered: &Recovered) -> Option<u16> {
    let record = recovered.record.as_deref()?;
    let unproven = record.instance_id.is_none();
    unproven.then(|| record.endpoint.port().get())
}

fn event(what: &str, name: Option<&Name>) -> Object {
    let object = Object::new().with("event", what);
    object.with("name", name.map(|name| name.as_str()))
}

const fn cause(cause: &StopCause) -> &'static str {
    match cause {
        StopCause::Asked | StopCause::StartFailed(StartError::Stopped) => "asked",
        StopCause::StartFailed(_) => "start_failed",
        StopCause::ServerEnded(_) => "server_ended",
        StopCause::OwnershipLost => "ownership_lost",
        _ => "other",
    }
}

/// Whether it never became ready, and not because it was asked to stop.
const fn failed_to_start(report: &StopReport) -> bool {
    matches!(&report.cause, StopCause::StartFailed(error) if !matches!(error, StartError::Stopped))
}

fn not_served(dir: &Path, error: &std::io::Error) -> Failure {
    let why = match error.kind() {
        std::io::ErrorKind::NotFound => "it does not exist".to_owned(),
        std::io::ErrorKind::NotADirectory => "it is not a directory".to_owned(),
        _ => error.to_string(),
    };
    Failure::new(
        Exit::Failed,
        format!("cannot serve {}: {why}", dir.display()),
        "name a directory that you can read: daymark serve DIR",
    )
}
