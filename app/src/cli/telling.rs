//! What happens in a run, told as it happens: to people in words, to programs as one JSON object a line.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use daymark_adapters::record_json;
use daymark_core::state_store::Recovered;
use daymark_core::{Handle, RestartCause};

use crate::{
    Events, FirstSignal, LifecycleEvent, Name, Signal, StartError, Status, StopCause, StopReport,
};

use super::duration;
use super::exit::{Exit, Failure};
use super::json::Object;
use super::output::{GOOD, Output, paint, shown};

/// One run, and how to speak of it.
pub(super) struct Telling {
    pub(super) begun: Instant,
    pub(super) name: Name,
    /// How to name it on a command line.
    pub(super) selector: String,
    pub(super) state_file: String,
    pub(super) manner: Manner,
    /// The pid of the command that is run, if one is.
    pub(super) child: Box<dyn Fn() -> Option<u32> + Send + Sync>,
}

/// What is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// A server in this process, which counts its requests. That it is ready is this command's result.
    Serve,
    /// Another command. Its output is the result, and what there is to say goes to standard error.
    Run,
}

impl Telling {
    /// Awaits `running`, and tells meanwhile what happens, to the last event of it.
    pub(super) async fn during<T>(
        &self,
        running: impl Future<Output = T>,
        events: Events,
        output: &Output,
    ) -> T {
        let mut running = pin!(running);
        let mut telling = pin!(self.tell_all(events, output));
        let ended = tokio::select! {
            biased;
            () = &mut telling => return running.await,
            ended = &mut running => ended,
        };
        // What happened last was sent before its outcome was known.
        poll_fn(|cx| Poll::Ready(telling.as_mut().poll(cx).is_ready())).await;
        ended
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
                let line = format!(
                    "{}  {} in {}  {}  (pid {})",
                    self.name,
                    paint(GOOD, "ready"),
                    duration::words(self.begun.elapsed()),
                    record.endpoint.url().trim_end_matches('/'),
                    record.pid,
                );
                match self.manner {
                    Manner::Serve => output.result(&line),
                    Manner::Run => output.note(&line),
                }
                let selector = shown(&self.selector);
                if record.token.is_some() {
                    output.note(&format!("it asks for a token: daymark open {selector}"));
                }
                output.note(&format!("stop it with Ctrl-C, or daymark stop {selector}"));
            }
            LifecycleEvent::Recovered(recovered) if unproven_port(recovered).is_none() => output
                .note(&match recovered.removed {
                    1 => "cleared what was left here (1 file)".to_owned(),
                    files => format!("cleared what was left here ({files} files)"),
                }),
            LifecycleEvent::Restarting(RestartCause::Asked) => output.note("restarting it"),
            LifecycleEvent::Restarting(RestartCause::Ended(end, pause)) => output.warning(
                &format!("{end}; starting it again in {}", duration::words(*pause)),
            ),
            LifecycleEvent::Restarted(record) => output.note(&format!(
                "{}  {} again  {}",
                self.name,
                paint(GOOD, "ready"),
                record.endpoint.url().trim_end_matches('/'),
            )),
            LifecycleEvent::Draining(_) if self.manner == Manner::Run => {
                output.note("stopping it; another Ctrl-C kills it");
            }
            LifecycleEvent::Draining(stats) if stats.requests > 0 => output.note(&format!(
                "finishing {} requests; another Ctrl-C cuts them off",
                stats.requests
            )),
            LifecycleEvent::Stopped(report) if failed_to_start(report) => {}
            LifecycleEvent::Stopped(report) if self.manner == Manner::Run => {
                output.note(&format!("stopped in {}", duration::words(report.took)));
            }
            LifecycleEvent::Stopped(report) => output.note(&format!(
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
                .with("child_pid", (self.child)())
                .with("instance_id", record.instance_id.map(|id| id.to_string()))
                .with("state_file", self.state_file.as_str())
                .with("ms", duration::millis(self.begun.elapsed())),
            LifecycleEvent::Restarting(RestartCause::Asked) => {
                event("restarting", name).with("reason", "asked")
            }
            LifecycleEvent::Restarting(RestartCause::Ended(end, pause)) => {
                event("restarting", name)
                    .with("reason", end.reason.as_str())
                    .with("exit_code", end.exit_code)
                    .with("pause_ms", duration::millis(*pause))
            }
            LifecycleEvent::Restarted(record) => event("restarted", name)
                .with("url", record.endpoint.url())
                .with("port", record.endpoint.port().get())
                .with("pid", record.pid)
                .with("child_pid", (self.child)())
                .with("restarts", record.restarts),
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
                let end = match &report.cause {
                    StopCause::ServerEnded(end) => Some(end),
                    _ => None,
                };
                event("stopped", name)
                    .with("cause", cause(&report.cause))
                    .with("reason", end.map(|end| end.reason.as_str()))
                    .with("exit_code", end.and_then(|end| end.exit_code))
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

pub(super) fn event(what: &str, name: Option<&Name>) -> Object {
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

/// How a run ended; that a signal came before it was ready is no failure.
pub(super) fn report_of(
    ended: Result<Arc<StopReport>, StartError>,
    handle: &Handle,
) -> Result<Arc<StopReport>, StartError> {
    match (ended, handle.status()) {
        (Err(StartError::Stopped), Status::Stopped(report)) => Ok(report),
        (ended, _) => ended,
    }
}

/// The exit code of a run that was stopped as it should be.
pub(super) fn without_failure(first: &FirstSignal) -> Exit {
    match first.get() {
        Some(Signal::Interrupt) => Exit::Interrupted,
        _ => Exit::Done,
    }
}

/// Tells of a failure, and gives the exit code.
pub(super) fn conclude(done: Result<Exit, Failure>, name: Option<&Name>, output: &Output) -> Exit {
    done.unwrap_or_else(|failure| {
        if output.json {
            let failed = event("failed", name)
                .with("reason", failure.sentence.as_str())
                .with("hint", failure.hint.as_str())
                .with("log", failure.lines.clone())
                .with("exit", u64::from(failure.exit.code()));
            output.object(&failed);
        }
        output.failure(&failure);
        failure.exit
    })
}
