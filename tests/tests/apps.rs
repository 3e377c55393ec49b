//! Whatever an app does by the rules of tower's services, and by those of HTTP, its clients are answered.

use std::sync::mpsc::channel;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::routing::post;
use bytes::Bytes;
use daymark::Server;
use daymark_tests::client::{Client, PATIENCE};
use daymark_tests::files::Ground;
use daymark_tests::raw::Raw;
use futures_util::future::BoxFuture;
use http::Response;
use http_body_util::{BodyExt as _, Full};

/// How an app fails, or doesn't.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whim {
    /// Not at once, but when it has woken who asked.
    ReadyLater,
    NeverReady,
    PanicsBeforeReady,
    PanicsWhenAsked,
    PanicsLater,
    Fails,
}

/// An app on which each of its clones has to be ready before it is asked.
#[derive(Clone)]
struct Whimsical {
    whim: Whim,
    ready: bool,
    looks: u32,
}

#[derive(Debug)]
struct Failed;

impl<B: Send + 'static> tower::Service<http::Request<B>> for Whimsical {
    type Response = Response<Full<Bytes>>;
    type Error = Failed;
    type Future = BoxFuture<'static, Result<Self::Response, Failed>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        self.looks += 1;
        match self.whim {
            Whim::ReadyLater if self.looks < 3 => {
                let waker = cx.waker().clone();
                std::thread::spawn(move || waker.wake());
                return Poll::Pending;
            }
            Whim::NeverReady => return Poll::Ready(Err(Failed)),
            Whim::PanicsBeforeReady => panic!("on purpose"),
            _ => {}
        }
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Request<B>) -> Self::Future {
        assert!(self.ready, "asked before it was ready");
        let whim = self.whim;
        assert!(whim != Whim::PanicsWhenAsked, "on purpose");
        Box::pin(async move {
            assert!(whim != Whim::PanicsLater, "on purpose");
            match whim {
                Whim::Fails => Err(Failed),
                _ => Ok(Response::new(Full::from("at last"))),
            }
        })
    }
}

/// What two requests on one connection to such an app are answered with.
fn answers(whim: Whim) -> [u16; 2] {
    let ground = Ground::new();
    let app = Whimsical {
        whim,
        ready: false,
        looks: 0,
    };
    let server = Server::builder("apps-test")
        .state_dir(ground.dir())
        .app(app)
        .start()
        .expect("a start");
    let mut client = Client::connect(server.addr());
    [(); 2].map(|()| client.get("/").status)
}

#[test]
fn an_app_that_is_not_ready_is_asked_when_it_is() {
    assert_eq!(answers(Whim::ReadyLater), [200, 200]);
}

#[test]
fn an_app_that_fails_or_panics_at_any_point_answers_500() {
    for whim in [
        Whim::NeverReady,
        Whim::PanicsBeforeReady,
        Whim::PanicsWhenAsked,
        Whim::PanicsLater,
        Whim::Fails,
    ] {
        assert_eq!(answers(whim), [500, 500], "{whim:?}");
    }
}

#[test]
fn an_app_may_read_on_after_it_has_answered() {
    /// How long a head may take, and how often that the rest of the body takes.
    const SOON: Duration = Duration::from_millis(100);
    const OFTEN: u32 = 4;
    const HALF: &str = "half";
    let (all, read) = channel();
    let app = Router::new().route(
        "/",
        post(async move |request: Request| {
            tokio::spawn(async move {
                let mut body = request.into_body();
                let mut size = 0;
                // hyper doesn't tell of a body's end after the answer's.
                while size < 2 * HALF.len()
                    && let Some(Ok(frame)) = body.frame().await
                {
                    size += frame.into_data().map_or(0, |data| data.len());
                }
                // The test may be over.
                let _ = all.send(size);
            });
            "it will be read"
        }),
    );
    let ground = Ground::new();
    let server = Server::builder("apps-test")
        .state_dir(ground.dir())
        .header_timeout(SOON)
        .app(app)
        .start()
        .expect("a start");
    let addr = server.addr();
    let mut client = Raw::connect(addr);
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: {addr}\r\nContent-Length: {}\r\n\r\n{HALF}",
        2 * HALF.len()
    ));
    assert_eq!(client.hear().expect("an answer").status, 200);
    std::thread::sleep(SOON * OFTEN);
    client.send(HALF);
    assert_eq!(read.recv_timeout(PATIENCE), Ok(2 * HALF.len()));
    // And then it is idle.
    client.read_to_end();
}
