//! The file system where it is not a Unix's: by paths.
//!
//! Locks are mandatory on Windows: a locked file can't be read. Private directories are left to the profile directory's
//! access list, so every file is the user's own and nobody else's.

use std::collections::hash_map::DefaultHasher;
use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::hash::{Hash as _, Hasher as _};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use same_file::Handle;

use super::directory::{Access, Asked, Directory, Kind, Lock, OpenFile, Stat};

/// A directory of the disk.
#[derive(Debug)]
pub struct DiskDir(PathBuf);

/// How often a rename is tried while a reader, or a virus scanner, has the record open.
const RENAMES: u32 = 20;

impl DiskDir {
    pub(super) fn working() -> Self {
        Self(PathBuf::new())
    }
}

impl Directory for DiskDir {
    type File = File;

    fn root(&self) -> Self {
        Self::working()
    }

    fn user() -> u32 {
        NOBODY_ELSE
    }

    fn open_dir(&self, path: &Path) -> io::Result<Self> {
        let path = self.0.join(path);
        match std::fs::symlink_metadata(&path)?.is_dir() {
            true => Ok(Self(path)),
            false => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir(self.0.join(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir(self.0.join(path))
    }

    fn names(&self) -> io::Result<Vec<OsString>> {
        std::fs::read_dir(&self.0)?
            .map(|entry| Ok(entry?.file_name()))
            .collect()
    }

    fn stat(&self) -> io::Result<Stat> {
        self.stat_at(Path::new(""))
    }

    fn stat_at(&self, path: &Path) -> io::Result<Stat> {
        let path = self.0.join(path);
        let found = std::fs::symlink_metadata(&path)?;
        let id = match found.is_file() {
            true => id(&Handle::from_path(&path)?),
            // That a path leads to a directory, is all that is asked here.
            false => (0, 0),
        };
        Ok(stat(&found, id))
    }

    fn open(&self, name: &Path, access: Access) -> io::Result<File> {
        let path = self.0.join(name);
        match access {
            Access::Read if std::fs::symlink_metadata(&path)?.is_symlink() => {
                Err(io::Error::other("it is a symbolic link"))
            }
            Access::Read => File::open(path),
            Access::Write => open_to_write().create(true).truncate(false).open(path),
            Access::New => open_to_write().create_new(true).open(path),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (self.0.join(from), self.0.join(to));
        for _ in 1..RENAMES {
            match std::fs::rename(&from, &to) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                done => return done,
            }
        }
        std::fs::rename(&from, &to)
    }

    fn unlink(&self, name: &Path) -> io::Result<()> {
        std::fs::remove_file(self.0.join(name))
    }
}

fn open_to_write() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    options
}

impl OpenFile for File {
    const LOCKED_IS_READABLE: bool = false;

    fn stat(&self) -> io::Result<Stat> {
        let id = id(&Handle::from_file(self.try_clone()?)?);
        Ok(stat(&self.metadata()?, id))
    }

    fn read(&self, most: usize) -> io::Result<Vec<u8>> {
        let mut file = self;
        file.seek(SeekFrom::Start(0))?;
        let mut bytes = Vec::new();
        file.take(most as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = self;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }

    fn lock(&self, lock: Lock) -> io::Result<bool> {
        let locked = match lock {
            Lock::Exclusive => self.try_lock(),
            Lock::Shared => self.try_lock_shared(),
            Lock::SharedInTime => self.lock_shared().map_err(TryLockError::Error),
        };
        match locked {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn unlock(&self) -> io::Result<()> {
        Self::unlock(self)
    }

    /// 0, for which one isn't told.
    fn lock_holder(&self, _asked: Asked<'_>) -> Option<u32> {
        match self.try_lock_shared() {
            Ok(()) => {
                let _ = Self::unlock(self);
                None
            }
            Err(_) => Some(0),
        }
    }

    /// The file itself: descriptors aren't closed in the order of numbers here.
    fn numbered_above(self, _above: i32) -> io::Result<Self> {
        Ok(self)
    }
}

/// Whether the error says that the file system has no locks.
pub(super) fn means_no_locks(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
}

/// No: a link is told before it is opened.
pub(super) const fn means_symlink(_error: &io::Error) -> bool {
    false
}

/// The number of the user: the only one there is.
const NOBODY_ELSE: u32 = 0;

/// Which file it is, as far as a number tells it: the standard library keeps the true one to itself here.
fn id(handle: &Handle) -> (i128, u64) {
    let mut hasher = DefaultHasher::new();
    handle.hash(&mut hasher);
    (0, hasher.finish())
}

fn stat(found: &Metadata, id: (i128, u64)) -> Stat {
    let modified = found.modified().ok();
    let modified = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified = modified.unwrap_or_default();
    Stat {
        id,
        kind: match found {
            found if found.is_symlink() => Kind::Link,
            found if found.is_dir() => Kind::Directory,
            found if found.is_file() => Kind::File,
            _ => Kind::Other,
        },
        user: NOBODY_ELSE,
        mode: 0o700,
        len: found.len().cast_signed(),
        modified: (
            modified.as_secs().cast_signed(),
            modified.subsec_nanos().into(),
        ),
    }
}
