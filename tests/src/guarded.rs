//! A server to ask for what it shouldn't give.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use daymark::{Builder, Server};
use http::StatusCode;

use crate::files::Ground;
use crate::raw::{Said, answer_to};

/// Stands in all that clients say, and in nothing that they are told.
const MARK: &str = "evil-mark";

/// A server that lets in some, and an app that counts whom it sees.
#[derive(Debug)]
pub struct Guarded {
    /// The server.
    pub server: Server,
    /// How many requests the app has seen.
    seen: Arc<AtomicUsize>,
    /// Its state directory.
    pub ground: Ground,
}

impl Guarded {
    /// One that isn't told anything.
    #[must_use]
    pub fn start() -> Self {
        Self::with(|builder| builder)
    }

    /// One with these settings.
    ///
    /// # Panics
    ///
    /// If it doesn't start.
    pub fn with(settings: impl FnOnce(Builder) -> Builder) -> Self {
        let ground = Ground::new();
        let seen = Arc::new(AtomicUsize::new(0));
        let (counter, builder) = (seen.clone(), Server::builder("guard-test"));
        let app = Router::new().fallback(async move |request: Request| {
            counter.fetch_add(1, Ordering::SeqCst);
            answer(request).await
        });
        let server = settings(builder.state_dir(ground.dir()))
            .app(app)
            .start()
            .expect("a start");
        Self {
            server,
            seen,
            ground,
        }
    }

    /// Its address.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The answer to a request, in which `HOST` and `PORT` stand for the server's own.
    #[must_use]
    pub fn ask(&self, request: &str) -> Said {
        answer_to(self.addr(), self.filled(request))
    }

    /// A request in which `HOST` and `PORT` have been replaced.
    #[must_use]
    pub fn filled(&self, request: &str) -> String {
        let addr = self.addr();
        let request = request.replace("HOST", &addr.to_string());
        request.replace("PORT", &addr.port().to_string())
    }

    /// How many requests the app has seen.
    #[must_use]
    pub fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }

    /// Asserts that somebody is told what is wrong in the form of RFC 9457, and nothing of what was sent.
    ///
    /// # Panics
    ///
    /// If it isn't so.
    #[track_caller]
    pub fn assert_refused(&self, request: &str, status: u16) -> Said {
        let said = self.ask(request);
        assert_problem(&said, status, request);
        assert_eq!(self.seen(), 0, "the app has seen {request:?}");
        said
    }
}

/// Asserts that an answer has the form of RFC 9457, this status, and nothing of what was sent.
///
/// # Panics
///
/// If it isn't so.
#[track_caller]
pub fn assert_problem(said: &Said, status: u16, request: &str) {
    assert_eq!(said.status, status, "{request:?}: {said:?}");
    assert_eq!(
        said.header("content-type"),
        Some("application/problem+json"),
        "{said:?}"
    );
    assert!(said.header("content-length").is_some(), "{said:?}");
    let problem: serde_json::Value = serde_json::from_str(&said.body).expect("JSON");
    for text in ["type", "title", "detail"] {
        assert!(problem[text].is_string(), "{said:?}");
    }
    assert_eq!(problem["status"], status, "{said:?}");
    let all = format!("{}{}", said.head, said.body).to_ascii_lowercase();
    assert!(!all.contains(MARK), "an echo: {said:?}");
    assert!(!all.contains("access-control-"), "{said:?}");
}

/// Switches where that is asked for, and reads what it gets.
async fn answer(request: Request) -> Response {
    if request.headers().contains_key("upgrade") {
        let switching = [("connection", "upgrade"), ("upgrade", "websocket")];
        return (StatusCode::SWITCHING_PROTOCOLS, switching).into_response();
    }
    let target = request.uri().to_string();
    match axum::body::to_bytes(request.into_body(), 1 << 20).await {
        Ok(body) => format!("{target} {}", body.len()).into_response(),
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}
