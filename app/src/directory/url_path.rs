//! The path of a URL as the plain names in it, and back again. It touches no file.
//!
//! Invariants
//!
//! 1. A path is percent-decoded once. On Unix names are bytes, UTF-8 or not.
//! 2. A decoded segment is one plain name: never empty, a dot segment, or something that parts into two.

use std::ffi::{OsStr, OsString};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// All but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A request's path: plain names, and whether it ended in a slash.
pub(super) struct UrlPath {
    names: Vec<OsString>,
    slash: bool,
}

impl UrlPath {
    /// Returns `None` for a path that no file can have, `..` in any spelling among them. Empty segments don't count.
    pub(super) fn parse(path: &str) -> Option<Self> {
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        let names = segments.map(|segment| {
            let name = to_os_string(percent_decode_str(segment).collect())?;
            is_plain(&name).then_some(name)
        });
        Some(Self {
            names: names.collect::<Option<_>>()?,
            slash: path.is_empty() || path.ends_with('/'),
        })
    }

    pub(super) fn names(&self) -> &[OsString] {
        &self.names
    }

    /// Whether it ended in a slash.
    pub(super) fn names_directory(&self) -> bool {
        self.slash
    }

    pub(super) fn is_root(&self) -> bool {
        self.names.is_empty()
    }

    pub(super) fn lacks_extension(&self) -> bool {
        let name = self.names.last().filter(|_| !self.slash);
        name.is_none_or(|name| !name.as_encoded_bytes().contains(&b'.'))
    }

    /// The same path with a slash at its end, built anew so that it can't begin with two and name a host.
    pub(super) fn as_directory(&self, query: Option<&str>) -> String {
        let names = self.names.iter().map(|name| encode(name) + "/");
        let query = query.map(|query| format!("?{query}"));
        format!(
            "/{}{}",
            names.collect::<String>(),
            query.unwrap_or_default()
        )
    }

    /// The path for people, ending in a slash. Not for use in a link.
    pub(super) fn display(&self) -> String {
        let names = self.names.iter().map(|name| name.to_string_lossy() + "/");
        format!("/{}", names.collect::<String>())
    }
}

/// A name as one segment of a URL path.
pub(super) fn encode(name: &OsStr) -> String {
    percent_encode(name.as_encoded_bytes(), RESERVED).to_string()
}

/// A backslash is refused on Unix too: clients and proxies disagree on whether it separates names. A colon makes a
/// drive or an alternate stream on Windows.
pub(super) fn is_plain(name: &OsStr) -> bool {
    let split = |byte: &u8| matches!(byte, b'/' | b'\\' | 0) || (cfg!(windows) && *byte == b':');
    !name.as_encoded_bytes().iter().any(split) && !name.is_empty() && name != "." && name != ".."
}

#[cfg(unix)]
fn to_os_string(bytes: Vec<u8>) -> Option<OsString> {
    use std::os::unix::ffi::OsStringExt as _;
    Some(OsString::from_vec(bytes))
}

#[cfg(not(unix))]
fn to_os_string(bytes: Vec<u8>) -> Option<OsString> {
    String::from_utf8(bytes).ok().map(OsString::from)
}
