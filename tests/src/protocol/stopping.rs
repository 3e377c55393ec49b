//! A starter that ends: by a stop, a failure, a lost ownership, or a kill. `docs/protocol.md`, *Stop*.

use super::Rule;
use super::kernel::{Dir, Ino, Process};
use super::safety::Violation;
use super::starter::{At, Place, Starter};
use super::world::{Turn, World};

/// Steps 1 to 3 of a stop.
pub(super) fn withdraw(turn: &mut Turn<'_>, i: usize) {
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
pub(super) fn release(turn: &mut Turn<'_>, i: usize) {
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
pub(super) fn die(turn: &mut Turn<'_>, i: usize) {
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
    /// How a stop begins.
    pub(super) fn first_of_a_stop(&self) -> At {
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
