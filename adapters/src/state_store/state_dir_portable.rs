//! The state directory where the system is not a Unix: by its path, and with a weaker proof of life.
//!
//! Locks are mandatory on Windows: a locked record couldn't be read. So the proof is the lock on `server.lock`, which is
//! tried, shared, for a moment. That vouches for an owner and not for these very bytes: while a new owner clears a dead
//! one's record away, a reader may believe that for an instant. Private directories are left to the profile directory's
//! access list.

use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use daymark_core::state_store::AcquireError;
use same_file::Handle;
use tempfile::TempPath;

use super::{LOCK, RECORD};

/// A state directory.
#[derive(Debug)]
pub(super) struct StateDir {
    path: PathBuf,
}

/// How often a rename is tried while a reader, or a virus scanner, has the record open.
const RENAMES: u32 = 20;

impl StateDir {
    /// Opens `path` for a reader; none if there is no such directory.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        match std::fs::symlink_metadata(path) {
            Ok(meta) if meta.is_dir() => Ok(Some(Self {
                path: path.to_owned(),
            })),
            Ok(_) => Err(io::ErrorKind::NotADirectory.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes `path` with its parents where it is missing.
    pub(super) fn create(path: &Path) -> Result<Self, AcquireError> {
        let failed = |action, source: io::Error| AcquireError::Io {
            action,
            path: path.to_owned(),
            source: Arc::new(source),
        };
        std::fs::create_dir_all(path).map_err(|e| failed("create", e))?;
        match Self::open(path).map_err(|error| Self::why_not(path, error))? {
            Some(dir) => Ok(dir),
            None => Err(failed("open", io::ErrorKind::NotFound.into())),
        }
    }

    /// Makes sure that `path`, if it is there, is a directory.
    pub(super) fn check_existing(path: &Path) -> Result<(), AcquireError> {
        let opened = Self::open(path).map_err(|error| Self::why_not(path, error));
        opened.map(drop)
    }

    fn why_not(path: &Path, error: io::Error) -> AcquireError {
        match error.kind() {
            io::ErrorKind::NotADirectory => AcquireError::Unsafe {
                path: path.to_owned(),
                problem: "it is a link, or not a directory".to_owned(),
                remedy: "name the directory itself".to_owned(),
            },
            _ => AcquireError::Io {
                action: "open",
                path: path.to_owned(),
                source: Arc::new(error),
            },
        }
    }

    /// No: nobody asks the system here who made it.
    pub(super) const fn is_new(&self) -> bool {
        false
    }

    /// The path by which it was opened.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the path still leads to a directory.
    pub(super) fn is_current(&self) -> bool {
        self.path.is_dir()
    }

    /// Opens the lock file, and makes it where it is missing.
    pub(super) fn open_lock(&self) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(self.path.join(LOCK))
    }

    /// Opens one of the files to read it.
    pub(super) fn open_to_read(&self, name: &str) -> io::Result<File> {
        let path = self.path.join(name);
        if std::fs::symlink_metadata(&path)?.is_symlink() {
            return Err(io::Error::other("it is a symbolic link"));
        }
        File::open(path)
    }

    /// Makes a new file, to be removed again if its path is dropped.
    pub(super) fn create_temporary(&self, name: &str) -> io::Result<(File, TempPath)> {
        tempfile::Builder::new()
            .prefix(name)
            .suffix("")
            .rand_bytes(0)
            .make_in(&self.path, |path| {
                OpenOptions::new()
                    .read(true)
                    .write(true)
                    .create_new(true)
                    .open(path)
            })
            .map(tempfile::NamedTempFile::into_parts)
    }

    /// Moves a temporary file over the record.
    pub(super) fn rename_to_record(&self, name: &str) -> io::Result<()> {
        let (from, to) = (self.path.join(name), self.path.join(RECORD));
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

    /// Removes a file; false if there is none.
    pub(super) fn remove(&self, name: &str) -> io::Result<bool> {
        match std::fs::remove_file(self.path.join(name)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes these files from a directory in it, and that, too, if it is empty then. What isn't a directory stays.
    pub(super) fn remove_folder(&self, name: &str, files: &[&str]) -> io::Result<()> {
        let folder = self.path.join(name);
        if !std::fs::symlink_metadata(&folder).is_ok_and(|meta| meta.is_dir()) {
            return Ok(());
        }
        let mut results: Vec<_> = files
            .iter()
            .map(|file| std::fs::remove_file(folder.join(file)))
            .collect();
        results.push(std::fs::remove_dir(&folder));
        let is_serious = |error: &io::Error| {
            !matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
            )
        };
        let failed = results.into_iter().filter_map(Result::err).find(is_serious);
        failed.map_or(Ok(()), Err)
    }

    /// Removes the directory itself, which must be empty.
    pub(super) fn remove_itself(&self) -> io::Result<()> {
        std::fs::remove_dir(&self.path)
    }

    /// The names of what is in it.
    pub(super) fn names(&self) -> io::Result<Vec<OsString>> {
        std::fs::read_dir(&self.path)?
            .map(|entry| Ok(entry?.file_name()))
            .collect()
    }

    /// Whether `name` leads to this very file.
    pub(super) fn leads_to(&self, name: &str, file: &File) -> bool {
        let theirs = Handle::from_path(self.path.join(name));
        let ours = file.try_clone().and_then(Handle::from_file);
        matches!((theirs, ours), (Ok(a), Ok(b)) if a == b)
    }

    /// What `name` leads to now, and as it was last written; none if it leads nowhere.
    pub(super) fn stamp(&self, name: &str) -> Option<Stamp> {
        let meta = std::fs::symlink_metadata(self.path.join(name)).ok()?;
        Some(Stamp {
            size: meta.len(),
            modified: meta.modified().ok()?,
        })
    }

    /// Whether the directory has an owner, by its lock file.
    pub(super) fn proof_is_held(&self, _record: &File) -> io::Result<bool> {
        let lock = match File::open(self.path.join(LOCK)) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        match lock.try_lock_shared() {
            Ok(()) => lock.unlock().map(|()| false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Waits until the directory has no owner.
    pub(super) fn wait_for_proof_to_end(&self, _record: &File) -> io::Result<()> {
        let lock = File::open(self.path.join(LOCK))?;
        lock.lock_shared()?;
        lock.unlock()
    }

    /// Nothing: the owner's lock is the proof.
    #[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
    pub(super) const fn hold_proof(_record: &File) -> io::Result<()> {
        Ok(())
    }

    /// Nothing: what follows removes the record.
    pub(super) const fn drop_proof(_record: &File) {}
}

/// What a name led to at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    size: u64,
    modified: SystemTime,
}

/// The file itself: descriptors aren't closed in the order of numbers here.
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
pub(super) const fn numbered_above(file: File, _above: Option<i32>) -> io::Result<File> {
    Ok(file)
}

/// Yes: the profile directory's access list keeps others out.
pub(super) const fn is_ours(_file: &Metadata) -> bool {
    true
}

/// Whether the error says that the file system has no locks.
pub(super) fn means_no_locks(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
}

/// No: a link is told before it is opened.
pub(super) const fn means_symlink(_error: &io::Error) -> bool {
    false
}

/// The process that holds a lock on the file: 0, for which one isn't told.
pub(super) fn lock_holder(file: &File) -> Option<u32> {
    match file.try_lock_shared() {
        Ok(()) => {
            let _ = file.unlock();
            None
        }
        Err(_) => Some(0),
    }
}
