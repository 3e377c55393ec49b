//! Errors of the library, as one sentence that says what failed and one hint that says what to do.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use daymark_core::http_server::ServeError;
use daymark_core::port_picker::PickError;
use daymark_core::state_store::{AcquireError, PublishError};

use crate::{
    ConnectError, InvalidName, Leftover, LinkError, PlaceError, Presence, RestartServerError,
    Sighting, StartError, StopCause, StopReport, StopServerError, directories,
};

use super::args::Awaited;
use super::duration::words;
use super::exit::{Exit, Failure};
use super::place::{Target, label_of};
use super::seen;

/// The error with all its causes.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn failed(error: &dyn Error, hint: impl Into<String>) -> Failure {
    Failure::new(Exit::Failed, chain(error), hint)
}

/// What to do about an error of the file system where the state is.
fn about_files(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::ReadOnlyFilesystem => {
            "the file system is read-only; name a directory on another one: --state-dir DIR"
        }
        ErrorKind::StorageFull => {
            "the disk is full; make room, or name a directory elsewhere: --state-dir DIR"
        }
        ErrorKind::QuotaExceeded => {
            "your quota is used up; make room, or name a directory elsewhere: --state-dir DIR"
        }
        ErrorKind::PermissionDenied => {
            "make it yours to write, or name a directory of your own: --state-dir DIR"
        }
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            "something on the way there is not a directory; remove it, or name another: --state-dir DIR"
        }
        ErrorKind::IsADirectory | ErrorKind::DirectoryNotEmpty => {
            "a directory is in the way; remove it, or name another state directory: --state-dir DIR"
        }
        _ => "name another directory: --state-dir DIR",
    }
}

pub(super) fn invalid_name(error: &InvalidName) -> Failure {
    Failure::new(
        Exit::Usage,
        error.to_string(),
        "choose another one, such as my-app",
    )
}

/// Why the places of servers can't be told.
pub(super) fn no_directories(error: &io::Error) -> Failure {
    let what = match directories::state_root() {
        Ok(root) => format!("read {}", root.display()),
        Err(_) => "find the state directory".to_owned(),
    };
    Failure::new(
        Exit::Failed,
        format!("cannot {what}: {error}"),
        match error.kind() {
            ErrorKind::NotFound => "set HOME, or name a directory: --state-dir DIR",
            _ => about_files(error),
        },
    )
}

pub(super) fn place(error: &PlaceError) -> Failure {
    match error {
        PlaceError::InvalidName(error) => invalid_name(error),
        PlaceError::Directories(source) => no_directories(source),
    }
}

/// Why a log can't be read.
pub(super) fn log(error: &io::Error, path: &Path) -> Failure {
    Failure::new(
        Exit::Failed,
        format!("cannot read {}: {error}", path.display()),
        "see what is there; only files that daymark run has made are read",
    )
}

pub(super) fn no_runtime(error: &io::Error) -> Failure {
    failed(
        error,
        "this machine may be short of memory, threads or open files",
    )
}

pub(super) fn browser(error: &io::Error, selector: &str) -> Failure {
    let hint = format!("open what daymark url --with-token {selector} prints, by hand");
    Failure::new(
        Exit::Failed,
        format!("cannot open the browser: {error}"),
        hint,
    )
}

/// Why the ownership of `name`'s place can't be had.
pub(super) fn acquire(error: &AcquireError, name: &str) -> Failure {
    match error {
        AcquireError::Busy(_) => Failure::new(
            Exit::AlreadyRunning,
            format!("cannot own the place of {name}: {error}"),
            format!("daymark status {name} says what it is doing; daymark stop {name} ends it"),
        ),
        AcquireError::Unsafe { remedy, .. } => failed(error, remedy.as_str()),
        AcquireError::NoLocks { .. } => {
            failed(error, "name a directory on a local disk: --state-dir DIR")
        }
        AcquireError::Io { source, .. } => failed(error, about_files(source)),
        _ => failed(error, "daymark doctor looks for what is wrong"),
    }
}

/// Why a server didn't start. `selector` names it on a command line.
pub(super) fn start(error: &StartError, name: &str, selector: &str) -> Failure {
    if let Some(record) = error.already_running() {
        return Failure::new(
            Exit::AlreadyRunning,
            format!("{name} is already running at {}", record.endpoint.url()),
            format!("use that one (daymark url {selector}), or end it (daymark stop {selector})"),
        );
    }
    match error {
        StartError::Acquire(error) => acquire(error, selector),
        StartError::Pick(PickError::PortTaken { .. }) => failed(
            error,
            "choose another port with -p PORT, or any free one with -p 0",
        ),
        StartError::Pick(PickError::Bind { source, .. })
            if source.kind() == ErrorKind::PermissionDenied =>
        {
            failed(
                error,
                "choose a port from 1024 on, or any free one with -p 0",
            )
        }
        StartError::Pick(PickError::Orphans { pids }) => {
            let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
            let pids = pids.join(",");
            failed(
                error,
                format!(
                    "ps -o pid,stat,user,args -p {pids} shows what they are, and what keeps them"
                ),
            )
        }
        StartError::Pick(PickError::Inherited { .. }) => failed(
            error,
            "pass one listening TCP socket on 127.0.0.1 or [::1] in LISTEN_FDS, or none",
        ),
        StartError::Publish(PublishError::Io { source, .. }) => failed(error, about_files(source)),
        StartError::Setup { action, source } if *action == "find the state directory" => {
            no_directories(source)
        }
        StartError::InvalidName(error) => invalid_name(error),
        StartError::TimedOut { after, trouble } => Failure::new(
            Exit::TimedOut,
            format!(
                "{name} was not ready within {}{}",
                words(*after),
                trouble
                    .as_ref()
                    .map(|t| format!(": {t}"))
                    .unwrap_or_default()
            ),
            format!("daymark doctor {selector} looks for what is slow or in the way"),
        ),
        StartError::Serve(ServeError::NotReady(trouble)) => failed(
            error,
            match &trouble.remedy {
                Some(remedy) => remedy,
                None => "something on this machine may be in the way of connections to 127.0.0.1",
            },
        ),
        _ => failed(error, "daymark doctor looks for what is wrong"),
    }
}

#[cfg(not(unix))]
pub(super) fn no_supervision() -> Failure {
    Failure::new(
        Exit::RunnerFailed,
        "daymark run is not there for this system yet",
        "embed the library, or run the server by itself",
    )
}

/// What a stop left behind.
pub(super) fn unclean(report: &StopReport) -> Option<Failure> {
    let left = report.left.first()?;
    Some(match left {
        Leftover::Record(error) | Leftover::Ownership(error) => Failure::new(
            Exit::Failed,
            format!("stopped, but {}", chain(left)),
            format!(
                "nobody believes it any more; {}",
                about_files(&error.source)
            ),
        ),
        Leftover::Processes(_) => Failure::new(
            Exit::Failed,
            format!("stopped, but {left}"),
            "they belong to another user (sudo?): end them as that user",
        ),
        Leftover::Server => Failure::new(
            Exit::Failed,
            format!("stopped, but {left}"),
            "see with ps what it waits for",
        ),
        _ => Failure::new(
            Exit::Failed,
            format!("stopped, but {left}"),
            "see whether the disk is in order",
        ),
    })
}

/// Why a server that was ready has ended, unless it was asked to.
pub(super) fn cause(cause: &StopCause, selector: &str) -> Option<Failure> {
    match cause {
        StopCause::ServerEnded(reason) => Some(Failure::new(
            Exit::Failed,
            format!("the server ended by itself: {reason}"),
            "start it anew",
        )),
        StopCause::OwnershipLost => Some(Failure::new(
            Exit::Failed,
            "another server has taken the place of this one, whose lock file was removed",
            format!("daymark status {selector} shows it; never remove server.lock"),
        )),
        _ => None,
    }
}

pub(super) fn link(error: &LinkError, selector: &str) -> Failure {
    match error {
        LinkError::Connect(error) => connect(error, selector),
        _ => no_link(&chain(error), selector),
    }
}

pub(super) fn no_link(why: &str, selector: &str) -> Failure {
    Failure::new(
        Exit::Failed,
        format!("there is no link for a browser: {why}"),
        format!("if that stays so: daymark stop {selector}, then start it anew"),
    )
}

pub(super) fn connect(error: &ConnectError, selector: &str) -> Failure {
    match error {
        ConnectError::NotLive(sighting) => seen::not_live(sighting, selector),
        ConnectError::Place(error) => place(error),
        ConnectError::NotOwner(_) | ConnectError::ForeignSocket { .. } => Failure::new(
            Exit::NotRunning,
            format!("the token was sent to nobody: {}", chain(error)),
            format!("daymark status {selector} says more"),
        ),
        ConnectError::WentAway => Failure::new(
            Exit::NotRunning,
            chain(error),
            format!("daymark wait {selector}, then try again"),
        ),
        _ => Failure::new(
            Exit::NotRunning,
            chain(error),
            format!("it is alive and does not answer: daymark stop {selector}, then start it anew"),
        ),
    }
}

pub(super) fn not_stopped(error: &StopServerError, target: &Target) -> Failure {
    let name = target.label();
    let sentence = format!("{name} is not stopped: {}", chain(error));
    let selector = &target.selector;
    let hint = match error {
        StopServerError::NotProven { .. } => {
            "stop it where it runs, or by whoever started it".to_owned()
        }
        StopServerError::StillThere(sighting) => match sighting.presence {
            Presence::Live => {
                format!("give it longer with --drain, or kill it: daymark stop --force {selector}")
            }
            Presence::Corrupt => format!(
                "remove server.json in {}: its owner puts it right, and can be stopped then",
                sighting.state_dir.display()
            ),
            _ => "give it longer with --drain".to_owned(),
        },
        _ => format!("daymark doctor {selector} looks for what is wrong"),
    };
    Failure::new(Exit::Failed, sentence, hint)
}

pub(super) fn not_restarted(error: &RestartServerError, target: &Target) -> Failure {
    let name = target.label();
    let selector = &target.selector;
    if let RestartServerError::NotLive(sighting) = error {
        return seen::not_live(sighting, selector);
    }
    let (exit, hint) = match error {
        RestartServerError::TimedOut(_) => (
            Exit::TimedOut,
            format!("wait longer with --timeout; daymark logs {selector} shows what it says"),
        ),
        RestartServerError::NotSupervised => (
            Exit::Failed,
            "daymark run can restart what it runs; what runs by itself is stopped and started"
                .to_owned(),
        ),
        RestartServerError::NotProven(_) => (
            Exit::Failed,
            "restart it where it runs, or by whoever started it".to_owned(),
        ),
        _ => (
            Exit::Failed,
            format!("daymark logs {selector} shows what it said"),
        ),
    };
    let reason = match error {
        RestartServerError::TimedOut(after) => format!("it is not back within {}", words(*after)),
        _ => chain(error),
    };
    let sentence = format!("{name} is not restarted: {reason}");
    Failure::new(exit, sentence, hint)
}

pub(super) fn waited(
    after: Duration,
    last: &Sighting,
    wanted: Awaited,
    target: &Target,
) -> Failure {
    let reason = match &last.reason {
        Some(reason) => format!(" ({reason})"),
        None => String::new(),
    };
    let wanted_word = match wanted {
        Awaited::Ready => "ready",
        Awaited::Down => "down",
    };
    let sentence = format!(
        "{} was not {wanted_word} within {}: it is {}{reason}",
        label_of(last),
        words(after),
        last.presence,
    );
    let hint = match wanted {
        Awaited::Ready => "start it, or wait longer with --timeout".to_owned(),
        Awaited::Down => format!(
            "daymark stop {}, or wait longer with --timeout",
            target.selector
        ),
    };
    Failure::new(Exit::TimedOut, sentence, hint)
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
