use http::Request;

use super::*;

fn asked(host: Option<&str>, target: &str) -> Request<()> {
    let version = match host {
        Some(_) => Version::HTTP_11,
        None => Version::HTTP_10,
    };
    let request = Request::builder().uri(target).version(version);
    match host {
        Some(host) => request.header(HOST, host).body(()).unwrap(),
        None => request.body(()).unwrap(),
    }
}

fn status(access: &Access, request: &Request<()>) -> Option<StatusCode> {
    access
        .check(request, 80)
        .err()
        .map(|refusal| refusal.status())
}

#[test]
fn this_machines_own_names_get_through() {
    let access = Access::default();
    for host in [
        "127.0.0.1",
        "127.0.0.1:4711",
        "[::1]:80",
        "localhost",
        "LocalHost:80",
        "app.localhost",
    ] {
        assert_eq!(status(&access, &asked(Some(host), "/")), None, "{host}");
    }
    assert_eq!(status(&access, &asked(None, "/")), None, "HTTP/1.0");
}

#[test]
fn a_name_that_anybody_could_point_here_is_refused() {
    let access = Access::default();
    for host in [
        "example.com",
        "example.com:80",
        "localhost.example.com",
        "127.0.0.1.nip.io",
        "192.168.0.1",
        "0.0.0.0",
        "notlocalhost",
        "[::2]",
        "",
    ] {
        let refused = Some(StatusCode::MISDIRECTED_REQUEST);
        assert_eq!(status(&access, &asked(Some(host), "/")), refused, "{host}");
    }
}

#[test]
fn an_absolute_target_does_not_get_around_the_host() {
    let access = Access::default();
    let refused = Some(StatusCode::MISDIRECTED_REQUEST);
    assert_eq!(
        status(&access, &asked(None, "http://example.com/")),
        refused
    );
    assert_eq!(
        status(&access, &asked(Some("localhost"), "http://example.com/")),
        refused
    );
    assert_eq!(
        status(&access, &asked(Some("example.com"), "http://localhost/")),
        refused
    );
}

#[test]
fn a_request_names_exactly_one_host() {
    let mut two = asked(Some("localhost"), "/");
    let again = HeaderValue::from_static("localhost");
    two.headers_mut().append(HOST, again);
    let none = Request::builder().uri("/").body(()).unwrap();
    for request in [two, none] {
        let refused = Some(StatusCode::BAD_REQUEST);
        assert_eq!(status(&Access::default(), &request), refused);
    }
}

#[test]
fn names_that_were_allowed_get_through_too() {
    let access = Access::new(HostPolicy::Also(vec!["dev.example.com".into()]), None);
    assert_eq!(
        status(&access, &asked(Some("DEV.example.com:80"), "/")),
        None
    );
    assert!(status(&access, &asked(Some("example.com"), "/")).is_some());
}

fn guarded() -> Access {
    Access::new(
        HostPolicy::Loopback,
        Some("0123456789abcdef".parse().unwrap()),
    )
}

#[test]
fn without_the_token_nobody_gets_through() {
    let access = guarded();
    for target in [
        "/",
        "/?token=",
        "/?token=0123456789abcdeX",
        "/?x=0123456789abcdef",
    ] {
        let refused = Some(StatusCode::UNAUTHORIZED);
        assert_eq!(
            status(&access, &asked(Some("localhost"), target)),
            refused,
            "{target}"
        );
    }
}

#[test]
fn the_token_gets_through_as_a_header_or_a_cookie() {
    let access = guarded();
    for (name, value) in [
        (AUTHORIZATION, "Bearer 0123456789abcdef"),
        (COOKIE, "a=b; daymark-80=0123456789abcdef"),
    ] {
        let mut request = asked(Some("localhost"), "/");
        request
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
        assert_eq!(status(&access, &request), None, "{value}");
    }
}

#[test]
fn a_token_in_the_address_becomes_a_cookie_and_leaves_the_address() {
    let request = asked(Some("localhost"), "/a?x=1&token=0123456789abcdef&y=2");
    let answer = guarded().check(&request, 80).unwrap_err();
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert_eq!(answer.headers()[LOCATION], "/a?x=1&y=2");
    let cookie = answer.headers()[SET_COOKIE].to_str().unwrap();
    assert!(
        cookie.starts_with("daymark-80=0123456789abcdef;"),
        "{cookie}"
    );
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
}

#[test]
fn the_redirect_never_leaves_this_server() {
    let request = asked(Some("localhost"), "//evil.example/?token=0123456789abcdef");
    let answer = guarded().check(&request, 80).unwrap_err();
    assert_eq!(answer.headers()[LOCATION], "/evil.example/");
    let request = asked(Some("localhost"), "/\\evil.example/?token=0123456789abcdef");
    let answer = guarded().check(&request, 80).unwrap_err();
    assert_eq!(answer.headers()[LOCATION], "/evil.example/");
}
