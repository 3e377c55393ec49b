//! How a command ends: its exit code, and if it failed, one sentence and one hint.

use std::process::ExitCode;

/// The exit codes. Scripts rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    NotRunning = 3,
    AlreadyRunning = 4,
    TimedOut = 124,
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What failed, and what to do about it.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    pub(super) sentence: String,
    pub(super) hint: String,
}

impl Failure {
    pub(super) fn new(exit: Exit, sentence: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            exit,
            sentence: sentence.into(),
            hint: hint.into(),
        }
    }
}
