//! What has kept a server from being ready, for whoever must say why it took too long.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;

use super::probe::Failed;

/// The last thing that kept a server from being ready. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble(Arc<Mutex<Option<Problem>>>);

impl Trouble {
    /// What it was; none where nothing was tried yet.
    #[must_use]
    pub(super) fn last(&self) -> Option<Problem> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn is(&self, problem: Problem) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(problem);
    }
}

/// Why a server isn't ready yet.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub(super) enum Problem {
    /// Nobody listens.
    #[error("nothing listens on port {port}")]
    NothingListens {
        /// The port that was given.
        port: u16,
    },
    /// It listens, but not where it was told.
    #[error("it listens on {found}, not on {given}")]
    Elsewhere {
        /// The port that was given.
        given: u16,
        /// The port on which it can be reached.
        found: u16,
        /// Whether the one given stands in its arguments.
        port_is_passed: bool,
    },
    /// Somebody else answers.
    #[error("port {port} belongs to {holder}, which is not part of it")]
    Foreign {
        /// The port that was given.
        port: u16,
        /// Who that is, in words.
        holder: String,
    },
    /// It listens and accepts nobody.
    #[error("it has not accepted a connection to {addr}")]
    NotAccepted {
        /// Where.
        addr: SocketAddr,
    },
    /// It doesn't answer.
    #[error("{what} was not answered in time")]
    Silent {
        /// What was asked.
        what: String,
    },
    /// It answers in another language, or hangs up.
    #[error("{what} failed: {error}")]
    Broken {
        /// What was asked.
        what: String,
        /// What went wrong.
        error: String,
    },
    /// It answers that it isn't well.
    #[error("{what} was answered with {status}, not with {wanted}")]
    Status {
        /// What was asked.
        what: String,
        /// The answer.
        status: u16,
        /// What would have done, in words.
        wanted: String,
    },
    /// It has not said so.
    #[error("it has not sent READY=1 to NOTIFY_SOCKET")]
    NotSaid,
    /// It hasn't printed what it was to print.
    #[error("it has printed no line that matches {pattern}{}", if *.ended { ", and closed its output" } else { "" })]
    NotPrinted {
        /// The regular expression.
        pattern: String,
        /// Whether no more lines can come.
        ended: bool,
    },
}

impl Problem {
    /// What can be done about it, where something can.
    #[must_use]
    pub(super) fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Elsewhere {
                port_is_passed: false,
                ..
            } => {
                "pass it the port, for instance as `--port {port}`, or read its own from what it prints with \
                 --ready 'log:REGEX' and a group named port"
            }
            Self::Elsewhere { .. } => {
                "make it fail when its port is taken, rather than move to another one"
            }
            Self::Broken { .. } => "if it does not speak HTTP, use --ready tcp",
            Self::Status { .. } => "say which path tells that it is ready with --ready http:/PATH",
            Self::NotAccepted { .. } => {
                "--listen fd is only for servers that use the socket they are given"
            }
            Self::NotPrinted { .. } => {
                "what is written to a pipe may be held back by whoever writes it (python3 -u, stdbuf -oL); daymark logs \
                 shows what has come"
            }
            _ => return None,
        })
    }

    /// That an attempt at `addr` failed.
    pub(super) fn of(failed: Failed, what: impl fmt::Display, addr: SocketAddr) -> Self {
        let what = what.to_string();
        match failed {
            Failed::Unreachable => Self::NothingListens { port: addr.port() },
            Failed::NotAccepted => Self::NotAccepted { addr },
            Failed::Silent => Self::Silent { what },
            Failed::Broken(error) => Self::Broken { what, error },
        }
    }
}
