//! What has kept a server from being ready, for whoever must say why it took too long.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;

use super::probe::Failed;

/// The last thing that kept a server from being ready. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Trouble(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    last: Option<Problem>,
    /// Explains why nobody is where somebody should be.
    elsewhere: Option<Problem>,
}

impl Trouble {
    /// What it was; none where nothing was tried yet.
    #[must_use]
    pub(super) fn last(&self) -> Option<Problem> {
        let seen = self.seen();
        let explains = seen.last.as_ref().is_some_and(Problem::is_absence);
        let explanation = seen.elsewhere.as_ref().filter(|_| explains);
        explanation.or(seen.last.as_ref()).cloned()
    }

    pub(super) fn is(&self, problem: Problem) {
        self.seen().last = Some(problem);
    }

    /// Says where it is instead, for as long as it isn't where it should be.
    pub(super) fn is_elsewhere(&self, elsewhere: Option<Problem>) {
        self.seen().elsewhere = elsewhere;
    }

    /// Whether nobody was where somebody should be.
    pub(super) fn is_absence(&self) -> bool {
        self.seen().last.as_ref().is_some_and(Problem::is_absence)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a server was to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// On this port.
    Port {
        port: u16,
        /// Whether it stands in its arguments.
        is_passed: bool,
    },
    /// On the socket that it was handed.
    Socket,
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port { port, .. } => write!(f, "{port}"),
            Self::Socket => f.write_str("the socket it was passed"),
        }
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
        /// Where it was told to.
        given: Given,
        /// The port on which it can be reached.
        found: u16,
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
    #[error("{what} has not been answered")]
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
    const fn is_absence(&self) -> bool {
        matches!(self, Self::NothingListens { .. } | Self::NotAccepted { .. })
    }

    /// What can be done about it, where something can.
    #[must_use]
    pub(super) fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Elsewhere { given, .. } => match given {
                Given::Port {
                    is_passed: false, ..
                } => {
                    "pass it the port, for instance as `--port {port}`, or read its own from what it prints with \
                     --ready 'log:REGEX' and a group named port"
                }
                Given::Port { .. } => {
                    "make it fail when its port is taken, rather than move to another one"
                }
                Given::Socket => {
                    "tell it to serve on descriptor 3, or leave --listen fd out and pass it the port as `{port}`"
                }
            },
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
            Failed::Broken(error) => Self::Broken { what, error },
        }
    }
}
