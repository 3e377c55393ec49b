//! `daymark completions`: what a shell needs to complete command lines.

use super::Context;
use super::args::{self, CompletionsArgs};
use super::exit::{Exit, Failure};

pub(super) fn run(args: &CompletionsArgs, context: &Context) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut args::command(), "daymark", &mut script);
    context
        .output
        .result(String::from_utf8_lossy(&script).trim_end());
    Ok(Exit::Done)
}
