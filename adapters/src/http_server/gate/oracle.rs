//! The rules once more, slowly and in other words: by text alone, with nothing prepared. The tests and the fuzzer (which
//! includes this file) hold the real ones against it.

use std::collections::BTreeMap;

/// What is asked of whom.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// As it is on the wire.
    pub(super) method: String,
    /// As it is on the wire.
    pub(super) target: String,
    /// Names and values, in order.
    pub(super) headers: Vec<(String, Vec<u8>)>,
}

/// Whom a server lets in.
#[derive(Clone, Debug)]
pub(super) struct Server {
    /// Where it listens.
    pub(super) port: u16,
    /// What else it may be called, as `name` or `name:port` in lower case.
    pub(super) also: Vec<String>,
    /// Who else may have sent it, in lower case.
    pub(super) origins: Vec<String>,
}

/// Whether the request may pass.
#[must_use]
pub(super) fn passes(server: &Server, asked: &Asked) -> bool {
    let mut headers: BTreeMap<String, Vec<&[u8]>> = BTreeMap::new();
    for (name, value) in &asked.headers {
        let name = name.to_ascii_lowercase();
        headers.entry(name).or_default().push(value);
    }
    let count = |name: &str| headers.get(name).map_or(0, Vec::len);
    let text = |name: &str| {
        let value = headers.get(name)?.first()?;
        // What is no text is nobody's name.
        Some(String::from_utf8(value.to_vec()).unwrap_or_else(|_| "?".to_owned()))
    };
    if count("host") != 1 {
        return false;
    }
    let once = [
        "origin",
        "sec-fetch-site",
        "sec-fetch-mode",
        "sec-fetch-dest",
        "sec-fetch-user",
    ];
    if once.iter().any(|name| count(name) > 1) {
        return false;
    }
    let host = text("host").unwrap_or_default().to_ascii_lowercase();
    if !is_own_name(server, &host) || !target_fits(asked, &host) {
        return false;
    }
    let origin = text("origin");
    let invited = origin.as_ref().is_some_and(|o| server.origins.contains(o));
    let same = origin.as_ref().is_none_or(|origin| {
        let scheme: String = origin.chars().take(7).collect();
        let rest: String = origin.chars().skip(7).collect();
        scheme == "http://" && rest.to_ascii_lowercase() == host
    });
    if !same && !invited {
        return false;
    }
    let from = text("sec-fetch-site");
    let at_home = from.is_none_or(|site| site == "same-origin" || site == "none");
    let link = asked.method == "GET"
        && text("sec-fetch-mode").as_deref() == Some("navigate")
        && text("sec-fetch-dest").as_deref() == Some("document")
        && count("upgrade") == 0;
    // An origin that is the server's own was invited by nobody: it still has to come from home.
    at_home || link || (invited && !same)
}

fn is_own_name(server: &Server, host: &str) -> bool {
    if server.also.iter().any(|name| match has_port(name) {
        true => name == host,
        false => name == host || format!("{name}:{}", server.port) == host,
    }) {
        return true;
    }
    let (name, port) = match has_port(host) {
        true => host.rsplit_once(':').unwrap_or((host, "")),
        false => (host, "80"),
    };
    ["127.0.0.1", "localhost", "[::1]"].contains(&name) && port == server.port.to_string()
}

/// Whether there is a colon after what may be an address in brackets.
fn has_port(host: &str) -> bool {
    let after = host.rfind(']').map_or(host, |bracket| &host[bracket..]);
    after.contains(':')
}

fn target_fits(asked: &Asked, host: &str) -> bool {
    let Asked { method, target, .. } = asked;
    if target.starts_with('/') {
        return method != "CONNECT";
    }
    if target == "*" {
        return method == "OPTIONS";
    }
    match target.split_once("://") {
        Some((scheme, rest)) => {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let named = rest[..end].to_ascii_lowercase();
            scheme.eq_ignore_ascii_case("http") && named == host && method != "CONNECT"
        }
        None => method == "CONNECT" && target.to_ascii_lowercase() == host,
    }
}
