//! Whatever is written as a span of time, a name or a directory: reading it never panics, what is accepted means what it
//! says, and what is printed to be pasted into a shell comes back as it was.

#![no_main]

use std::path::Path;
use std::time::Duration;

use daymark::Name;
use daymark::cli::reading::{command_line, name_of, span, span_in_words, state_dir_option};
use libfuzzer_sys::fuzz_target;

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

fuzz_target!(|text: &str| {
    check_span(text);
    check_name(text);
    // What no system call takes is never typed.
    if !text.is_empty() && !text.contains('\0') {
        check_place(text);
    }
});

fn check_span(text: &str) {
    let Ok(read) = span(text) else { return };
    assert!(read <= YEAR, "{read:?}");
    assert!(!span_in_words(read).is_empty());
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let millis = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        // Not a whole number, and so only known to be one.
        _ => return assert!(text.starts_with(|c: char| c.is_ascii_digit() || c == '.')),
    };
    let number: f64 = number.parse().expect("only digits");
    let off = (number * f64::from(millis) - read.as_secs_f64() * 1000.0).abs();
    assert!(off < 0.001, "{text}: {read:?}");
}

fn check_name(text: &str) {
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let may_follow = |b: u8| is_plain(b) || b"._-".contains(&b);
    let bytes = text.as_bytes();
    let is_name = bytes.first().is_some_and(|&b| is_plain(b))
        && bytes.len() <= 64
        && bytes.iter().all(|&b| may_follow(b));
    match text.parse::<Name>() {
        Ok(name) => assert!(is_name && name.as_str() == text, "{text:?}"),
        Err(error) => {
            assert!(!is_name, "{text:?}");
            assert!(error.to_string().len() < 2_000);
        }
    }
    let made = Name::made_from(text);
    let has_something = text.contains(|c: char| c.is_ascii_alphanumeric());
    assert_eq!(made.is_some(), has_something, "{text:?}");
    if let Some(made) = made {
        assert_eq!(Name::made_from(made.as_str()), Some(made));
    }
}

fn check_place(text: &str) {
    let _ = name_of(Path::new(text));
    let option = state_dir_option(Path::new(text));
    let words = unquoted(&option);
    let written: String = words.join("=");
    assert_eq!(written, format!("--state-dir={text}"), "{option}");
    // It is understood as what it is. Nothing else than a dash makes a word something else, and reading takes long.
    if text.starts_with('-') {
        let line = ["daymark", "prune"].into_iter().map(str::to_owned);
        let line = line.chain(words).map(Into::into).collect();
        assert!(command_line(line).is_ok(), "{option}");
    }
}

/// The words that a shell makes of this (POSIX.1-2024, Shell Command Language, 2.2).
fn unquoted(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut chars, mut is_quoted) = (line.chars(), false);
    while let Some(c) = chars.next() {
        let word = words.last_mut().expect("there is one");
        match c {
            '\'' => is_quoted = !is_quoted,
            _ if is_quoted => word.push(c),
            '\\' => word.extend(chars.next()),
            ' ' => words.push(String::new()),
            _ => {
                assert!(!" \t\n|&;<>()$`\"*?[#~".contains(c), "{line}");
                word.push(c);
            }
        }
    }
    assert!(!is_quoted, "{line}");
    words
}
