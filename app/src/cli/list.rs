//! `daymark list`: the servers of this user.

use crate::{Place, Sighting};

use super::args::ListArgs;
use super::exit::{Exit, Failure};
use super::output::{FAINT, paint, shown};
use super::place::{self, label_of};
use super::{Context, duration, json, seen};

pub(super) fn run(args: &ListArgs, context: &Context) -> Result<Exit, Failure> {
    let places = place::all(context)?;
    let sightings: Vec<Sighting> = places
        .iter()
        .map(Place::look)
        .filter(|sighting| args.all || seen::is_there(sighting.presence))
        .collect();
    let output = &context.output;
    if output.json {
        let objects: Vec<_> = sightings.iter().map(seen::object).collect();
        output.result(&json::array(&objects));
    } else if sightings.is_empty() {
        output.note(match args.all {
            true => "there are no servers",
            false => "no server is running",
        });
    } else {
        table(&sightings).iter().for_each(|row| output.result(row));
    }
    Ok(Exit::Done)
}

fn table(sightings: &[Sighting]) -> Vec<String> {
    let names: Vec<String> = sightings.iter().map(|s| shown(&label_of(s))).collect();
    let width = |title: &str, of: &dyn Fn(usize) -> usize| {
        let widest = (0..sightings.len()).map(of).max();
        widest.unwrap_or(0).max(title.len())
    };
    let name_width = width("NAME", &|i| names[i].chars().count());
    let presence_width = width("PRESENCE", &|i| sightings[i].presence.as_str().len());
    let title = format!(
        "{:name_width$}  {:presence_width$}  WHERE",
        "NAME", "PRESENCE"
    );
    let rows = sightings.iter().zip(&names).map(|(sighting, name)| {
        let presence = sighting.presence;
        let padding = " ".repeat(presence_width.saturating_sub(presence.as_str().len()));
        let presence = paint(seen::style(presence), presence.as_str());
        let row = format!(
            "{name:name_width$}  {presence}{padding}  {}",
            whereabouts(sighting)
        );
        row.trim_end().to_owned()
    });
    std::iter::once(paint(FAINT, &title)).chain(rows).collect()
}

fn whereabouts(sighting: &Sighting) -> String {
    match (&sighting.record, sighting.uptime()) {
        (Some(record), Some(uptime)) => format!(
            "{}  (pid {}, up {})",
            record.endpoint.url(),
            record.pid,
            duration::words(uptime)
        ),
        _ => shown(sighting.reason.as_deref().unwrap_or_default()),
    }
}
