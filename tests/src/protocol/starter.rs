//! Who takes the place, serves, looks after it and stops: `docs/protocol.md`, *Start*, *Serving* and *Stop*.
//!
//! Here it takes the place. A pruner does, too, and clears it all away. What follows stands in [`serving`] and
//! [`stopping`], and what the store thread does during a publish in [`publish`](super::publish).

use super::Rule;
use super::kernel::{Content, DirNo, Ino, Pid, Port, Process, Word};
use super::publish::Store;
use super::scenario::Kind;
use super::world::{Turn, World};
use super::{serving, stopping};

/// What a starter does next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum At {
    /// Nothing: it hasn't been started.
    #[default]
    Idle,
    /// Take the place: make or open the directory.
    OpenDir,
    /// Make or open the lock file in it.
    OpenLock,
    /// Lock that.
    TryLock,
    /// See whether the path still leads to both.
    Verify,
    /// Somebody else has it: look who.
    Busy,
    /// It has the place again: look whose record is there.
    Replace,
    /// Recover: look at the record.
    Look,
    /// Leave word in the lock file.
    LeaveWord,
    /// Remove the record.
    ClearRecord,
    /// Remove temporary files.
    ClearTmp,
    /// Bind the port.
    Bind,
    /// See who answers there.
    Probe,
    /// Wait for the store thread, which publishes.
    Publishing,
    /// Serve.
    Ready,
    /// Wait for the store thread, for a stop has begun.
    Settle,
    /// Nothing: the store thread never came back. It keeps the ownership until it ends.
    Stuck,
    /// Withdraw: unlock the record.
    Unlock,
    /// See whether the record in place is its own.
    Check,
    /// Remove it.
    Unlink,
    /// Close the listener.
    CloseListener,
    /// Release: see whether the directory was made for nothing.
    LookAround,
    /// Remove the lock file.
    RemoveLock,
    /// Remove the directory.
    RemoveDir,
    /// Unlock the lock file.
    Release,
    /// What it must not do: remove the lock file now.
    RemoveLockLate,
    /// End.
    Exit,
    /// Nothing: the kernel takes it apart.
    Dying,
    /// Nothing: it isn't there any more.
    Gone,
}

/// A directory, and the lock file in it, by descriptors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// The directory.
    pub dir: Option<DirNo>,
    /// The lock file.
    pub lock: Option<Ino>,
    /// Whether it made the directory.
    pub is_new: bool,
}

/// A starter's process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Starter {
    /// What it does next.
    pub at: At,
    /// Which run it is.
    pub run: u8,
    /// Its number.
    pub pid: Pid,
    /// What it is trying to own.
    pub candidate: Place,
    /// What it owns.
    pub place: Place,
    /// Whether it takes itself for the owner.
    pub owns: bool,
    /// Whether somebody has removed under it what carries its ownership.
    pub is_robbed: bool,
    /// Whether another's live record was there when it last looked.
    pub knows_another: bool,
    /// Its port.
    pub port: Option<Port>,
    /// What its store thread does.
    pub store: Store,
    /// The record that is being written.
    pub tmp: Option<Ino>,
    /// The record that is published.
    pub held: Option<Ino>,
    /// Whether one ever was.
    pub has_published: bool,
    /// The proof has ended: nothing is vouched for any more.
    pub has_ended: bool,
    /// Whether it was asked to stop.
    pub is_asked: bool,
    /// Whether its listening socket was shut down by a child.
    pub is_shut_down: bool,
}

impl Starter {
    /// Whether nothing has to happen to it.
    #[must_use]
    pub fn may_rest(&self) -> bool {
        matches!(self.at, At::Idle | At::Ready | At::Gone)
    }
}

/// The steps of starter `i`.
pub(super) fn steps(turn: &mut Turn<'_>, i: usize) {
    match turn.world.starters[i].at {
        At::Idle | At::Gone => begin(turn, i),
        At::OpenDir | At::OpenLock | At::TryLock | At::Verify | At::Busy | At::Replace => {
            take_the_place(turn, i);
        }
        At::Look | At::LeaveWord | At::ClearRecord | At::ClearTmp => recover(turn, i),
        At::Bind | At::Probe => serving::serve(turn, i),
        At::Publishing | At::Ready => serving::look_after_it(turn, i),
        At::Settle | At::Stuck => serving::wait_for_the_store(turn, i),
        At::Unlock | At::Check | At::Unlink | At::CloseListener => stopping::withdraw(turn, i),
        At::LookAround | At::RemoveLock | At::RemoveDir | At::Release | At::RemoveLockLate => {
            stopping::release(turn, i);
        }
        At::Exit => turn.step("exits", |w| w.is_gone(i)),
        At::Dying => stopping::die(turn, i),
    }
}

fn begin(turn: &mut Turn<'_>, i: usize) {
    let must_serve = turn.world.is_aftermath;
    let prunes = turn.scenario.starters[i] == Kind::Prunes;
    if turn.world.left.starts == 0 || must_serve && prunes {
        return;
    }
    let is_elsewhere = turn.scenario.is_elsewhere;
    turn.step("is started", |w| {
        w.left.starts -= 1;
        let me = w.starters[i];
        let run = me.run + u8::from(me.at == At::Gone);
        w.starters[i] = Starter {
            run,
            at: At::OpenDir,
            ..Starter::default()
        };
        let process = Process::Starter(w.instance(i));
        if !is_elsewhere {
            w.starters[i].pid = w.spawn(process);
        }
    });
}

/// Step 1 and 2 of a start, and of a reclaim.
fn take_the_place(turn: &mut Turn<'_>, i: usize) {
    let me = turn.world.starters[i];
    let is_again = me.owns;
    let stop = turn.first_of_a_stop();
    let Place { dir, lock, .. } = me.candidate;
    match (me.at, dir, lock) {
        (At::OpenDir, ..) => match turn.world.kernel.path {
            Some(dir) => turn.step("opens the directory", |w| w.try_in(i, dir, false)),
            None => turn.step("makes the directory", |w| {
                let dir = w.make_dir();
                w.try_in(i, dir, true);
            }),
        },
        (At::OpenLock, Some(dir), _) => match turn.world.names(dir).lock {
            Some(lock) => turn.step("opens the lock file", |w| w.try_for(i, lock)),
            None if turn.world.kernel.path == Some(dir) => turn.step("makes the lock file", |w| {
                let lock = w.make_file();
                w.dir(dir).lock = Some(lock);
                w.try_for(i, lock);
            }),
            None => turn.step("finds the directory removed", |w| w.again(i)),
        },
        (At::TryLock, _, Some(lock)) => turn.step("tries the lock", |w| {
            let is_mine = w.try_lock(lock, i);
            w.starters[i].at = if is_mine { At::Verify } else { At::Busy };
        }),
        (At::Verify, Some(dir), Some(lock)) => {
            let leads_there =
                turn.world.names(dir).lock == Some(lock) && turn.world.kernel.path == Some(dir);
            match leads_there || !turn.keeps(Rule::LockFileIsInPlace) {
                true if is_again => turn.step("has the place again", |w| {
                    w.starters[i].at = At::Replace;
                }),
                true => turn.step("has the place", |w| {
                    w.own(i, At::Look);
                    let record = w.names(dir).record;
                    w.starters[i].knows_another = record.is_some_and(|r| w.is_anothers(i, r));
                }),
                false => turn.step("finds another lock file in its place", |w| {
                    w.unlock(lock, i);
                    w.again(i);
                }),
            }
        }
        (At::Busy, Some(dir), _) => find_it_busy(turn, i, dir, is_again),
        (At::Replace, Some(dir), Some(lock)) => {
            let record = turn.world.names(dir).record;
            match record.filter(|record| turn.world.is_anothers(i, *record)) {
                Some(_) => turn.step("finds a successor's record, and gives up", |w| {
                    w.unlock(lock, i);
                    w.starters[i].candidate = Place::default();
                    w.starters[i].at = stop;
                }),
                None => turn.step("gives the lost lock back", |w| {
                    if let Some(lost) = w.starters[i].place.lock {
                        w.unlock(lost, i);
                    }
                    w.own(i, At::Publishing);
                    w.starters[i].is_robbed = !w.is_current(&me.candidate);
                    w.starters[i].store = Store::Create;
                }),
            }
        }
        _ => {}
    }
}

fn find_it_busy(turn: &mut Turn<'_>, i: usize, dir: DirNo, is_again: bool) {
    let world = turn.world;
    let record = world.names(dir).record;
    let live = record.filter(|record| world.refuses_shared(*record));
    let mine = record.is_some_and(|record| world.holds(i, record));
    let stop = turn.first_of_a_stop();
    let give_up = |w: &mut World, at| {
        w.starters[i].candidate = Place::default();
        w.starters[i].at = at;
    };
    match (is_again, live) {
        (true, Some(_)) if mine => turn.step("finds a starter that will find its record", |w| {
            give_up(w, At::Ready);
        }),
        (true, _) => turn.step("finds a successor: the ownership is lost", |w| {
            give_up(w, stop);
        }),
        (false, Some(_)) => turn.step("is told that one runs already", |w| give_up(w, At::Exit)),
        (false, None) => {
            turn.step("finds it busy, and gives up", |w| give_up(w, At::Exit));
            if !world.starters[i].is_asked {
                turn.step("finds it busy, and tries again", |w| w.again(i));
            }
        }
    }
}

/// Step 3; and all that there is to a prune.
fn recover(turn: &mut Turn<'_>, i: usize) {
    let prunes = turn.scenario.starters[i] == Kind::Prunes;
    let me = turn.world.starters[i];
    let Some(dir) = turn.reached_by(i) else {
        return turn.step("finds the directory gone", |w| {
            w.starters[i].at = At::Release
        });
    };
    let record = turn.world.names(dir).record;
    match me.at {
        At::Look => {
            let is_live = record.is_some_and(|record| turn.world.refuses_shared(record));
            match is_live && turn.keeps(Rule::RecoverSparesTheLiving) {
                true => turn.step("finds a living owner's record, and gives back", |w| {
                    w.starters[i].at = At::Release;
                }),
                false => turn.step("finds no living owner's record", |w| {
                    w.starters[i].knows_another &= is_live;
                    w.starters[i].at = if prunes {
                        At::ClearRecord
                    } else {
                        At::LeaveWord
                    };
                }),
            }
        }
        At::LeaveWord => turn.step("leaves word: starting", |w| {
            w.leave_word(i, false);
            w.starters[i].at = At::ClearRecord;
        }),
        At::ClearRecord => turn.step("removes what record there is", |w| {
            w.remove_record(i, dir);
            w.starters[i].at = At::ClearTmp;
        }),
        At::ClearTmp if prunes => turn.step("removes temporary files", |w| {
            w.dir(dir).tmp = Default::default();
            w.starters[i].at = At::RemoveLock;
        }),
        At::ClearTmp if turn.keeps(Rule::BindBeforePublish) => {
            turn.step("removes temporary files", |w| {
                w.dir(dir).tmp = Default::default();
                w.starters[i].at = At::Bind;
            });
        }
        _ => turn.step("removes temporary files, and publishes", |w| {
            w.dir(dir).tmp = Default::default();
            w.starters[i].port = w.free_port();
            w.starters[i].store = Store::Create;
            w.starters[i].at = At::Publishing;
        }),
    }
}

impl Turn<'_> {
    /// Where the operations of this starter go to.
    pub(super) fn reached_by(&self, i: usize) -> Option<DirNo> {
        match self.keeps(Rule::ThroughTheCheckedDirectory) {
            true => self.world.starters[i].place.dir,
            false => self.world.kernel.path,
        }
    }
}

impl World {
    /// Whether the path leads to that place.
    pub(super) fn is_current(&self, place: &Place) -> bool {
        let (path, dir) = (self.kernel.path, place.dir);
        dir.is_some_and(|number| path == dir && self.names(number).lock == place.lock)
    }

    fn try_in(&mut self, i: usize, dir: DirNo, is_new: bool) {
        self.starters[i].candidate = Place {
            dir: Some(dir),
            lock: None,
            is_new,
        };
        self.starters[i].at = At::OpenLock;
    }

    fn try_for(&mut self, i: usize, lock: Ino) {
        self.starters[i].candidate.lock = Some(lock);
        self.starters[i].at = At::TryLock;
    }

    /// Takes the place from the beginning.
    pub(super) fn again(&mut self, i: usize) {
        self.starters[i].candidate = Place::default();
        self.starters[i].at = At::OpenDir;
    }

    pub(super) fn own(&mut self, i: usize, next: At) {
        let me = &mut self.starters[i];
        me.place = std::mem::take(&mut me.candidate);
        me.owns = true;
        me.at = next;
    }

    /// Whether that is the live record of another starter.
    pub(super) fn is_anothers(&self, i: usize, record: Ino) -> bool {
        self.refuses_shared(record) && !self.holds(i, record)
    }

    /// Writes the lock file's line.
    pub(super) fn leave_word(&mut self, i: usize, serving: bool) {
        let Starter { pid, place, .. } = self.starters[i];
        if let Some(lock) = place.lock {
            self.file(lock).content = Content::Word(Word { pid, serving });
        }
    }

    /// Removes the record, whose ever it is. That it isn't another's is for the caller to know.
    pub(super) fn remove_record(&mut self, i: usize, dir: DirNo) {
        if let Some(record) = self.dir(dir).record.take() {
            self.displace(i, dir, record);
        }
    }
}
