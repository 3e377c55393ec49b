//! `daymark status`: what may be believed of a server.

use super::args::StatusArgs;
use super::exit::{Exit, Failure};
use super::output::shown;
use super::place::Target;
use super::{Context, seen};

pub(super) fn run(args: &StatusArgs, context: &Context) -> Result<Exit, Failure> {
    let target = Target::find(args.name.as_deref(), context)?;
    let sighting = target.place.look();
    let output = &context.output;
    match output.json {
        true => output.object(&seen::object(&sighting)),
        false => output.result(&seen::line(&sighting)),
    }
    output.detail(&format!(
        "state  {}",
        shown(&sighting.state_dir.display().to_string())
    ));
    if let Some(record) = &sighting.record {
        let app = record.app.as_ref();
        let app = app.map(|app| shown(&format!("{} {}", app.name, app.version)));
        let instance = record.instance_id.map(|id| id.to_string());
        output.detail(&format!("app  {}", app.unwrap_or_default()));
        output.detail(&format!("instance  {}", instance.unwrap_or_default()));
        target.mention_namesake(record, output);
    }
    Ok(match sighting.is_live() {
        true => Exit::Done,
        false => Exit::NotRunning,
    })
}
