//! An app whose requests begin, hang and finish when a test says so.

use std::convert::Infallible;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use daymark::AppContext;
use futures_util::stream;
use http::StatusCode;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt as _;
use tokio::sync::watch;

use crate::client::PATIENCE;

/// The size of `/large` and `/large-in-parts`: more than any socket buffer takes.
pub const LARGE: usize = 16 * 1024 * 1024;

const PART: usize = 64 * 1024;

/// How often an endless stream says something.
const TICK: Duration = Duration::from_millis(10);

/// What a test holds in its hands. Dropped, it lets everything go.
#[derive(Debug)]
pub struct Stage {
    begun: Receiver<()>,
    gate: Arc<Gate>,
}

#[derive(Debug)]
struct Gate {
    open: watch::Sender<bool>,
    unblocked: (Mutex<bool>, Condvar),
}

#[derive(Clone)]
struct Inside {
    begun: Sender<()>,
    gate: Arc<Gate>,
}

impl Stage {
    /// The stage, and the app that plays on it.
    pub fn new() -> (Self, impl FnOnce(AppContext) -> Router + Send + 'static) {
        let (begun, heard) = channel();
        let gate = Arc::new(Gate {
            open: watch::Sender::new(false),
            unblocked: (Mutex::new(false), Condvar::new()),
        });
        let stage = Self {
            begun: heard,
            gate: gate.clone(),
        };
        (stage, move |context| {
            router(&Inside { begun, gate }, &context)
        })
    }

    /// Waits until so many more handlers are at work.
    pub fn wait_until_begun(&self, count: usize) {
        for _ in 0..count {
            self.begun
                .recv_timeout(PATIENCE)
                .expect("a handler that begins");
        }
    }

    /// Lets `/gate` answer.
    pub fn open_gate(&self) {
        self.gate.open.send_replace(true);
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.open_gate();
        let (unblocked, changed) = &self.gate.unblocked;
        *unblocked.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    }
}

impl Inside {
    fn begin(&self) {
        // The test may be over.
        let _ = self.begun.send(());
    }
}

fn router(inside: &Inside, context: &AppContext) -> Router {
    let (hang, gated, block) = (inside.clone(), inside.clone(), inside.clone());
    let (endless, heeding, upgraded) = (inside.clone(), inside.clone(), inside.clone());
    let stop = context.stop_signal();
    Router::new()
        .route("/", get(|| async { "hello\n" }))
        .route("/panic", get(panics))
        .route("/hang", get(async move || hang_for_ever(&hang).await))
        .route("/gate", get(async move || wait_at(&gated).await))
        .route("/block", get(async move || block_thread(&block)))
        .route("/large", get(|| async { vec![b'x'; LARGE] }))
        .route("/large-in-parts", get(|| async { large_in_parts() }))
        .route("/endless", get(async move || ticks(&endless, None)))
        .route("/heeding", get(async move || ticks(&heeding, Some(stop))))
        .route("/body", post(read_body))
        .route("/upgrade", get(async move |r| upgrade(&upgraded, r)))
}

async fn panics() -> &'static str {
    panic!("on purpose");
}

async fn hang_for_ever(inside: &Inside) {
    inside.begin();
    std::future::pending().await
}

async fn wait_at(inside: &Inside) -> &'static str {
    inside.begin();
    let mut open = inside.gate.open.subscribe();
    let _ = open.wait_for(|open| *open).await;
    "through\n"
}

/// What no handler should do: it keeps its thread.
fn block_thread(inside: &Inside) {
    inside.begin();
    let (unblocked, changed) = &inside.gate.unblocked;
    let guard = unblocked.lock().unwrap_or_else(PoisonError::into_inner);
    drop(changed.wait_while(guard, |unblocked| !*unblocked));
}

fn large_in_parts() -> Response {
    let part = Bytes::from(vec![b'x'; PART]);
    let parts = stream::iter((0..LARGE / PART).map(move |_| Ok::<_, Infallible>(part.clone())));
    ([("content-length", LARGE)], Body::from_stream(parts)).into_response()
}

/// Answers with how much it was sent; with 408 if that doesn't come.
async fn read_body(request: Request) -> Response {
    match axum::body::to_bytes(request.into_body(), LARGE).await {
        Ok(body) => body.len().to_string().into_response(),
        Err(_) => StatusCode::REQUEST_TIMEOUT.into_response(),
    }
}

/// A line now and then; for ever, or until the server begins to stop.
fn ticks(inside: &Inside, stop: Option<daymark::StopSignal>) -> Response {
    inside.begin();
    let ticks = stream::unfold(stop, |mut stop| async move {
        let stopped = async {
            match &mut stop {
                Some(stop) => stop.requested().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stopped => None,
            () = tokio::time::sleep(TICK) => Some((Ok::<_, Infallible>("tick\n"), stop)),
        }
    });
    Body::from_stream(ticks).into_response()
}

/// Speaks something else than HTTP from now on, until the client hangs up.
fn upgrade(inside: &Inside, request: Request) -> Response {
    let inside = inside.clone();
    tokio::spawn(async move {
        let upgraded = hyper::upgrade::on(request).await.expect("an upgrade");
        inside.begin();
        let mut heard = Vec::new();
        // However it ends, it ends.
        let _ = TokioIo::new(upgraded).read_to_end(&mut heard).await;
    });
    let switching = [("connection", "upgrade"), ("upgrade", "silence")];
    (StatusCode::SWITCHING_PROTOCOLS, switching).into_response()
}
