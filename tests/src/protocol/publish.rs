//! What a starter's store thread does to publish: `docs/protocol.md`, step 6 of *Start*.
//!
//! It goes on by itself, whatever the starter decides meanwhile. Only two things hold it up: that the proof has ended, and
//! the end of the process.

use super::Rule;
use super::kernel::{Content, PortUse, Record};
use super::safety::Violation;
use super::starter::At;
use super::world::{Turn, World};

/// What the store thread does next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Store {
    /// Nothing: no call is out.
    #[default]
    Idle,
    /// Make the temporary file.
    Create,
    /// Lock it.
    Lock,
    /// Write and sync it.
    Write,
    /// See whether the proof has ended.
    Check,
    /// Rename it over the record.
    Rename,
    /// What it must not do: lock it only now.
    LockLate,
    /// Let go of the record before, unless the proof has ended.
    Settle,
    /// Leave word in the lock file.
    LeaveWord,
    /// Let go of what isn't in place.
    CleanUp,
    /// Nothing: the record is published.
    Landed,
    /// Nothing: it isn't, as far as is known.
    Failed,
}

/// The steps of the store thread of starter `i`.
pub(super) fn steps(turn: &mut Turn<'_>, i: usize) {
    let me = turn.world.starters[i];
    if me.at == At::Dying {
        return;
    }
    let heeds_end = turn.keeps(Rule::NothingAfterStop);
    let is_over = me.has_ended && heeds_end;
    match me.store {
        Store::Idle | Store::Landed | Store::Failed => {}
        Store::Create => create(turn, i),
        Store::Lock => {
            let locks = turn.keeps(Rule::LockBeforeRename) && !is_over;
            turn.step("locks the temporary file", |w| {
                if let (true, Some(tmp)) = (locks, me.tmp) {
                    w.try_lock(tmp, i);
                }
                w.starters[i].store = Store::Write;
            });
        }
        Store::Write => {
            let is_synced = turn.keeps(Rule::SyncBeforeRename);
            turn.step("writes and syncs it", |w| {
                let writer = w.instance(i);
                if let (Some(tmp), Some(port)) = (me.tmp, me.port) {
                    let pid = me.pid;
                    let record = Record { writer, pid, port };
                    w.file(tmp).content = Content::Record(record, is_synced);
                }
                w.starters[i].store = Store::Check;
            });
        }
        Store::Check if is_over => turn.step("sees that the proof has ended", |w| {
            w.starters[i].store = Store::CleanUp;
        }),
        Store::Check => turn.step("sees that nothing has ended", |w| {
            w.starters[i].store = Store::Rename;
        }),
        Store::Rename => rename(turn, i),
        Store::LockLate => turn.step("locks the record", |w| {
            me.tmp.map(|tmp| w.try_lock(tmp, i));
            w.starters[i].store = Store::Settle;
        }),
        Store::Settle if is_over => turn.step("removes what landed after the proof ended", |w| {
            if let (Some(dir), true) = (me.place.dir, w.leads_to_record(me.place.dir, me.tmp)) {
                w.remove_record(i, dir);
            }
            w.starters[i].store = Store::CleanUp;
        }),
        Store::Settle => turn.step("lets go of the record before", |w| {
            if let Some(before) = me.held {
                w.unlock(before, i);
            }
            (w.starters[i].held, w.starters[i].tmp) = (me.tmp, None);
            w.starters[i].store = Store::LeaveWord;
        }),
        Store::LeaveWord => turn.step("leaves word: serving", |w| {
            w.leave_word(i, true);
            w.starters[i].store = Store::Landed;
        }),
        Store::CleanUp => turn.step("lets go of what is not in place", |w| w.clean_up(i)),
    }
}

fn create(turn: &mut Turn<'_>, i: usize) {
    let dir = turn.reached_by(i);
    match dir.filter(|_| dir == turn.world.kernel.path) {
        Some(dir) => turn.step("makes a temporary file", |w| {
            let file = w.make_file();
            w.dir(dir).tmp[i] = Some(file);
            w.starters[i].tmp = Some(file);
            w.starters[i].store = Store::Lock;
        }),
        None => turn.step("finds the directory removed", |w| {
            w.starters[i].store = Store::CleanUp;
        }),
    }
}

fn rename(turn: &mut Turn<'_>, i: usize) {
    let me = turn.world.starters[i];
    let dir = turn.reached_by(i);
    let found = dir.filter(|dir| me.tmp.is_some() && turn.world.names(*dir).tmp[i] == me.tmp);
    let Some(dir) = found else {
        return turn.step("finds its temporary file removed", |w| {
            w.starters[i].store = Store::CleanUp;
        });
    };
    let next = match turn.keeps(Rule::LockBeforeRename) {
        true => Store::Settle,
        false => Store::LockLate,
    };
    turn.step("renames it over the record", |w| w.land(i, dir, next));
    if turn.world.left.disk_errors > 0 {
        turn.step("cannot rename it", |w| {
            w.left.disk_errors -= 1;
            w.starters[i].store = Store::CleanUp;
        });
        turn.step("renames it, and is told that it failed", |w| {
            w.left.disk_errors -= 1;
            w.land(i, dir, Store::CleanUp);
        });
    }
}

impl World {
    fn land(&mut self, i: usize, dir: u8, next: Store) {
        let me = self.starters[i];
        let before = std::mem::replace(&mut self.dir(dir).record, me.tmp);
        self.dir(dir).tmp[i] = None;
        if let Some(before) = before {
            self.displace(i, dir, before);
        }
        if !me.owns {
            self.broken = Some(Violation::PublishedUnowned);
        }
        let port = me.port.map(|port| self.kernel.ports[usize::from(port)]);
        if port == Some(PortUse::Stranger) && !me.is_shut_down {
            self.broken = Some(Violation::StrangerPublished);
        }
        self.starters[i].store = next;
    }

    /// Keeps what is in place, for it is published whatever was reported.
    fn clean_up(&mut self, i: usize) {
        let me = self.starters[i];
        if let Some(dir) = me.place.dir
            && self.names(dir).tmp[i] == me.tmp
        {
            self.dir(dir).tmp[i] = None;
        }
        let keep = |w: &mut Self, file| {
            let is_in_place = w.leads_to_record(me.place.dir, file);
            if let (Some(file), false) = (file, is_in_place) {
                w.unlock(file, i);
            }
            file.filter(|_| is_in_place)
        };
        let (tmp, held) = (keep(self, me.tmp), keep(self, me.held));
        self.starters[i].held = tmp.or(held);
        self.starters[i].tmp = None;
        self.starters[i].store = Store::Failed;
    }
}
