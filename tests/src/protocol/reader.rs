//! Who connects: `docs/discovery.md`, and `app/src/discovery/connect.rs`. Looks, connects, looks again, and then sends a
//! token. Does so again and again, and changes nothing.

use super::Rule;
use super::kernel::{DirNo, Ino, PortUse, Process, Record};
use super::safety::Violation;
use super::world::Turn;

/// What the reader does next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum At {
    /// Open and read the record.
    #[default]
    Look,
    /// Try its lock.
    Probe,
    /// Connect.
    Connect,
    /// See whose the other end is.
    Peer,
    /// Try the lock again.
    LookAgain,
    /// See whether the path still leads there.
    Path,
    /// Send the token.
    Send,
}

/// A reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reader {
    /// What it does next.
    pub at: At,
    /// The directory.
    pub dir: Option<DirNo>,
    /// The record's file, open.
    pub fd: Option<Ino>,
    /// The number of its inode.
    pub number: Ino,
    /// What it says.
    pub record: Option<Record>,
    /// Who accepted the connection.
    pub peer: PortUse,
}

/// The steps of the reader.
pub(super) fn steps(turn: &mut Turn<'_>) {
    let me = turn.world.reader;
    let Some(record) = me.record else {
        return look(turn);
    };
    let at_path = me.dir.and_then(|dir| turn.world.names(dir).record);
    match me.at {
        At::Look => {}
        At::Probe => probe(turn, record, at_path == Some(me.number)),
        At::Connect => connect(turn, record),
        At::Peer => {
            let is_foreign = turn.scenario.strangers_are_foreign && me.peer == PortUse::Stranger;
            let next = match turn.keeps(Rule::SecondLook) {
                true => At::LookAgain,
                false => At::Send,
            };
            match is_foreign && turn.keeps(Rule::PeerIsOurs) {
                true => turn.hang_up("sees another user's socket at the other end"),
                false => turn.go_on("sees whose the other end is", next),
            }
        }
        At::LookAgain => {
            let seen = match turn.keeps(Rule::SecondLookThroughTheDescriptor) {
                true => me.fd,
                false => at_path.filter(|number| *number == me.number),
            };
            let next = match turn.keeps(Rule::SecondLookAtThePath) {
                true => At::Path,
                false => At::Send,
            };
            match seen.is_some_and(|seen| turn.world.refuses_shared(seen)) {
                true => turn.go_on("finds it locked again", next),
                false => turn.hang_up("finds it unlocked, and hangs up"),
            }
        }
        At::Path if at_path == Some(me.number) => turn.go_on("finds it in place again", At::Send),
        At::Path => turn.hang_up("finds another in its place, and hangs up"),
        At::Send => turn.step("sends its token", |w| w.reader = Reader::default()),
    }
}

fn look(turn: &mut Turn<'_>) {
    let world = turn.world;
    let Some((dir, fd)) = world
        .kernel
        .path
        .and_then(|dir| Some((dir, world.names(dir).record?)))
    else {
        return;
    };
    match world.record_in(fd) {
        Some(record) => turn.step("reads a record", |w| {
            w.reader = Reader {
                at: At::Probe,
                dir: Some(dir),
                fd: Some(fd),
                number: fd,
                record: Some(record),
                peer: PortUse::Free,
            };
        }),
        None => turn.step("reads a part of a record", |w| {
            w.broken = Some(Violation::TornRecord);
        }),
    }
}

/// Tries the lock. What is unlocked and still in place is stale.
fn probe(turn: &mut Turn<'_>, record: Record, is_in_place: bool) {
    let world = turn.world;
    let believes = match turn.keeps(Rule::LivenessByLock) {
        true => world.reader.fd.is_some_and(|fd| world.refuses_shared(fd)),
        false => world.process(record.pid) != Process::None,
    };
    if !believes {
        return match is_in_place {
            true => turn.hang_up("finds it unlocked: stale"),
            false => turn.hang_up("finds it unlocked and replaced, and begins again"),
        };
    }
    let keeps_it_open = turn.keeps(Rule::SecondLookThroughTheDescriptor);
    turn.step("finds it live", |w| {
        if w.living(record.writer).is_none() && !w.lives_on_in_a_child(record.writer) {
            w.broken = Some(Violation::DeadBelieved);
        }
        w.reader.fd = w.reader.fd.filter(|_| keeps_it_open);
        w.reader.at = At::Connect;
    });
}

fn connect(turn: &mut Turn<'_>, record: Record) {
    match turn.world.kernel.ports[usize::from(record.port)] {
        PortUse::Free | PortUse::Held(_) => turn.hang_up("is refused"),
        peer => turn.step("connects", |w| {
            w.reader.peer = peer;
            w.reader.at = At::Peer;
        }),
    }
}

impl Turn<'_> {
    fn go_on(&mut self, did: &'static str, next: At) {
        // Who looks once doesn't even ask.
        let asks = self.keeps(Rule::SecondLook);
        self.step(did, |w| {
            w.reader.at = next;
            let Reader {
                dir,
                number,
                record,
                peer,
                ..
            } = w.reader;
            let writer = record.map(|record| PortUse::Listening(record.writer));
            let at_path = dir.and_then(|dir| w.names(dir).record);
            if next != At::Send {
                return;
            }
            if writer != Some(peer) {
                w.broken = Some(Violation::TokenToStranger);
            } else if asks && at_path != Some(number) {
                w.broken = Some(Violation::SupersededBelieved);
            }
        });
    }

    fn hang_up(&mut self, did: &'static str) {
        self.step(did, |w| w.reader = Reader::default());
    }
}
