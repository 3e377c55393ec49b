//! What is wished for: how a child gets its port, what it has to show before it is published, and at which pace to look.

use std::str::FromStr;
use std::time::Duration;

use daymark_core::record::Endpoint;
use http::StatusCode;
use http::uri::PathAndQuery;
use regex::Regex;
use thiserror::Error;

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
    /// Between the first attempts. It grows by half each time.
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
            first: Duration::from_millis(1),
            later: Duration::from_millis(25),
            answered: Duration::from_millis(100),
            anew: Duration::from_secs(10),
            silence: Duration::from_millis(100),
            look: Duration::from_millis(500),
            elsewhere: Duration::from_secs(5),
        }
    }
}
