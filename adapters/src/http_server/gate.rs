//! What a request meets before the app does: who may ask, and a net for what the app throws.

mod admission;
mod allowed;
mod refusal;
mod rules;

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use tower::ServiceExt as _;

use self::admission::Admitted;
pub use self::admission::{Admission, CODE_LIFETIME};
pub(super) use self::admission::{CODES_PATH, with_code};
pub use self::allowed::{AllowedHost, AllowedOrigin, InvalidHost, InvalidOrigin};
pub use self::refusal::Refusal;
pub use self::rules::{HostPolicy, Rules};

use super::app::App;
use super::body::RequestBody;
use super::connection::{Connection, Counted};

/// Who may ask.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Access {
    /// Under which names.
    pub hosts: HostPolicy,
    /// From which web origins, next to the server's own. What they may read is said by CORS headers, which are the app's.
    pub origins: Vec<AllowedOrigin>,
    /// With which secrets, if any.
    pub admission: Option<Admission>,
}

/// [`Access`] to one server, ready for its requests.
#[derive(Debug)]
pub(super) struct Gate {
    rules: Rules,
    admission: Option<Admission>,
}

impl Gate {
    pub(super) fn new(access: &Access, port: u16) -> Self {
        Self {
            rules: Rules::new(&access.hosts, &access.origins, port),
            admission: access.admission.clone(),
        }
    }

    /// The answer to a request that the app isn't to see.
    fn stop<B>(&self, request: &mut Request<B>, unread: bool) -> Option<Response<Full<Bytes>>> {
        if let Err(refusal) = self.rules.judge(request) {
            return Some(refusal.answer(unread));
        }
        match self.admission.as_ref()?.judge(request) {
            Admitted::Yes => {
                admission::hide_secrets(request.headers_mut());
                None
            }
            Admitted::Answered(answer) => Some(answer),
            Admitted::No(refusal) => Some(refusal.answer(unread)),
        }
    }
}

/// An app's body, counted until it is sent, or a short answer of our own.
pub(super) type AnswerBody<B> = Either<Counted<B>, Full<Bytes>>;

/// Lets one request through to the app, and makes an answer of whatever comes of it.
pub(super) async fn answer<S: App>(
    app: S,
    gate: Arc<Gate>,
    connection: Arc<Connection>,
    mut request: Request<Incoming>,
) -> Result<Response<AnswerBody<S::Body>>, Infallible> {
    let unread = !request.body().is_end_stream();
    if let Some(answer) = gate.stop(&mut request, unread) {
        return Ok(answer.map(Either::Right));
    }
    let guard = connection.request();
    let connects = request.method() == Method::CONNECT;
    let request = request.map(|body| RequestBody::new(body, &connection));
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
        Ok(Err(_)) | Err(_) => Refusal::Broken.answer(false).map(Either::Right),
    })
}
