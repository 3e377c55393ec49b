//! `daymark url`: where a live server is, and how one gets in.

use std::time::Duration;

use super::args::UrlArgs;
use super::exit::{Exit, Failure};
use super::json::Object;
use super::place::Target;
use super::{Context, block_on, explain, seen};

/// How long a server may take to make a link: it has nothing to wait for.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn run(args: &UrlArgs, context: &Context) -> Result<Exit, Failure> {
    let target = Target::find(args.name.as_deref(), context)?;
    let sighting = target.place.look();
    let record = match &sighting.record {
        Some(record) if sighting.is_live() => record,
        _ => return Err(seen::not_live(&sighting, &target.selector)),
    };
    target.mention_namesake(record, &context.output);
    let url = match args.with_token {
        true => one_time_link(&target)?,
        false => record.endpoint.url(),
    };
    let mut object = Object::new().with("url", url.as_str());
    if let Some(token) = record.token.as_ref().filter(|_| args.with_token) {
        object = object.with("token", token.reveal());
    }
    match context.output.json {
        true => context.output.object(&object),
        false => context.output.result(&url),
    }
    Ok(Exit::Done)
}

/// The URL that lets a browser in: with a code that works once, where the server wants a token.
pub(super) fn one_time_link(target: &Target) -> Result<String, Failure> {
    let asked = block_on(async {
        tokio::time::timeout(PATIENCE, target.place.one_time_link())
            .await
            .ok()
    })?;
    match asked {
        Some(link) => link.map_err(|error| explain::link(&error, &target.selector)),
        None => Err(explain::no_link("it takes too long", &target.selector)),
    }
}
