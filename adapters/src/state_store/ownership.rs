//! Ownership: the lock on `server.lock`, and the care that it is the lock which everybody else would take.

use std::io;
use std::path::Path;
use std::sync::Arc;

use daymark_core::presence::{LockSeen, Observation};
use daymark_core::state_store::AcquireError;

use super::directory::{Directory, Lock, OpenFile as _};
use super::disk::{means_no_locks, means_symlink};
use super::hint::Hint;
use super::look;
use super::state_dir::StateDir;
use super::{LOCK, RECORD};

/// The lock file, locked, in its directory. Dropped, it is unlocked, except in a forked child: that has copies of the
/// descriptors, and would unlock its parent's.
#[derive(Debug)]
pub(super) struct Ownership<D: Directory> {
    pub(super) dir: StateDir<D>,
    pub(super) lock: D::File,
    pid: u32,
}

impl<D: Directory> Ownership<D> {
    pub(super) fn new(dir: StateDir<D>, lock: D::File) -> Self {
        let pid = std::process::id();
        Self { dir, lock, pid }
    }

    /// Whether the path still leads to this directory, and in it to this lock file.
    pub(super) fn is_current(&self) -> bool {
        self.dir.leads_to(LOCK, &self.lock) && self.dir.is_current()
    }

    pub(super) fn give_back(self) -> io::Result<()> {
        self.lock.unlock()
    }
}

impl<D: Directory> Drop for Ownership<D> {
    fn drop(&mut self) {
        if std::process::id() == self.pid {
            // Unlocked already, or there is nobody left to tell.
            let _ = self.lock.unlock();
        }
    }
}

/// How often the lock file may vanish under a starter before it gives up.
const TRIES: usize = 64;

/// Locks the lock file that the path leads to, without waiting.
pub(super) fn take_ownership<D: Directory>(
    root: &D,
    path: &Path,
) -> Result<Ownership<D>, AcquireError> {
    let failed = |action, source: io::Error| {
        let path = path.join(LOCK);
        match means_symlink(&source) {
            true => AcquireError::Unsafe {
                problem: format!("{LOCK} in it is a symbolic link"),
                remedy: format!("rm {}", path.display()),
                path: path.parent().unwrap_or(&path).to_owned(),
            },
            false => AcquireError::Io {
                action,
                path,
                source: Arc::new(source),
            },
        }
    };
    let mut gone = None;
    for _ in 0..TRIES {
        let dir = match StateDir::create(root, path) {
            Ok(dir) => dir,
            // The directory was removed while it was being made.
            Err(error) if is_not_found(&error) => {
                gone = Some(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        let lock = match dir.open_lock() {
            Ok(lock) => lock,
            // The directory was removed since it was opened.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed("open", error)),
        };
        dir.check_lock(&lock)?;
        match lock.lock(Lock::Exclusive) {
            Ok(true) => {}
            Ok(false) => {
                return Err(match owner_of(&dir) {
                    Some(owner) => owner,
                    None => AcquireError::Busy(Hint::read(&lock).map(|hint| hint.phase)),
                });
            }
            Err(source) if means_no_locks(&source) => {
                return Err(AcquireError::NoLocks {
                    path: path.to_owned(),
                    source: Arc::new(source),
                });
            }
            Err(error) => return Err(failed("lock", error)),
        }
        // Somebody may have removed the file, or the directory, between the open and the lock.
        let ownership = Ownership::new(dir, lock);
        if ownership.is_current() {
            return Ok(ownership);
        }
    }
    Err(gone.unwrap_or_else(|| failed("keep", io::Error::other("it is removed all the time"))))
}

fn is_not_found(error: &AcquireError) -> bool {
    matches!(error, AcquireError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

/// The server whose live record is in the directory, as the error that names it.
pub(super) fn owner_of<D: Directory>(dir: &StateDir<D>) -> Option<AcquireError> {
    match look::see(dir).0 {
        Observation::Record(record, LockSeen::Held) => Some(AcquireError::AlreadyRunning(record)),
        _ => None,
    }
}

/// Removes the record, and what writers left that didn't get to the end; says how many files that were.
pub(super) fn clear<D: Directory>(dir: &StateDir<D>) -> Result<usize, AcquireError> {
    let failed = |action, path: &Path, source| AcquireError::Io {
        action,
        path: path.to_owned(),
        source: Arc::new(source),
    };
    let mut removed = 0;
    for name in dir.names().map_err(|e| failed("list", dir.path(), e))? {
        let Some(name) = name.to_str().filter(|name| is_record_or_leftover(name)) else {
            continue;
        };
        let gone = dir.remove(name);
        removed += usize::from(gone.map_err(|e| failed("remove", &dir.path().join(name), e))?);
    }
    Ok(removed)
}

fn is_record_or_leftover(name: &str) -> bool {
    let temporary = || name.strip_prefix(".server.json.")?.strip_suffix(".tmp");
    name == RECORD || temporary().is_some()
}
