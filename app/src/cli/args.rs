//! The command line as it is written. Every flag has a twin in the environment: `DAYMARK_` and its name.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::builder::Resettable;
use clap::parser::ValueSource;
use clap::{
    ArgMatches, Args, ColorChoice, Command, CommandFactory as _, FromArgMatches, Parser,
    Subcommand, ValueEnum,
};
use clap_complete::Shell;
use daymark_adapters::http_server::AllowedHost;

use super::duration;

mod run;

pub(super) use run::RunArgs;
#[cfg(unix)]
pub(super) use run::{Listen, Restart};

/// Run an HTTP server on this machine that other programs find, trust, wait for and stop.
#[derive(Debug, Parser)]
#[command(name = "daymark", version, arg_required_else_help = true, max_term_width = 100, after_long_help = CODES)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) everywhere: Everywhere,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

/// What the exit codes mean.
const CODES: &str = "\
Results go to standard output, everything else to standard error. NAME is 1 to 64 of a-z, 0-9, '.', '_' and '-', \
beginning with a letter or a digit; where it may be left out, it is the directory's name, made valid. Every flag can be \
set in the environment, too: DAYMARK_STATE_DIR for --state-dir, and so on.

Exit codes:
    0  done; stop: also if it was not running
    1  failed
    2  wrong usage
    3  not running (status, url, open, logs, restart)
    4  already running (serve, run)
  124  timed out
  125  the command was not run, or not as it should be (run)
  126  the command cannot be executed (run)
  127  the command is not there (run)
  130  ended by Ctrl-C (serve, run)
  run and --then: otherwise that of the command; 128 and the signal's number if one ended it";

/// What can be said to every verb, before it or after it.
#[derive(Args, Debug)]
pub(super) struct Everywhere {
    /// The directory that holds server.json itself, instead of the one that goes with NAME
    #[arg(long, global = true, value_name = "DIR", env = "DAYMARK_STATE_DIR", help_heading = EVERYWHERE)]
    pub(super) state_dir: Option<PathBuf>,
    /// Write results as JSON
    #[arg(long, global = true, env = "DAYMARK_JSON", value_parser = FalseyValueParser::new(), help_heading = EVERYWHERE)]
    pub(super) json: bool,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", env = "DAYMARK_COLOR", default_value = "auto", help_heading = EVERYWHERE)]
    pub(super) color: ColorChoice,
    /// Say nothing but results and errors
    #[arg(short, long, global = true, env = "DAYMARK_QUIET", value_parser = FalseyValueParser::new(), help_heading = EVERYWHERE)]
    pub(super) quiet: bool,
    /// Say more
    #[arg(short, long, global = true, env = "DAYMARK_VERBOSE", value_parser = FalseyValueParser::new(), help_heading = EVERYWHERE)]
    pub(super) verbose: bool,
}

const EVERYWHERE: &str = "Options of every command";

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Serve a directory, until a signal or `daymark stop` ends it
    Serve(Late<ServeArgs>),
    /// Run any server: find it a port, publish it when it answers, look after it, and end all of it
    ///
    /// In the command's arguments, {port}, {host} and {url} are replaced. In its environment are PORT, HOST, DAYMARK_URL,
    /// DAYMARK_NAME and DAYMARK_STATE_DIR.
    Run(Late<RunArgs>),
    /// Say what may be believed of a server; exit code 0 only if it is live
    Status(Late<StatusArgs>),
    /// Print the URL of a live server
    Url(Late<UrlArgs>),
    /// List the servers that are running
    List(Late<ListArgs>),
    /// Open a live server in the browser
    ///
    /// If it asks for a secret, the browser is shown a link with a code that works once, and keeps a cookie.
    Open(Late<OpenArgs>),
    /// Wait until a server is ready, or down
    Wait(Late<WaitArgs>),
    /// Print a line for every change, starting with how it is now
    Watch(Late<WatchArgs>),
    /// Print the last lines of what a server that `daymark run` started has written
    ///
    /// The log of a server that has stopped is there until `daymark prune`, or until the one after the next run begins its
    /// own. Colours are kept for a terminal; other control characters are escaped.
    Logs(Late<LogsArgs>),
    /// Stop servers, and wait until they are gone
    Stop(Late<StopArgs>),
    /// Have `daymark run` replace its server by a new one, on the same port, and wait until that is ready
    Restart(Late<RestartArgs>),
    /// Check what Daymark needs here, and say what to do about what is missing
    Doctor(Late<DoctorArgs>),
    /// Remove what servers left that are not running
    ///
    /// Never touches a server that is running, starting or stopping, nor files that are not Daymark's. With it go the ports
    /// that servers had last time and would have taken again.
    Prune,
    /// Print a script that completes command lines
    Completions(Late<CompletionsArgs>),
    /// Print the manual page
    Man,
}

#[derive(Args, Debug)]
pub(super) struct ServeArgs {
    /// The directory to serve
    #[arg(value_name = "DIR", default_value = ".")]
    pub(super) dir: PathBuf,
    /// What others find the server by [default: the directory's name]
    #[arg(short, long, env = "DAYMARK_NAME")]
    pub(super) name: Option<String>,
    /// The port; 0 for any free one [default: that of the last run if it is free, else any]
    #[arg(short, long, env = "DAYMARK_PORT")]
    pub(super) port: Option<u16>,
    /// Open the browser once it is ready
    #[arg(long, env = "DAYMARK_OPEN", value_parser = FalseyValueParser::new())]
    pub(super) open: bool,
    /// Answer paths that do not exist with /index.html, for apps that route in the browser
    #[arg(long, env = "DAYMARK_SPA", value_parser = FalseyValueParser::new())]
    pub(super) spa: bool,
    /// Serve files whose names begin with a dot
    #[arg(long, env = "DAYMARK_HIDDEN", value_parser = FalseyValueParser::new())]
    pub(super) hidden: bool,
    /// Answer to this name as well: my.dev:3000, or my.dev for no port or the server's own; may be given more than once
    #[arg(
        long,
        value_name = "HOST",
        env = "DAYMARK_ALLOW_HOST",
        value_delimiter = ','
    )]
    pub(super) allow_host: Vec<AllowedHost>,
    /// Ask for a secret: programs find it in server.json, browsers get in by `daymark open`
    #[arg(long, env = "DAYMARK_REQUIRE_TOKEN", value_parser = FalseyValueParser::new())]
    pub(super) require_token: bool,
    /// How long requests may take to finish when it stops
    #[arg(long, value_name = "TIME", env = "DAYMARK_DRAIN", default_value = "10s", value_parser = duration::parse)]
    pub(super) drain: Duration,
}

#[derive(Args, Debug)]
pub(super) struct RestartArgs {
    /// The server
    #[arg(env = "DAYMARK_NAME")]
    pub(super) name: Option<String>,
    /// How long it may take until it is ready again
    #[arg(long, value_name = "TIME", env = "DAYMARK_TIMEOUT", default_value = "60s", value_parser = duration::parse)]
    pub(super) timeout: Duration,
}

#[derive(Args, Debug)]
pub(super) struct StatusArgs {
    /// The server [default: the current directory's name]
    #[arg(env = "DAYMARK_NAME")]
    pub(super) name: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct UrlArgs {
    /// The server [default: the current directory's name]
    #[arg(env = "DAYMARK_NAME")]
    pub(super) name: Option<String>,
    /// Print a link that lets one browser in, once, within a minute, if the server asks for a secret; with --json, the secret
    /// as well
    #[arg(long, env = "DAYMARK_WITH_TOKEN", value_parser = FalseyValueParser::new())]
    pub(super) with_token: bool,
}

#[derive(Args, Debug)]
pub(super) struct ListArgs {
    /// List also those that are not running
    #[arg(short, long, env = "DAYMARK_ALL", value_parser = FalseyValueParser::new())]
    pub(super) all: bool,
}

#[derive(Args, Debug)]
pub(super) struct OpenArgs {
    /// The server [default: the current directory's name]
    #[arg(env = "DAYMARK_NAME")]
    pub(super) name: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct WaitArgs {
    /// The server
    #[arg(env = "DAYMARK_NAME")]
    pub(super) name: Option<String>,
    /// What to wait for
    #[arg(
        long,
        value_name = "WHAT",
        env = "DAYMARK_FOR",
        default_value = "ready"
    )]
    pub(super) r#for: Awaited,
    /// For how long
    #[arg(long, value_name = "TIME", env = "DAYMARK_TIMEOUT", default_value = "60s", value_parser = duration::parse)]
    pub(super) timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Awaited {
    /// It is live
    Ready,
    /// It is gone
    Down,
}

#[derive(Args, Debug)]
pub(super) struct WatchArgs {
    /// The server [default: the current directory's name]
    #[arg(env = "DAYMARK_NAME")]
    pub(super) name: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct LogsArgs {
    /// The server [default: the current directory's name]
    #[arg(env = "DAYMARK_NAME")]
    pub(super) name: Option<String>,
    /// Go on with what is written from now on, until the server is gone
    #[arg(short, long, env = "DAYMARK_FOLLOW", value_parser = FalseyValueParser::new())]
    pub(super) follow: bool,
    /// How many lines
    #[arg(
        short = 'n',
        long,
        value_name = "COUNT",
        env = "DAYMARK_LINES",
        default_value = "50"
    )]
    pub(super) lines: usize,
}

#[derive(Args, Debug)]
pub(super) struct StopArgs {
    /// The servers
    #[arg(value_name = "NAME", env = "DAYMARK_NAME")]
    pub(super) names: Vec<String>,
    /// How long requests may take to finish
    #[arg(long, value_name = "TIME", env = "DAYMARK_DRAIN", default_value = "10s", value_parser = duration::parse)]
    pub(super) drain: Duration,
    /// Kill what does not stop
    #[arg(long, env = "DAYMARK_FORCE", value_parser = FalseyValueParser::new())]
    pub(super) force: bool,
}

#[derive(Args, Debug)]
pub(super) struct DoctorArgs {
    /// A server to look at as well
    #[arg(env = "DAYMARK_NAME")]
    pub(super) name: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(env = "DAYMARK_SHELL")]
    pub(super) shell: Shell,
}

/// The command line. A variable that is set to nothing counts as not set.
pub(super) fn command() -> Command {
    heed_environment(Cli::command())
}

/// The flags and arguments of a verb, described only if it is that verb that is wanted: there are a hundred of them.
#[derive(Debug)]
pub(super) struct Late<T>(pub(super) T);

impl<T: Args> Args for Late<T> {
    fn augment_args(verb: Command) -> Command {
        verb.defer(|verb| heed_environment(T::augment_args(verb)))
    }

    fn augment_args_for_update(verb: Command) -> Command {
        verb.defer(|verb| heed_environment(T::augment_args_for_update(verb)))
    }
}

impl<T: FromArgMatches> FromArgMatches for Late<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        T::from_arg_matches(matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}

fn heed_environment(command: Command) -> Command {
    command.mut_args(|arg| {
        let empty = arg
            .get_env()
            .is_some_and(|name| std::env::var_os(name).is_some_and(|value| value.is_empty()));
        let arg = arg.hide_env(true);
        match empty {
            true => arg.env(Resettable::Reset),
            false => arg,
        }
    })
}

/// Whether a NAME on the command line is to be heeded, and `DAYMARK_STATE_DIR` in the environment isn't: what was typed
/// comes first. `serve` and `run` take both, a directory and a name for what is in it.
pub(super) fn name_outranks_state_dir(matches: &ArgMatches) -> bool {
    let Some((verb, matches)) = matches.subcommand() else {
        return false;
    };
    let source_of = |id: &str| match matches.try_contains_id(id) {
        Ok(true) => matches.value_source(id),
        _ => None,
    };
    let typed = |id| source_of(id) == Some(ValueSource::CommandLine);
    let inherited = source_of("state_dir") == Some(ValueSource::EnvVariable);
    let starts = ["serve", "run"].contains(&verb);
    // What a server or `--then` is told of its own state (with its URL) isn't where another one's is to be.
    let is_told = std::env::var_os("DAYMARK_URL").is_some();
    (!starts || is_told) && inherited && (typed("name") || typed("names"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_makes_sense() {
        command().debug_assert();
    }

    #[test]
    fn every_flag_has_its_twin_in_the_environment() {
        let mut command = Cli::command();
        command.build();
        for verb in command.get_subcommands().chain([&command]) {
            for arg in verb.get_arguments() {
                let Some(flag) = arg.get_long().filter(|f| !["help", "version"].contains(f)) else {
                    continue;
                };
                let twin = format!("DAYMARK_{}", flag.replace('-', "_").to_uppercase());
                assert_eq!(
                    arg.get_env(),
                    Some(twin.as_ref()),
                    "{} --{flag}",
                    verb.get_name()
                );
            }
        }
    }
}
