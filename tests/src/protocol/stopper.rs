//! `daymark stop`: `app/src/discovery/stop.rs`. Looks, pins a process, looks again, signals it, and has succeeded once it
//! could itself own the place. An owner without a record is pinned by what the kernel and the lock file say of it.

use super::Rule;
use super::kernel::{Content, DirNo, Ino, Instance, Lock, Pid, Process, Record};
use super::safety::Violation;
use super::world::{Turn, World};

/// What the stopper does next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum At {
    /// Open and read the record.
    #[default]
    Look,
    /// Try its lock.
    Probe,
    /// Pin the process with its pid.
    Pin,
    /// Try the lock again.
    LookAgain,
    /// See whether the path still leads there.
    Path,
    /// Signal.
    Signal,
    /// See whom the kernel and the lock file name as the owner.
    Word,
    /// Pin that one.
    PinOwner,
    /// See whether they still do.
    WordAgain,
    /// Lock the lock file, shared and for a moment.
    TryPlace,
    /// Give that back, and see whether the path leads there.
    GiveBack,
    /// Nothing: it has succeeded, or has said why not.
    Done,
}

/// A stopper.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stopper {
    /// What it does next.
    pub at: At,
    /// The directory.
    pub dir: Option<DirNo>,
    /// The record's file, open.
    pub fd: Option<Ino>,
    /// What it says.
    pub record: Option<Record>,
    /// The number of the process that is to be stopped.
    pub pid: Pid,
    /// The process that is pinned.
    pub pinned: Process,
    /// Whom the lock was seen to be held by at the second look.
    pub meant: Option<Instance>,
    /// The lock file, open.
    pub lock: Option<Ino>,
    /// Whether somebody was signalled.
    pub has_asked: bool,
}

/// The steps of the stopper.
pub(super) fn steps(turn: &mut Turn<'_>) {
    let me = turn.world.stopper;
    match me.at {
        At::Look => look(turn),
        At::Probe | At::Pin | At::LookAgain | At::Path => by_record(turn, me),
        At::Word | At::PinOwner | At::WordAgain => by_lock_file(turn, me),
        At::Signal => signal(turn, me),
        At::TryPlace | At::GiveBack => try_place(turn, me),
        At::Done => {}
    }
}

fn look(turn: &mut Turn<'_>) {
    let world = turn.world;
    let Some(dir) = world.kernel.path else {
        return turn.step("finds no directory", |w| w.stopper = Stopper::done());
    };
    let seen = world.names(dir).record;
    let record = seen.and_then(|fd| world.record_in(fd));
    turn.step("looks at the record", |w| {
        w.stopper.dir = Some(dir);
        (w.stopper.fd, w.stopper.record) = (seen, record);
        w.stopper.at = if record.is_some() {
            At::Probe
        } else {
            At::Word
        };
    });
}

fn by_record(turn: &mut Turn<'_>, me: Stopper) {
    let (Some(fd), Some(record)) = (me.fd, me.record) else {
        return;
    };
    let is_live = turn.world.refuses_shared(fd);
    let is_in_place = turn.world.leads_to_record(me.dir, me.fd);
    match me.at {
        At::Probe if !is_live && is_in_place => turn.turn_to("finds it unlocked", At::Word),
        At::Probe if !is_live => turn.begin_again("finds it unlocked and replaced"),
        At::Probe if me.has_asked => turn.begin_again("finds it live still"),
        At::Probe => {
            let is_foreign = turn.scenario.is_elsewhere;
            if is_foreign && turn.keeps(Rule::SignalInOwnNamespace) {
                turn.step("sees that its pid means nothing here, and says so", |w| {
                    w.stopper = Stopper::done();
                });
            } else {
                turn.turn_to("finds it live", At::Pin);
            }
        }
        At::Pin => pin(turn, record.pid, At::LookAgain),
        At::LookAgain if is_live => turn.turn_to("finds it locked again", At::Path),
        At::Path if is_in_place => turn.step("finds it in place again", |w| {
            w.stopper.meant = Some(record.writer);
            w.stopper.at = At::Signal;
        }),
        _ => turn.begin_again("finds it gone"),
    }
}

/// `pidfd_open`. From now on the number doesn't matter.
fn pin(turn: &mut Turn<'_>, pid: Pid, next: At) {
    let process = turn.world.process(pid);
    let looks_again = turn.keeps(Rule::SecondLookBeforeSignal);
    match process {
        Process::None => turn.begin_again("finds nobody with that pid"),
        _ => turn.step("pins the process with that pid", |w| {
            w.stopper.pid = pid;
            w.stopper.pinned = process;
            w.stopper.meant = w.stopper.record.map(|record| record.writer);
            w.stopper.at = if looks_again { next } else { At::Signal };
        }),
    }
}

/// Whom the kernel and the lock file's line agree on, and whether that one is starting.
fn owner_by_word(turn: &Turn<'_>, me: Stopper) -> Option<(Pid, Instance, bool)> {
    let world = turn.world;
    let lock = world.names(me.dir?).lock?;
    let Lock::Exclusive(holder) = world.inode(lock).lock else {
        return None;
    };
    let Content::Word(word) = world.inode(lock).content else {
        return None;
    };
    let holder = usize::from(holder);
    let agree = world.starters[holder].pid == word.pid;
    let is_starting = !word.serving || me.record.is_none();
    (agree || !turn.keeps(Rule::WordAndKernelAgree))
        .then(|| (word.pid, world.instance(holder), is_starting))
}

fn by_lock_file(turn: &mut Turn<'_>, me: Stopper) {
    let owner = owner_by_word(turn, me);
    match (me.at, owner) {
        (At::Word, Some((pid, _, true))) if !me.has_asked && !turn.scenario.is_elsewhere => {
            turn.step("finds an owner that is starting", |w| {
                w.stopper.pid = pid;
                w.stopper.at = At::PinOwner;
            });
        }
        (At::Word, _) => turn.turn_to("finds nobody to ask", At::TryPlace),
        (At::PinOwner, _) => pin(turn, me.pid, At::WordAgain),
        (_, Some((pid, holder, _))) if pid == me.pid => {
            turn.step("finds the same owner again", |w| {
                w.stopper.meant = Some(holder);
                w.stopper.at = At::Signal;
            });
        }
        _ => turn.begin_again("finds another owner, or none"),
    }
}

fn signal(turn: &mut Turn<'_>, me: Stopper) {
    let target = match turn.keeps(Rule::SignalThePinned) {
        true => me.pinned,
        false => turn.world.process(me.pid),
    };
    turn.step("signals the process", |w| {
        match target {
            Process::Bystander => w.broken = Some(Violation::StrangerSignalled),
            Process::Starter(instance) if w.living(instance).is_some() => {
                if me.meant != Some(instance) {
                    w.broken = Some(Violation::StrangerSignalled);
                }
                w.starters[usize::from(instance.starter)].is_asked = true;
            }
            Process::Starter(_) | Process::None => {}
        }
        w.stopper = Stopper {
            has_asked: true,
            ..Stopper::default()
        };
    });
}

/// Whether the place could be owned: found out by owning it for a moment.
fn try_place(turn: &mut Turn<'_>, me: Stopper) {
    let lock = me.dir.and_then(|dir| turn.world.names(dir).lock);
    match (me.at, lock, me.lock) {
        (At::TryPlace, None, _) => turn.step("finds no lock file: it is done", |w| w.is_done()),
        (At::TryPlace, Some(lock), _) if turn.world.inode(lock).lock == Lock::Free => {
            turn.step("locks the place, shared", |w| {
                w.file(lock).lock = Lock::Shared;
                w.stopper.lock = Some(lock);
                w.stopper.at = At::GiveBack;
            });
        }
        (At::GiveBack, _, Some(mine)) => {
            let is_in_place = lock == me.lock;
            turn.step("gives that back", |w| {
                w.file(mine).lock = Lock::Free;
                match is_in_place {
                    true => w.is_done(),
                    false => w.stopper.begin_again(),
                }
            });
        }
        _ => turn.begin_again("finds the place owned"),
    }
}

impl Stopper {
    fn done() -> Self {
        Self {
            at: At::Done,
            ..Self::default()
        }
    }

    fn begin_again(&mut self) {
        *self = Self {
            has_asked: self.has_asked,
            ..Self::default()
        };
    }
}

impl World {
    fn is_done(&mut self) {
        self.stopper = Stopper::done();
    }
}

impl Turn<'_> {
    fn turn_to(&mut self, did: &'static str, next: At) {
        self.step(did, |w| w.stopper.at = next);
    }

    fn begin_again(&mut self, did: &'static str) {
        self.step(did, |w| w.stopper.begin_again());
    }
}
