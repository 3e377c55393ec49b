//! `daymark stop`: servers are asked to stop, all at once, and waited for.

use crate::{StopOptions, StopServerError, Stopped};

use super::args::StopArgs;
use super::exit::{Exit, Failure};
use super::json::{self, Object};
use super::output::shown;
use super::place::{self, Target};
use super::{Context, block_on, explain};

type Outcome = Result<Stopped, StopServerError>;

pub(super) fn run(args: &StopArgs, context: &Context) -> Result<Exit, Failure> {
    let targets = targets(args, context)?;
    let options = StopOptions::new(args.drain, args.force);
    let labels: Vec<String> = targets.iter().map(Target::label).collect();
    let what = format!("stopping {}", labels.join(", "));
    let outcomes = block_on(context.output.meanwhile(&what, stop_all(&targets, options)))?;

    let mut exit = Exit::Done;
    let mut objects = Vec::new();
    for (target, outcome) in targets.iter().zip(&outcomes) {
        let failure = outcome
            .as_ref()
            .err()
            .map(|error| explain::not_stopped(error, target));
        if let Some(failure) = &failure {
            exit = Exit::Failed;
            context.output.failure(failure);
        }
        match context.output.json {
            true => objects.push(object(target, outcome, failure.as_ref())),
            false if outcome.is_ok() => {
                let name = shown(&target.label());
                context
                    .output
                    .result(&format!("{name}  {}", word(outcome).replace('_', " ")));
            }
            false => {}
        }
    }
    if context.output.json {
        let all = Object::new()
            .with("ok", exit == Exit::Done)
            .with_json("servers", &json::array(&objects));
        context.output.object(&all);
    }
    Ok(exit)
}

/// The servers that are meant, each once.
pub(super) fn targets(args: &StopArgs, context: &Context) -> Result<Vec<Target>, Failure> {
    let mut targets: Vec<Target> = Vec::new();
    match args.names.as_slice() {
        [] => targets.push(Target::require(None, context, "stop")?),
        names => {
            for name in names {
                let target = Target::find(Some(name), context)?;
                if targets.iter().all(|known| known.place != target.place) {
                    targets.push(target);
                }
            }
        }
    }
    Ok(targets)
}

async fn stop_all(targets: &[Target], options: StopOptions) -> Vec<Outcome> {
    let stopping: Vec<_> = targets
        .iter()
        .map(|target| {
            let place = target.place.clone();
            tokio::spawn(async move { place.stop(options).await })
        })
        .collect();
    let mut outcomes = Vec::new();
    for (task, target) in stopping.into_iter().zip(targets) {
        let outcome = task.await.unwrap_or_else(|_| {
            // It has panicked; what is there now is what can be said.
            Err(StopServerError::StillThere(Box::new(target.place.look())))
        });
        outcomes.push(outcome);
    }
    outcomes
}

const fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Ok(Stopped::WasNotRunning) => "was_not_running",
        Ok(Stopped::Stopped(_) | Stopped::NeverReady) => "stopped",
        Ok(Stopped::Killed(_)) => "killed",
        Err(_) => "failed",
    }
}

fn object(target: &Target, outcome: &Outcome, failure: Option<&Failure>) -> Object {
    let record = match outcome {
        Ok(Stopped::Stopped(record) | Stopped::Killed(record)) => Some(record),
        _ => None,
    };
    let name = target.place.name();
    let name = name.or_else(|| record.and_then(|record| record.name.as_ref()));
    Object::new()
        .with("name", name.map(|name| name.as_str()))
        .with("state_dir", place::text(target.place.state_dir()))
        .with("outcome", word(outcome))
        .with("pid", record.map(|record| record.pid))
        .with("reason", failure.map(|failure| failure.sentence.as_str()))
        .with("hint", failure.map(|failure| failure.hint.as_str()))
}
