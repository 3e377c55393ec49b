//! The state of the model: the kernel's, and where each actor is.

use std::fmt;

use super::Rule;
use super::kernel::{
    DirNo, Ino, Instance, Kernel, Port, PortUse, Process, Record, STARTERS, number,
};
use super::reader::Reader;
use super::safety::{self, Violation};
use super::scenario::{Left, Scenario};
use super::starter::{At, Starter};
use super::stopper::Stopper;
use super::{fate, publish, reader, starter, stopper};

/// One state of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// What the kernel keeps.
    pub kernel: Kernel,
    /// Who starts, serves and stops.
    pub starters: [Starter; STARTERS],
    /// A child that a starter has forked and that hasn't called exec yet.
    pub forked: Option<Forked>,
    /// Who connects.
    pub reader: Reader,
    /// Who stops.
    pub stopper: Stopper,
    /// What may still happen.
    pub left: Left,
    /// A record that was removed, and that a power cut may bring back.
    pub fossil: Option<Record>,
    /// Everybody has died at once, and this one start must succeed.
    pub is_aftermath: bool,
    /// What went wrong.
    pub broken: Option<Violation>,
}

/// A forked child: it has copies of its parent's descriptors, and of its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Forked {
    /// Whose child.
    pub of: usize,
    /// The parent's `server.lock`.
    pub lock: Option<Ino>,
    /// The parent's record.
    pub record: Option<Ino>,
    /// The parent's directory.
    pub dir: Option<DirNo>,
    /// The parent's port.
    pub port: Option<Port>,
}

impl Forked {
    /// Whether it has a copy of this descriptor.
    #[must_use]
    pub fn has(&self, file: Ino) -> bool {
        [self.lock, self.record].contains(&Some(file))
    }
}

/// Who takes a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// A starter.
    Starter(usize),
    /// Its store thread.
    Store(usize),
    /// The reader.
    Reader,
    /// The stopper.
    Stopper,
    /// Nobody in particular.
    Fate,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starter(i) => f.pad(&format!("starter {i}")),
            Self::Store(i) => f.pad(&format!("starter {i}'s store")),
            Self::Reader => f.pad("reader"),
            Self::Stopper => f.pad("stopper"),
            Self::Fate => f.pad("fate"),
        }
    }
}

/// A step, and where it leads.
#[derive(Clone, Copy, Debug)]
pub struct Next {
    /// Whose step.
    pub who: Who,
    /// What it did.
    pub did: &'static str,
    /// The state after it.
    pub world: World,
}

/// The steps that one actor can take.
pub struct Turn<'a> {
    /// The rules and limits.
    pub scenario: &'a Scenario,
    /// The state before.
    pub world: &'a World,
    who: Who,
    nexts: &'a mut Vec<Next>,
}

impl Turn<'_> {
    /// One that it can take now.
    pub fn step(&mut self, did: &'static str, change: impl FnOnce(&mut World)) {
        let mut world = *self.world;
        change(&mut world);
        world.sweep();
        world.broken = world
            .broken
            .or_else(|| safety::broken_in(self.scenario, &world));
        self.nexts.push(Next {
            who: self.who,
            did,
            world,
        });
    }

    /// Whether everybody keeps this rule.
    #[must_use]
    pub fn keeps(&self, rule: Rule) -> bool {
        self.scenario.broken != Some(rule)
    }
}

impl World {
    /// Before anything has happened.
    #[must_use]
    pub fn new(scenario: &Scenario) -> Self {
        let mut world = Self {
            kernel: Kernel::default(),
            starters: [Starter::default(); STARTERS],
            forked: None,
            reader: Reader::default(),
            stopper: Stopper::default(),
            left: scenario.left,
            fossil: None,
            is_aftermath: false,
            broken: None,
        };
        if scenario.is_elsewhere {
            // The number that the first starter has in its own namespace is this one's in ours.
            world.spawn(Process::Bystander);
        }
        world
    }

    /// Every step that anybody can take.
    pub fn steps(&self, scenario: &Scenario, nexts: &mut Vec<Next>) {
        let turn = &mut Turn {
            scenario,
            world: self,
            who: Who::Fate,
            nexts,
        };
        for i in 0..scenario.starters.len() {
            let before = turn.nexts.len();
            turn.who = Who::Starter(i);
            starter::steps(turn, i);
            turn.who = Who::Store(i);
            publish::steps(turn, i);
            if turn.nexts.len() == before && !self.starters[i].may_rest() {
                turn.step("can do nothing any more", |w| {
                    w.broken = Some(Violation::WaitsForEver);
                });
            }
        }
        if scenario.reader {
            turn.who = Who::Reader;
            reader::steps(turn);
        }
        if self.is_aftermath {
            return;
        }
        if scenario.stopper {
            turn.who = Who::Stopper;
            stopper::steps(turn);
        }
        turn.who = Who::Fate;
        fate::steps(turn);
    }

    /// The run that this starter is in.
    #[must_use]
    pub fn instance(&self, i: usize) -> Instance {
        Instance {
            starter: number(i),
            run: self.starters[i].run,
        }
    }

    /// The starter of this run, while its process is there.
    #[must_use]
    pub fn living(&self, instance: Instance) -> Option<&Starter> {
        let starter = &self.starters[usize::from(instance.starter)];
        let is_there = !matches!(starter.at, At::Idle | At::Gone);
        (is_there && starter.run == instance.run).then_some(starter)
    }

    /// Whether a record with this number is in place in a directory.
    #[must_use]
    pub fn leads_to_record(&self, dir: Option<DirNo>, file: Option<Ino>) -> bool {
        file.is_some() && dir.is_some_and(|dir| self.names(dir).record == file)
    }

    /// Frees a starter's port, unless somebody else has it by now.
    pub fn free_own_port(&mut self, i: usize) {
        let me = self.instance(i);
        let Some(port) = self.starters[i].port.take() else {
            return;
        };
        let keeps = self.forked.is_some_and(|child| child.port == Some(port));
        let port = &mut self.kernel.ports[usize::from(port)];
        if [PortUse::Held(me), PortUse::Listening(me)].contains(port) && !keeps {
            *port = PortUse::Free;
        }
    }

    /// Whether somebody has that directory open.
    #[must_use]
    pub fn dir_is_open(&self, dir: DirNo) -> bool {
        let by_starter = |s: &Starter| [s.place.dir, s.candidate.dir].contains(&Some(dir));
        self.starters.iter().any(by_starter)
            || [self.reader.dir, self.stopper.dir].contains(&Some(dir))
            || self.forked.is_some_and(|child| child.dir == Some(dir))
    }

    /// The files that somebody has open, as bits.
    #[must_use]
    pub fn open_files(&self) -> u32 {
        let mut open = 0;
        let mut see = |file: Option<Ino>| open |= file.map_or(0, |file| 1 << file);
        for s in &self.starters {
            [s.place.lock, s.candidate.lock, s.tmp, s.held]
                .into_iter()
                .for_each(&mut see);
        }
        [self.reader.fd, self.stopper.fd, self.stopper.lock]
            .into_iter()
            .for_each(&mut see);
        if let Some(child) = self.forked {
            [child.lock, child.record].into_iter().for_each(&mut see);
        }
        open
    }
}
