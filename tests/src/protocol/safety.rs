//! What must hold in every state, and what has gone wrong where it doesn't.

use super::kernel::{DirNo, Ino, Instance, PortUse, Record};
use super::scenario::{Kind, Scenario};
use super::starter::{At, Starter};
use super::world::World;

/// How the protocol can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Violation {
    /// Two own one directory, and nobody has taken it from either.
    TwoOwners,
    /// A reader takes a record for live whose writer is gone.
    DeadBelieved,
    /// A record is vouched for after its writer's proof had ended.
    BelievedAfterStop,
    /// A record is vouched for, and whoever connects is refused or answered by somebody else.
    BelievedAndNotServed,
    /// A record is in place, its writer serves, and nobody vouches for it.
    NotVouchedFor,
    /// A reader connects on the word of a record that another has replaced.
    SupersededBelieved,
    /// A token is sent to somebody who isn't the record's writer.
    TokenToStranger,
    /// A process is signalled that isn't the record's writer, nor the owner.
    StrangerSignalled,
    /// A record is published that leads to a stranger.
    StrangerPublished,
    /// A living owner's record is removed or replaced by another.
    AnothersRecordRemoved,
    /// A record lands after its writer gave the ownership back.
    PublishedUnowned,
    /// A reader sees a part of a record.
    TornRecord,
    /// Everybody was dead, and a start fails all the same.
    NextStartFails,
    /// A starter can do nothing any more, and isn't at rest.
    WaitsForEver,
}

/// What is wrong with this state.
pub(super) fn broken_in(scenario: &Scenario, world: &World) -> Option<Violation> {
    let wrong = |(is_vouched_for, record)| wrong_with(scenario, world, is_vouched_for, record);
    two_owners(world)
        .or_else(|| in_place(world).find_map(wrong))
        .or_else(|| being_read(world).and_then(wrong))
}

/// A record that the reader has open and that is vouched for: its writer keeps its word also where another has replaced it.
fn being_read(world: &World) -> Option<(bool, Record)> {
    let file = world.reader.fd?;
    let is_vouched_for = world.refuses_shared(file);
    is_vouched_for.then_some((true, world.record_in(file)?))
}

fn two_owners(world: &World) -> Option<Violation> {
    let owners = || world.starters.iter().filter(|s| s.owns && !s.is_robbed);
    let among = |dir| owners().filter(|s| s.place.dir == dir).count();
    owners()
        .any(|s| among(s.place.dir) > 1)
        .then_some(Violation::TwoOwners)
}

/// A record in place, and whether it is vouched for.
fn in_place(world: &World) -> impl Iterator<Item = (bool, Record)> {
    let records = world.kernel.dirs.iter().filter_map(|dir| dir.record);
    records.filter_map(|file| Some((world.refuses_shared(file), world.record_in(file)?)))
}

fn wrong_with(
    scenario: &Scenario,
    world: &World,
    is_vouched_for: bool,
    record: Record,
) -> Option<Violation> {
    let writer = world.living(record.writer);
    let listens = || {
        let port = world.kernel.ports[usize::from(record.port)];
        let kind = scenario.starters[usize::from(record.writer.starter)];
        // That a child listens is no part of what is promised here: nobody connects on that.
        kind == Kind::Runs || port == PortUse::Listening(record.writer)
    };
    match (is_vouched_for, writer) {
        (true, None) if world.lives_on_in_a_child(record.writer) => None,
        (true, None) => Some(Violation::DeadBelieved),
        (true, Some(writer)) if writer.has_ended => Some(Violation::BelievedAfterStop),
        (true, Some(writer)) if !writer.is_shut_down && !listens() => {
            Some(Violation::BelievedAndNotServed)
        }
        (false, Some(writer)) if serves(writer) && !writer.is_robbed => {
            Some(Violation::NotVouchedFor)
        }
        _ => None,
    }
}

fn serves(writer: &Starter) -> bool {
    matches!(writer.at, At::Publishing | At::Ready) && !writer.has_ended
}

impl World {
    /// A record isn't in place any more. Who has been robbed, or deals with who has, may do that to a living owner until it
    /// notices; not where it has seen that record, and not in a directory that it doesn't own.
    pub(super) fn displace(&mut self, i: usize, dir: DirNo, record: Ino) {
        self.fossil = self.record_in(record).or(self.fossil);
        if !self.is_anothers(i, record) {
            return;
        }
        let writer = self
            .record_in(record)
            .and_then(|record| self.living(record.writer));
        let me = &self.starters[i];
        let is_in_its_own = me.place.dir == Some(dir);
        let by_accident =
            is_in_its_own && (me.is_robbed || writer.is_some_and(|writer| writer.is_robbed));
        if me.knows_another || !by_accident {
            self.broken = Some(Violation::AnothersRecordRemoved);
        }
    }

    /// Whether a forked child of that instance still has its descriptors: a limit that is told openly.
    #[must_use]
    pub fn lives_on_in_a_child(&self, instance: Instance) -> bool {
        self.forked
            .is_some_and(|child| child.of == usize::from(instance.starter))
    }
}
