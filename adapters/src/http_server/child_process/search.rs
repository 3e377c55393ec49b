//! Asking a server until the answer is right: where, whose it is, and what is wrong meanwhile.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::time::{Duration, Instant};

use daymark_core::record::Endpoint;
use futures_util::future::join_all;
use http::StatusCode;
use http::uri::PathAndQuery;
use tokio::time::timeout;

use super::probe::{self, Failed};
use super::readiness::{Handover, NotReady, Pace, Wish};
use super::sockets::{self, Tree, Verdict};
use super::trouble::{Problem, Trouble};

/// An attempt that takes longer is worth telling of.
const SLOW: Duration = Duration::from_millis(100);

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
    fn accepts(self, status: StatusCode) -> bool {
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
    handover: Handover,
    tree: Tree,
    port_is_passed: bool,
    /// Whether another port that answers is reason enough to stop waiting.
    pub(super) may_give_up: bool,
    pace: Pace,
    trouble: &'a Trouble,
    looked: Option<Instant>,
    /// The other port that answers, and since when.
    other: Option<(u16, Instant)>,
    /// Other ports of the tree that are known not to speak HTTP.
    no_http: BTreeSet<u16>,
}

impl<'a> Search<'a> {
    pub(super) fn new(wish: &Wish, tree: Tree, trouble: &'a Trouble) -> Self {
        Self {
            question: Question::Connect,
            endpoint: wish.endpoint,
            handover: wish.handover,
            tree,
            port_is_passed: wish.port_is_passed,
            may_give_up: !wish.port_is_passed,
            pace: wish.pace,
            trouble,
            looked: None,
            other: None,
            no_http: BTreeSet::new(),
        }
    }

    pub(super) async fn until_answered(mut self) -> Result<Endpoint, NotReady> {
        let mut pause = self.pace.first;
        loop {
            match self.attempt().await {
                Ok(endpoint) => return Ok(endpoint),
                Err(Problem::NothingListens { port }) if self.handover == Handover::Number => {
                    self.look_elsewhere(port).await?;
                }
                Err(problem) => {
                    self.other = None;
                    self.trouble.is(problem);
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(self.pace.later);
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
        match (&self.question, self.handover) {
            (Question::Connect, Handover::Socket) => {
                let accepted =
                    self.unless_slow(probe::accepted(addr), || Problem::NotAccepted { addr });
                accepted.await.map_err(|failed| {
                    Problem::of(failed, format_args!("a connection to {addr}"), addr)
                })?
            }
            (Question::Connect, Handover::Number) => {
                drop(probe::connect(addr).await.map_err(|failed| {
                    Problem::of(failed, format_args!("a connection to {addr}"), addr)
                })?)
            }
            (Question::Get(path, wanted), _) => {
                let what = format!("GET http://{addr}{path}");
                let silence = || Problem::Silent { what: what.clone() };
                match self.unless_slow(probe::get(addr, path), silence).await {
                    Ok(status) if wanted.accepts(status) => {}
                    failed => {
                        // Whose answer that was matters more than what it was.
                        self.is_ours(addr).await?;
                        return Err(match failed {
                            Ok(status) => Problem::Status {
                                what,
                                status: status.as_u16(),
                                wanted: wanted.to_string(),
                            },
                            Err(failed) => Problem::of(failed, what, addr),
                        });
                    }
                }
            }
        }
        self.is_ours(addr).await
    }

    /// Awaits an attempt. If that takes a while, it may be what keeps us when time is up.
    async fn unless_slow<T>(
        &self,
        attempt: impl Future<Output = T>,
        problem: impl FnOnce() -> Problem,
    ) -> T {
        let mut attempt = pin!(attempt);
        match timeout(SLOW, &mut attempt).await {
            Ok(done) => done,
            Err(_) => {
                self.trouble.is(problem());
                attempt.await
            }
        }
    }

    async fn is_ours(&self, addr: SocketAddr) -> Result<(), Problem> {
        // Nobody but the tree has the socket that was handed over, save for us, who never accept.
        if self.handover == Handover::Socket {
            return Ok(());
        }
        let tree = self.tree;
        let verdict = tokio::task::spawn_blocking(move || sockets::verdict(addr, tree)).await;
        let port = addr.port();
        match verdict {
            Ok(Verdict::Ours | Verdict::Unknown) => Ok(()),
            Ok(Verdict::Foreign(holder)) => Err(Problem::Foreign { port, holder }),
            Ok(Verdict::Nobody) | Err(_) => Err(Problem::NothingListens { port }),
        }
    }

    /// The first of these ports that answers as a web server does. What speaks no HTTP is asked once: some complain of it.
    async fn serving_one(&mut self, ports: &BTreeSet<u16>) -> Option<u16> {
        let asked = ports.difference(&self.no_http).map(|&port| kind_of(port));
        let kinds = join_all(asked).await;
        let of = |kind| kinds.iter().filter(move |k| k.1 == kind).map(|k| k.0);
        self.no_http.extend(of(Kind::NoHttp));
        of(Kind::Serves).next()
    }

    /// Where nobody listens on the port that was given: does the tree serve on another one?
    async fn look_elsewhere(&mut self, given: u16) -> Result<(), NotReady> {
        if self.looked.is_some_and(|at| at.elapsed() < self.pace.look) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        let tree = self.tree;
        let found = tokio::task::spawn_blocking(move || sockets::ports_of(tree, given)).await;
        let found = found.unwrap_or_default();
        let port_is_passed = self.port_is_passed;
        let elsewhere = |found| Problem::Elsewhere {
            given,
            found,
            port_is_passed,
        };
        let serving = self.serving_one(&found).await;
        self.trouble.is(match serving.or(found.first().copied()) {
            Some(port) => elsewhere(port),
            None => Problem::NothingListens { port: given },
        });
        // Ports for debuggers and the like are not what a slow start is to be judged by: they don't answer like this.
        self.other = serving.map(|port| match self.other {
            Some((same, since)) if same == port => (port, since),
            _ => (port, Instant::now()),
        });
        match self.other {
            Some((port, since)) if self.may_give_up && since.elapsed() >= self.pace.elsewhere => {
                Err(NotReady::Elsewhere(elsewhere(port)))
            }
            _ => Ok(()),
        }
    }
}

/// What a GET of `/` on that port shows it to be.
async fn kind_of(port: u16) -> (u16, Kind) {
    let patience = Duration::from_millis(500);
    let root = PathAndQuery::from_static("/");
    let port_at = |ip: IpAddr| SocketAddr::new(ip, port);
    let places = [
        port_at(Ipv4Addr::LOCALHOST.into()),
        port_at(Ipv6Addr::LOCALHOST.into()),
    ];
    let answers = join_all(places.map(|addr| timeout(patience, probe::get(addr, &root)))).await;
    let is = |kind: fn(&Result<StatusCode, Failed>) -> bool| answers.iter().flatten().any(kind);
    let kind = if is(|answer| {
        answer
            .as_ref()
            .is_ok_and(|&status| Wanted::Success.accepts(status))
    }) {
        Kind::Serves
    } else if is(|answer| matches!(answer, Err(Failed::Broken(_)))) {
        Kind::NoHttp
    } else {
        Kind::Other
    };
    (port, kind)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A web server that is well.
    Serves,
    /// Something that speaks another language.
    NoHttp,
    /// Neither, so far.
    Other,
}
