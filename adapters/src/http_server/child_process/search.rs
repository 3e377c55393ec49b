//! Asking a server until the answer is right: where, whose it is, and what is wrong meanwhile.

use std::fmt;
use std::net::SocketAddr;
use std::pin::pin;

use daymark_core::record::Endpoint;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::StatusCode;
use http::uri::PathAndQuery;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::probe;
use super::sockets::{self, Tree, Verdict};
use super::streams::Warn;
use super::trouble::{Problem, Trouble};
use super::wish::{Handover, Pace, Wish};

/// What is asked of a server.
#[derive(Clone, Debug)]
pub(super) enum Question {
    Connect,
    Get(PathAndQuery, Wanted),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    Below500,
    Success,
    Exactly(StatusCode),
}

impl Wanted {
    pub(super) fn accepts(self, status: StatusCode) -> bool {
        match self {
            Self::Below500 => status.as_u16() < 500,
            Self::Success => (200..400).contains(&status.as_u16()),
            Self::Exactly(wanted) => status == wanted,
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Below500 => f.write_str("anything below 500"),
            Self::Success => f.write_str("200 to 399"),
            Self::Exactly(wanted) => write!(f, "{}", wanted.as_u16()),
        }
    }
}

/// Attempts until one succeeds.
pub(super) struct Search<'a> {
    pub(super) question: Question,
    pub(super) endpoint: Endpoint,
    pub(super) handover: Handover,
    pub(super) tree: Tree,
    pub(super) port_is_passed: bool,
    pub(super) pace: Pace,
    pub(super) trouble: &'a Trouble,
    pub(super) warn: &'a Warn,
}

impl<'a> Search<'a> {
    pub(super) fn new(wish: &Wish, tree: Tree, trouble: &'a Trouble, warn: &'a Warn) -> Self {
        Self {
            question: Question::Connect,
            endpoint: wish.endpoint,
            handover: wish.handover,
            tree,
            port_is_passed: wish.port_is_passed,
            pace: wish.pace,
            trouble,
            warn,
        }
    }

    pub(super) async fn until_answered(&self) -> Endpoint {
        tokio::select! {
            endpoint = self.ask() => endpoint,
            never = self.look_elsewhere() => match never {},
        }
    }

    /// However long a first answer takes, it counts. The question is put anew beside it, in case it was lost on somebody who
    /// won't answer any more, but ever less often.
    async fn ask(&self) -> Endpoint {
        let mut attempts = FuturesUnordered::new();
        let (mut pause, mut patience) = (self.pace.first, self.pace.anew);
        loop {
            attempts.push(self.attempt());
            let problem = match timeout(patience, attempts.next()).await {
                Ok(Some(Ok(endpoint))) => return endpoint,
                Ok(Some(Err(problem))) => problem,
                Ok(None) => continue,
                Err(_) => {
                    patience *= 2;
                    continue;
                }
            };
            // An answer costs somebody something.
            let longest = match problem {
                Problem::NothingListens { .. } => self.pace.later,
                _ => self.pace.answered,
            };
            self.trouble.is(problem);
            pause = pause.min(longest);
            sleep(pause).await;
            pause = pause * 3 / 2;
        }
    }

    /// One attempt at each address. What the first one that is listened on did wrong is what counts.
    async fn attempt(&self) -> Result<Endpoint, Problem> {
        let port = self.endpoint.port();
        let places = match self.handover {
            Handover::Socket => vec![self.endpoint],
            Handover::Number => vec![Endpoint::v4(port), Endpoint::v6(port)],
        };
        let mut worst = Problem::NothingListens { port: port.get() };
        for endpoint in places {
            match self.attempt_at(endpoint.addr()).await {
                Ok(()) => return Ok(endpoint),
                Err(problem) if matches!(worst, Problem::NothingListens { .. }) => worst = problem,
                Err(_) => {}
            }
        }
        Err(worst)
    }

    async fn attempt_at(&self, addr: SocketAddr) -> Result<(), Problem> {
        let what = match &self.question {
            Question::Connect => format!("a connection to {addr}"),
            Question::Get(path, _) => format!("GET http://{addr}{path}"),
        };
        let failed = |failed| Problem::of(failed, &what, addr);
        let connecting = self.patiently(probe::connect(addr), &what, addr, None);
        let stream = connecting.await.map_err(failed)?;
        let own = stream.local_addr().ok();
        match (&self.question, self.handover) {
            (Question::Connect, Handover::Number) => {}
            (Question::Connect, Handover::Socket) => {
                let accepted = probe::accepted(stream, addr);
                let accepted = self.patiently(accepted, &what, addr, own).await;
                accepted.map_err(failed)?;
            }
            (Question::Get(path, wanted), _) => {
                let answer = probe::get(stream, addr, path);
                match self.patiently(answer, &what, addr, own).await {
                    Ok(status) if wanted.accepts(status) => {}
                    answer => {
                        // Whose answer that was matters more than what it was.
                        self.is_ours(addr).await?;
                        return Err(match answer {
                            Ok(status) => Problem::Status {
                                what,
                                status: status.as_u16(),
                                wanted: wanted.to_string(),
                            },
                            Err(error) => failed(error),
                        });
                    }
                }
            }
        }
        self.is_ours(addr).await
    }

    /// Waits as long as it takes, and says meanwhile what the trouble is. `own` is our end of a connection that stands.
    async fn patiently<T>(
        &self,
        answer: impl Future<Output = T>,
        what: &str,
        addr: SocketAddr,
        own: Option<SocketAddr>,
    ) -> T {
        let mut answer = pin!(answer);
        let mut patience = self.pace.silence;
        loop {
            if let Ok(answer) = timeout(patience, &mut answer).await {
                return answer;
            }
            self.trouble.is(self.silence(what, addr, own).await);
            patience = self.pace.look;
        }
    }

    /// Why there is no answer yet.
    async fn silence(&self, what: &str, addr: SocketAddr, own: Option<SocketAddr>) -> Problem {
        let what = what.to_owned();
        let is_queued = match (self.handover, own) {
            (Handover::Number, _) => {
                let stranger = self.is_ours(addr).await.err();
                return stranger.unwrap_or(Problem::Silent { what });
            }
            // The queue is full.
            (Handover::Socket, None) => true,
            (Handover::Socket, Some(own)) => {
                let look = spawn_blocking(move || sockets::is_accepted(own, addr));
                matches!(look.await, Ok(Some(false)))
            }
        };
        match is_queued {
            true => Problem::NotAccepted { addr },
            false => Problem::Silent { what },
        }
    }

    async fn is_ours(&self, addr: SocketAddr) -> Result<(), Problem> {
        // Nobody but the tree has the socket that was handed over, save for us, who never accept.
        if self.handover == Handover::Socket {
            return Ok(());
        }
        let tree = self.tree;
        let verdict = spawn_blocking(move || sockets::verdict(addr, tree)).await;
        let port = addr.port();
        match verdict {
            Ok(Verdict::Ours | Verdict::Unknown) => Ok(()),
            Ok(Verdict::Foreign(holder)) => Err(Problem::Foreign { port, holder }),
            Ok(Verdict::Nobody) | Err(_) => Err(Problem::NothingListens { port }),
        }
    }
}
