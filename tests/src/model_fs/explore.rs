//! Every crash of a run, and of the run that comes after it.

use std::collections::HashSet;
use std::fmt::{self, Debug, Formatter};
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use daymark_adapters::record_json;
use daymark_adapters::state_store::RECORD;
use daymark_core::presence::{LockSeen, Observation};
use daymark_core::record::{InstanceId, ServerRecord};
use tokio::runtime::Runtime;

use super::scene::{DEAD, OTHER, OWNER, Play, Scene, VANDAL, Violation, at, lookout, record};
use super::{Computer, Disk, Fault, Machine, Snapshot, Stage};

/// Who goes through all of it.
#[derive(Debug)]
pub struct Explorer {
    runtime: Runtime,
    /// What goes wrong with the store.
    pub fault: Fault,
    /// Whether locks outlast their holder, as no lock must.
    pub locks_survive: bool,
    /// How many bytes are written whole.
    pub block: usize,
    /// What it has come to.
    pub totals: Totals,
    after_first: HashSet<u64>,
    after_second: HashSet<u64>,
}

/// How much was gone through.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Runs, each to its end.
    pub runs: usize,
    /// What they asked of the file system.
    pub operations: usize,
    /// Different disks after a crash of a first run.
    pub first: usize,
    /// First runs that were killed, after each operation.
    pub kills: usize,
    /// Different disks after a crash of the run after that.
    pub second: usize,
}

/// What a crash has left: a disk, or all of a machine but one process.
#[derive(Clone)]
pub enum Left {
    /// After a power cut.
    Disk(Disk),
    /// After a kill.
    Machine(Box<Machine>),
}

impl Debug for Left {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(disk) => disk.fmt(f),
            Self::Machine(machine) => write!(f, "a machine that has {:?}", machine.settled()),
        }
    }
}

/// The runs: each has a record of its own.
const FIRST: u128 = 2;
const SECOND: u128 = 3;
const THIRD: u128 = 4;

impl Explorer {
    /// One that looks at blocks of `block` bytes.
    ///
    /// # Panics
    ///
    /// If there can be no runtime.
    #[must_use]
    pub fn new(block: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        Self {
            runtime: runtime.expect("a runtime"),
            fault: Fault::None,
            locks_survive: false,
            block,
            totals: Totals::default(),
            after_first: HashSet::new(),
            after_second: HashSet::new(),
        }
    }

    /// All that a crash may leave at any moment of a run that finds this disk, as far as it wasn't come by before.
    ///
    /// # Errors
    ///
    /// The first violation.
    pub fn crashes(&mut self, disk: &Disk, play: Play) -> Result<Vec<Left>, Violation> {
        let (journal, outcome) = self.run(disk.boot(), FIRST, play);
        let mut all = Vec::new();
        for (moment, Snapshot { machine, stage }) in journal.into_iter().enumerate() {
            let told = |why| format!("{play:?}, after change {moment}: {why}");
            let killed = self.watch(&machine, stage, FIRST).map_err(told)?;
            self.totals.kills += 1;
            let seen = &mut self.after_first;
            machine.power_cuts(self.block, &mut |disk| {
                if seen.insert(hash(&disk)) {
                    all.push(Left::Disk(disk));
                }
            });
            all.push(Left::Machine(Box::new(killed)));
        }
        self.totals.first = self.after_first.len();
        outcome.map(|()| all)
    }

    /// What a crash has left is no harm, and the next run succeeds.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn recover(&mut self, left: &Left) -> Result<(), Violation> {
        let machine = left.machine();
        self.look(&Computer::run(machine.clone()))?;
        self.run(machine, SECOND, Play::StartAndStop).1
    }

    /// The same, and wherever the next run is crashed, what that leaves is no harm either, and the third run succeeds.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn recover_through_crashes(&mut self, left: &Left, play: Play) -> Result<(), Violation> {
        self.look(&Computer::run(left.machine()))?;
        let (journal, outcome) = self.run(left.machine(), SECOND, play);
        let mut disks = Vec::new();
        for (moment, Snapshot { machine, stage }) in journal.into_iter().enumerate() {
            let told = |why| format!("{play:?} after a crash, after change {moment}: {why}");
            let killed = self.watch(&machine, stage, SECOND).map_err(told)?;
            let seen = &mut self.after_second;
            let mut tell = |disk| {
                if seen.insert(hash(&disk)) {
                    disks.push(disk);
                }
            };
            machine.power_cuts(self.block, &mut tell);
            // The third run isn't crashed, so what it finds is all that counts.
            tell(killed.settled());
        }
        self.totals.second = self.after_second.len();
        outcome?;
        for disk in disks {
            let machine = disk.boot();
            self.look(&Computer::run(machine.clone()))?;
            self.run(machine, THIRD, Play::StartAndStop).1?;
        }
        Ok(())
    }

    /// What a machine was all through a run, and whether that went as it should.
    fn run(
        &mut self,
        on: Machine,
        run: u128,
        play: Play,
    ) -> (Vec<Snapshot>, Result<(), Violation>) {
        let computer = Computer::run(on);
        let scene = Scene::new(computer.clone(), run, self.fault);
        let outcome = self.runtime.block_on(scene.play(play));
        let outcome = outcome.map_err(|why| format!("{play:?}: {why}"));
        let (journal, calls) = computer.take_journal();
        self.totals.runs += 1;
        self.totals.operations += calls;
        (journal, outcome)
    }

    /// What readers see of a run, and still see when it is killed: what is left then.
    fn watch(&self, machine: &Machine, stage: Stage, run: u128) -> Result<Machine, Violation> {
        let computer = Computer::run(machine.clone());
        let published = whole(&computer)?;
        let look = lookout(&computer);
        let own = |record: &ServerRecord| record.instance_id == Some(InstanceId::from_bits(run));
        let vandals = |record: &ServerRecord| *record == self::record(VANDAL);
        match look.observation() {
            Observation::Record(record, LockSeen::Held) if stage == Stage::Stopping => {
                return Err(format!("it stops, and is believed: {record:?}"));
            }
            Observation::Record(record, LockSeen::Held) if !own(record) && !vandals(record) => {
                return Err(format!("it died before, and is believed: {record:?}"));
            }
            Observation::Record(_, LockSeen::Held) => {}
            _ if stage == Stage::Owning && published.as_deref().is_some_and(own) => {
                return Err("its record is there, and nobody vouches for it".to_owned());
            }
            Observation::Record(_, LockSeen::Free) | Observation::NoRecord(_) => {}
            other => return Err(format!("a reader sees {other:?}")),
        }
        if !self.locks_survive {
            computer.kill(OWNER);
            computer.kill(OTHER);
        }
        if look.still_holds() {
            return Err("a second look believes who was killed".to_owned());
        }
        drop(look);
        Ok(computer.machine())
    }

    /// What readers see when nobody is there.
    fn look(&self, computer: &Arc<Computer>) -> Result<(), Violation> {
        whole(computer)?;
        let look = lookout(computer);
        match look.observation() {
            Observation::NoRecord(None) | Observation::Record(_, LockSeen::Free) => Ok(()),
            other => Err(format!("nobody is there, and a reader sees {other:?}")),
        }
    }
}

impl Left {
    fn machine(&self) -> Machine {
        match self {
            Self::Disk(disk) => disk.boot(),
            Self::Machine(machine) => (**machine).clone(),
        }
    }
}

/// The record, which is whole and one that was published, or absent.
fn whole(computer: &Computer) -> Result<Option<Box<ServerRecord>>, Violation> {
    let Some(bytes) = computer.contents(&at(RECORD)) else {
        return Ok(None);
    };
    let torn = |why| {
        format!(
            "half a record: {why} in {:?}",
            String::from_utf8_lossy(&bytes)
        )
    };
    let found = record_json::read(&bytes).map_err(torn)?;
    let published = [DEAD, FIRST, SECOND, THIRD, VANDAL];
    match published.iter().any(|run| record(*run) == found) {
        true => Ok(Some(Box::new(found))),
        false => Err(format!("nobody published {found:?}")),
    }
}

fn hash(disk: &Disk) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(disk)
}
