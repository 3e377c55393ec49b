//! `daymark url`: where a live server is.

use crate::ServerRecord;

use super::args::UrlArgs;
use super::exit::{Exit, Failure};
use super::json::Object;
use super::place::Target;
use super::{Context, seen};

pub(super) fn run(args: &UrlArgs, context: &Context) -> Result<Exit, Failure> {
    let target = Target::find(args.name.as_deref(), context)?;
    let sighting = target.place.look();
    let record = match &sighting.record {
        Some(record) if sighting.is_live() => record,
        _ => return Err(seen::not_live(&sighting, &target.selector)),
    };
    target.mention_namesake(record, &context.output);
    let url = match args.with_token {
        true => with_token(record),
        false => record.endpoint.url(),
    };
    match context.output.json {
        true => context.output.object(&Object::new().with("url", url)),
        false => context.output.result(&url),
    }
    Ok(Exit::Done)
}

/// The URL that lets a browser in: with the token, where the server wants one.
pub(super) fn with_token(record: &ServerRecord) -> String {
    let url = record.endpoint.url();
    match &record.token {
        // A token is made of characters that a query takes as they are.
        Some(token) => format!("{url}?token={}", token.reveal()),
        None => url,
    }
}
