//! What a request meets before the app does: who may ask, and a net for what the app throws.
//!
//! A page on the web can make a browser send requests to this machine, under a name that it points here (DNS rebinding). So
//! by default only requests that name this machine itself get through.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use daymark_core::record::Token;
use futures_util::FutureExt as _;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, COOKIE, HOST, LOCATION, SET_COOKIE,
    WWW_AUTHENTICATE,
};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use tower::ServiceExt as _;

use super::app::App;
use super::connection::{Connection, Counted};

/// Which names a request may use for this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostPolicy {
    /// `localhost`, names below it, and loopback addresses.
    #[default]
    Loopback,
    /// Those, and these names.
    Also(Vec<String>),
    /// Every name. Only for what any web page may see and do.
    Any,
}

/// Who may ask.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Access {
    /// Under which names.
    pub hosts: HostPolicy,
    /// What must be presented, as `Authorization: Bearer …`, or once as `?token=…`, which sets a cookie.
    pub token: Option<Token>,
}

impl Access {
    /// Access by these rules.
    #[must_use]
    pub const fn new(hosts: HostPolicy, token: Option<Token>) -> Self {
        Self { hosts, token }
    }

    fn check<B>(&self, request: &Request<B>, port: u16) -> Result<(), Box<Response<Full<Bytes>>>> {
        // Exactly one, says RFC 9112, section 3.2. Two readers of two could see two names.
        let hosts = request.headers().get_all(HOST).iter().count();
        if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
            return Err(Box::new(plain(
                StatusCode::BAD_REQUEST,
                "A request names one host.\n",
            )));
        }
        if !self.hosts.admits(request) {
            return Err(Box::new(plain(
                StatusCode::MISDIRECTED_REQUEST,
                "This server does not answer to that name.\n",
            )));
        }
        let Some(token) = &self.token else {
            return Ok(());
        };
        let cookie = format!("daymark-{port}");
        let bearer = header(request, &AUTHORIZATION)
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer"))
            .map(|(_, presented)| presented.trim());
        let mut in_cookies = request
            .headers()
            .get_all(COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|all| all.split("; "))
            .filter_map(|pair| pair.strip_prefix(cookie.as_str())?.strip_prefix('='));
        let is_ours = |presented: &str| token.matches(presented.as_bytes());
        if bearer.is_some_and(is_ours) || in_cookies.any(is_ours) {
            return Ok(());
        }
        let (presented, rest) = split_token(request.uri());
        if presented.is_some_and(|t| token.matches(t.as_bytes())) {
            // A browser that was sent here keeps the secret in a cookie, and out of its address bar.
            if request.method() == Method::GET && !request.headers().contains_key("upgrade") {
                return Err(Box::new(remember(&cookie, token, &rest)));
            }
            return Ok(());
        }
        let mut refusal = plain(
            StatusCode::UNAUTHORIZED,
            "This server asks for its token.\n",
        );
        let scheme = HeaderValue::from_static("Bearer");
        refusal.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        Err(Box::new(refusal))
    }
}

impl HostPolicy {
    /// Whether every name that the request uses is one of ours. HTTP/1.0 may use none; no browser speaks that.
    fn admits<B>(&self, request: &Request<B>) -> bool {
        let in_target = request
            .uri()
            .authority()
            .map(|authority| authority.as_str());
        let in_headers = request.headers().get_all(HOST).into_iter();
        in_headers
            .map(|host| host.to_str().unwrap_or_default())
            .chain(in_target)
            .all(|authority| self.admits_name(host_of(authority)))
    }

    fn admits_name(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Loopback => is_loopback(name),
            Self::Also(names) => {
                is_loopback(name) || names.iter().any(|n| n.eq_ignore_ascii_case(name))
            }
        }
    }
}

fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

fn is_loopback(name: &str) -> bool {
    let bare = name
        .strip_prefix('[')
        .and_then(|n| n.strip_suffix(']'))
        .unwrap_or(name);
    bare.parse::<std::net::IpAddr>()
        .is_ok_and(|ip| ip.is_loopback())
        || name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
}

fn header<'a, B>(request: &'a Request<B>, name: &http::HeaderName) -> Option<&'a str> {
    request
        .headers()
        .get(name)
        .and_then(|value| value.to_str().ok())
}

/// The `token` of a query, and the path and query without it.
fn split_token(uri: &Uri) -> (Option<&str>, String) {
    let query = uri.query().unwrap_or_default();
    let token = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("token="));
    let others: Vec<&str> = query
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.starts_with("token="))
        .collect();
    // Neither slash may make another host of the path.
    let path = format!("/{}", uri.path().trim_start_matches(['/', '\\']));
    match others.is_empty() {
        true => (token, path),
        false => (token, format!("{path}?{}", others.join("&"))),
    }
}

fn remember(cookie: &str, token: &Token, location: &str) -> Response<Full<Bytes>> {
    let mut answer = plain(StatusCode::SEE_OTHER, "");
    let set = format!(
        "{cookie}={}; Path=/; HttpOnly; SameSite=Strict",
        token.reveal()
    );
    for (name, value) in [
        (SET_COOKIE, set.as_str()),
        (LOCATION, location),
        (CACHE_CONTROL, "no-store"),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    answer
}

/// An app's body, counted until it is sent, or a short answer of our own.
pub(super) type AnswerBody<B> = Either<Counted<B>, Full<Bytes>>;

/// Lets one request through to the app, and makes an answer of whatever comes of it.
pub(super) async fn answer<S: App>(
    app: S,
    access: Arc<Access>,
    port: u16,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody<S::Body>>, Infallible> {
    if let Err(refusal) = access.check(&request, port) {
        return Ok((*refusal).map(Either::Right));
    }
    let guard = connection.request();
    let connects = request.method() == Method::CONNECT;
    // Whatever state a panic leaves behind in the app is the app's: it shares nothing with us.
    let answered = AssertUnwindSafe(app.oneshot(request)).catch_unwind().await;
    Ok(match answered {
        Ok(Ok(response)) => {
            let status = response.status();
            if status == StatusCode::SWITCHING_PROTOCOLS || (connects && status.is_success()) {
                connection.upgraded();
            }
            response.map(|body| Either::Left(Counted::new(body, guard)))
        }
        Ok(Err(_)) | Err(_) => plain(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The server failed to answer.\n",
        )
        .map(Either::Right),
    })
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
