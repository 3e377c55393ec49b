//! What was seen at a place, in JSON and in words.

use clap::builder::styling::Style;
use daymark_adapters::record_json;

use crate::{Presence, Sighting};

use super::duration;
use super::exit::{Exit, Failure};
use super::json::Object;
use super::output::{BAD, FAINT, GOOD, ODD, paint, shown};
use super::place::label_of;

/// The object that `status` and its kin print. It never holds the token.
pub(super) fn object(sighting: &Sighting) -> Object {
    let record = sighting.record.as_ref().map(record_json::without_token);
    Object::new()
        .with("name", sighting.name.as_ref().map(|name| name.as_str()))
        .with("presence", sighting.presence.as_str())
        .with_json("record", record.as_deref().unwrap_or("null"))
        .with("uptime_ms", sighting.uptime().map(duration::millis))
        .with("reason", sighting.reason.as_deref())
}

/// The same as a line for people.
pub(super) fn line(sighting: &Sighting) -> String {
    let name = shown(&label_of(sighting));
    let presence = paint(style(sighting.presence), sighting.presence.as_str());
    match (&sighting.record, &sighting.reason) {
        (Some(record), _) if sighting.is_live() => format!(
            "{name}  {presence}  {}  (pid {}, up {})",
            record.endpoint.url(),
            record.pid,
            duration::words(sighting.uptime().unwrap_or_default()),
        ),
        (_, Some(reason)) => format!("{name}  {presence}  {}", shown(reason)),
        (_, None) => format!("{name}  {presence}"),
    }
}

pub(super) const fn style(presence: Presence) -> Style {
    match presence {
        Presence::Live => GOOD,
        Presence::Absent | Presence::Stale => FAINT,
        Presence::Corrupt | Presence::Refused => BAD,
        _ => ODD,
    }
}

/// Whether somebody lives there, in reach or not.
pub(super) const fn is_there(presence: Presence) -> bool {
    matches!(
        presence,
        Presence::Live | Presence::Starting | Presence::Stopping | Presence::Unreachable
    )
}

/// Why what was asked for can't be had from a server that isn't live.
pub(super) fn not_live(sighting: &Sighting, selector: &str) -> Failure {
    let name = label_of(sighting);
    let reason = match &sighting.reason {
        Some(reason) => format!(": {reason}"),
        None => String::new(),
    };
    let sentence = match sighting.presence {
        Presence::Absent => format!("{name} is not running"),
        presence => format!("{name} is {presence}{reason}"),
    };
    let hint = match (sighting.presence, &sighting.record) {
        (Presence::Unproven, Some(record)) => format!(
            "nothing proves that anybody answers there; if you know that it runs, try {}",
            record.endpoint.url()
        ),
        (Presence::Starting, _) => format!("daymark wait {selector}"),
        (Presence::Unreachable, _) => {
            "ask on the machine, or in the container, where it runs".to_owned()
        }
        (Presence::Unknown | Presence::Refused, _) => format!("daymark doctor {selector}"),
        _ => "start it; daymark list shows what is running".to_owned(),
    };
    Failure::new(Exit::NotRunning, sentence, hint)
}
