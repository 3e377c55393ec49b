//! Whatever is typed: reading the command line never panics; what is refused is refused as wrong usage, with a sentence and
//! a hint; and a command that is run is exactly what was written after `--`.
//!
//! The input is the words after `daymark`, with a NUL between them.

#![no_main]

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use daymark::cli::reading::command_line;
use libfuzzer_sys::fuzz_target;

/// Wrong usage; and for `run`, a command that can't be executed or isn't there.
const USAGE: u8 = 2;
const NOT_RUN: [u8; 2] = [126, 127];

fuzz_target!(|bytes: &[u8]| {
    let typed = bytes.split(|&b| b == 0).map(OsStr::from_bytes);
    let words: Vec<OsString> = [OsStr::new("daymark")]
        .into_iter()
        .chain(typed)
        .map(OsStr::to_owned)
        .collect();
    match command_line(words.clone()) {
        Ok(None) => {}
        Ok(Some(command)) => assert!(is_what_was_written(&command, &words), "{command:?}"),
        Err(answer) => {
            let runs = words.iter().any(|word| word == "run");
            let is_help = answer.code == 0 && answer.hint.is_none();
            let is_not_run = NOT_RUN.contains(&answer.code) && runs;
            assert!(is_help || is_not_run || answer.code == USAGE, "{answer:?}");
            assert!(!answer.text.is_empty());
            if let Some(hint) = answer.hint {
                let is_one_line = |text: &str| !text.is_empty() && !text.contains('\n');
                assert!(is_one_line(&hint) && is_one_line(&answer.text));
            }
        }
    }
});

fn is_what_was_written(command: &[OsString], words: &[OsString]) -> bool {
    let before = words.strip_suffix(command);
    !command.is_empty() && before.is_some_and(|before| before.last().is_some_and(|w| w == "--"))
}
