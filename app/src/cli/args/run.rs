//! The words of `daymark run`.

use std::ffi::OsString;
use std::time::Duration;

use clap::builder::{FalseyValueParser, NonEmptyStringValueParser};
use clap::{Args, ValueEnum};

use crate::cli::duration;

#[derive(Args, Debug)]
pub(in crate::cli) struct RunArgs {
    /// What others find the server by [default: the current directory's name]
    #[arg(short, long, env = "DAYMARK_NAME")]
    pub(in crate::cli) name: Option<String>,
    /// The port; 0 for any free one [default: that of the last run if it is free, else any]
    #[arg(short, long, env = "DAYMARK_PORT")]
    pub(in crate::cli) port: Option<u16>,
    /// How the command gets its port
    #[arg(
        long,
        value_name = "HOW",
        env = "DAYMARK_LISTEN",
        default_value = "number"
    )]
    pub(in crate::cli) listen: Listen,
    /// When it is ready: auto (it answers below 500), tcp, http:/PATH[=STATUS], notify (sd_notify), or log:REGEX, where a
    /// group named port says which port it chose
    #[arg(
        long,
        value_name = "MODE",
        env = "DAYMARK_READY",
        default_value = "auto"
    )]
    pub(in crate::cli) ready: String,
    /// How long it may take to be ready
    #[arg(long, value_name = "TIME", env = "DAYMARK_READY_TIMEOUT", default_value = "60s", value_parser = duration::parse)]
    pub(in crate::cli) ready_timeout: Duration,
    /// How long it may take to end when it is asked to, before it is killed
    #[arg(long, value_name = "TIME", env = "DAYMARK_DRAIN", default_value = "10s", value_parser = duration::parse)]
    pub(in crate::cli) drain: Duration,
    /// Return once it is ready, and leave it running
    #[arg(short, long, env = "DAYMARK_DETACH", value_parser = FalseyValueParser::new(), conflicts_with = "then")]
    pub(in crate::cli) detach: bool,
    /// If it is running already, that is as good
    #[arg(long, env = "DAYMARK_REUSE", value_parser = FalseyValueParser::new())]
    pub(in crate::cli) reuse: bool,
    /// If it is running already, stop that one first
    #[arg(long, env = "DAYMARK_REPLACE", value_parser = FalseyValueParser::new(), conflicts_with = "reuse")]
    pub(in crate::cli) replace: bool,
    /// When to start it again if it ends by itself
    #[arg(
        long,
        value_name = "WHEN",
        env = "DAYMARK_RESTART",
        default_value = "never"
    )]
    pub(in crate::cli) restart: Restart,
    /// Run this in a shell once it is ready, then stop, with its exit code
    #[arg(long, value_name = "COMMAND", env = "DAYMARK_THEN", value_parser = NonEmptyStringValueParser::new())]
    pub(in crate::cli) then: Option<String>,
    /// The server's command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(in crate::cli) command: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Listen {
    /// As a number: PORT, or {port} in its arguments. The port is kept free for it
    Number,
    /// As a listening socket, at descriptor 3 (LISTEN_FDS): nobody is ever refused, also while it restarts
    Fd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Restart {
    /// Not at all
    Never,
    /// If its exit code is not 0
    OnFailure,
    /// In any case
    Always,
}
