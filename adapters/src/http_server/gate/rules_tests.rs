use http::HeaderValue;
use http::header::HOST;

use super::*;

pub(super) const PORT: u16 = 4711;

pub(super) fn own() -> Rules {
    Rules::new(&HostPolicy::Own, &[], PORT)
}

pub(super) fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut builder = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap()
}

pub(super) fn get(headers: &[(&str, &str)]) -> Request<()> {
    let mut request = request("GET", "/", headers);
    if !request.headers().contains_key(HOST) {
        let host = HeaderValue::from_static("127.0.0.1:4711");
        request.headers_mut().insert(HOST, host);
    }
    request
}

#[test]
fn its_own_address_and_port_get_through() {
    for host in [
        "127.0.0.1:4711",
        "localhost:4711",
        "LocalHost:4711",
        "[::1]:4711",
    ] {
        assert_eq!(own().judge(&get(&[("host", host)])), Ok(()), "{host}");
    }
}

#[test]
fn every_other_name_is_refused() {
    for host in [
        "",
        "127.0.0.1",
        "localhost",
        "127.0.0.1:80",
        "127.0.0.1:4712",
        "127.0.0.1:47110",
        "127.0.0.1:04711",
        "127.0.0.1:",
        "127.0.0.1:4711:4711",
        "127.0.0.1:4711.evil.example",
        "127.0.0.1.evil.example:4711",
        "127.0.0.1.nip.io:4711",
        "127.0.0.2:4711",
        "127.1:4711",
        "2130706433:4711",
        "0.0.0.0:4711",
        "localhost.:4711",
        "app.localhost:4711",
        "localhost.evil.example:4711",
        "evil.example",
        "evil.example:4711",
        "evil.example@127.0.0.1:4711",
        "127.0.0.1:4711@evil.example",
        "::1:4711",
        "[::1]",
        "[::2]:4711",
        "[0:0:0:0:0:0:0:1]:4711",
        "[::ffff:127.0.0.1]:4711",
        "127.0.0.1:4711, 127.0.0.1:4711",
        "http://127.0.0.1:4711",
    ] {
        let refused = Err(Refusal::ForeignHost);
        assert_eq!(own().judge(&get(&[("host", host)])), refused, "{host}");
    }
}

#[test]
fn the_port_goes_without_saying_only_where_it_is_80() {
    let rules = Rules::new(&HostPolicy::Own, &[], 80);
    for host in ["127.0.0.1", "localhost:80", "[::1]"] {
        assert_eq!(rules.judge(&get(&[("host", host)])), Ok(()), "{host}");
    }
}

#[test]
fn a_request_names_exactly_one_host() {
    let none = request("GET", "/", &[]);
    let twice = ("host", "127.0.0.1:4711");
    for request in [none, request("GET", "/", &[twice, twice])] {
        assert_eq!(own().judge(&request), Err(Refusal::NotOneHost));
    }
    let mut old = request("GET", "/", &[]);
    *old.version_mut() = Version::HTTP_10;
    assert_eq!(own().judge(&old), Err(Refusal::NotOneHost));
}

#[test]
fn names_that_were_allowed_get_through_too() {
    let also = ["my.dev", "other.dev:3000"].map(|host| host.parse().unwrap());
    let rules = Rules::new(&HostPolicy::Also(also.into()), &[], PORT);
    for host in ["my.dev", "MY.dev:4711", "other.dev:3000", "localhost:4711"] {
        assert_eq!(rules.judge(&get(&[("host", host)])), Ok(()), "{host}");
    }
    for host in ["my.dev:80", "other.dev", "other.dev:4711", "a.my.dev"] {
        let refused = Err(Refusal::ForeignHost);
        assert_eq!(rules.judge(&get(&[("host", host)])), refused, "{host}");
    }
}

#[test]
fn where_every_name_is_allowed_there_is_still_one_and_its_own_origin() {
    let rules = Rules::new(&HostPolicy::Any, &[], PORT);
    let from = |origin| get(&[("host", "any.example"), ("origin", origin)]);
    assert_eq!(rules.judge(&from("http://any.example")), Ok(()));
    let foreign = rules.judge(&from("http://evil.example"));
    assert_eq!(foreign, Err(Refusal::ForeignOrigin));
    let none = rules.judge(&request("GET", "/", &[]));
    assert_eq!(none, Err(Refusal::NotOneHost));
}

#[test]
fn a_target_that_names_a_host_is_held_to_the_same() {
    let host = ("host", "127.0.0.1:4711");
    for (method, target, expected) in [
        ("GET", "http://127.0.0.1:4711/a", Ok(())),
        ("GET", "HTTP://127.0.0.1:4711/a", Ok(())),
        ("GET", "http://evil.example/", Err(Refusal::ForeignHost)),
        ("GET", "http://127.0.0.1/", Err(Refusal::ForeignHost)),
        (
            "GET",
            "http://me@127.0.0.1:4711/",
            Err(Refusal::ForeignHost),
        ),
        ("GET", "https://127.0.0.1:4711/", Err(Refusal::ForeignHost)),
        ("GET", "ws://127.0.0.1:4711/", Err(Refusal::ForeignHost)),
        ("GET", "http://localhost:4711/", Err(Refusal::BadTarget)),
        ("GET", "127.0.0.1:4711", Err(Refusal::BadTarget)),
        ("GET", "*", Err(Refusal::BadTarget)),
        ("OPTIONS", "*", Ok(())),
        ("CONNECT", "127.0.0.1:4711", Ok(())),
        ("CONNECT", "evil.example:443", Err(Refusal::ForeignHost)),
        ("CONNECT", "localhost:4711", Err(Refusal::BadTarget)),
        ("CONNECT", "/", Err(Refusal::BadTarget)),
        ("CONNECT", "http://127.0.0.1:4711/", Err(Refusal::BadTarget)),
    ] {
        let judged = own().judge(&request(method, target, &[host]));
        assert_eq!(judged, expected, "{method} {target}");
    }
    let foreign = request("GET", "http://127.0.0.1:4711/", &[("host", "evil.example")]);
    assert_eq!(own().judge(&foreign), Err(Refusal::ForeignHost));
}

#[test]
fn no_version_is_spoken_but_1() {
    for (version, expected) in [
        (Version::HTTP_09, Err(Refusal::BadTarget)),
        (Version::HTTP_10, Ok(())),
        (Version::HTTP_11, Ok(())),
        (Version::HTTP_2, Err(Refusal::BadTarget)),
        (Version::HTTP_3, Err(Refusal::BadTarget)),
    ] {
        let mut request = get(&[]);
        *request.version_mut() = version;
        assert_eq!(own().judge(&request), expected, "{version:?}");
    }
}

#[test]
fn an_origin_is_that_of_the_very_host_that_is_asked() {
    for (host, origin) in [
        ("127.0.0.1:4711", "http://127.0.0.1:4711"),
        ("LocalHost:4711", "http://localhost:4711"),
        ("[::1]:4711", "http://[::1]:4711"),
    ] {
        let own_page = get(&[("host", host), ("origin", origin)]);
        assert_eq!(own().judge(&own_page), Ok(()), "{origin}");
    }
    for origin in [
        "",
        "null",
        "http://evil.example",
        "http://127.0.0.1",
        "http://127.0.0.1:4712",
        "https://127.0.0.1:4711",
        "http://127.0.0.1:4711/",
        "http://127.0.0.1:4711.evil.example",
        "http://evil.example@127.0.0.1:4711",
        // Another user may serve that one, on the other loopback address.
        "http://localhost:4711",
        "http://127.0.0.1:4711 http://127.0.0.1:4711",
    ] {
        let refused = Err(Refusal::ForeignOrigin);
        assert_eq!(
            own().judge(&get(&[("origin", origin)])),
            refused,
            "{origin}"
        );
    }
}

#[test]
fn an_origin_that_was_allowed_may_send_what_it_likes() {
    let origins = ["http://localhost:5173".parse().unwrap()];
    let rules = Rules::new(&HostPolicy::Own, &origins, PORT);
    let from = |origin| get(&[("origin", origin), ("sec-fetch-site", "same-site")]);
    assert_eq!(rules.judge(&from("http://localhost:5173")), Ok(()));
    let other = rules.judge(&from("http://localhost:5174"));
    assert_eq!(other, Err(Refusal::ForeignOrigin));
}

#[test]
fn another_site_may_link_here_and_nothing_else() {
    let link = [
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ];
    for site in ["cross-site", "same-site", "", "none ", "new-in-2030"] {
        let with = |method: &str, more: &[(&str, &str)]| {
            let host = [("host", "127.0.0.1:4711"), ("sec-fetch-site", site)];
            own().judge(&request(method, "/", &[&host, more].concat()))
        };
        assert_eq!(with("GET", &link), Ok(()), "{site}");
        let refused = Err(Refusal::CrossSite);
        for method in ["HEAD", "POST", "OPTIONS", "get"] {
            assert_eq!(with(method, &link), refused, "{method} {site}");
        }
        for (mode, dest) in [
            ("navigate", "iframe"),
            ("navigate", "object"),
            ("no-cors", "image"),
            ("no-cors", "script"),
            ("cors", "empty"),
            ("websocket", "websocket"),
            ("websocket", "document"),
        ] {
            let other = [("sec-fetch-mode", mode), ("sec-fetch-dest", dest)];
            assert_eq!(with("GET", &other), refused, "{mode} {dest} {site}");
        }
        let upgrade = [link[0], link[1], ("upgrade", "websocket")];
        assert_eq!(with("GET", &upgrade), refused, "{site}");
        assert_eq!(with("GET", &[]), refused, "{site}");
    }
    for site in ["same-origin", "none"] {
        assert_eq!(own().judge(&get(&[("sec-fetch-site", site)])), Ok(()));
    }
}

#[test]
fn what_decides_stands_there_once() {
    for name in [
        "origin",
        "sec-fetch-site",
        "sec-fetch-mode",
        "sec-fetch-dest",
        "sec-fetch-user",
    ] {
        let value = match name {
            "origin" => "http://127.0.0.1:4711",
            _ => "same-origin",
        };
        let judged = own().judge(&get(&[(name, value), (name, value)]));
        assert_eq!(judged, Err(Refusal::Doubled), "{name}");
    }
}
