//! `daymark open`: a live server, in the browser.

use super::args::OpenArgs;
use super::exit::{Exit, Failure};
use super::json::Object;
use super::place::Target;
use super::{Context, browser, explain, seen, url};

pub(super) fn run(args: &OpenArgs, context: &Context) -> Result<Exit, Failure> {
    let target = Target::find(args.name.as_deref(), context)?;
    let sighting = target.place.look();
    let record = match &sighting.record {
        Some(record) if sighting.is_live() => record,
        _ => return Err(seen::not_live(&sighting, &target.selector)),
    };
    target.mention_namesake(record, &context.output);
    let link = url::one_time_link(&target)?;
    browser::show(&link).map_err(|error| explain::browser(&error, &target.selector))?;
    let shown = record.endpoint.url();
    match context.output.json {
        true => context.output.object(&Object::new().with("url", shown)),
        false => context.output.note(&format!("opened {shown}")),
    }
    Ok(Exit::Done)
}
