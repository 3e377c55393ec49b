//! How a command ends: its exit code, and if it failed, one sentence and one hint.

use std::process::ExitCode;

/// The exit codes. Scripts rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    Done,
    Failed,
    Usage,
    NotRunning,
    AlreadyRunning,
    TimedOut,
    /// `run` itself failed, and not the command.
    RunnerFailed,
    #[cfg(unix)]
    NotExecutable,
    #[cfg(unix)]
    NotFound,
    Interrupted,
    /// That of a command that was run.
    #[cfg(unix)]
    Of(u8),
}

impl Exit {
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotRunning => 3,
            Self::AlreadyRunning => 4,
            Self::TimedOut => 124,
            Self::RunnerFailed => 125,
            #[cfg(unix)]
            Self::NotExecutable => 126,
            #[cfg(unix)]
            Self::NotFound => 127,
            Self::Interrupted => 130,
            #[cfg(unix)]
            Self::Of(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// What failed, and what to do about it.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    pub(super) sentence: String,
    /// What was said last by what failed.
    pub(super) lines: Vec<String>,
    pub(super) hint: String,
}

impl Failure {
    pub(super) fn new(exit: Exit, sentence: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            exit,
            sentence: sentence.into(),
            lines: Vec::new(),
            hint: hint.into(),
        }
    }
}
