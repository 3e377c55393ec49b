//! `daymark wait`: until a server is ready, or down.

use crate::WaitError;

use super::args::{Awaited, WaitArgs};
use super::exit::{Exit, Failure};
use super::place::Target;
use super::{Context, block_on, explain, seen};

pub(super) fn run(args: &WaitArgs, context: &Context) -> Result<Exit, Failure> {
    let target = Target::require(args.name.as_deref(), context, "wait")?;
    let awaited = async {
        match args.r#for {
            Awaited::Ready => target.place.wait_ready(args.timeout).await,
            Awaited::Down => target.place.wait_down(args.timeout).await,
        }
    };
    let output = &context.output;
    let what = match args.r#for {
        Awaited::Ready => format!("waiting until {} is ready", target.label()),
        Awaited::Down => format!("waiting until {} is down", target.label()),
    };
    let found = block_on(output.meanwhile(&what, awaited))?;
    let sighting = found.map_err(|error| match error {
        WaitError::Place(error) => explain::place(&error),
        WaitError::TimedOut { after, last } => explain::waited(after, &last, args.r#for, &target),
    })?;
    match (output.json, sighting.url()) {
        (true, _) => output.object(&seen::object(&sighting)),
        (false, Some(url)) => output.result(&url),
        (false, None) => {}
    }
    Ok(Exit::Done)
}
