//! Where a token is asked for: only who shows it gets in, or who came by a link, and nothing tells it.

use std::os::unix::fs::PermissionsExt as _;

use axum::Router;
use daymark::{Builder, Server};
use daymark_core::record::Token;
use daymark_tests::files::Ground;
use daymark_tests::guarded::Guarded;
use daymark_tests::raw::Said;

fn guarded() -> Guarded {
    Guarded::with(Builder::require_token)
}

fn token_of(guarded: &Guarded) -> &str {
    guarded.server.token().map(Token::reveal).expect("a token")
}

/// The answer to a GET with these headers.
fn get(guarded: &Guarded, target: &str, headers: &str) -> Said {
    guarded.ask(&format!(
        "GET {target} HTTP/1.1\r\nHost: HOST\r\n{headers}\r\n"
    ))
}

/// What comes after the host in a link.
fn target_of<'a>(guarded: &Guarded, link: &'a str) -> &'a str {
    let rest = link.strip_prefix(guarded.server.url().trim_end_matches('/'));
    rest.expect("a link of this server's")
}

#[test]
fn nobody_gets_through_without_it_and_is_told_what_to_bring() {
    let guarded = guarded();
    let token = token_of(&guarded);
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
    let bearer = format!("aUTHORIZATION: bEARER {}\r\n", token_of(&guarded));
    assert_eq!(get(&guarded, "/", &bearer).status, 200);
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
        assert!(!link.contains(token_of(&guarded)), "{link}");
        let target = target_of(&guarded, &link).replacen("/?", "/page?a=b%20&", 1);

        let said = get(&guarded, &target, "");

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
        assert!(!cookie.contains(token_of(&guarded)));
        assert_eq!(get(&guarded, &target, "").status, 401, "it works once");
        let cookie = cookie.split(';').next().unwrap_or_default();
        let said = get(&guarded, "/page", &format!("Cookie: {cookie}\r\n"));
        assert_eq!(said.body, "/page 0");
        // A cookie is sent with whatever a page makes the browser do. The page still has to be the server's own.
        let foreign = format!("Cookie: {cookie}\r\nOrigin: http://evil.example\r\n");
        assert_eq!(get(&guarded, "/page", &foreign).status, 403);
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
    let token = token_of(&guarded);
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
