//! Whatever a child prints, in whatever pieces, and whatever its readiness is to be told by: cutting it into lines never
//! panics, depends on no piece, and lets nothing through that commands a terminal; and a port is only ever one that stands
//! in a line that matches.
//!
//! The input's first line is the regular expression. The rest is the output, with 0xFF between its pieces.

#![no_main]

use daymark_adapters::http_server::Readiness;
use daymark_adapters::http_server::printed::{LONGEST_LINE, Said, lines_of};
use libfuzzer_sys::fuzz_target;

/// Longer expressions take long, and are attacked where they are compiled: by the regex crate's own targets.
const LONGEST_PATTERN: usize = 32;

/// A byte that isn't UTF-8 is shown by three.
const GROWTH: usize = 3;

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |&b| b == b'\n');
    let pattern = parts.next().unwrap_or_default();
    let pieces: Vec<&[u8]> = parts
        .next()
        .unwrap_or_default()
        .split(|&b| b == 0xFF)
        .collect();
    let whole = pieces.concat();

    let (lines, last) = lines_of(pieces);
    assert_eq!(lines_of([whole.as_slice()]).0, lines);
    assert!(lines.ends_with(&last));
    for line in &lines {
        assert!(line.len() <= GROWTH * LONGEST_LINE);
        assert!(
            !line.contains(|c: char| c.is_control() && c != '\t'),
            "{line:?}"
        );
    }

    let Ok(pattern) = std::str::from_utf8(pattern) else {
        return;
    };
    if pattern.len() > LONGEST_PATTERN {
        return;
    }
    let Ok(Readiness::Log(pattern)) = format!("log:{pattern}").parse() else {
        return;
    };
    for line in &lines {
        match Said::by(line, &pattern) {
            Said::Nothing => {}
            Said::Ready => assert!(pattern.is_match(line)),
            Said::Port(port) => {
                assert!(pattern.is_match(line) && pattern.as_str().contains("port"));
                assert!(line.contains(&port.to_string()), "{port} in {line:?}");
            }
        }
    }
});
