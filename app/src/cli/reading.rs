//! What people write, as the command reads it, with nothing done about it. For the fuzzer.

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use super::args::{Cli, Late, Verb};
use super::exit::{Exit, Failure};
use super::output::{Output, shown};
use super::place::{self, Target, parse_name};
use super::{Context, duration};

/// Why nothing is done.
#[derive(Debug)]
pub struct Answer {
    /// The exit code.
    pub code: u8,
    /// What is said: help, or what is wrong.
    pub text: String,
    /// What to do about it, where the command itself says so.
    pub hint: Option<String>,
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        Self {
            code: failure.exit.code(),
            text: shown(&failure.sentence),
            hint: Some(shown(&failure.hint)),
        }
    }
}

/// Reads a command line as far as it is read before anything is done; the command in it, if `run` has one to run. It may
/// look at a state directory, and whether a program is there.
///
/// # Errors
///
/// What is answered instead of doing it.
pub fn command_line(words: Vec<OsString>) -> Result<Option<Vec<OsString>>, Answer> {
    let (cli, name_wins) = super::understand(words).map_err(|answer| Answer {
        code: match answer.use_stderr() {
            true => Exit::Usage.code(),
            false => Exit::Done.code(),
        },
        text: answer.render().to_string(),
        hint: None,
    })?;
    let context = Context {
        begun: Instant::now(),
        #[cfg(unix)]
        detached: false,
        output: Output::new(&cli.everywhere, false),
        state_dir: cli.everywhere.state_dir.clone().filter(|_| !name_wins),
    };
    Ok(read(cli, &context)?)
}

fn read(cli: Cli, context: &Context) -> Result<Option<Vec<OsString>>, Failure> {
    let find = |name: Option<String>| Target::find(name.as_deref(), context).map(drop);
    let require =
        |name: Option<String>, verb| Target::require(name.as_deref(), context, verb).map(drop);
    match cli.verb {
        Verb::Serve(Late(args)) => {
            args.name.as_deref().map(parse_name).transpose()?;
        }
        #[cfg(unix)]
        Verb::Run(Late(args)) => {
            super::run::check(&args, context)?;
            return Ok(Some(args.command));
        }
        Verb::Status(Late(args)) => find(args.name)?,
        Verb::Url(Late(args)) => find(args.name)?,
        Verb::Open(Late(args)) => find(args.name)?,
        Verb::Watch(Late(args)) => find(args.name)?,
        Verb::Logs(Late(args)) => find(args.name)?,
        Verb::Doctor(Late(args)) if args.name.is_some() => find(args.name)?,
        Verb::Wait(Late(args)) => require(args.name, "wait")?,
        Verb::Restart(Late(args)) => require(args.name, "restart")?,
        Verb::Stop(Late(args)) => drop(super::stop::targets(&args, context)?),
        _ => {}
    }
    Ok(None)
}

/// A span of time.
///
/// # Errors
///
/// What is wrong with it.
pub fn span(text: &str) -> Result<Duration, String> {
    duration::parse(text)
}

/// The span in words.
#[must_use]
pub fn span_in_words(span: Duration) -> String {
    duration::words(span)
}

/// The option that names this state directory in a shell.
#[must_use]
pub fn state_dir_option(dir: &Path) -> String {
    place::state_dir_option(dir)
}

/// The name that a directory lends to its server; none where no name can be made of it.
#[must_use]
pub fn name_of(dir: &Path) -> Option<crate::Name> {
    place::name_of(dir).ok()
}
