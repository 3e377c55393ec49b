//! Who is let in where a token is asked for.
//!
//! Programs show the token itself, as `Authorization: Bearer …` (RFC 6750). Browsers can't, and shouldn't have it: their
//! history, their `Referer` and the command line that opens them are no places for it. They come by a link with a code that
//! works once and soon expires, and get a cookie for it with a secret of its own, which is good for this run alone.
//!
//! Whoever shows the token gets a code by `POST /.daymark/code`. So that path isn't the app's where a token is asked for.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use daymark_core::record::{InstanceId, Token};
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, COOKIE, LOCATION, REFERRER_POLICY, SET_COOKIE,
    UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::Full;
use subtle::ConstantTimeEq as _;

use super::refusal::Refusal;
use crate::identity;

/// Where codes are asked for.
pub(in crate::http_server) const CODES_PATH: &str = "/.daymark/code";

/// The parameter of a link that holds its code.
const PARAMETER: &str = "daymark-code=";

/// How long a code works: long enough for a browser to start.
pub const CODE_LIFETIME: Duration = Duration::from_secs(60);

/// How many codes wait to be used. One more, and the oldest is forgotten.
const MOST_CODES: usize = 16;

/// The secrets of one run: what its clients may show. Clones share them. Its `Debug` form tells none.
#[derive(Clone)]
pub struct Admission(Arc<Secrets>);

struct Secrets {
    token: Token,
    /// `daymark-` and the instance: cookies don't know ports.
    cookie: String,
    /// What browsers show: made for this run, and no way to the token.
    session: Token,
    codes: Mutex<Vec<(Token, Instant)>>,
}

/// What becomes of a request.
pub(super) enum Admitted {
    /// It goes on to the app.
    Yes,
    /// It is answered here.
    Answered(Response<Full<Bytes>>),
    /// It isn't let in.
    No(Refusal),
}

impl Admission {
    /// Asks for this token, for one run of a server.
    ///
    /// # Errors
    ///
    /// When the system has no random source.
    pub fn new(token: Token, instance: InstanceId) -> io::Result<Self> {
        Ok(Self(Arc::new(Secrets {
            token,
            cookie: format!("daymark-{instance}"),
            session: identity::new_token()?,
            codes: Mutex::default(),
        })))
    }

    /// `url` with a code: it lets one browser in, once, within [`CODE_LIFETIME`].
    ///
    /// # Errors
    ///
    /// When the system has no random source.
    pub fn link(&self, url: &str) -> io::Result<String> {
        let code = self.new_code(Instant::now())?;
        Ok(with_code(url, code.reveal()))
    }

    fn new_code(&self, now: Instant) -> io::Result<Token> {
        let code = identity::new_token()?;
        let mut codes = self.codes();
        codes.retain(|(_, made)| now.duration_since(*made) < CODE_LIFETIME);
        if codes.len() >= MOST_CODES {
            codes.remove(0);
        }
        codes.push((code.clone(), now));
        Ok(code)
    }

    /// Takes a code out of use. False if it never was, or isn't any more.
    fn redeem(&self, presented: &[u8], now: Instant) -> bool {
        let mut codes = self.codes();
        codes.retain(|(_, made)| now.duration_since(*made) < CODE_LIFETIME);
        let before = codes.len();
        codes.retain(|(code, _)| !matches(code, presented));
        codes.len() < before
    }

    fn codes(&self) -> std::sync::MutexGuard<'_, Vec<(Token, Instant)>> {
        self.0.codes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judges a request that the rules have let through.
    pub(super) fn judge<B>(&self, request: &Request<B>) -> Admitted {
        let shows_token = self.is_token_in(request.headers());
        if request.uri().path() == CODES_PATH {
            return self.answer_for_code(request.method(), shows_token);
        }
        let (code, rest) = split_code(request.uri());
        let is_known = shows_token || self.is_session_in(request.headers());
        // Only what a browser does when it follows a link uses a code up; a preview by HEAD doesn't.
        let follows = request.method() == Method::GET && !request.headers().contains_key(UPGRADE);
        match code {
            Some(code) if follows => {
                let redeemed = self.redeem(code.as_bytes(), Instant::now());
                match redeemed || is_known {
                    true => Admitted::Answered(self.go_on(&rest, redeemed)),
                    false => Admitted::No(Refusal::NoToken),
                }
            }
            _ if is_known => Admitted::Yes,
            _ => Admitted::No(Refusal::NoToken),
        }
    }

    fn answer_for_code(&self, method: &Method, shows_token: bool) -> Admitted {
        if !shows_token {
            return Admitted::No(Refusal::NoToken);
        }
        if method != Method::POST {
            return Admitted::No(Refusal::NotPost);
        }
        match self.new_code(Instant::now()) {
            Ok(code) => {
                let mut answer = Response::new(Full::from(code.reveal().to_owned()));
                *answer.status_mut() = StatusCode::CREATED;
                let plain = HeaderValue::from_static("text/plain");
                answer.headers_mut().insert(CONTENT_TYPE, plain);
                let no_store = HeaderValue::from_static("no-store");
                answer.headers_mut().insert(CACHE_CONTROL, no_store);
                Admitted::Answered(answer)
            }
            Err(_) => Admitted::No(Refusal::Broken),
        }
    }

    /// Sends a browser to the same address without the code, with the cookie if it has earned it just now.
    fn go_on(&self, location: &str, redeemed: bool) -> Response<Full<Bytes>> {
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = StatusCode::SEE_OTHER;
        let Secrets {
            cookie, session, ..
        } = &*self.0;
        let set = redeemed.then(|| {
            let session = session.reveal();
            format!("{cookie}={session}; Path=/; HttpOnly; SameSite=Strict")
        });
        for (name, value) in [
            (LOCATION, Some(location)),
            (SET_COOKIE, set.as_deref()),
            (CACHE_CONTROL, Some("no-store")),
            (REFERRER_POLICY, Some("no-referrer")),
        ] {
            // What came in a request's head can stand in an answer's.
            if let Some(Ok(value)) = value.map(|v| HeaderValue::from_bytes(v.as_bytes())) {
                answer.headers_mut().insert(name, value);
            }
        }
        answer
    }

    fn is_token_in(&self, headers: &HeaderMap) -> bool {
        let mut all = headers.get_all(AUTHORIZATION).iter();
        let (Some(one), None) = (all.next(), all.next()) else {
            return false;
        };
        let Some((scheme, presented)) = one.as_bytes().split_at_checked(b"Bearer ".len()) else {
            return false;
        };
        scheme.eq_ignore_ascii_case(b"Bearer ")
            && matches(&self.0.token, presented.trim_ascii_start())
    }

    fn is_session_in(&self, headers: &HeaderMap) -> bool {
        headers
            .get_all(COOKIE)
            .iter()
            .flat_map(|value| value.as_bytes().split(|b| *b == b';'))
            .filter_map(|pair| {
                let rest = pair.trim_ascii().strip_prefix(self.0.cookie.as_bytes())?;
                rest.strip_prefix(b"=")
            })
            .any(|presented| matches(&self.0.session, presented))
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admission(…)")
    }
}

/// Keeps what lets a client in out of whatever an app prints of its requests.
pub(super) fn hide_secrets(headers: &mut HeaderMap) {
    for (name, value) in headers.iter_mut() {
        if name == AUTHORIZATION || name == COOKIE {
            value.set_sensitive(true);
        }
    }
}

/// Whether this is the secret, in a time that doesn't depend on where they differ. That of the length isn't hidden: it is
/// known to all.
fn matches(secret: &Token, presented: &[u8]) -> bool {
    secret.reveal().as_bytes().ct_eq(presented).into()
}

/// A URL of this server with a code.
pub(in crate::http_server) fn with_code(url: &str, code: &str) -> String {
    // A code is made of characters that a query takes as they are.
    format!("{url}?{PARAMETER}{code}")
}

/// The code in a query, and the path and query without it, byte for byte.
fn split_code(uri: &Uri) -> (Option<&str>, String) {
    let Some(query) = uri.query() else {
        return (None, String::new());
    };
    let code = query
        .split('&')
        .find_map(|pair| pair.strip_prefix(PARAMETER));
    if code.is_none() {
        return (None, String::new());
    }
    let others: Vec<&str> = query
        .split('&')
        .filter(|pair| !pair.starts_with(PARAMETER))
        .collect();
    // Two slashes in front, of either kind, would name another host; this is the same path to every browser (URL Standard,
    // "path state").
    let path = uri.path();
    let dot = match path.as_bytes() {
        [b'/' | b'\\', b'/' | b'\\', ..] => "/.",
        _ => "",
    };
    let location = match others.is_empty() {
        true => format!("{dot}{path}"),
        false => format!("{dot}{path}?{}", others.join("&")),
    };
    (code, location)
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
