//! What can be served, and what it may know of its server.

use std::net::SocketAddr;

use bytes::Bytes;
use daymark_core::record::Endpoint;
use http::{Request, Response};
use http_body::Body;
use tokio::sync::watch;
use tower::Service;

use super::body::RequestBody;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What can be served: any cloneable tower service over HTTP requests, an axum `Router` for one.
pub trait App:
    Service<
        Request<RequestBody>,
        Response = Response<<Self as App>::Body>,
        Error = <Self as App>::Failure,
        Future = <Self as App>::Answer,
    > + Clone
    + Send
    + Sync
    + 'static
{
    /// The service's response body.
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static;
    /// The service's error. It is answered with status 500.
    type Failure: Send;
    /// The service's future.
    type Answer: Future<Output = Result<Response<<Self as App>::Body>, <Self as App>::Failure>>
        + Send;
}

impl<S, B> App for S
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error: Send, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Body = B;
    type Failure = S::Error;
    type Answer = S::Future;
}

/// What an app may know of the server that it is made for.
#[derive(Clone, Debug)]
pub struct AppContext {
    pub(super) endpoint: Endpoint,
    pub(super) stop: StopSignal,
}

impl AppContext {
    /// The address that is bound already.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.endpoint.addr()
    }

    /// The address as `http://127.0.0.1:PORT/`.
    #[must_use]
    pub fn url(&self) -> String {
        self.endpoint.url()
    }

    /// Tells when the server begins to stop: the time for endless streams to end.
    #[must_use]
    pub fn stop_signal(&self) -> StopSignal {
        self.stop.clone()
    }
}

/// Tells when a server begins to stop.
#[derive(Clone, Debug)]
pub struct StopSignal(pub(super) watch::Receiver<bool>);

impl StopSignal {
    /// Waits for the stop to begin.
    pub async fn requested(&mut self) {
        // A server that is gone has stopped.
        let _ = self.0.wait_for(|draining| *draining).await;
    }

    /// Whether it has begun.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}
