//! `daymark restart`: a supervised server makes way for a new one.

use crate::{RestartServerError, ServerRecord};

use super::args::RestartArgs;
use super::exit::{Exit, Failure};
use super::output::shown;
use super::place::Target;
use super::{Context, block_on, explain, telling};

pub(super) fn run(args: &RestartArgs, context: &Context) -> Result<Exit, Failure> {
    let target = Target::require(args.name.as_deref(), context, "restart")?;
    let what = format!("restarting {}", target.label());
    let restarting = target.place.restart(args.timeout);
    let outcome: Result<ServerRecord, RestartServerError> =
        block_on(context.output.meanwhile(&what, restarting))?;
    let record = outcome.map_err(|error| explain::not_restarted(&error, &target))?;
    let url = record.endpoint.url();
    match context.output.json {
        true => context.output.object(
            &telling::event("restarted", record.name.as_ref())
                .with("url", url)
                .with("port", record.endpoint.port().get())
                .with("pid", record.pid)
                .with("restarts", record.restarts),
        ),
        false => context.output.result(&format!(
            "{}  restarted  {}",
            shown(&target.label()),
            url.trim_end_matches('/')
        )),
    }
    Ok(Exit::Done)
}
