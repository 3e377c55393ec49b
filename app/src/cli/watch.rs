//! `daymark watch`: a line for every change.

use super::args::WatchArgs;
use super::exit::{Exit, Failure};
use super::place::Target;
use super::{Context, block_on, seen};

pub(super) fn run(args: &WatchArgs, context: &Context) -> Result<Exit, Failure> {
    let target = Target::find(args.name.as_deref(), context)?;
    let output = &context.output;
    block_on(async {
        let mut watch = target.place.watch();
        while output.is_heard() {
            let sighting = watch.next().await;
            match output.json {
                true => output.object(&seen::object(&sighting)),
                false => output.result(&seen::line(&sighting)),
            }
        }
    })?;
    Ok(Exit::Done)
}
