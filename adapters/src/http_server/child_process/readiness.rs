//! When a child may be published: what has to be seen, and the waiting for it.
//!
//! It knows no deadline: who waits drops the future, and asks [`Trouble`] what was wrong. It never believes a port alone.
//! With a port that the child was told, the listening socket must be one of its tree; with a socket that it was handed,
//! nobody else can accept, so an answer or an accepted connection is the proof.

use std::str::FromStr;
use std::time::Duration;

use daymark_core::record::Endpoint;
use http::StatusCode;
use http::uri::PathAndQuery;
use regex::Regex;
use thiserror::Error;
use tokio::sync::mpsc;

use super::notify::NotifySocket;
use super::search::{Question, Search, Wanted};
use super::sockets::Tree;
use super::streams::Warn;
use super::trouble::{Problem, Trouble};

/// What has to be seen before a server counts as ready.
#[derive(Clone, Debug, Default)]
pub enum Readiness {
    /// A GET of `/` is answered with anything below 500.
    #[default]
    Auto,
    /// Connections are accepted.
    Tcp,
    /// A GET of this path is answered with this status, or else with one from 200 to 399.
    Http(PathAndQuery, Option<StatusCode>),
    /// It says `READY=1` (sd_notify(3)); then its port accepts connections.
    Notify,
    /// It prints a line that matches; then its port accepts connections. With a group named `port`, that is its port, unless
    /// it was handed a socket.
    Log(Regex),
}

/// Not a way of being ready.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum InvalidReadiness {
    /// None of the words.
    #[error("{0:?} is none of auto, tcp, http:/PATH, http:/PATH=STATUS, notify, log:REGEX")]
    Unknown(String),
    /// No path, or one that no request could have.
    #[error("{0:?} is not a path that starts with a slash")]
    Path(String),
    /// Not a regular expression.
    #[error("the regular expression is not valid")]
    Regex(#[from] regex::Error),
}

/// `http:/path=204` wants exactly that status. A query that ends so itself needs the status written out: `/?id=200=200`.
impl FromStr for Readiness {
    type Err = InvalidReadiness;

    fn from_str(text: &str) -> Result<Self, InvalidReadiness> {
        match (text, text.split_once(':')) {
            ("auto", _) => Ok(Self::Auto),
            ("tcp", _) => Ok(Self::Tcp),
            ("notify", _) => Ok(Self::Notify),
            (_, Some(("log", pattern))) => Ok(Self::Log(Regex::new(pattern)?)),
            (_, Some(("http", request))) => {
                let split = request.rsplit_once('=').and_then(|(path, status)| {
                    let status = StatusCode::from_bytes(status.as_bytes()).ok()?;
                    Some((path, Some(status)))
                });
                let (path, status) = split.unwrap_or((request, None));
                let invalid = || InvalidReadiness::Path(path.to_owned());
                let parsed: PathAndQuery = path.parse().map_err(|_| invalid())?;
                match path.starts_with('/') && parsed.as_str() == path {
                    true => Ok(Self::Http(parsed, status)),
                    false => Err(invalid()),
                }
            }
            _ => Err(InvalidReadiness::Unknown(text.to_owned())),
        }
    }
}

/// How a server gets its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handover {
    /// As a listening socket.
    Socket,
    /// As a number, which is held for it.
    Number,
}

/// What is waited for, and where.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) readiness: Readiness,
    pub(super) handover: Handover,
    /// Where the server was told to listen, or where the socket does that it got.
    pub(super) endpoint: Endpoint,
    /// Whether the port stands in the server's arguments.
    pub(super) port_is_passed: bool,
    pub(super) pace: Pace,
}

/// How long what takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Between the first attempts. It doubles.
    pub(super) first: Duration,
    /// Between later ones, where nobody listens.
    pub(super) later: Duration,
    /// Between later ones, where somebody answers.
    pub(super) answered: Duration,
    /// How long an attempt may take until another one is made beside it.
    pub(super) anew: Duration,
    /// How long an attempt may take until that is a trouble.
    pub(super) silence: Duration,
    /// Between two looks at what the trouble is.
    pub(super) look: Duration,
    /// How long another port has to answer before there is a warning.
    pub(super) elsewhere: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(5),
            later: Duration::from_millis(25),
            answered: Duration::from_millis(100),
            anew: Duration::from_secs(10),
            silence: Duration::from_millis(100),
            look: Duration::from_millis(500),
            elsewhere: Duration::from_secs(5),
        }
    }
}

/// Why it makes no sense to wait any longer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(super) enum NotReady {
    /// `READY=1` can't be heard.
    #[error("cannot hear READY=1")]
    Notify(#[source] std::io::Error),
}

/// Waits until the server may be published, and says where.
///
/// `lines` is what it prints, `notify` where it may say so; each is needed by one way of being ready only. It may take long
/// to be ready, and have another port open until then: so that is no reason to give up, and is warned of once.
pub(super) async fn wait_until_ready(
    wish: &Wish,
    tree: Tree,
    lines: Option<mpsc::Receiver<String>>,
    notify: Option<NotifySocket>,
    trouble: &Trouble,
    warn: &Warn,
) -> Result<Endpoint, NotReady> {
    let mut search = Search::new(wish, tree, trouble, warn);
    match &wish.readiness {
        Readiness::Auto => {
            search.question = Question::Get(PathAndQuery::from_static("/"), Wanted::Below500)
        }
        Readiness::Tcp => {}
        Readiness::Http(path, status) => {
            let wanted = status.map_or(Wanted::Success, Wanted::Exactly);
            search.question = Question::Get(path.clone(), wanted);
        }
        Readiness::Notify => {
            trouble.is(Problem::NotSaid);
            match notify {
                Some(socket) => socket.ready().await.map_err(NotReady::Notify)?,
                None => std::future::pending().await,
            }
            if wish.handover == Handover::Socket {
                return Ok(wish.endpoint);
            }
        }
        Readiness::Log(pattern) => {
            let own_port = printed(pattern, lines, trouble).await;
            if let (Some(port), Handover::Number) = (own_port, wish.handover) {
                search.endpoint = Endpoint::v4(port);
            }
        }
    }
    Ok(search.until_answered().await)
}

/// Waits for a line that matches, and gives the port in it. A line whose port is none is passed over.
async fn printed(
    pattern: &Regex,
    lines: Option<mpsc::Receiver<String>>,
    trouble: &Trouble,
) -> Option<std::num::NonZeroU16> {
    let unmatched = |ended| Problem::NotPrinted {
        pattern: pattern.to_string(),
        ended,
    };
    trouble.is(unmatched(false));
    if let Some(mut lines) = lines {
        while let Some(line) = lines.recv().await {
            let Some(found) = pattern.captures(&line) else {
                continue;
            };
            match found.name("port").map(|port| port.as_str().parse()) {
                None => return None,
                Some(Ok(port)) => return Some(port),
                Some(Err(_)) => {}
            }
        }
    }
    trouble.is(unmatched(true));
    // Whether that is an end is for whoever watches the process to say.
    std::future::pending().await
}

#[cfg(test)]
#[path = "readiness_tests.rs"]
mod tests;
