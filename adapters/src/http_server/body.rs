//! A request's body as an app reads it, with an eye on how long its client takes.
//!
//! Only the time from when the app begins to wait until it asks again counts. So an app may be as slow as it likes, and a client that
//! sends a byte now and then doesn't keep a place for ever.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use thiserror::Error;
use tokio::time::{Instant, Sleep};

use super::connection::Connection;
use super::crowd::Tenant;

/// What each byte that arrives adds to a body's time, up to the whole of it again: a second for a KiB.
const TIME_FOR_BYTE: Duration = Duration::from_nanos(1_000_000_000 / 1024);

/// The body of a request.
#[derive(Debug)]
pub struct RequestBody {
    incoming: Incoming,
    /// None for what is complete.
    pace: Option<Box<Pace>>,
}

/// How much of its time a client has used up.
#[derive(Debug)]
struct Pace {
    /// Not the connection itself: an app may keep a body for longer than that lasts, and must not keep its place.
    tenant: Arc<Tenant>,
    limit: Duration,
    left: Duration,
    /// Since when the app waits, and until when it will.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
}

/// Why a body ended before its end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Its client took too long to send it.
    #[error("the client took too long to send the request's body")]
    TooSlow,
    /// It broke off, or isn't one.
    #[error(transparent)]
    Broken(#[from] hyper::Error),
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, connection: &Arc<Connection>) -> Self {
        let pace = (!incoming.is_end_stream()).then(|| {
            let limit = connection.house().limits.body_timeout;
            let tenant = connection.tenant().clone();
            tenant.begin_body();
            Box::new(Pace {
                tenant,
                limit,
                left: limit,
                waiting: None,
            })
        });
        Self { incoming, pace }
    }
}

impl Pace {
    /// The client keeps the app waiting. Ready when that has gone on for too long.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { left, limit, .. } = *self;
        if self.waiting.is_none() {
            let since = Instant::now();
            let sleep = Box::pin(tokio::time::sleep_until(since + left));
            self.tenant.keeps_waiting(limit - left);
            self.waiting = Some((since, sleep));
        }
        match &mut self.waiting {
            Some((_, sleep)) => sleep.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }

    /// Something has come.
    fn moved(&mut self, bytes: usize) {
        if let Some((since, _)) = self.waiting.take() {
            self.left = self.left.saturating_sub(since.elapsed());
            self.tenant.keeps_up();
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let earned = TIME_FOR_BYTE.saturating_mul(bytes);
        self.left = self.left.saturating_add(earned).min(self.limit);
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        if self.waiting.is_some() {
            self.tenant.keeps_up();
        }
        self.tenant.end_body();
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self { incoming, pace } = &mut *self;
        let frame = match (Pin::new(incoming).poll_frame(cx), &mut *pace) {
            (Poll::Ready(frame), _) => frame,
            (Poll::Pending, None) => return Poll::Pending,
            (Poll::Pending, Some(pace)) => {
                ready!(pace.wait(cx));
                return Poll::Ready(Some(Err(BodyError::TooSlow)));
            }
        };
        match (&frame, &mut *pace) {
            (Some(Ok(frame)), Some(pace)) => pace.moved(frame.data_ref().map_or(0, Bytes::len)),
            (Some(Ok(_)), None) => {}
            // There is nothing more to wait for.
            (None | Some(Err(_)), pace) => *pace = None,
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
