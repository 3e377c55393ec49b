//! What a program may allow beyond its own addresses, valid by construction.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use thiserror::Error;

/// A name that requests may use for this server, perhaps with a port: `my.dev`, `my.dev:3000`, `[fd00::1]:80`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHost {
    /// In lower case.
    name: String,
    port: Option<u16>,
}

/// A text that isn't an [`AllowedHost`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a host is a name or an address, perhaps with a port, as in my.dev or my.dev:3000")]
pub struct InvalidHost;

impl AllowedHost {
    /// All that `Host` may say to mean it, for a server on `port`: with the port that was given, else with none or with the
    /// server's own.
    pub(super) fn spellings(&self, port: u16) -> Vec<String> {
        let Self { name, port: given } = self;
        match given {
            Some(given) => vec![format!("{name}:{given}")],
            None => vec![name.clone(), format!("{name}:{port}")],
        }
    }
}

impl FromStr for AllowedHost {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        let end = match text.starts_with('[') {
            true => text.find(']').ok_or(InvalidHost)? + 1,
            false => text.find(':').unwrap_or(text.len()),
        };
        let (name, port) = text.split_at(end);
        let port = match port.strip_prefix(':') {
            Some(port) => Some(plain_port(port).ok_or(InvalidHost)?),
            None if port.is_empty() => None,
            None => return Err(InvalidHost),
        };
        let name = match address(name) {
            Some(address) => format!("[{address}]"),
            None if is_name(name) => name.to_ascii_lowercase(),
            None => return Err(InvalidHost),
        };
        Ok(Self { name, port })
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

/// A port as everybody writes it: no sign, no zero in front, not zero.
fn plain_port(text: &str) -> Option<u16> {
    let port: u16 = text.parse().ok()?;
    (port > 0 && port.to_string() == text).then_some(port)
}

/// However it is spelt; clients write it in one way (RFC 5952).
fn address(text: &str) -> Option<Ipv6Addr> {
    let inner = text.strip_prefix('[')?.strip_suffix(']')?;
    inner.parse().ok()
}

/// Letters, digits, hyphens and underscores between dots. An IPv4 address is one, too.
fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(plain);
    text.len() <= 253 && text.split('.').all(is_label)
}

/// A web origin that requests may come from: `http://localhost:5173`, `https://my.dev`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedOrigin(String);

/// A text that isn't an [`AllowedOrigin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an origin is http:// or https:// and a host, perhaps with a port, and nothing after it")]
pub struct InvalidOrigin;

impl AllowedOrigin {
    /// As a browser sends it.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AllowedOrigin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let (scheme, host) = text.split_once("://").ok_or(InvalidOrigin)?;
        let scheme = scheme.to_ascii_lowercase();
        // The port that goes without saying isn't said (RFC 6454, section 6.2).
        let usual = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => return Err(InvalidOrigin),
        };
        let mut host: AllowedHost = host.parse().map_err(|_| InvalidOrigin)?;
        host.port = host.port.filter(|port| *port != usual);
        Ok(Self(format!("{scheme}://{host}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_nothing_else() {
        for good in [
            "my.dev",
            "MY.dev:3000",
            "app.localhost",
            "10.0.0.1:80",
            "[::1]",
            "[fd00::1]:8080",
        ] {
            assert!(good.parse::<AllowedHost>().is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "my.dev.",
            ".my.dev",
            "*.my.dev",
            "*",
            "my dev",
            "my.dev/",
            "http://my.dev",
            "me@my.dev",
            "my.dev:",
            "my.dev:0",
            "my.dev:080",
            "my.dev:+80",
            "my.dev:65536",
            "[::1",
            "[::1]80",
            "[my.dev]",
            "::1",
            "müller.dev",
        ] {
            assert_eq!(bad.parse::<AllowedHost>(), Err(InvalidHost), "{bad}");
        }
    }

    #[test]
    fn a_host_without_a_port_means_none_or_our_own() {
        let host: AllowedHost = "My.Dev".parse().unwrap();
        assert_eq!(host.spellings(4711), ["my.dev", "my.dev:4711"]);
        let host: AllowedHost = "[fd00:0:0::0001]:80".parse().unwrap();
        assert_eq!(host.to_string(), "[fd00::1]:80");
        let host: AllowedHost = "my.dev:80".parse().unwrap();
        assert_eq!(host.spellings(4711), ["my.dev:80"]);
    }

    #[test]
    fn an_origin_is_written_as_browsers_do() {
        for (given, sent) in [
            ("http://localhost:5173", "http://localhost:5173"),
            ("HTTPS://My.Dev:443", "https://my.dev"),
            ("http://my.dev:80", "http://my.dev"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(given.parse::<AllowedOrigin>().unwrap().as_str(), sent);
        }
        for bad in [
            "null",
            "*",
            "my.dev",
            "file://x",
            "http://",
            "http://a/",
            "http://a?b",
            "http://u@a",
        ] {
            assert_eq!(bad.parse::<AllowedOrigin>(), Err(InvalidOrigin), "{bad}");
        }
    }
}
