//! Who takes the place, serves, looks after it and stops: `docs/protocol.md`, *Start*, *Serving* and *Stop*.
//!
//! A pruner takes the place in the same way, and clears it all away. What the store thread does during a publish stands in
//! [`publish`](super::publish).

use super::Rule;
use super::kernel::{Content, Dir, DirNo, Ino, Pid, Port, PortUse, Process, Word};
use super::publish::Store;
use super::safety::Violation;
use super::scenario::Kind;
use super::world::{Turn, World};

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
        At::Bind | At::Probe => serve(turn, i),
        At::Publishing | At::Ready => look_after_it(turn, i),
        At::Settle | At::Stuck => wait_for_the_store(turn, i),
        At::Unlock | At::Check | At::Unlink | At::CloseListener => withdraw(turn, i),
        At::LookAround | At::RemoveLock | At::RemoveDir | At::Release | At::RemoveLockLate => {
            release(turn, i);
        }
        At::Exit => turn.step("exits", |w| w.is_gone(i)),
        At::Dying => die(turn, i),
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

/// Steps 4 and 5.
fn serve(turn: &mut Turn<'_>, i: usize) {
    let me = turn.world.starters[i];
    let runs = turn.scenario.starters[i] == Kind::Runs;
    let own = turn.world.instance(i);
    let stop = turn.first_of_a_stop();
    match (me.at, me.port) {
        (At::Bind, _) if me.is_asked => turn.step("is stopped before it binds", |w| {
            w.starters[i].at = At::LookAround;
        }),
        (At::Bind, _) => match me.port.or_else(|| turn.world.free_port()) {
            Some(port) => turn.step("binds a port", |w| {
                w.starters[i].port = Some(port);
                w.kernel.ports[usize::from(port)] = match runs {
                    true => PortUse::Held(own),
                    false => PortUse::Listening(own),
                };
                let next = if me.has_published {
                    At::Ready
                } else {
                    At::Probe
                };
                w.starters[i].at = next;
            }),
            None => turn.step("finds no free port", |w| w.starters[i].at = At::LookAround),
        },
        (At::Probe, Some(port)) => {
            let port = usize::from(port);
            let publish = |w: &mut World| {
                w.starters[i].store = Store::Create;
                w.starters[i].at = At::Publishing;
            };
            match turn.world.kernel.ports[port] {
                PortUse::Stranger if turn.keeps(Rule::AnswerIsOurs) => {
                    turn.step("is answered by a stranger, and fails", |w| {
                        w.starters[i].at = stop;
                    });
                }
                PortUse::Stranger => turn.step("is answered by a stranger", publish),
                _ => turn.step("serves, and answers itself", |w| {
                    w.kernel.ports[port] = PortUse::Listening(own);
                    publish(w);
                }),
            }
        }
        _ => {}
    }
}

/// Step 7, and what comes while it serves.
fn look_after_it(turn: &mut Turn<'_>, i: usize) {
    let me = turn.world.starters[i];
    let stop = turn.first_of_a_stop();
    if me.is_asked {
        return match me.at {
            At::Ready => turn.step("begins to stop", |w| w.starters[i].at = stop),
            _ if !turn.keeps(Rule::ReleaseAwaitsTheStore) => {
                turn.step("begins to stop, whatever its store does", |w| {
                    w.starters[i].at = stop;
                });
            }
            _ => turn.step("begins to stop, and ends the proof", |w| {
                w.disown(i, true);
                w.starters[i].at = At::Settle;
            }),
        };
    }
    match (me.at, me.store) {
        (At::Publishing, Store::Landed) => turn.step("is ready", |w| {
            w.starters[i].store = Store::Idle;
            w.starters[i].has_published = true;
            let port = me.port.map(usize::from);
            let is_free = port.is_some_and(|port| w.kernel.ports[port] == PortUse::Free);
            let binds_late = is_free && !me.is_shut_down;
            w.starters[i].at = if binds_late { At::Bind } else { At::Ready };
        }),
        (At::Publishing, Store::Failed) => turn.step("hears that nothing was published", |w| {
            w.starters[i].store = Store::Idle;
            w.starters[i].at = if me.has_published { At::Ready } else { stop };
        }),
        (At::Ready, _) => {
            let is_current = turn.world.is_current(&me.place);
            let record_is_its_own = turn.world.leads_to_record(me.place.dir, me.held);
            if !is_current {
                turn.step("finds its ownership lost", |w| w.again(i));
            } else if !record_is_its_own {
                turn.step("finds its record lost", |w| {
                    w.starters[i].store = Store::Create;
                    w.starters[i].at = At::Publishing;
                });
            }
        }
        _ => {}
    }
}

/// A stop that came during a publish: nothing is given back before that has come to its end.
fn wait_for_the_store(turn: &mut Turn<'_>, i: usize) {
    let me = turn.world.starters[i];
    let stop = turn.first_of_a_stop();
    match (me.at, me.store) {
        (At::Stuck, _) => turn.step("ends, stuck", |w| w.starters[i].at = At::Dying),
        (_, Store::Landed | Store::Failed) => turn.step("hears from the store", |w| {
            w.starters[i].store = Store::Idle;
            w.starters[i].at = stop;
        }),
        _ if turn.world.left.disk_errors > 0 => {
            turn.step("waits no longer: closes, and keeps the ownership", |w| {
                w.left.disk_errors -= 1;
                w.free_own_port(i);
                w.starters[i].at = At::Stuck;
            });
        }
        _ => {}
    }
}

/// Steps 1 to 3 of a stop.
fn withdraw(turn: &mut Turn<'_>, i: usize) {
    let me = turn.world.starters[i];
    let unlocks = turn.keeps(Rule::UnlockNotClose);
    let next = turn.after_withdrawing();
    match me.at {
        At::Unlock => turn.step("unlocks the record", |w| {
            w.disown(i, unlocks);
            w.starters[i].at = At::Check;
        }),
        At::Check => turn.step("looks whether the record in place is its own", |w| {
            let mut own = [me.held, me.tmp].into_iter();
            let is_own = own.any(|file| w.leads_to_record(me.place.dir, file));
            w.starters[i].at = if is_own { At::Unlink } else { next };
        }),
        At::Unlink => {
            turn.step("removes its record", |w| {
                if let Some(dir) = me.place.dir {
                    w.remove_record(i, dir);
                }
                w.starters[i].at = next;
            });
            if turn.world.left.disk_errors > 0 {
                turn.step("cannot remove its record", |w| {
                    w.left.disk_errors -= 1;
                    w.starters[i].at = next;
                });
            }
        }
        _ => {
            let next = turn.after_closing();
            turn.step("closes the listener, and finishes its requests", |w| {
                w.free_own_port(i);
                w.starters[i].at = next;
            });
        }
    }
}

/// Step 4 of a stop, and of a prune: a directory that was made for nothing goes, too, and so does one that is pruned. That
/// happens under the lock, and so it is safe: whoever waits for the lock looks whether the file is still there.
fn release(turn: &mut Turn<'_>, i: usize) {
    let me = turn.world.starters[i];
    let next = turn.after_releasing();
    let dir = me.place.dir;
    match (me.at, dir) {
        (At::LookAround, Some(dir)) => {
            let names = turn.world.names(dir);
            let is_empty = names
                == Dir {
                    lock: names.lock,
                    ..Dir::default()
                };
            let was_for_nothing = me.place.is_new && !me.has_published && is_empty;
            turn.step("looks whether it made the directory for nothing", |w| {
                w.starters[i].at = match was_for_nothing {
                    true => At::RemoveLock,
                    false => At::Release,
                };
            });
        }
        (At::RemoveLock, Some(dir)) => turn.step("removes the lock file", |w| {
            w.dir(dir).lock = None;
            w.starters[i].owns = false;
            w.starters[i].at = At::RemoveDir;
        }),
        (At::RemoveDir, _) => turn.step("removes the directory, if it is empty", |w| {
            if let Some(at_path) = w.kernel.path
                && w.names(at_path).is_empty()
            {
                w.kernel.path = None;
            }
            w.starters[i].at = At::Release;
        }),
        (At::RemoveLockLate, Some(dir)) => turn.step("removes the lock file", |w| {
            w.dir(dir).lock = None;
            w.starters[i].place = Place::default();
            w.starters[i].at = next;
        }),
        _ => {
            let stays = turn.keeps(Rule::LockFileStays);
            let unlocks = turn.keeps(Rule::UnlockNotClose);
            turn.step("gives the ownership back", |w| {
                if let Some(lock) = me.place.lock {
                    w.give_back(lock, i, unlocks);
                }
                w.starters[i].owns = false;
                w.starters[i].at = if stays { next } else { At::RemoveLockLate };
            });
        }
    }
}

/// A kill: the kernel closes the descriptors, the highest number first (a record's, unless somebody numbered it otherwise).
fn die(turn: &mut Turn<'_>, i: usize) {
    let me = turn.world.starters[i];
    let vouches = me.held.is_some() || me.tmp.is_some();
    let is_proof_first = turn.keeps(Rule::ProofAboveListener) || me.port.is_none();
    match (vouches, me.port) {
        (true, _) if is_proof_first => turn.step("is dead: its record is unlocked", |w| {
            w.let_go(i, [me.held, me.tmp]);
        }),
        (_, Some(_)) => turn.step("is dead: its listener is closed", |w| w.free_own_port(i)),
        _ => turn.step("is dead: its lock file is unlocked", |w| w.is_gone(i)),
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

    /// How a stop begins.
    fn first_of_a_stop(&self) -> At {
        if !self.keeps(Rule::UnlockBeforeListenerCloses) {
            At::CloseListener
        } else if !self.keeps(Rule::WithdrawBeforeRelease) {
            At::LookAround
        } else {
            At::Unlock
        }
    }

    fn after_withdrawing(&self) -> At {
        match self.keeps(Rule::UnlockBeforeListenerCloses) {
            true => At::CloseListener,
            false => At::LookAround,
        }
    }

    fn after_closing(&self) -> At {
        if !self.keeps(Rule::UnlockBeforeListenerCloses) {
            At::Unlock
        } else if !self.keeps(Rule::WithdrawBeforeRelease) {
            At::Exit
        } else {
            At::LookAround
        }
    }

    fn after_releasing(&self) -> At {
        match self.keeps(Rule::WithdrawBeforeRelease) {
            true => At::Exit,
            false => At::Unlock,
        }
    }
}

impl World {
    /// Whether the path leads to that place.
    fn is_current(&self, place: &Place) -> bool {
        let (path, dir) = (self.kernel.path, place.dir);
        dir.is_some_and(|number| path == dir && self.names(number).lock == place.lock)
    }

    fn try_in(&mut self, i: usize, dir: DirNo, is_new: bool) {
        let is_new = is_new || self.starters[i].candidate.is_new;
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
    fn again(&mut self, i: usize) {
        self.starters[i].candidate = Place::default();
        self.starters[i].at = At::OpenDir;
    }

    fn own(&mut self, i: usize, next: At) {
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

    /// A record isn't in place any more.
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

    /// Ends the proof of life, for good.
    pub(super) fn disown(&mut self, i: usize, unlocks: bool) {
        let me = &mut self.starters[i];
        me.has_ended = true;
        for file in [me.held, me.tmp].into_iter().flatten() {
            self.give_back(file, i, unlocks);
        }
    }

    /// Unlocks a file, or only closes it.
    fn give_back(&mut self, file: Ino, i: usize, unlocks: bool) {
        match unlocks {
            true => self.unlock(file, i),
            false => self.close(file, i),
        }
    }

    fn let_go(&mut self, i: usize, files: [Option<Ino>; 2]) {
        files
            .into_iter()
            .flatten()
            .for_each(|file| self.close(file, i));
        (self.starters[i].held, self.starters[i].tmp) = (None, None);
    }

    /// A process isn't there any more: what it still had open is closed.
    pub(super) fn is_gone(&mut self, i: usize) {
        let me = self.starters[i];
        self.let_go(i, [me.held, me.tmp]);
        self.let_go(i, [me.place.lock, me.candidate.lock]);
        self.free_own_port(i);
        let instance = self.instance(i);
        for process in &mut self.kernel.pids {
            if *process == Process::Starter(instance) {
                *process = Process::None;
            }
        }
        let never_was_ready = !me.has_published;
        self.starters[i] = Starter {
            at: At::Gone,
            run: me.run,
            ..Starter::default()
        };
        if self.is_aftermath && never_was_ready {
            self.broken = Some(Violation::NextStartFails);
        }
    }
}
