//! What a store must not do, as a wrapper that has it done: each must be found out.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use daymark_adapters::state_store::RECORD;
use daymark_adapters::state_store::directory::{Access, Asked, Directory, Lock, OpenFile, Stat};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The record isn't synced.
    NotSynced,
    /// The record is synced, after the rename.
    SyncedAfterRename,
    /// Instead of a rename, the record is written where it belongs.
    WrittenInPlace,
    /// The record is locked, after the rename.
    LockedAfterRename,
    /// What is temporary stays.
    TemporaryStays,
    /// The record is unlocked, after it was removed.
    RemovedBeforeUnlock,
}

/// A directory in which something goes wrong.
#[derive(Debug)]
pub struct Wrong<D: Directory> {
    inner: D,
    fault: Fault,
    late: Late<D>,
}

/// A file in it.
#[derive(Debug)]
pub struct WrongFile<D: Directory> {
    inner: Arc<D::File>,
    /// What becomes, or may be, the record.
    is_record: bool,
    fault: Fault,
    late: Late<D>,
}

/// What is done to files later than it ought to be.
type Late<D> = Arc<Mutex<Vec<(Doing, Arc<<D as Directory>::File>)>>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Lock,
    Unlock,
    Sync,
}

impl<D: Directory> Wrong<D> {
    /// A directory in which this goes wrong.
    #[must_use]
    pub fn new(inner: D, fault: Fault) -> Self {
        Self {
            inner,
            fault,
            late: Late::<D>::default(),
        }
    }

    fn around(&self, inner: D) -> Self {
        Self {
            inner,
            fault: self.fault,
            late: self.late.clone(),
        }
    }

    /// Does at last what should have been done before.
    fn catch_up(&self) -> io::Result<()> {
        let late = std::mem::take(&mut *self.late.lock().unwrap_or_else(PoisonError::into_inner));
        for (doing, file) in late {
            match doing {
                Doing::Lock => file.lock(Lock::Exclusive).map(drop)?,
                Doing::Unlock => file.unlock()?,
                Doing::Sync => file.sync()?,
            }
        }
        Ok(())
    }
}

impl<D: Directory> Directory for Wrong<D> {
    type File = WrongFile<D>;

    fn root(&self) -> Self {
        self.around(self.inner.root())
    }

    fn user() -> u32 {
        D::user()
    }

    fn open_dir(&self, path: &Path) -> io::Result<Self> {
        Ok(self.around(self.inner.open_dir(path)?))
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.make_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_dir(path)
    }

    fn names(&self) -> io::Result<Vec<OsString>> {
        self.inner.names()
    }

    fn stat(&self) -> io::Result<Stat> {
        self.inner.stat()
    }

    fn stat_at(&self, path: &Path) -> io::Result<Stat> {
        self.inner.stat_at(path)
    }

    fn open(&self, name: &Path, access: Access) -> io::Result<WrongFile<D>> {
        Ok(WrongFile {
            inner: Arc::new(self.inner.open(name, access)?),
            is_record: access == Access::New,
            fault: self.fault,
            late: self.late.clone(),
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.fault == Fault::WrittenInPlace {
            let bytes = self.inner.open(from, Access::Read)?.read(usize::MAX)?;
            let file = self.inner.open(to, Access::Write)?;
            file.write(&bytes)?;
            file.sync()?;
            return self.inner.unlink(from);
        }
        self.inner.rename(from, to)?;
        self.catch_up()
    }

    fn unlink(&self, name: &Path) -> io::Result<()> {
        let is_temporary = name.extension().is_some_and(|extension| extension == "tmp");
        if self.fault == Fault::TemporaryStays && is_temporary {
            return Ok(());
        }
        self.inner.unlink(name)?;
        match name == Path::new(RECORD) {
            true => self.catch_up(),
            false => Ok(()),
        }
    }
}

impl<D: Directory> WrongFile<D> {
    fn later(&self, doing: Doing) {
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        late.push((doing, self.inner.clone()));
    }
}

impl<D: Directory> OpenFile for WrongFile<D> {
    const LOCKED_IS_READABLE: bool = D::File::LOCKED_IS_READABLE;

    fn stat(&self) -> io::Result<Stat> {
        self.inner.stat()
    }

    fn read(&self, most: usize) -> io::Result<Vec<u8>> {
        self.inner.read(most)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.inner.write(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        match self.fault {
            Fault::NotSynced => Ok(()),
            Fault::SyncedAfterRename => {
                self.later(Doing::Sync);
                Ok(())
            }
            _ => self.inner.sync(),
        }
    }

    fn lock(&self, lock: Lock) -> io::Result<bool> {
        if self.fault == Fault::LockedAfterRename && self.is_record {
            self.later(Doing::Lock);
            return Ok(true);
        }
        self.inner.lock(lock)
    }

    fn unlock(&self) -> io::Result<()> {
        if self.fault == Fault::RemovedBeforeUnlock && self.is_record {
            self.later(Doing::Unlock);
            return Ok(());
        }
        self.inner.unlock()
    }

    fn lock_holder(&self, asked: Asked<'_>) -> Option<u32> {
        self.inner.lock_holder(asked)
    }

    fn numbered_above(self, _above: i32) -> io::Result<Self> {
        Ok(self)
    }
}
