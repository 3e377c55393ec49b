//! What the kernel keeps, and the system calls on it: directories, files with their flock(2) locks, ports and pids.
//!
//! Numbers are used again at once, the lowest first: that is how inode numbers, ports and pids deceive whoever remembers them.

use super::world::World;

/// As many starters as there can be.
pub const STARTERS: usize = 3;
const DIRS: usize = 5;
const FILES: usize = 12;
const PORTS: usize = 2;
const PIDS: usize = 4;

/// The number of an inode.
pub type Ino = u8;
/// The number of a directory's inode.
pub type DirNo = u8;
/// The number of a process.
pub type Pid = u8;
/// The number of a port.
pub type Port = u8;

/// One run of a starter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Instance {
    /// Whose.
    pub starter: u8,
    /// Which.
    pub run: u8,
}

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// Its `instance_id`.
    pub writer: Instance,
    /// Its `pid`.
    pub pid: Pid,
    /// Its `port`.
    pub port: Port,
}

/// What the line in a lock file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Word {
    /// Who wrote it.
    pub pid: Pid,
    /// Whether it said that it had published.
    pub serving: bool,
}

/// What is in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Content {
    /// Nothing yet.
    #[default]
    Nothing,
    /// A lock file's line.
    Word(Word),
    /// A record, and whether it is on the disk.
    Record(Record, bool),
    /// A part of a record.
    Torn,
}

/// The lock on a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Lock {
    /// Nobody's.
    #[default]
    Free,
    /// A starter's, through its open file description, which its forked children share.
    Exclusive(u8),
    /// The stopper's, for a moment.
    Shared,
}

/// An inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct File {
    /// What is in it.
    pub content: Content,
    /// Who has locked it.
    pub lock: Lock,
}

/// A state directory, by the names in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Dir {
    /// `server.lock`.
    pub lock: Option<Ino>,
    /// `server.json`.
    pub record: Option<Ino>,
    /// The temporary file of each starter.
    pub tmp: [Option<Ino>; STARTERS],
}

impl Dir {
    fn names(&self) -> impl Iterator<Item = Ino> {
        [self.lock, self.record]
            .into_iter()
            .chain(self.tmp)
            .flatten()
    }

    /// Whether it could be removed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Who has a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PortUse {
    /// Nobody.
    #[default]
    Free,
    /// A starter has bound it for its child, and nobody listens.
    Held(Instance),
    /// A starter, or its child, listens.
    Listening(Instance),
    /// Somebody else listens.
    Stranger,
}

/// Who has a pid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Process {
    /// Nobody.
    #[default]
    None,
    /// A starter.
    Starter(Instance),
    /// A process that has nothing to do with any of this.
    Bystander,
}

/// All that the kernel keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// Where the path of the state directory leads.
    pub path: Option<DirNo>,
    /// Directories, by number.
    pub dirs: [Dir; DIRS],
    /// Files, by number.
    pub files: [File; FILES],
    /// Ports.
    pub ports: [PortUse; PORTS],
    /// Processes, by pid.
    pub pids: [Process; PIDS],
}

impl World {
    /// The directory of that number.
    pub fn dir(&mut self, number: DirNo) -> &mut Dir {
        &mut self.kernel.dirs[usize::from(number)]
    }

    /// The names in the directory of that number.
    #[must_use]
    pub fn names(&self, number: DirNo) -> Dir {
        self.kernel.dirs[usize::from(number)]
    }

    /// The file of that number.
    pub fn file(&mut self, number: Ino) -> &mut File {
        &mut self.kernel.files[usize::from(number)]
    }

    /// What that file is like.
    #[must_use]
    pub fn inode(&self, number: Ino) -> File {
        self.kernel.files[usize::from(number)]
    }

    /// The record in that file, if it is one.
    #[must_use]
    pub fn record_in(&self, number: Ino) -> Option<Record> {
        match self.inode(number).content {
            Content::Record(record, _) => Some(record),
            _ => None,
        }
    }

    /// Makes the directory.
    pub fn make_dir(&mut self) -> DirNo {
        let taken = |number| self.dir_is_open(number) || self.kernel.path == Some(number);
        let number = free(DIRS, taken);
        self.kernel.path = Some(number);
        number
    }

    /// Makes a file, which somebody must name or keep open at once.
    #[must_use]
    pub fn make_file(&self) -> Ino {
        free(FILES, |number| self.has(number))
    }

    /// Tries for an exclusive lock.
    pub fn try_lock(&mut self, file: Ino, starter: usize) -> bool {
        let lock = &mut self.file(file).lock;
        let is_free = *lock == Lock::Free;
        if is_free {
            *lock = exclusive(starter);
        }
        is_free
    }

    /// Gives a lock back, whoever else has copies of the descriptor.
    pub fn unlock(&mut self, file: Ino, starter: usize) {
        let lock = &mut self.file(file).lock;
        if *lock == exclusive(starter) {
            *lock = Lock::Free;
        }
    }

    /// Closes a descriptor. A forked child that has a copy keeps the lock.
    pub fn close(&mut self, file: Ino, starter: usize) {
        let is_kept = self
            .forked
            .is_some_and(|child| child.of == starter && child.has(file));
        if !is_kept {
            self.unlock(file, starter);
        }
    }

    /// Whether a starter has that lock.
    #[must_use]
    pub fn holds(&self, starter: usize, file: Ino) -> bool {
        self.inode(file).lock == exclusive(starter)
    }

    /// Whether a shared lock is refused.
    #[must_use]
    pub fn refuses_shared(&self, file: Ino) -> bool {
        matches!(self.inode(file).lock, Lock::Exclusive(_))
    }

    /// The lowest free port.
    #[must_use]
    pub fn free_port(&self) -> Option<Port> {
        let free = |port: &PortUse| *port == PortUse::Free;
        self.kernel.ports.iter().position(free).map(number)
    }

    /// Starts a process, under the lowest free number.
    pub fn spawn(&mut self, process: Process) -> Pid {
        let pid = free(PIDS, |pid| self.process(pid) != Process::None);
        self.kernel.pids[usize::from(pid)] = process;
        pid
    }

    /// Who has that pid.
    #[must_use]
    pub fn process(&self, pid: Pid) -> Process {
        self.kernel.pids[usize::from(pid)]
    }

    /// Forgets what nobody has any more, so that its number is free.
    pub fn sweep(&mut self) {
        for number in 0..DIRS {
            let dir = self::number(number);
            if self.kernel.path != Some(dir) && !self.dir_is_open(dir) {
                *self.dir(dir) = Dir::default();
            }
        }
        let mut kept = self.open_files();
        for dir in &self.kernel.dirs {
            for file in dir.names() {
                kept |= 1 << file;
            }
        }
        for number in 0..FILES {
            if kept & 1 << number == 0 {
                self.kernel.files[number] = File::default();
            }
        }
    }

    fn has(&self, file: Ino) -> bool {
        let named = |dir: &Dir| dir.names().any(|name| name == file);
        self.open_files() & 1 << file != 0 || self.kernel.dirs.iter().any(named)
    }
}

/// The lock that this starter has.
#[must_use]
pub fn exclusive(starter: usize) -> Lock {
    Lock::Exclusive(number(starter))
}

/// A small number.
#[must_use]
pub fn number(index: usize) -> u8 {
    u8::try_from(index).expect("there are few of anything")
}

fn free(all: usize, taken: impl Fn(u8) -> bool) -> u8 {
    let free = (0..all).map(number).find(|number| !taken(*number));
    free.expect("the model has room enough")
}
