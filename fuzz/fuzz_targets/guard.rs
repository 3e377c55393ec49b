//! Whatever a request's head says: the rules don't panic, and let in exactly whom their oracle lets in. That judges by text
//! alone, and knows nothing of theirs.
//!
//! The bytes are a head as on the wire, in UTF-8 or not: `METHOD target`, then a line for each header.

#![no_main]

use daymark_adapters::http_server::HostPolicy;
use daymark_adapters::http_server::rules::Rules;
use http::{HeaderName, HeaderValue, Request};
use libfuzzer_sys::fuzz_target;

#[path = "../../adapters/src/http_server/gate/oracle.rs"]
mod oracle;

use oracle::{Asked, Server};

fuzz_target!(|bytes: &[u8]| {
    let Some((asked, request)) = parse(bytes) else {
        return;
    };
    for port in [4711, 80] {
        for (also, from) in [(None, None), (Some("my.dev"), Some("http://my.dev:3000"))] {
            let parsed = also.map(|host| host.parse().expect("a host"));
            let hosts = match parsed {
                Some(host) => HostPolicy::Also(vec![host]),
                None => HostPolicy::Own,
            };
            let origins: Vec<_> = from
                .map(|origin| origin.parse().expect("an origin"))
                .into_iter()
                .collect();
            let server = Server {
                port,
                also: also.map(str::to_owned).into_iter().collect(),
                origins: from.map(str::to_owned).into_iter().collect(),
            };
            let judged = Rules::new(&hosts, &origins, port).judge(&request);
            let expected = oracle::passes(&server, &asked);
            assert_eq!(judged.is_ok(), expected, "{asked:?} at {port}: {judged:?}");
        }
    }
});

/// A head as the server would have it from hyper; none if it would have refused it.
fn parse(bytes: &[u8]) -> Option<(Asked, Request<()>)> {
    let mut lines = bytes.split(|b| *b == b'\n');
    let first = std::str::from_utf8(lines.next()?).ok()?;
    let (method, target) = first.split_once(' ')?;
    let mut request = Request::builder().method(method).uri(target);
    let mut headers = Vec::new();
    for line in lines {
        let at = line.iter().position(|b| *b == b':')?;
        let (name, value) = (&line[..at], line[at + 1..].trim_ascii());
        let name = HeaderName::from_bytes(name).ok()?;
        let known = HeaderValue::from_bytes(value).ok()?;
        headers.push((name.as_str().to_owned(), value.to_vec()));
        request = request.header(name, known);
    }
    let request = request.body(()).ok()?;
    let asked = Asked {
        method: method.to_owned(),
        target: target.to_owned(),
        headers,
    };
    Some((asked, request))
}
