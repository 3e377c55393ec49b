//! Where a server serves that isn't found where it should be.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::StatusCode;
use http::uri::PathAndQuery;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::probe::{self, Failed};
use super::search::{Search, Wanted};
use super::sockets;
use super::trouble::{Given, Problem};
use super::wish::Handover;

impl Search<'_> {
    /// Looks for other ports of the tree, for as long as nobody is where somebody should be. One that goes on serving is
    /// warned of, once.
    pub(super) async fn look_elsewhere(&self) -> Infallible {
        let mut no_http = BTreeSet::new();
        // The other port that serves, and since when.
        let mut other: Option<(u16, Instant)> = None;
        let mut has_warned = false;
        loop {
            sleep(self.pace.look).await;
            let found = match self.trouble.is_absence() {
                true => self.other_ports().await,
                false => BTreeSet::new(),
            };
            let serving = serving_one(&found, &mut no_http).await;
            let elsewhere = serving
                .or(found.first().copied())
                .map(|found| self.elsewhere(found));
            self.trouble.is_elsewhere(elsewhere.clone());
            // Ports for debuggers and the like are not what a slow start is to be judged by: they don't answer like this.
            other = serving.map(|port| match other {
                Some((same, since)) if same == port => (port, since),
                _ => (port, Instant::now()),
            });
            let is_long = other.is_some_and(|(_, since)| since.elapsed() >= self.pace.elsewhere);
            if let (Some(problem), true, false) = (elsewhere, is_long, has_warned) {
                has_warned = true;
                let hint = problem.hint().unwrap_or_default();
                (self.warn)(&format!("{problem}, so far: {hint}"));
            }
        }
    }

    async fn other_ports(&self) -> BTreeSet<u16> {
        let (tree, given) = (self.tree, self.endpoint.port().get());
        let found = spawn_blocking(move || sockets::ports_of(tree, given)).await;
        found.unwrap_or_default()
    }

    fn elsewhere(&self, found: u16) -> Problem {
        let given = match self.handover {
            Handover::Socket => Given::Socket,
            Handover::Number => Given::Port {
                port: self.endpoint.port().get(),
                is_passed: self.port_is_passed,
            },
        };
        Problem::Elsewhere { given, found }
    }
}

/// The first of these ports that answers as a web server does. What speaks no HTTP is asked once: some complain of it.
async fn serving_one(ports: &BTreeSet<u16>, no_http: &mut BTreeSet<u16>) -> Option<u16> {
    let asked = ports.difference(no_http).map(|&port| kind_of(port));
    let kinds = join_all(asked).await;
    let of = |kind| kinds.iter().filter(move |k| k.1 == kind).map(|k| k.0);
    no_http.extend(of(Kind::NoHttp));
    of(Kind::Serves).next()
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
    let ask = async |addr| probe::get(probe::connect(addr).await?, addr, &root).await;
    let answers = join_all(places.map(|addr| timeout(patience, ask(addr)))).await;
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
