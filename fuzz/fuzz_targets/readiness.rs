//! Whatever is said of when a server is ready: reading it never panics, and what is accepted is just what was written, as a
//! request that can be made.

#![no_main]

use daymark_adapters::http_server::Readiness;
use http::Request;
use libfuzzer_sys::fuzz_target;

/// Longer expressions take long, and are attacked where they are compiled: by the regex crate's own targets.
const LONGEST_PATTERN: usize = 12;

fuzz_target!(|text: &str| {
    let pattern = text.strip_prefix("log:").unwrap_or_default();
    if pattern.len() > LONGEST_PATTERN {
        return;
    }
    let Ok(readiness) = text.parse() else { return };
    match readiness {
        Readiness::Auto => assert_eq!(text, "auto"),
        Readiness::Tcp => assert_eq!(text, "tcp"),
        Readiness::Notify => assert_eq!(text, "notify"),
        Readiness::Log(pattern) => assert_eq!(text.strip_prefix("log:"), Some(pattern.as_str())),
        Readiness::Http(path, status) => {
            let written = match &status {
                Some(status) => format!("http:{path}={}", status.as_str()),
                None => format!("http:{path}"),
            };
            assert_eq!(text, written);
            assert!(path.as_str().starts_with('/'));
            let ends_a_line = |b: u8| b <= b' ' || b == b'#';
            assert!(!path.as_str().bytes().any(ends_a_line), "{path}");
            let request = Request::get(path.as_str()).body(()).expect("a request");
            assert_eq!(request.uri().path_and_query(), Some(&path));
        }
    }
});
