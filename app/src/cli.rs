//! The `daymark` command: one verb, one file.
//!
//! What it finds out goes to standard output and nothing else does; what it has to say goes to standard error. Neither
//! stream can do harm: see `output`. All that it knows of servers it has from this library's public side.

mod args;
mod browser;
mod completions;
mod doctor;
mod duration;
mod exit;
mod explain;
mod json;
mod list;
mod logs;
mod man;
mod open;
mod output;
mod place;
mod prune;
pub mod reading;
mod restart;
#[cfg(unix)]
mod run;
mod seen;
mod serve;
mod status;
mod stop;
mod telling;
mod url;
mod wait;
mod watch;

use std::ffi::OsString;
use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use args::{Cli, Late, Verb};
use clap::FromArgMatches as _;
use exit::{Exit, Failure};
use output::Output;

/// What every verb is given.
struct Context {
    /// When the command began.
    begun: Instant,
    state_dir: Option<PathBuf>,
    /// Whether this is the process that `run -d` leaves behind.
    #[cfg(unix)]
    detached: bool,
    output: Output,
}

/// The first word on the command line of the process that `run -d` leaves behind.
const DETACHED: &str = "__detached";

/// Does what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    // Before the command line is read: they have no flags, nothing in the environment is meant for them, and each start of a
    // child process waits for both.
    #[cfg(unix)]
    if let Some(code) = daymark_adapters::http_server::run_hidden_verb(std::env::args_os().skip(1))
    {
        return code;
    }
    let begun = Instant::now();
    let mut words: Vec<_> = std::env::args_os().collect();
    let detached = words.get(1).is_some_and(|word| word == DETACHED);
    if detached {
        #[cfg(unix)]
        daymark_adapters::http_server::close_inherited();
        words.remove(1);
    }
    let (cli, name_wins) = match understand(words) {
        Ok(parsed) => parsed,
        Err(answer) => return not_a_verb(&answer),
    };
    let context = Context {
        begun,
        #[cfg(unix)]
        detached,
        output: Output::new(&cli.everywhere, detached),
        state_dir: cli.everywhere.state_dir.filter(|_| !name_wins),
    };
    let done = match &cli.verb {
        // Whatever becomes of the streams, the server's own fate decides.
        Verb::Serve(Late(args)) => return serve::run(args, context).into(),
        #[cfg(unix)]
        Verb::Run(Late(args)) => return run::run(args, context).into(),
        #[cfg(not(unix))]
        Verb::Run(_) => Err(explain::no_supervision()),
        Verb::Status(Late(args)) => status::run(args, &context),
        Verb::Url(Late(args)) => url::run(args, &context),
        Verb::List(Late(args)) => list::run(args, &context),
        Verb::Open(Late(args)) => open::run(args, &context),
        Verb::Wait(Late(args)) => wait::run(args, &context),
        Verb::Watch(Late(args)) => watch::run(args, &context),
        Verb::Logs(Late(args)) => logs::run(args, &context),
        Verb::Stop(Late(args)) => stop::run(args, &context),
        Verb::Restart(Late(args)) => restart::run(args, &context),
        Verb::Doctor(Late(args)) => doctor::run(args, &context),
        Verb::Prune => prune::run(&context),
        Verb::Completions(Late(args)) => completions::run(args, &context),
        Verb::Man => man::run(&context),
    };
    let exit = done.unwrap_or_else(|failure| {
        context.output.failure(&failure);
        failure.exit
    });
    context.output.verdict(exit).into()
}

/// What the command line says, and whether a NAME in it outranks the environment's state directory.
fn understand(words: Vec<OsString>) -> Result<(Cli, bool), clap::Error> {
    let matches = args::command().try_get_matches_from(words)?;
    let name_wins = args::name_outranks_state_dir(&matches);
    Ok((Cli::from_arg_matches(&matches)?, name_wins))
}

/// Help, version, or what is wrong with the command line.
fn not_a_verb(answer: &clap::Error) -> ExitCode {
    match answer.print() {
        _ if answer.use_stderr() => Exit::Usage.into(),
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Exit::Failed.into(),
        _ => Exit::Done.into(),
    }
}

/// Runs async code on this thread.
fn block_on<T>(future: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| explain::no_runtime(&error))?;
    let value = runtime.block_on(future);
    // A thread that waits for somebody's death is not waited for.
    runtime.shutdown_background();
    Ok(value)
}
