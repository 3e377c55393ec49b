//! `daymark run -d`: the same command in a session of its own, watched until it is ready or has failed.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use daymark_adapters::http_server::itself;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Split};
use tokio::process::{Child, ChildStderr, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{GOOD, Output, paint, shown};
use crate::cli::{Context, DETACHED, block_on, duration, place};

/// What its first words were.
enum Outcome {
    Ready(Value),
    Failed(Value),
    /// It ended without either.
    Silence,
}

pub(super) fn run(context: Context) -> Exit {
    let output = context.output;
    let done =
        block_on(watch(&output)).and_then(|watched| watched.map_err(|error| cannot_detach(&error)));
    let (outcome, code) = match done {
        Ok(done) => done,
        Err(failure) => {
            output.failure(&failure);
            return failure.exit;
        }
    };
    match outcome {
        Outcome::Ready(event) => {
            match output.json {
                true => output.result(&event.to_string()),
                false => {
                    let took = context.begun.elapsed();
                    say_ready(&event, took, context.state_dir.as_deref(), &output);
                }
            }
            Exit::Done
        }
        Outcome::Failed(event) => {
            if output.json {
                output.result(&event.to_string());
            }
            let failure = failure(&event);
            output.failure(&failure);
            failure.exit
        }
        // It was told to end, by a signal that came here or there.
        Outcome::Silence if code == Some(130) => Exit::Interrupted,
        Outcome::Silence if code == Some(0) => {
            let failure = Failure::new(
                Exit::Of(143),
                "it was stopped before it was ready",
                "daymark logs shows what it said",
            );
            output.failure(&failure);
            failure.exit
        }
        Outcome::Silence => {
            let failure = Failure::new(
                Exit::RunnerFailed,
                "the supervisor ended before the server was ready",
                "run it without -d to see why",
            );
            output.failure(&failure);
            failure.exit
        }
    }
}

/// Starts it, and listens until it is ready or has ended. Signals are passed on.
async fn watch(output: &Output) -> io::Result<(Outcome, Option<u8>)> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut supervisor = Command::new(itself()?)
        .arg0("daymark")
        .arg(DETACHED)
        .args(std::env::args_os().skip(1))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut words = match supervisor.stdout.take() {
        Some(stdout) => BufReader::new(stdout).lines(),
        None => return Err(io::ErrorKind::BrokenPipe.into()),
    };
    let mut warnings = supervisor
        .stderr
        .take()
        .map(|stderr| BufReader::new(stderr).split(b'\n'));
    let outcome = loop {
        tokio::select! {
            biased;
            () = relay(&mut warnings, output) => {}
            line = words.next_line() => match line? {
                None => break Outcome::Silence,
                Some(line) => match serde_json::from_str::<Value>(&line) {
                    Ok(event) if event["event"] == "ready" => break Outcome::Ready(event),
                    Ok(event) if event["event"] == "failed" => break Outcome::Failed(event),
                    Ok(event) if output.json => output.result(&event.to_string()),
                    _ => {}
                },
            },
            _ = interrupt.recv() => pass_on(&supervisor, Signal::INT),
            _ = terminate.recv() => pass_on(&supervisor, Signal::TERM),
        }
    };
    if matches!(outcome, Outcome::Ready(_)) {
        return Ok((outcome, None));
    }
    let status = supervisor.wait().await?;
    Ok((outcome, status.code().and_then(|code| code.try_into().ok())))
}

/// Passes on what it warns of. What it says of a failure comes as an event, too, and is told from that.
async fn relay(from: &mut Option<Split<BufReader<ChildStderr>>>, output: &Output) {
    let line = match from {
        Some(lines) => lines.next_segment().await.ok().flatten(),
        None => std::future::pending().await,
    };
    let Some(line) = line else {
        *from = None;
        return;
    };
    let line = String::from_utf8_lossy(&line);
    if line.starts_with("warning: ") {
        output.note(&shown(&line));
    }
}

fn pass_on(supervisor: &Child, signal: Signal) {
    if let Some(pid) = supervisor
        .id()
        .and_then(|id| Pid::from_raw(id.cast_signed()))
    {
        // It isn't waited for yet, so the number is still its own.
        let _ = kill_process(pid, signal);
    }
}

fn say_ready(event: &Value, took: Duration, state_dir: Option<&Path>, output: &Output) {
    let text = |key: &str| shown(event[key].as_str().unwrap_or_default());
    let ready = match event["reused"].as_bool() {
        Some(true) => "is there already".to_owned(),
        _ => format!("{} in {}", paint(GOOD, "ready"), duration::words(took)),
    };
    output.result(&format!(
        "{}  {ready}  {}  (pid {})",
        text("name"),
        text("url").trim_end_matches('/'),
        event["pid"],
    ));
    let selector = match state_dir {
        Some(dir) => shown(&place::state_dir_option(dir)),
        None => text("name"),
    };
    output.note(&format!(
        "stop it with daymark stop {selector}; daymark logs {selector} shows what it says"
    ));
}

/// The failure that it told of.
fn failure(event: &Value) -> Failure {
    let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let exit = event["exit"].as_u64().and_then(|code| code.try_into().ok());
    let mut failure = Failure::new(
        exit.map_or(Exit::RunnerFailed, Exit::Of),
        text("reason"),
        text("hint"),
    );
    let lines = event["log"].as_array().into_iter().flatten();
    failure.lines = lines
        .filter_map(|line| line.as_str().map(str::to_owned))
        .collect();
    failure
}

fn cannot_detach(error: &io::Error) -> Failure {
    Failure::new(
        Exit::RunnerFailed,
        format!("cannot start the supervisor: {error}"),
        "this machine may be short of memory, processes or open files",
    )
}
