//! Who may ask: a pure judgement of a request's head.
//!
//! A page on the web can make a browser send requests to this machine: under a name that it points here (DNS rebinding),
//! or as a cross-site request to the address itself. So a request must be meant for this very server, by its address and
//! port, and must not have been sent by a page of somebody else. Names are compared in whole with what was written down at
//! the start: nothing is parsed that a client could dress up, and nothing is allocated.
//!
//! HTTP/1.x is all that is spoken here. Were it more, an `:authority` would have to be judged as a `Host` is; until then
//! every other version is refused.

use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, Version};

use super::allowed::{AllowedHost, AllowedOrigin};
use super::refusal::Refusal;

/// Which names a request may use for this server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostPolicy {
    /// `127.0.0.1:PORT`, `localhost:PORT` and `[::1]:PORT`, with the port that it serves on. Without a port only where that
    /// is 80, which goes without saying.
    #[default]
    Own,
    /// Those, and these.
    Also(Vec<AllowedHost>),
    /// Every name. Only for what any web page may see and do.
    Any,
}

/// The rules for a server on one port, ready to be applied.
#[derive(Clone, Debug)]
pub struct Rules {
    /// All that `Host` may say, in lower case; none where it may say anything.
    hosts: Option<Vec<Box<[u8]>>>,
    /// The foreign origins that are welcome.
    origins: Vec<Box<[u8]>>,
}

impl Rules {
    /// The rules for a server on this port.
    #[must_use]
    pub fn new(hosts: &HostPolicy, origins: &[AllowedOrigin], port: u16) -> Self {
        let bytes = |text: &str| text.as_bytes().into();
        let own = ["127.0.0.1", "localhost", "[::1]"];
        let mut spellings: Vec<String> = own.map(|host| format!("{host}:{port}")).into();
        if port == 80 {
            spellings.extend(own.map(str::to_owned));
        }
        let hosts = match hosts {
            HostPolicy::Any => None,
            HostPolicy::Own => Some(spellings),
            HostPolicy::Also(more) => {
                spellings.extend(more.iter().flat_map(|host| host.spellings(port)));
                Some(spellings)
            }
        };
        Self {
            hosts: hosts.map(|all| all.iter().map(|host| bytes(host)).collect()),
            origins: origins.iter().map(|o| bytes(o.as_str())).collect(),
        }
    }

    /// Judges a request by its head.
    ///
    /// # Errors
    ///
    /// Why it isn't let in.
    pub fn judge<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        let said = Said::in_headers(request.headers())?;
        let host = said.host.ok_or(Refusal::NotOneHost)?;
        if !self.is_ours(host) {
            return Err(Refusal::ForeignHost);
        }
        self.judge_target(request, host)?;
        let welcome = match said.origin {
            None => false,
            Some(origin) if is_origin_of(host, origin) => false,
            Some(origin) if self.origins.iter().any(|o| **o == *origin) => true,
            Some(_) => return Err(Refusal::ForeignOrigin),
        };
        match said.site {
            None | Some(b"same-origin" | b"none") => Ok(()),
            Some(_) if welcome || said.follows_a_link(request) => Ok(()),
            Some(_) => Err(Refusal::CrossSite),
        }
    }

    fn is_ours(&self, authority: &[u8]) -> bool {
        let Some(hosts) = &self.hosts else {
            return true;
        };
        hosts.iter().any(|host| is_same(authority, host))
    }

    /// Wherever a target names an authority, it is held to what holds for `Host`, and must be the same (RFC 9112, section
    /// 3.2.2).
    fn judge_target<B>(&self, request: &Request<B>, host: &[u8]) -> Result<(), Refusal> {
        let uri = request.uri();
        let is_connect = request.method() == Method::CONNECT;
        let fits = match (uri.scheme(), uri.authority()) {
            // `/path`, or `*` for OPTIONS.
            (None, None) => {
                let path = uri.path_and_query().map_or("", PathAndQuery::as_str);
                let is_server = path == "*" && request.method() == Method::OPTIONS;
                (path.starts_with('/') || is_server) && !is_connect
            }
            // `http://host/path`, and `host:port` for CONNECT alone.
            (scheme, Some(authority)) => {
                let authority = authority.as_str().as_bytes();
                // This server is no other scheme's.
                if !self.is_ours(authority) || scheme.is_some_and(|s| *s != Scheme::HTTP) {
                    return Err(Refusal::ForeignHost);
                }
                is_same(authority, host) && scheme.is_none() == is_connect
            }
            (Some(_), None) => false,
        };
        let spoken = matches!(request.version(), Version::HTTP_10 | Version::HTTP_11);
        match fits && spoken {
            true => Ok(()),
            false => Err(Refusal::BadTarget),
        }
    }
}

/// Whether two names are the same, in whatever case. Mostly they are so byte for byte, which is seen sooner.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a == b || a.eq_ignore_ascii_case(b)
}

/// Whether a page of this origin was loaded under just this `Host`.
fn is_origin_of(host: &[u8], origin: &[u8]) -> bool {
    origin
        .strip_prefix(b"http://")
        .is_some_and(|authority| is_same(authority, host))
}

/// The headers that decide, each of which may stand there once.
#[derive(Default)]
struct Said<'a> {
    host: Option<&'a [u8]>,
    origin: Option<&'a [u8]>,
    site: Option<&'a [u8]>,
    mode: Option<&'a [u8]>,
    dest: Option<&'a [u8]>,
    user: Option<&'a [u8]>,
}

impl<'a> Said<'a> {
    fn in_headers(headers: &'a HeaderMap) -> Result<Self, Refusal> {
        let mut said = Self::default();
        // A value that is there twice comes twice.
        for (name, value) in headers {
            let slot = match name.as_str() {
                "host" => &mut said.host,
                "origin" => &mut said.origin,
                "sec-fetch-site" => &mut said.site,
                "sec-fetch-mode" => &mut said.mode,
                "sec-fetch-dest" => &mut said.dest,
                "sec-fetch-user" => &mut said.user,
                _ => continue,
            };
            if slot.replace(value.as_bytes()).is_some() {
                return Err(match name.as_str() {
                    "host" => Refusal::NotOneHost,
                    _ => Refusal::Doubled,
                });
            }
        }
        Ok(said)
    }

    /// Whether it is a GET by which a browser's tab or window goes to another page. Frames, scripts, images, forms that post
    /// and websockets aren't, nor is HEAD: no browser goes anywhere by that.
    fn follows_a_link<B>(&self, request: &Request<B>) -> bool {
        request.method() == Method::GET
            && self.mode == Some(b"navigate")
            && self.dest == Some(b"document")
            && !request.headers().contains_key(http::header::UPGRADE)
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "rules_oracle_tests.rs"]
mod oracle_tests;
