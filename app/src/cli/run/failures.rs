//! What goes wrong with a command that is run, as one sentence and one hint.

use daymark_adapters::http_server::InvalidReadiness;

use crate::cli::args::Listen;
use crate::cli::exit::{Exit, Failure};
use crate::cli::explain;
use crate::{Signal, StartError, StopCause};

pub(super) fn invalid_readiness(error: InvalidReadiness) -> Failure {
    Failure::new(
        Exit::Usage,
        format!("--ready: {}", one_line(&explain::chain(&error))),
        "for instance --ready http:/health=200, or --ready 'log:listening on port (?<port>[0-9]+)'",
    )
}

/// Why a command that was to be run isn't, or not as it should be. `lines` is what it printed last, `listen` how it was to
/// get its port.
pub(super) fn not_started(
    error: &StartError,
    name: &str,
    selector: &str,
    lines: Vec<String>,
    listen: Listen,
) -> Failure {
    let mut failure = explain::start(error, name, selector);
    match error {
        StartError::ServerEnded(end) => {
            failure.sentence = format!("{end} before it was ready");
            failure.exit = end.exit_code.map_or(Exit::RunnerFailed, Exit::Of);
            failure.hint = match end.exit_code {
                Some(0) => {
                    "it must stay in the foreground: look for an option that keeps it there; in a shell script, exec it"
                }
                Some(126 | 127) => "check the command after --, and what its first line says (#!)",
                _ if listen == Listen::Number && lines.iter().any(|line| tells_of_a_port_in_use(line)) => {
                    "if that is the port it was given: it is held for it with SO_REUSEADDR, which the server must set as \
                     well; else use --listen fd, or let it choose a port and tell it with --ready 'log:REGEX'"
                }
                _ => "what it printed last says why",
            }
            .to_owned();
            if end.exit_code == Some(0) {
                failure.exit = Exit::RunnerFailed;
            }
        }
        StartError::TimedOut { trouble, .. } => {
            let remedy = trouble.as_ref().and_then(|trouble| trouble.remedy.clone());
            failure.hint = remedy.unwrap_or_else(|| {
                "give it longer with --ready-timeout, or say with --ready how it shows that it is ready"
                    .to_owned()
            });
        }
        _ if failure.exit == Exit::AlreadyRunning => {
            failure.hint = format!(
                "use that one with --reuse, or end it with --replace (or daymark stop {selector})"
            );
        }
        _ => {}
    }
    if failure.exit == Exit::Failed {
        failure.exit = Exit::RunnerFailed;
    }
    failure.lines = lines;
    failure
}

/// `Address already in use` in most languages, `EADDRINUSE` in Node, `Connection in use` in gunicorn.
fn tells_of_a_port_in_use(line: &str) -> bool {
    line.contains(" in use") || line.contains("EADDRINUSE")
}

/// Why a command that was ready has ended, unless it was asked to or its exit code is 0.
pub(super) fn ended(stopped: &StopCause, selector: &str) -> Option<Failure> {
    let mut failure = explain::cause(stopped, selector)?;
    match stopped {
        StopCause::ServerEnded(end) if end.exit_code == Some(0) => return None,
        StopCause::ServerEnded(end) => {
            failure.sentence = end.to_string();
            failure.exit = end.exit_code.map_or(Exit::RunnerFailed, Exit::Of);
            failure.hint = format!(
                "daymark logs {selector} shows what it said; see --restart to have it started again"
            );
        }
        _ => failure.exit = Exit::RunnerFailed,
    }
    Some(failure)
}

/// That a signal came while the server that is there was being stopped.
pub(super) fn interrupted(signal: Signal, selector: &str) -> Failure {
    Failure::new(
        match signal {
            Signal::Interrupt => Exit::Interrupted,
            Signal::Hangup => Exit::Of(128 + 1),
            Signal::Terminate => Exit::Of(128 + 15),
        },
        "told to end before the other one was gone",
        format!("daymark status {selector} shows what is there"),
    )
}

/// A regular expression's error draws a picture; its last line says what is wrong.
fn one_line(text: &str) -> String {
    match text.split_once(": regex parse error:") {
        Some((first, picture)) => {
            let last = picture.lines().next_back().unwrap_or_default();
            format!("{first}: {}", last.trim_start_matches("error: "))
        }
        None => text.to_owned(),
    }
}
