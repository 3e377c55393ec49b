use http::header::{HOST, ORIGIN};
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::tests::{PORT, get, own, request};
use super::*;

#[path = "oracle.rs"]
mod oracle;

use oracle::{Asked, Server};

fn first<'a>(request: &'a Request<()>, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

type Rule = fn(&Request<()>) -> bool;

/// Rules that look as good, most of them from servers that were got into.
const EASIER: [(&str, Rule); 9] = [
    ("the host begins like ours", |r| {
        first(r, "host").is_some_and(|host| host.starts_with("127.0.0.1:4711"))
    }),
    ("the host ends like ours", |r| {
        first(r, "host").is_some_and(|host| host.ends_with("127.0.0.1:4711"))
    }),
    ("the name is ours, on any port", |r| {
        first(r, "host").is_some_and(|host| host.split(':').next() == Some("127.0.0.1"))
    }),
    ("the last host is ours", |r| {
        let last = r.headers().get_all(HOST).iter().next_back();
        last.is_some_and(|host| host == "127.0.0.1:4711")
    }),
    ("the host is ours, whatever the target says", |r| {
        r.headers().get_all(HOST).iter().eq(["127.0.0.1:4711"])
    }),
    ("the first origin is ours", |r| {
        first(r, "origin") == Some("http://127.0.0.1:4711")
    }),
    ("the origin's host is ours, by whatever scheme", |r| {
        first(r, "origin").is_some_and(|origin| origin.ends_with("://127.0.0.1:4711"))
    }),
    ("what isn't cross-site is from home", |r| {
        first(r, "sec-fetch-site").is_none_or(|site| site != "cross-site")
    }),
    ("who only reads may, as tower-http's csrf has it", |r| {
        r.method() == Method::GET
    }),
];

#[test]
fn every_easier_rule_lets_somebody_in() {
    let ours = ("host", "127.0.0.1:4711");
    let by_us = ("origin", "http://127.0.0.1:4711");
    let attacks = [
        request("GET", "/", &[("host", "127.0.0.1:4711.evil.example")]),
        request("GET", "/", &[("host", "evil.example@127.0.0.1:4711")]),
        request("GET", "/", &[("host", "127.0.0.1:1")]),
        request("GET", "/", &[("host", "evil.example"), ours]),
        request("GET", "http://evil.example/", &[ours]),
        request(
            "POST",
            "/",
            &[ours, by_us, ("origin", "http://evil.example")],
        ),
        request("POST", "/", &[ours, ("origin", "https://127.0.0.1:4711")]),
        request("POST", "/", &[ours, ("sec-fetch-site", "same-site")]),
        request("GET", "/", &[ours, ("origin", "http://evil.example")]),
    ];
    let good = request("GET", "/", &[ours, by_us]);
    for (rule, admits) in EASIER {
        let got_in = attacks.iter().filter(|attack| admits(attack)).count();
        assert!(
            got_in > 0 && admits(&good),
            "nothing tells {rule:?} from the rules"
        );
    }
    for attack in &attacks {
        assert!(own().judge(attack).is_err(), "{attack:?}");
    }
    assert_eq!(own().judge(&good), Ok(()));
}

/// Mostly what is nearly right, for of what is all wrong there is little to learn.
fn host() -> impl Strategy<Value = String> {
    let names: &[_] = &[
        "127.0.0.1",
        "localhost",
        "[::1]",
        "my.dev",
        "evil.example",
        "LOCALHOST",
        "",
    ];
    let ports: &[_] = &["", ":", ":4711", ":80", ":3000", ":04711", ":4711.", "@x"];
    let pair = (prop::sample::select(names), prop::sample::select(ports));
    prop_oneof![
        9 => pair.prop_map(|(name, port)| format!("{name}{port}")),
        1 => "[!-~]{0,20}",
    ]
}

fn header() -> impl Strategy<Value = (String, String)> {
    let sites: &[_] = &["same-origin", "none", "same-site", "cross-site", "", "x"];
    let word = |words: &'static [&'static str]| prop::sample::select(words).prop_map(str::to_owned);
    let is = |name: &'static str, value: BoxedStrategy<String>| {
        value.prop_map(move |value| (name.to_owned(), value))
    };
    let origin = (word(&["http://", "https://", "HTTP://", ""]), host());
    let origin = origin.prop_map(|(scheme, host)| scheme + &host);
    prop_oneof![
        is("host", host().boxed()),
        is("origin", prop_oneof![origin, word(&["null"])].boxed()),
        is(
            "sec-fetch-site",
            prop::sample::select(sites).prop_map(str::to_owned).boxed()
        ),
        is(
            "sec-fetch-mode",
            word(&["navigate", "cors", "websocket"]).boxed()
        ),
        is(
            "sec-fetch-dest",
            word(&["document", "iframe", "empty"]).boxed()
        ),
        is("sec-fetch-user", word(&["?1"]).boxed()),
        is("upgrade", word(&["websocket"]).boxed()),
        is("x-other", "[ -~]{0,9}".boxed()),
    ]
}

fn target() -> impl Strategy<Value = String> {
    let path = prop::sample::select(&["/", "*", "/a?b", "//evil.example/", ""][..]);
    let scheme = prop::sample::select(&["http://", "https://", "HTTP://", ""][..]);
    prop_oneof![
        path.clone().prop_map(str::to_owned),
        (scheme, host(), path).prop_map(|(scheme, host, path)| format!("{scheme}{host}{path}")),
    ]
}

fn agrees(asked: &Asked) -> Result<(), TestCaseError> {
    let mut builder = Request::builder()
        .method(asked.method.as_str())
        .uri(asked.target.as_str());
    for (name, value) in &asked.headers {
        let name: HeaderName = name.parse().unwrap();
        builder = builder.header(name, HeaderValue::from_bytes(value).unwrap());
    }
    let Ok(request) = builder.body(()) else {
        return Ok(());
    };
    let hosts = HostPolicy::Also(vec!["my.dev".parse().unwrap()]);
    let origins = ["http://my.dev:3000".parse().unwrap()];
    for port in [PORT, 80] {
        let server = Server {
            port,
            also: vec!["my.dev".to_owned()],
            origins: vec!["http://my.dev:3000".to_owned()],
        };
        let judged = Rules::new(&hosts, &origins, port).judge(&request);
        let expected = oracle::passes(&server, asked);
        prop_assert_eq!(judged.is_ok(), expected, "{:?}: {:?}", asked, judged);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn the_rules_agree_with_their_oracle(
        method in prop::sample::select(&["GET", "HEAD", "POST", "OPTIONS", "CONNECT"][..]),
        target in target(),
        // The first is nearly always there, or everything fails by that.
        first in host(),
        mut headers in prop::collection::vec(header(), 0..6),
    ) {
        headers.insert(0, ("host".to_owned(), first));
        let bytes = |(name, value): (String, String)| (name, value.into_bytes());
        let headers = headers.into_iter().map(bytes).collect();
        agrees(&Asked { method: method.to_owned(), target, headers })?;
    }

    #[test]
    fn no_bytes_in_a_header_make_the_rules_panic_or_let_it_through(value in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            for name in [HOST, ORIGIN] {
                let mut request = get(&[]);
                request.headers_mut().insert(&name, value.clone());
                prop_assert!(own().judge(&request).is_err());
            }
        }
    }
}
