//! What comes of a request: the app's answer, or one of our own where the gate or a failure stands between them.
//!
//! An app is asked at once, from within hyper's call, and its future is polled in place: nothing is allocated for a request,
//! and it is moved no more often than it must be.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use futures_util::future::Either;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::Service;
use pin_project_lite::pin_project;
use tower::ServiceExt as _;
use tower::util::Oneshot;

use super::app::App;
use super::body::RequestBody;
use super::connection::{Connection, RequestGuard};
use super::gate::Refusal;

/// An app, as one connection reaches it.
pub(super) struct Answerer<S> {
    app: S,
    connection: Arc<Connection>,
}

impl<S> Answerer<S> {
    pub(super) const fn new(app: S, connection: Arc<Connection>) -> Self {
        Self { app, connection }
    }
}

impl<S: App> Service<Request<Incoming>> for Answerer<S> {
    type Response = Response<AnswerBody<S::Body>>;
    type Error = Infallible;
    type Future = Answer<S>;

    fn call(&self, mut request: Request<Incoming>) -> Answer<S> {
        self.connection.asked();
        let unread = !request.body().is_end_stream();
        if let Some(answer) = self.connection.house().gate.stop(&mut request, unread) {
            return Answer::ours(answer);
        }
        let connects = request.method() == Method::CONNECT;
        let guard = self.connection.request();
        let request = request.map(|body| RequestBody::new(body, &self.connection));
        // Whatever state a panic leaves behind in the app is the app's: it shares nothing with us.
        match catch_unwind(AssertUnwindSafe(|| ask(self.app.clone(), request))) {
            Ok(Ok(answer)) => Answer::Apps {
                answer,
                guard: Some(guard),
                connects,
            },
            Ok(Err(_)) | Err(_) => Answer::ours(Refusal::Broken.answer(false)),
        }
    }
}

/// An app's answer, sooner or later.
type Asked<S> = Either<<S as App>::Answer, Pin<Box<Oneshot<S, Request<RequestBody>>>>>;

/// Asks an app that is ready, as nearly all always are; else waits until it is.
fn ask<S: App>(mut app: S, request: Request<RequestBody>) -> Result<Asked<S>, S::Failure> {
    // Nobody needs to be woken: who waits asks again.
    match app.poll_ready(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(())) => Ok(Either::Left(app.call(request))),
        Poll::Ready(Err(error)) => Err(error),
        Poll::Pending => Ok(Either::Right(Box::pin(app.oneshot(request)))),
    }
}

pin_project! {
    /// What becomes of a request.
    #[project = AnswerProjection]
    pub(super) enum Answer<S: App> {
        Apps {
            #[pin]
            answer: Asked<S>,
            guard: Option<RequestGuard>,
            connects: bool,
        },
        Ours { answer: Option<Response<Full<Bytes>>> },
    }
}

impl<S: App> Answer<S> {
    const fn ours(answer: Response<Full<Bytes>>) -> Self {
        Self::Ours {
            answer: Some(answer),
        }
    }
}

impl<S: App> Future for Answer<S> {
    type Output = Result<Response<AnswerBody<S::Body>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let broken = || Refusal::Broken.answer(false);
        let ours = match self.project() {
            AnswerProjection::Apps {
                answer,
                guard,
                connects,
            } => match catch_unwind(AssertUnwindSafe(|| answer.poll(cx))) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(Ok(response))) => {
                    let status = response.status();
                    let is_upgrade = status == StatusCode::SWITCHING_PROTOCOLS;
                    if is_upgrade || (*connects && status.is_success()) {
                        guard.iter().for_each(RequestGuard::upgraded);
                    }
                    let _guard = guard.take();
                    let response = response.map(|body| AnswerBody::Apps { body, _guard });
                    return Poll::Ready(Ok(response));
                }
                Ok(Poll::Ready(Err(_))) | Err(_) => broken(),
            },
            AnswerProjection::Ours { answer } => answer.take().unwrap_or_else(broken),
        };
        Poll::Ready(Ok(ours.map(|body| AnswerBody::Ours { body })))
    }
}

pin_project! {
    /// An app's body, counted until it is sent, or a short one of our own.
    #[project = AnswerBodyProjection]
    pub(super) enum AnswerBody<B> {
        Apps {
            #[pin]
            body: B,
            _guard: Option<RequestGuard>,
        },
        Ours { body: Full<Bytes> },
    }
}

impl<B: Body<Data = Bytes>> Body for AnswerBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project() {
            AnswerBodyProjection::Apps { body, .. } => body.poll_frame(cx),
            AnswerBodyProjection::Ours { body } => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(|never| match never {})))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Apps { body, .. } => body.is_end_stream(),
            Self::Ours { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Apps { body, .. } => body.size_hint(),
            Self::Ours { body } => body.size_hint(),
        }
    }
}
