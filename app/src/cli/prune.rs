//! `daymark prune`: what servers left that aren't running.
//!
//! Whether a server runs is decided under its ownership, by the store. The look before that only keeps hands off what isn't
//! anybody's to clear.

use daymark_adapters::state_store::{FileStore, LOCK};
use daymark_core::state_store::AcquireError;

use crate::{Place, Presence};

use super::exit::{Exit, Failure};
use super::json::{self, Object};
use super::output::shown;
use super::place::{self, label};
use super::{Context, explain};

/// What became of one state directory.
enum Fate {
    Removed,
    Kept(String),
    Failed(Failure),
}

pub(super) fn run(context: &Context) -> Result<Exit, Failure> {
    let output = &context.output;
    let (mut removed, mut kept) = (Vec::new(), Vec::new());
    let mut exit = Exit::Done;
    for place in place::all(context)? {
        let name = shown(&label(place.name(), place.state_dir()));
        let object = Object::new()
            .with("name", place.name().map(|name| name.as_str()))
            .with("state_dir", place::text(place.state_dir()));
        match prune(&place) {
            Fate::Removed => {
                if !output.json {
                    output.result(&format!("{name}  removed"));
                }
                removed.push(object);
            }
            Fate::Kept(reason) => {
                output.detail(&format!("{name}  kept: {}", shown(&reason)));
                kept.push(object.with("reason", reason));
            }
            Fate::Failed(failure) => {
                exit = Exit::Failed;
                output.failure(&failure);
                kept.push(object.with("reason", failure.sentence));
            }
        }
    }
    if output.json {
        let all = Object::new()
            .with_json("removed", &json::array(&removed))
            .with_json("kept", &json::array(&kept));
        output.object(&all);
    } else if removed.is_empty() && exit == Exit::Done {
        output.note("there is nothing to remove");
    }
    Ok(exit)
}

fn prune(place: &Place) -> Fate {
    let sighting = place.look();
    let dir = place.state_dir();
    match sighting.presence {
        Presence::Stale => {}
        Presence::Absent if !dir.exists() => return Fate::Kept("there is nothing".to_owned()),
        // Under the root everything is Daymark's. Elsewhere a file of that name may be somebody's, unless a server was there.
        Presence::Absent | Presence::Corrupt
            if place.name().is_none() && !dir.join(LOCK).exists() =>
        {
            return Fate::Kept("no server has ever owned this directory".to_owned());
        }
        Presence::Absent | Presence::Corrupt => {}
        presence => {
            let reason = sighting.reason.map(|reason| format!(": {reason}"));
            return Fate::Kept(format!("it is {presence}{}", reason.unwrap_or_default()));
        }
    }
    let pruned = FileStore::new(dir)
        .map_err(|error| explain::no_directories(&error))
        .map(|store| store.prune());
    match pruned {
        Ok(Ok(true)) => Fate::Removed,
        Ok(Ok(false)) => {
            Fate::Kept("the directory holds other files, too; they are still there".to_owned())
        }
        Ok(Err(AcquireError::AlreadyRunning(_) | AcquireError::Busy(_))) => {
            Fate::Kept("a server has just taken it".to_owned())
        }
        Ok(Err(error)) => Fate::Failed(explain::acquire(&error, &label(place.name(), dir))),
        Err(failure) => Fate::Failed(failure),
    }
}
