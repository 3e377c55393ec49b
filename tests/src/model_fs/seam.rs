//! The machine as the file store sees it: directories and files that are open in one of its processes.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use daymark_adapters::state_store::directory::{
    Access, Asked, Directory, Kind, Lock, OpenFile, Stat,
};

use super::machine::{Body, Key, Machine, Opened, Process, ROOT};

/// A machine at work, which keeps what it was after every operation.
#[derive(Debug)]
pub struct Computer(Mutex<Inside>);

#[derive(Debug)]
struct Inside {
    machine: Machine,
    stage: Stage,
    journal: Vec<Snapshot>,
    calls: usize,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its record may be there, and is vouched for then.
    Owning,
    /// Nobody is to be believed, from the next operation on.
    Stopping,
}

/// What a machine was after an operation.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The machine.
    pub machine: Machine,
    /// How far the run was.
    pub stage: Stage,
}

impl Computer {
    /// Has the machine go on.
    #[must_use]
    pub fn run(machine: Machine) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Inside {
            machine,
            stage: Stage::Owning,
            journal: Vec::new(),
            calls: 0,
        })))
    }

    /// The root, for a process.
    #[must_use]
    pub fn root(self: &Arc<Self>, process: Process) -> ModelDir {
        ModelDir(self.inside().open(self, process, ROOT))
    }

    /// Notes how far the run is.
    pub fn enter(&self, stage: Stage) {
        self.inside().stage = stage;
    }

    /// Changes what the file that the path leads to has in it, on the disk as well, and behind everybody's back. Removes it
    /// if nothing is to be in it.
    ///
    /// # Panics
    ///
    /// If there is no such file.
    pub fn tamper(&self, path: &Path, bytes: Option<&[u8]>) {
        let mut inside = self.inside();
        let machine = &mut inside.machine;
        match bytes {
            Some(bytes) => {
                let file = machine.find(ROOT, path).expect("a file");
                machine.write(file, bytes).expect("not a directory");
                machine.sync(file);
            }
            None => {
                let (dir, name) = machine.parent(ROOT, path).expect("a directory");
                machine.bind(dir, &name, None).expect("it is linked");
            }
        }
        inside.remember();
    }

    /// What is in the file that the path leads to.
    #[must_use]
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        let inside = self.inside();
        let file = inside.machine.find(ROOT, path).ok()?;
        match &inside.machine.nodes[&file].body {
            Body::File { now, .. } => Some(now.to_vec()),
            Body::Dir { .. } => None,
        }
    }

    /// The names in the directory that the path leads to.
    #[must_use]
    pub fn names(&self, path: &Path) -> Vec<String> {
        let inside = self.inside();
        let found = inside.machine.find(ROOT, path);
        let names = found.and_then(|dir| Ok(inside.machine.names(dir)?.keys().cloned().collect()));
        names.unwrap_or_default()
    }

    /// What it was after every operation that changed something, and how many operations there were in all.
    #[must_use]
    pub fn take_journal(&self) -> (Vec<Snapshot>, usize) {
        let mut inside = self.inside();
        (std::mem::take(&mut inside.journal), inside.calls)
    }

    /// Kills a process.
    pub fn kill(&self, process: Process) {
        let mut inside = self.inside();
        inside.machine = inside.machine.clone().without(process);
    }

    /// The machine as it is.
    #[must_use]
    pub fn machine(&self) -> Machine {
        self.inside().machine.clone()
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn remember(&mut self) {
        self.journal.push(Snapshot {
            machine: self.machine.clone(),
            stage: self.stage,
        });
    }

    fn open(&mut self, computer: &Arc<Computer>, process: Process, node: Key) -> Handle {
        let id = self.machine.tick();
        let opened = Opened {
            node,
            process,
            lock: None,
        };
        self.machine.opened.insert(id, opened);
        Handle {
            computer: computer.clone(),
            process,
            node,
            id,
        }
    }

    fn stat(&self, key: Key) -> Stat {
        let node = &self.machine.nodes[&key];
        let (kind, mode, len) = match &node.body {
            Body::File { now, .. } => (Kind::File, 0o600, now.len()),
            Body::Dir { .. } => (Kind::Directory, 0o700, 0),
        };
        Stat {
            id: (0, node.number),
            kind,
            user: USER,
            mode,
            len: i64::try_from(len).unwrap_or(i64::MAX),
            modified: (0, node.modified.into()),
        }
    }
}

/// The one user there is.
const USER: u32 = 1000;

/// Something open. Dropped, it is closed.
#[derive(Debug)]
struct Handle {
    computer: Arc<Computer>,
    process: Process,
    node: Key,
    id: u64,
}

impl Handle {
    /// Looks at the machine.
    fn look<T>(&self, act: impl FnOnce(&Inside) -> T) -> T {
        let mut inside = self.computer.inside();
        inside.calls += 1;
        act(&inside)
    }

    /// Changes something, and remembers what came of it.
    fn change<T>(&self, act: impl FnOnce(&mut Inside) -> T) -> T {
        let mut inside = self.computer.inside();
        inside.calls += 1;
        let value = act(&mut inside);
        inside.remember();
        value
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let mut inside = self.computer.inside();
        let closed = inside.machine.opened.remove(&self.id);
        if closed.is_some_and(|opened| opened.lock.is_some()) {
            inside.remember();
        }
    }
}

/// An open directory.
#[derive(Debug)]
pub struct ModelDir(Handle);

/// An open file.
#[derive(Debug)]
pub struct ModelFile(Handle);

impl ModelDir {
    fn find(&self, inside: &Inside, path: &Path) -> io::Result<Key> {
        inside.machine.find(self.0.node, path)
    }

    fn opened(&self, inside: &mut Inside, node: Key) -> Handle {
        inside.open(&self.0.computer, self.0.process, node)
    }
}

impl Directory for ModelDir {
    type File = ModelFile;

    fn root(&self) -> Self {
        self.0.computer.root(self.0.process)
    }

    fn user() -> u32 {
        USER
    }

    fn open_dir(&self, path: &Path) -> io::Result<Self> {
        let mut inside = self.0.computer.inside();
        inside.calls += 1;
        let node = self.find(&inside, path)?;
        inside.machine.names(node)?;
        Ok(Self(self.opened(&mut inside, node)))
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.0.change(|inside| {
            let (parent, name) = inside.machine.parent(self.0.node, path)?;
            if inside.machine.names(parent)?.contains_key(&name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let made = inside.machine.add(Body::empty_dir());
            inside.machine.bind(parent, &name, Some(made))
        })
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.0.change(|inside| {
            let found = self.find(inside, path)?;
            if !inside.machine.names(found)?.is_empty() {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            let (parent, name) = inside.machine.parent(self.0.node, path)?;
            inside.machine.bind(parent, &name, None)
        })
    }

    fn names(&self) -> io::Result<Vec<OsString>> {
        self.0.look(|inside| {
            let names = inside.machine.names(self.0.node)?;
            Ok(names.keys().map(OsString::from).collect())
        })
    }

    fn stat(&self) -> io::Result<Stat> {
        self.0.look(|inside| Ok(inside.stat(self.0.node)))
    }

    fn stat_at(&self, path: &Path) -> io::Result<Stat> {
        self.0
            .look(|inside| Ok(inside.stat(self.find(inside, path)?)))
    }

    fn open(&self, name: &Path, access: Access) -> io::Result<ModelFile> {
        let open = |inside: &mut Inside| {
            let node = match (self.find(inside, name), access) {
                (Ok(_), Access::New) => return Err(io::ErrorKind::AlreadyExists.into()),
                (Ok(node), _) => node,
                (Err(error), Access::Read) => return Err(error),
                (Err(_), _) => {
                    let (parent, name) = inside.machine.parent(self.0.node, name)?;
                    let made = inside.machine.add(Body::File {
                        now: [].into(),
                        past: Vec::new(),
                    });
                    inside.machine.bind(parent, &name, Some(made))?;
                    made
                }
            };
            Ok(ModelFile(self.opened(inside, node)))
        };
        match access {
            Access::Read => {
                let mut inside = self.0.computer.inside();
                inside.calls += 1;
                open(&mut inside)
            }
            Access::Write | Access::New => self.0.change(open),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.change(|inside| {
            let machine = &mut inside.machine;
            let moved = machine.find(self.0.node, from)?;
            let (parent, name) = machine.parent(self.0.node, to)?;
            if let Ok(there) = machine.find(self.0.node, to)
                && machine.names(there).is_ok()
            {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            machine.bind(parent, &name, Some(moved))?;
            let (parent, name) = machine.parent(self.0.node, from)?;
            machine.bind(parent, &name, None)
        })
    }

    fn unlink(&self, name: &Path) -> io::Result<()> {
        self.0.change(|inside| {
            let found = self.find(inside, name)?;
            if inside.machine.names(found).is_ok() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            let (parent, name) = inside.machine.parent(self.0.node, name)?;
            inside.machine.bind(parent, &name, None)
        })
    }
}

impl OpenFile for ModelFile {
    const LOCKED_IS_READABLE: bool = true;

    fn stat(&self) -> io::Result<Stat> {
        self.0.look(|inside| Ok(inside.stat(self.0.node)))
    }

    fn read(&self, most: usize) -> io::Result<Vec<u8>> {
        self.0
            .look(|inside| match &inside.machine.nodes[&self.0.node].body {
                Body::File { now, .. } => Ok(now[..now.len().min(most)].to_vec()),
                Body::Dir { .. } => Err(io::ErrorKind::IsADirectory.into()),
            })
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.0
            .change(|inside| inside.machine.write(self.0.node, bytes))
    }

    fn sync(&self) -> io::Result<()> {
        self.0.change(|inside| inside.machine.sync(self.0.node));
        Ok(())
    }

    fn lock(&self, lock: Lock) -> io::Result<bool> {
        let exclusive = lock == Lock::Exclusive;
        Ok(self
            .0
            .change(|inside| inside.machine.lock(self.0.id, exclusive)))
    }

    fn unlock(&self) -> io::Result<()> {
        self.0.change(|inside| {
            if let Some(opened) = inside.machine.opened.get_mut(&self.0.id) {
                opened.lock = None;
            }
        });
        Ok(())
    }

    /// Every process of the model runs in this one.
    fn lock_holder(&self, _asked: Asked<'_>) -> Option<u32> {
        let is_owned = self.0.look(|inside| inside.machine.is_owned(self.0.node));
        is_owned.then(std::process::id)
    }

    fn numbered_above(self, _above: i32) -> io::Result<Self> {
        Ok(self)
    }
}
