//! One case: a run of the command that is struck at one call, and what must hold during it and afterwards.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;

use daymark::Presence;
use daymark_adapters::record_json;
use daymark_adapters::state_store::{FileStore, LOCK, RECORD};
use daymark_core::record::{InstanceId, ServerRecord};
use rustix::process::Signal;

use super::process::{Checked, Process, accepts, answers, eventually, files, is_temporary, live};
use super::site::prepare;
use super::{Case, OF_THE_STORE, Site, Verb, Were, is_there};
use crate::files::Ground;
use crate::supervised::{Role, members};
use crate::trace::{Blow, Call, Trail, struck, watched};

/// What came of a case in which nothing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was struck.
    Struck,
    /// It was given an error that the kernel doesn't have, and panicked at that.
    Impossible,
    /// It never made that call.
    Missed,
}

/// Tries one case after the other.
#[derive(Debug)]
pub(super) struct Worker<'a> {
    site: &'a Site,
    /// A server that lives, as long as nobody has stopped it.
    alive: Option<(Ground, Process)>,
    tried: usize,
}

/// The calls of the verb where nothing happens to it.
pub(super) fn calls(site: &Site, verb: Verb, were: Were) -> BTreeSet<Call> {
    let mut worker = Worker::new(site);
    let ground = worker.ground(were);
    let log = ground.dir().with_extension("log");
    let mut process = Process::start(site, verb, &ground, watched(&log));
    let done = process.lives_and_ends(&ground, were);
    let status = done.unwrap_or_else(|wrong| panic!("{verb:?} {were:?}: {wrong}"));
    process.trail(&log);
    let calls = crate::trace::calls(&log, &site.program.display().to_string());
    assert!(!calls.is_empty(), "{verb:?} {were:?}, {status}: no calls");
    worker.take_back(were, ground);
    calls
}

impl<'a> Worker<'a> {
    pub(super) const fn new(site: &'a Site) -> Self {
        Self {
            site,
            alive: None,
            tried: 0,
        }
    }

    /// A place where that was.
    fn ground(&mut self, were: Were) -> Ground {
        if were == Were::Alive {
            if let Some((place, _)) = &mut self.alive {
                return std::mem::take(place);
            }
            let ground = Ground::new();
            let mut process = Process::start(self.site, Verb::Serve, &ground, Vec::new());
            let live = process.live(&ground);
            assert!(matches!(live, Ok(Some(_))), "{live:?}: {}", process.said());
            self.alive = Some((Ground::new(), process));
            return ground;
        }
        let ground = Ground::new();
        prepare(&ground, were);
        ground
    }

    fn take_back(&mut self, were: Were, ground: Ground) {
        if were == Were::Alive
            && let Some((place, _)) = &mut self.alive
        {
            *place = ground;
        }
    }

    /// Tries one case.
    pub(super) fn tries(&mut self, case: &Case) -> Checked<Outcome> {
        let ground = self.ground(case.were);
        let tried = self.tries_at(case, &ground);
        match &tried {
            Ok(_) => self.take_back(case.were, ground),
            // Whatever is wrong there shall not be wrong in the next case.
            Err(_) => self.alive = None,
        }
        tried
    }

    fn tries_at(&mut self, case: &Case, ground: &Ground) -> Checked<Outcome> {
        // A former tracer may still be writing to its own.
        let log = ground.dir().with_extension(format!("{}.log", self.tried));
        self.tried += 1;
        let before = (
            files(ground),
            live(ground).and_then(|record| record.instance_id),
        );
        let through = struck(&case.call, case.blow, &log);
        let mut process = Process::start(self.site, case.verb, ground, through);
        process.log = Some(log.clone());
        if case.blow == Blow::Freeze {
            self.look_while_frozen(case, ground, &log, &mut process)?;
        }
        let is_server = matches!(case.verb, Verb::Serve | Verb::Run);
        if is_server
            && case.were != Were::Alive
            && let Some(record) = process.live(ground)?
        {
            serves(case, ground, &record, &mut process)?;
            process.signal(Signal::TERM);
        }
        let status = process.end()?;
        let trail = process.trail(&log);
        let outcome = ended_well(case, &process, status, trail)?;
        match (case.were, case.verb) {
            (Were::Alive, Verb::Stop) => self.owner_was_stopped(ground, status)?,
            (Were::Alive, _) => owner_is_untouched(ground, before.1)?,
            (_, Verb::Status | Verb::Stop) if files(ground) != before.0 => {
                return Err(format!(
                    "it has changed {:?} to {:?}",
                    before.0,
                    files(ground)
                ));
            }
            _ => self.is_survivable(case, ground, &process, outcome)?,
        }
        Ok(outcome)
    }

    /// What must hold at each moment, long enough to be looked at.
    fn look_while_frozen(
        &self,
        case: &Case,
        ground: &Ground,
        log: &Path,
        process: &mut Process,
    ) -> Checked<()> {
        let mut asked = false;
        let pid = process.child.id();
        eventually("freeze, or end", || {
            if Trail::read(log, pid).stops > 0 || process.ended().is_some() {
                return Ok(Some(()));
            }
            if !asked && live(ground).is_some_and(|record| record.pid == pid) {
                process.signal(Signal::TERM);
                asked = true;
            }
            Ok(None)
        })?;
        if process.ended().is_some() {
            return Ok(());
        }
        let looked = self.look_at_frozen(case, ground, asked, process);
        process.thaws = true;
        looked
    }

    fn look_at_frozen(
        &self,
        case: &Case,
        ground: &Ground,
        asked: bool,
        process: &mut Process,
    ) -> Checked<()> {
        let store = FileStore::new(&ground.dir()).map_err(|error| error.to_string())?;
        let is_free = store.is_free().map_err(|error| error.to_string())?;
        let Some(record) = live(ground) else {
            let bytes = fs::read(ground.record()).unwrap_or_default();
            let own = record_json::read(&bytes).is_ok_and(|it| it.pid == process.child.id());
            let presence = ground.place().look().presence;
            let is_new = !asked && case.verb == Verb::Serve && presence != Presence::Live;
            if own && (is_new || presence == Presence::Stale) && process.ended().is_none() {
                return Err(format!(
                    "its writer lives, and its record is called {presence}"
                ));
            }
            if is_free && case.verb == Verb::Serve {
                return self.succeeds_while_frozen(ground, process);
            }
            return Ok(());
        };
        let is_still = |record: &ServerRecord| {
            live(ground).is_some_and(|now| now.instance_id == record.instance_id)
        };
        let port = record.endpoint.port().get();
        if !accepts(port) && is_still(&record) {
            return Err("a record is live, and nobody listens there".to_owned());
        }
        if store.is_free().unwrap_or(false) && is_still(&record) {
            return Err("a record is live, and its place is nobody's".to_owned());
        }
        Ok(())
    }

    /// The place is nobody's: another one starts there, and what was frozen doesn't harm that.
    fn succeeds_while_frozen(&self, ground: &Ground, process: &mut Process) -> Checked<()> {
        let mut next = Process::start(self.site, Verb::Serve, ground, Vec::new());
        let Some(record) = next.live(ground)? else {
            return Err(format!(
                "none starts in a place that is nobody's: {}",
                next.said()
            ));
        };
        process.thaws = true;
        process.end()?;
        owner_is_untouched(ground, record.instance_id)?;
        next.signal(Signal::TERM);
        let status = next.end()?;
        match status.success() && files(ground) == [LOCK] {
            true => Ok(()),
            false => Err(format!(
                "{status}, and {:?} are left: {}",
                files(ground),
                next.said()
            )),
        }
    }

    fn owner_was_stopped(&mut self, ground: &Ground, status: ExitStatus) -> Checked<()> {
        let (_, mut owner) = self.alive.take().ok_or("there was no owner")?;
        if status.success() && live(ground).is_some() {
            return Err("it says that it has stopped a server, and that is live".to_owned());
        }
        // Where nobody could ask it to stop, it is asked now. It lives until then, or has stopped as it should.
        owner.signal(Signal::TERM);
        let ended = owner.end()?;
        match ended.success() && files(ground) == [LOCK] {
            true => Ok(()),
            false => Err(format!("the server: {ended}, {:?} are left", files(ground))),
        }
    }

    /// Nobody believes what is left, and the next one starts as if nothing had been.
    fn is_survivable(
        &self,
        case: &Case,
        ground: &Ground,
        process: &Process,
        outcome: Outcome,
    ) -> Checked<()> {
        let sighting = ground.place().look();
        if !matches!(sighting.presence, Presence::Absent | Presence::Stale) {
            return Err(format!(
                "its writer is gone, and it is called {}",
                sighting.presence
            ));
        }
        let left = files(ground);
        let known =
            |name: &&String| is_temporary(name) || [LOCK, RECORD, "logs"].contains(&name.as_str());
        if let Some(name) = left.iter().find(|name| !known(name)) {
            return Err(format!("{name:?} was left behind"));
        }
        let was_there = case.were == Were::HalfWritten;
        let removes = case.call.syscall.starts_with("unlink") || case.call.syscall == "openat";
        let excused =
            removes || was_there || outcome == Outcome::Impossible || !case.blow.is_error();
        if !excused && left.iter().any(|name| is_temporary(name)) {
            return Err(format!("an error, and it leaves {left:?}"));
        }
        let verb = match case.verb {
            Verb::Run => Verb::Run,
            _ => Verb::Serve,
        };
        let mut next = Process::start(self.site, verb, ground, Vec::new());
        let Some(record) = next.live(ground)? else {
            return Err(format!("the next one doesn't start: {}", next.said()));
        };
        let names = files(ground);
        if names.iter().any(|name| is_temporary(name)) {
            return Err(format!("the next one keeps {names:?}"));
        }
        if case.verb == Verb::Run {
            eventually("be rid of the former tree", || {
                let left = members(&process.mark);
                Ok(left
                    .iter()
                    .all(|member| member.role == Role::Tracer)
                    .then_some(()))
            })?;
        }
        eventually("let the next one answer", || {
            Ok(answers(record.endpoint.port().get()).then_some(()))
        })?;
        next.signal(Signal::TERM);
        let status = next.end()?;
        let left = files(ground);
        let clean = left.iter().all(|name| name == LOCK || name == "logs");
        match status.success() && clean {
            true => Ok(()),
            false => Err(format!(
                "the next one: {status}, {left:?} are left: {}",
                next.said()
            )),
        }
    }
}

/// While a record is live, its server serves.
fn serves(
    case: &Case,
    ground: &Ground,
    record: &ServerRecord,
    process: &mut Process,
) -> Checked<()> {
    let port = record.endpoint.port().get();
    let own = |now: ServerRecord| now.instance_id == record.instance_id;
    // What goes on failing in front of every answer keeps a server that was ready from giving any. It listens.
    let deaf =
        matches!(case.blow, Blow::FailOn(_)) && !OF_THE_STORE.contains(&case.call.syscall.as_str());
    eventually("answer while its record is live", || {
        let served = match deaf || case.verb == Verb::Run && case.blow.is_error() {
            true => accepts(port),
            false => answers(port),
        };
        process.nudge();
        let gone = process.ended().is_some() || !live(ground).is_some_and(own);
        Ok((served || gone).then_some(()))
    })
}

/// It ended in a way that a command may end in.
fn ended_well(
    case: &Case,
    process: &Process,
    status: ExitStatus,
    trail: Trail,
) -> Checked<Outcome> {
    let said = process.said();
    // Where there is no thread to be had the runtime panics. That must be caught, and told of as any error.
    let is_caught = said.contains("OS can't spawn worker thread") && said.contains("error: ");
    let panicked = said.contains("panicked") && !is_caught
        || said.contains("control task is gone")
        || (status.code() == Some(101) && case.verb != Verb::Run);
    if trail.impossible && case.blow.is_error() {
        return Ok(Outcome::Impossible);
    }
    if panicked {
        return Err(format!("it panics: {said}"));
    }
    let was_killed = status.signal() == Some(Signal::KILL.as_raw());
    if let Some(signal) = status
        .signal()
        .filter(|_| !(was_killed && case.blow == Blow::Kill))
    {
        return Err(format!("signal {signal} ended it: {said}"));
    }
    let tells = match case.verb {
        // What it finds is its result, and says why.
        Verb::Status => !said.is_empty(),
        _ => process.has_complained(),
    };
    if status.code().is_some_and(|code| code != 0) && !tells && !trail.mute {
        return Err(format!("it fails without a word: {status}"));
    }
    Ok(match case.blow {
        Blow::Kill if was_killed || case.verb == Verb::Run && !status.success() => Outcome::Struck,
        Blow::Freeze if trail.stops > 0 => Outcome::Struck,
        Blow::Fail(_) | Blow::FailOn(_) if trail.failed => Outcome::Struck,
        _ => Outcome::Missed,
    })
}

fn owner_is_untouched(ground: &Ground, instance: Option<InstanceId>) -> Checked<()> {
    let record = live(ground).filter(|record| record.instance_id == instance);
    let Some(record) = record else {
        let there = ground.place().look().presence;
        return Err(format!("the other server has been harmed: {there}"));
    };
    eventually("let the other server answer", || {
        let answers = answers(record.endpoint.port().get()) && is_there(&ground.lock());
        Ok(answers.then_some(()))
    })
}
