//! When a child may be published: what has to be seen, and the waiting for it.
//!
//! It knows no deadline: who waits drops the future, and asks [`Trouble`] what was wrong. It never believes a port alone.
//! With a port that the child was told, the listening socket must be one of its tree; with a socket that it was handed,
//! nobody else can accept, so an answer or an accepted connection is the proof.

use std::num::NonZeroU16;

use daymark_core::record::Endpoint;
use http::uri::PathAndQuery;
use regex::Regex;
use thiserror::Error;
use tokio::sync::mpsc;

use super::notify::NotifySocket;
use super::search::{Question, Search, Wanted};
use super::sockets::Tree;
use super::streams::Warn;
use super::trouble::{Problem, Trouble};
use super::wish::{Handover, Readiness, Wish};

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

/// What a line says to who waits for one that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// Nothing; also if what should be a port is none.
    Nothing,
    /// It is ready.
    Ready,
    /// It is ready, and has this port.
    Port(NonZeroU16),
}

impl Said {
    /// What `line` says.
    #[must_use]
    pub fn by(line: &str, pattern: &Regex) -> Self {
        let Some(found) = pattern.captures(line) else {
            return Self::Nothing;
        };
        match found.name("port").map(|port| port.as_str().parse()) {
            None => Self::Ready,
            Some(Ok(port)) => Self::Port(port),
            Some(Err(_)) => Self::Nothing,
        }
    }
}

/// Waits for a line that matches, and gives the port in it.
async fn printed(
    pattern: &Regex,
    lines: Option<mpsc::Receiver<String>>,
    trouble: &Trouble,
) -> Option<NonZeroU16> {
    let unmatched = |ended| Problem::NotPrinted {
        pattern: pattern.to_string(),
        ended,
    };
    trouble.is(unmatched(false));
    if let Some(mut lines) = lines {
        while let Some(line) = lines.recv().await {
            match Said::by(&line, pattern) {
                Said::Nothing => {}
                Said::Ready => return None,
                Said::Port(port) => return Some(port),
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
