//! Who is let in, over real connections: only requests that are meant for this very server, that no foreign page has sent,
//! and that show the token where one is asked for. Nobody else reaches the app.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use daymark::{Builder, Server, StartError};
use daymark_tests::files::Ground;
use daymark_tests::raw::{Raw, Said, answer_to};
use http::StatusCode;

/// Stands in all that clients say, and in nothing that they are told.
const MARK: &str = "evil-mark";

struct Guarded {
    server: Server,
    /// How many requests the app has seen.
    seen: Arc<AtomicUsize>,
    ground: Ground,
}

impl Guarded {
    fn start() -> Self {
        Self::with(|builder| builder)
    }

    fn with(settings: impl FnOnce(Builder) -> Builder) -> Self {
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

    fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The answer to a request, in which `HOST` and `PORT` stand for the server's own.
    fn ask(&self, request: &str) -> Said {
        answer_to(self.addr(), self.filled(request))
    }

    fn filled(&self, request: &str) -> String {
        let addr = self.addr();
        let request = request.replace("HOST", &addr.to_string());
        request.replace("PORT", &addr.port().to_string())
    }

    fn seen(&self) -> usize {
        self.seen.load(Ordering::SeqCst)
    }

    /// Asserts that somebody is told what is wrong in the form of RFC 9457, and nothing of what was sent.
    #[track_caller]
    fn assert_refused(&self, request: &str, status: u16) -> Said {
        let said = self.ask(request);
        assert_problem(&said, status, request);
        assert_eq!(self.seen(), 0, "the app has seen {request:?}");
        said
    }
}

#[track_caller]
fn assert_problem(said: &Said, status: u16, request: &str) {
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

#[test]
fn a_request_that_is_meant_for_this_server_reaches_the_app() {
    let guarded = Guarded::start();
    for request in [
        "GET /a HTTP/1.1\r\nHost: HOST\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n",
        "GET /a HTTP/1.1\r\nhost: LocalHost:PORT\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: [::1]:PORT\r\n\r\n",
        "GET /a HTTP/1.0\r\nHost: HOST\r\n\r\n",
        "GET http://HOST/a HTTP/1.1\r\nHost: HOST\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: HOST\r\nOrigin: http://HOST\r\nContent-Length: 0\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: HOST\r\nSec-Fetch-Site: same-origin\r\nContent-Length: 0\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: HOST\r\nSec-Fetch-Site: none\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: HOST\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n\r\n",
    ] {
        let said = guarded.ask(request);
        assert_eq!(said.status, 200, "{request:?}: {said:?}");
    }
}

#[test]
fn a_request_under_another_name_reaches_nobody() {
    let guarded = Guarded::start();
    for host in [
        "evil-mark.example",
        "evil-mark.example:PORT",
        "127.0.0.1",
        "localhost",
        "127.0.0.1:1",
        "127.0.0.1:PORT.evil-mark.example",
        "127.0.0.1.evil-mark.example:PORT",
        "localhost.:PORT",
        "evil-mark.localhost:PORT",
        "evil-mark@127.0.0.1:PORT",
        "",
    ] {
        guarded.assert_refused(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), 421);
    }
    for target in [
        "GET http://evil-mark.example/",
        "GET https://HOST/evil-mark",
        "GET http://evil-mark@HOST/",
        "CONNECT evil-mark.example:443",
    ] {
        guarded.assert_refused(&format!("{target} HTTP/1.1\r\nHost: HOST\r\n\r\n"), 421);
    }
}

#[test]
fn a_request_that_names_no_host_or_two_or_is_none_reaches_nobody() {
    let guarded = Guarded::start();
    for request in [
        "GET /evil-mark HTTP/1.1\r\n\r\n",
        "GET /evil-mark HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: HOST\r\nHost: HOST\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: HOST\r\nHost: evil-mark.example\r\n\r\n",
        "GET http://localhost:PORT/evil-mark HTTP/1.1\r\nHost: HOST\r\n\r\n",
        "GET * HTTP/1.1\r\nHost: HOST\r\n\r\n",
        "GET HOST HTTP/1.1\r\nHost: HOST\r\n\r\n",
        "CONNECT localhost:PORT HTTP/1.1\r\nHost: HOST\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: HOST\r\nOrigin: http://HOST\r\nOrigin: http://evil-mark.example\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: HOST\r\nSec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site\r\n\r\n",
    ] {
        let said = guarded.assert_refused(request, 400);
        assert_eq!(said.header("connection"), Some("close"), "{said:?}");
    }
}

#[test]
fn a_page_of_another_origin_reaches_nobody() {
    let guarded = Guarded::start();
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    for origin in [
        "null",
        "http://evil-mark.example",
        "https://HOST",
        "http://localhost:PORT",
        "http://HOST.evil-mark.example",
        "http://HOST/",
    ] {
        for (method, more) in [
            ("GET", ""),
            ("POST", "Content-Length: 0\r\n"),
            ("GET", upgrade),
        ] {
            guarded.assert_refused(
                &format!("{method} / HTTP/1.1\r\nHost: HOST\r\nOrigin: {origin}\r\n{more}\r\n"),
                403,
            );
        }
    }
    for (method, site, mode, dest) in [
        ("GET", "cross-site", "no-cors", "image"),
        ("GET", "same-site", "cors", "empty"),
        ("GET", "cross-site", "navigate", "iframe"),
        ("POST", "cross-site", "navigate", "document"),
        ("HEAD", "cross-site", "navigate", "document"),
        ("GET", "evil-mark", "cors", "empty"),
    ] {
        let request = format!(
            "{method} / HTTP/1.1\r\nHost: HOST\r\nSec-Fetch-Site: {site}\r\nSec-Fetch-Mode: {mode}\r\n\
             Sec-Fetch-Dest: {dest}\r\nConnection: close\r\n\r\n"
        );
        match method {
            // It has a head alone.
            "HEAD" => {
                let mut raw = Raw::connect(guarded.addr());
                raw.send(guarded.filled(&request));
                assert!(raw.read_to_end().starts_with("HTTP/1.1 403 "));
            }
            _ => drop(guarded.assert_refused(&request, 403)),
        }
    }
    assert_eq!(guarded.seen(), 0);
}

#[test]
fn a_websocket_of_its_own_page_reaches_the_app() {
    let guarded = Guarded::start();
    let said = guarded.ask(
        "GET / HTTP/1.1\r\nHost: HOST\r\nOrigin: http://HOST\r\nSec-Fetch-Site: same-origin\r\n\
         Sec-Fetch-Mode: websocket\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    assert_eq!(said.status, 101, "{said:?}");
}

#[test]
fn a_refused_body_is_neither_asked_for_nor_read_and_ends_the_connection() {
    let guarded = Guarded::start();
    for more in ["", "Expect: 100-continue\r\n"] {
        let mut raw = Raw::connect(guarded.addr());
        raw.send(format!(
            "POST / HTTP/1.1\r\nHost: evil-mark.example\r\nContent-Length: 1000000\r\n{more}\r\n"
        ));
        let said = raw.hear().expect("an answer");
        assert_problem(&said, 421, more);
        assert_eq!(said.header("connection"), Some("close"), "{said:?}");
        assert!(raw.is_closed());
    }
    assert_eq!(guarded.seen(), 0);
}

#[test]
fn a_refusal_without_a_body_leaves_the_connection_to_better_requests() {
    let guarded = Guarded::start();
    let mut raw = Raw::connect(guarded.addr());
    raw.send("GET / HTTP/1.1\r\nHost: evil-mark.example\r\n\r\n");
    assert_eq!(raw.hear().expect("an answer").status, 421);
    raw.send(guarded.filled("GET / HTTP/1.1\r\nHost: HOST\r\n\r\n"));
    assert_eq!(raw.hear().expect("an answer").status, 200);
}

#[test]
fn what_comes_after_a_request_that_is_none_is_not_read() {
    let guarded = Guarded::start();
    let good = guarded.filled("GET / HTTP/1.1\r\nHost: HOST\r\n\r\n");
    let mut raw = Raw::connect(guarded.addr());
    raw.send(format!(
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n{good}"
    ));
    assert_eq!(raw.hear().expect("an answer").status, 400);
    assert!(raw.is_closed());
    assert_eq!(guarded.seen(), 0);
}

#[test]
fn a_server_on_the_other_loopback_address_answers_to_that() {
    let guarded = Guarded::with(Builder::ipv6);
    let said =
        guarded.ask("GET / HTTP/1.1\r\nHost: [::1]:PORT\r\nOrigin: http://[::1]:PORT\r\n\r\n");
    assert_eq!(said.status, 200, "{said:?}");
    guarded.ask("GET / HTTP/1.1\r\nHost: [::1]:1\r\n\r\n");
    assert_eq!(guarded.seen(), 1);
}

#[test]
fn what_was_allowed_is_let_in_and_is_given_no_cors_headers() {
    let guarded = Guarded::with(|builder| {
        builder
            .allow_host("my.dev:3000")
            .allow_origin("http://localhost:5173")
    });
    let said = guarded.ask("GET / HTTP/1.1\r\nHost: my.dev:3000\r\n\r\n");
    assert_eq!(said.status, 200, "{said:?}");
    let preflight = guarded.ask(
        "OPTIONS / HTTP/1.1\r\nHost: HOST\r\nOrigin: http://localhost:5173\r\nSec-Fetch-Site: same-site\r\n\
         Access-Control-Request-Method: PUT\r\n\r\n",
    );
    assert_eq!(preflight.status, 200, "{preflight:?}");
    assert!(!preflight.head.to_lowercase().contains("access-control"));
    assert_eq!(guarded.seen(), 2);
    assert_eq!(
        guarded.ask("GET / HTTP/1.1\r\nHost: my.dev\r\n\r\n").status,
        421
    );
    let any = Guarded::with(Builder::allow_any_host);
    assert_eq!(
        any.ask("GET / HTTP/1.1\r\nHost: any.example\r\n\r\n")
            .status,
        200
    );
}

#[test]
fn what_is_no_host_or_origin_cannot_be_allowed() {
    let start = |settings: fn(Builder) -> Builder| {
        let ground = Ground::new();
        let builder = settings(Server::builder("guard-test").state_dir(ground.dir()));
        let failed = builder.app(Router::new()).start();
        assert!(!ground.dir().exists());
        failed.expect_err("it can't start")
    };
    for error in [
        start(|builder| builder.allow_host("http://my.dev")),
        start(|builder| builder.allow_origin("my.dev")),
        start(|builder| builder.allow_origin("null")),
    ] {
        assert!(matches!(error, StartError::Setup { .. }), "{error:?}");
    }
}

mod token {
    //! Where a token is asked for.

    use std::os::unix::fs::PermissionsExt as _;

    use daymark_core::record::Token;

    use super::*;

    fn guarded() -> Guarded {
        Guarded::with(Builder::require_token)
    }

    impl Guarded {
        fn token(&self) -> &str {
            self.server.token().map(Token::reveal).expect("a token")
        }

        /// The answer to a GET with these headers.
        fn get(&self, target: &str, headers: &str) -> Said {
            self.ask(&format!(
                "GET {target} HTTP/1.1\r\nHost: HOST\r\n{headers}\r\n"
            ))
        }
    }

    /// What comes after the host in a link.
    fn target_of<'a>(guarded: &Guarded, link: &'a str) -> &'a str {
        let rest = link.strip_prefix(guarded.server.url().trim_end_matches('/'));
        rest.expect("a link of this server's")
    }

    #[test]
    fn nobody_gets_through_without_it_and_is_told_what_to_bring() {
        let guarded = guarded();
        let token = guarded.token();
        assert!(token.len() == 64 && token.bytes().all(|b| b.is_ascii_hexdigit()));
        for (method, more) in [
            ("GET", String::new()),
            ("GET", "Authorization: Bearer evil-mark\r\n".to_owned()),
            ("GET", format!("Authorization: Bearer {token}0\r\n")),
            (
                "GET",
                format!("Authorization: Bearer {token}\r\n").repeat(2),
            ),
            ("GET", format!("Cookie: daymark={token}\r\n")),
            ("POST", "Content-Length: 5\r\n".to_owned()),
            (
                "OPTIONS",
                "Origin: http://HOST\r\nAccess-Control-Request-Method: PUT\r\n".to_owned(),
            ),
            (
                "GET",
                "Connection: Upgrade\r\nUpgrade: websocket\r\n".to_owned(),
            ),
        ] {
            let request = format!("{method} /?token={token} HTTP/1.1\r\nHost: HOST\r\n{more}\r\n");
            let said = guarded.assert_refused(&request, 401);
            assert_eq!(said.header("www-authenticate"), Some("Bearer"), "{said:?}");
        }
    }

    #[test]
    fn a_program_shows_it_as_a_bearer() {
        let guarded = guarded();
        let bearer = format!("aUTHORIZATION: bEARER {}\r\n", guarded.token());
        assert_eq!(guarded.get("/", &bearer).status, 200);
        // It doesn't open what is closed to all.
        let request = format!("GET / HTTP/1.1\r\nHost: evil.example\r\n{bearer}\r\n");
        assert_eq!(guarded.ask(&request).status, 421);
        assert_eq!(guarded.seen(), 1);
    }

    #[tokio::test]
    async fn a_browser_gets_in_by_a_link_that_works_once_and_keeps_a_cookie() {
        let guarded = guarded();
        let from_inside = guarded.server.one_time_link().expect("a link");
        let asked = guarded.ground.place().one_time_link().await;
        for link in [from_inside, asked.expect("a link")] {
            assert!(!link.contains(guarded.token()), "{link}");
            let target = target_of(&guarded, &link).replacen("/?", "/page?a=b%20&", 1);

            let said = guarded.get(&target, "");

            assert_eq!(said.status, 303, "{said:?}");
            assert_eq!(said.header("location"), Some("/page?a=b%20"));
            assert_eq!(said.header("cache-control"), Some("no-store"));
            assert_eq!(said.header("referrer-policy"), Some("no-referrer"));
            let cookie = said.header("set-cookie").expect("a cookie");
            assert!(
                cookie.contains("; HttpOnly") && cookie.contains("; SameSite=Strict"),
                "{cookie}"
            );
            let instance = guarded.server.record().instance_id.expect("an instance");
            assert!(
                cookie.starts_with(&format!("daymark-{instance}=")),
                "{cookie}"
            );
            assert!(!cookie.contains(guarded.token()));
            assert_eq!(guarded.get(&target, "").status, 401, "it works once");
            let cookie = cookie.split(';').next().unwrap_or_default();
            let said = guarded.get("/page", &format!("Cookie: {cookie}\r\n"));
            assert_eq!(said.body, "/page 0");
            // A cookie is sent with whatever a page makes the browser do. The page still has to be the server's own.
            let foreign = format!("Cookie: {cookie}\r\nOrigin: http://evil.example\r\n");
            assert_eq!(guarded.get("/page", &foreign).status, 403);
        }
        assert_eq!(guarded.seen(), 2);
    }

    #[tokio::test]
    async fn where_none_is_asked_for_a_link_is_the_plain_url() {
        let guarded = Guarded::start();
        let link = guarded.ground.place().one_time_link().await;
        assert_eq!(link.expect("a link"), guarded.server.url());
        assert_eq!(
            guarded.server.one_time_link().expect("a link"),
            guarded.server.url()
        );
    }

    #[test]
    fn only_the_record_has_it() {
        let guarded = guarded();
        let token = guarded.token();
        let mut holders = Vec::new();
        for name in guarded.ground.names() {
            let path = guarded.ground.dir().join(&name);
            let bytes = std::fs::read(&path).expect("our own file");
            if String::from_utf8_lossy(&bytes).contains(token) {
                let mode = std::fs::metadata(&path)
                    .expect("a file")
                    .permissions()
                    .mode();
                holders.push((name, mode & 0o777));
            }
        }
        assert_eq!(holders, [("server.json".to_owned(), 0o600)]);
    }

    #[tokio::test]
    async fn no_debug_output_tells_it() {
        let token = "0123456789abcdef0123456789abcdef";
        let this = token.parse().expect("a token");
        let ground = Ground::new();
        let builder = Server::builder("guard-test")
            .state_dir(ground.dir())
            .require_this_token(this);
        let mut said = vec![format!("{builder:?}")];
        let prepared = builder
            .clone()
            .app(Router::new())
            .prepare()
            .expect("a plan");
        let mut events = prepared.subscribe();
        said.push(format!("{prepared:?}"));
        let server = prepared.start_async().await.expect("a start");
        let again = builder.app(Router::new()).start_async().await;
        let place = ground.place();
        let connection = place.connect().await.expect("a connection");
        said.extend([
            format!(
                "{server:?} {:?} {:?}",
                server.handle(),
                server.handle().status()
            ),
            format!("{:?} {:?}", server.token(), server.record()),
            format!(
                "{:?} {:?} {connection:?}",
                again,
                again.as_ref().err().map(ToString::to_string)
            ),
            format!("{place:?} {:?}", place.look()),
            format!("{:?}", server.stop_async(std::time::Duration::ZERO).await),
            format!("{:?} {:?}", place.look(), place.one_time_link().await),
        ]);
        while let Some(event) = events.next().await {
            said.push(format!("{event:?}"));
        }
        for text in said {
            assert!(!text.contains(token), "{text}");
        }
    }
}
