//! What happens to everybody: kills, power cuts, careless hands, and strangers who take what was freed.
//!
//! Each as often as the scenario allows, at any moment.

use super::Rule;
use super::kernel::{Content, Dir, Lock, PortUse, Process};
use super::reader::Reader;
use super::scenario::Kind;
use super::starter::{At, Starter};
use super::stopper::Stopper;
use super::world::{Forked, Turn, World};

/// What can happen now.
pub(super) fn steps(turn: &mut Turn<'_>) {
    for i in 0..turn.scenario.starters.len() {
        to_a_starter(turn, i);
    }
    to_a_forked_child(turn);
    to_a_directory(turn);
    to_numbers(turn);
    to_everybody(turn);
}

fn to_a_starter(turn: &mut Turn<'_>, i: usize) {
    let (me, left) = (turn.world.starters[i], turn.world.left);
    if matches!(me.at, At::Idle | At::Gone | At::Dying) {
        return;
    }
    if left.kills > 0 {
        turn.step("kills a starter", |w| {
            w.left.kills -= 1;
            w.starters[i].at = At::Dying;
        });
    }
    if left.stops > 0 && !me.is_asked && turn.scenario.starters[i] != Kind::Prunes {
        turn.step("asks a starter to stop", |w| {
            w.left.stops -= 1;
            w.starters[i].is_asked = true;
        });
    }
    if left.forks > 0 && me.at == At::Ready {
        turn.step("has a starter fork", |w| {
            w.left.forks -= 1;
            w.forked = Some(Forked {
                of: i,
                lock: me.place.lock,
                record: me.held,
                dir: me.place.dir,
                port: me.port,
            });
        });
    }
    if left.shutdowns > 0 && me.at == At::Ready {
        turn.step("has a child shut down the socket that it was passed", |w| {
            w.left.shutdowns -= 1;
            w.starters[i].is_shut_down = true;
            w.free_own_port(i);
            w.starters[i].port = me.port;
        });
    }
}

fn to_a_forked_child(turn: &mut Turn<'_>) {
    let Some(child) = turn.world.forked else {
        return;
    };
    turn.step("ends the forked child", World::end_forked);
    let drops_it = !turn.keeps(Rule::LeaseRemembersItsPid);
    if drops_it {
        turn.step("has the forked child drop its parent's lease", |w| {
            [child.record, child.lock]
                .into_iter()
                .flatten()
                .for_each(|file| w.unlock(file, child.of));
            if let (Some(dir), true) = (child.dir, w.leads_to_record(child.dir, child.record)) {
                w.dir(dir).record = None;
            }
            w.end_forked();
        });
    }
}

fn to_a_directory(turn: &mut Turn<'_>) {
    let Some(dir) = turn.world.kernel.path else {
        return;
    };
    if turn.world.left.removals == 0 {
        return;
    }
    let names = turn.world.names(dir);
    if names.lock.is_some() {
        turn.step("removes the lock file", |w| {
            w.left.removals -= 1;
            w.rob(|s| s.place.dir == Some(dir) && s.place.lock == names.lock);
            w.dir(dir).lock = None;
        });
    }
    if let Some(record) = names.record {
        turn.step("removes the record", |w| {
            w.left.removals -= 1;
            w.fossil = w.record_in(record).or(w.fossil);
            w.dir(dir).record = None;
        });
    }
    turn.step("removes the directory", |w| {
        w.left.removals -= 1;
        w.rob(|s| s.place.dir == Some(dir));
        *w.dir(dir) = Dir::default();
        w.kernel.path = None;
    });
}

fn to_numbers(turn: &mut Turn<'_>) {
    let left = turn.world.left;
    for port in 0..turn.world.kernel.ports.len() {
        let may_be_had = matches!(
            turn.world.kernel.ports[port],
            PortUse::Free | PortUse::Held(_)
        );
        if left.hijacks > 0 && may_be_had {
            turn.step("gives a port to a stranger", |w| {
                w.left.hijacks -= 1;
                w.kernel.ports[port] = PortUse::Stranger;
            });
        }
    }
    if left.bystanders > 0 {
        turn.step("gives a pid to a bystander", |w| {
            w.left.bystanders -= 1;
            w.spawn(Process::Bystander);
        });
    }
}

/// After it there is one more start, which must succeed.
fn to_everybody(turn: &mut Turn<'_>) {
    if turn.world.left.massacres > 0 {
        turn.step("kills everybody", World::leave_only_files);
    }
    if turn.world.left.power_cuts == 0 {
        return;
    }
    turn.step("cuts the power", |w| {
        w.leave_only_files();
        w.tear_what_was_not_synced();
    });
    turn.step("cuts the power, and no name was on the disk", |w| {
        w.leave_only_files();
        if let Some(dir) = w.kernel.path {
            *w.dir(dir) = Dir::default();
        }
    });
    if let (Some(dir), Some(fossil)) = (turn.world.kernel.path, turn.world.fossil) {
        turn.step("cuts the power, and an older record is back", |w| {
            w.leave_only_files();
            w.tear_what_was_not_synced();
            let file = w.make_file();
            w.file(file).content = Content::Record(fossil, true);
            w.dir(dir).record = Some(file);
        });
    }
}

impl World {
    fn rob(&mut self, whom: impl Fn(&Starter) -> bool) {
        for starter in &mut self.starters {
            starter.is_robbed |= starter.owns && whom(starter);
        }
    }

    fn end_forked(&mut self) {
        let Some(child) = self.forked.take() else {
            return;
        };
        let parent = self.starters[child.of];
        let is_kept = |file| [parent.place.lock, parent.held].contains(&Some(file));
        for file in [child.record, child.lock].into_iter().flatten() {
            if !is_kept(file) {
                self.unlock(file, child.of);
            }
        }
        if let Some(port) = child.port
            && parent.port != Some(port)
        {
            self.kernel.ports[usize::from(port)] = PortUse::Free;
        }
    }

    fn leave_only_files(&mut self) {
        self.forked = None;
        for starter in &mut self.starters {
            *starter = Starter {
                at: At::Gone,
                run: starter.run,
                ..Starter::default()
            };
        }
        self.kernel
            .files
            .iter_mut()
            .for_each(|file| file.lock = Lock::Free);
        for port in &mut self.kernel.ports {
            if matches!(port, PortUse::Held(_) | PortUse::Listening(_)) {
                *port = PortUse::Free;
            }
        }
        for process in &mut self.kernel.pids {
            if matches!(process, Process::Starter(_)) {
                *process = Process::None;
            }
        }
        (self.reader, self.stopper) = (Reader::default(), Stopper::default());
        self.left = super::scenario::Left {
            starts: 1,
            ..Default::default()
        };
        self.is_aftermath = true;
    }

    fn tear_what_was_not_synced(&mut self) {
        for file in &mut self.kernel.files {
            if let Content::Record(_, false) = file.content {
                file.content = Content::Torn;
            }
        }
    }
}
