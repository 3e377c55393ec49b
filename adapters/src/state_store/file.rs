//! State in a directory of the file system: `server.lock` is the ownership, `server.json` is the record.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use daymark_core::presence::{LockSeen, Observation};
use daymark_core::state_store::{AcquireError, Lease, StateStore};

use super::hint::Hint;
use super::lease::{self, FileLease, Ownership};
use super::look::{self, Look};
use super::state_dir::{self, StateDir};
use super::{LOCK, RECORD};

/// The store for one state directory.
#[derive(Clone, Debug)]
pub struct FileStore {
    path: PathBuf,
}

impl FileStore {
    /// The store in `path`. Nothing is touched yet.
    ///
    /// # Errors
    ///
    /// When the path is relative and the working directory isn't known.
    pub fn new(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: std::path::absolute(path)?,
        })
    }

    /// Whether nobody owns the place, found out by owning it for a moment. Makes nothing that isn't there.
    ///
    /// # Errors
    ///
    /// What keeps it from being found out.
    pub fn is_free(&self) -> io::Result<bool> {
        let Some((dir, lock)) = self.open_existing_lock()? else {
            return Ok(true);
        };
        match lock.try_lock_shared() {
            // As for every owner: what was locked counts only if it is still in its place.
            Ok(()) => lock.unlock().map(|()| dir.leads_to(LOCK, &lock)),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Makes sure that state may be kept in the directory, as far as it is there. Makes nothing that isn't.
    ///
    /// # Errors
    ///
    /// [`AcquireError::Unsafe`], or what keeps it from being found out.
    pub fn check(&self) -> Result<(), AcquireError> {
        StateDir::check_existing(&self.path)
    }

    fn open_existing_lock(&self) -> io::Result<Option<(StateDir, File)>> {
        let Some(dir) = StateDir::open(&self.path)? else {
            return Ok(None);
        };
        match dir.open_to_read(LOCK) {
            Ok(lock) if lock.metadata()?.is_file() => Ok(Some((dir, lock))),
            Ok(_) => Err(io::Error::other(format!("{LOCK} is not a regular file"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes all that a server left here, the directory included; false if there is something else in it.
    ///
    /// Safe at any time: it happens under the ownership, and whoever waits for that looks, once it has it, whether the
    /// place is still there.
    ///
    /// # Errors
    ///
    /// [`AcquireError::AlreadyRunning`] and [`AcquireError::Busy`] when somebody owns the place.
    pub fn prune(&self) -> Result<bool, AcquireError> {
        let ownership = take_ownership(&self.path)?;
        let dir = &ownership.dir;
        if let Some(owner) = owner_of(dir) {
            return Err(owner);
        }
        lease::clear(dir)?;
        let removed = dir.remove(LOCK).and_then(|_| dir.remove_itself());
        match removed {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
            Err(error) => Err(AcquireError::Io {
                action: "remove",
                path: self.path.clone(),
                source: Arc::new(error),
            }),
        }
    }

    /// The record's path.
    #[must_use]
    pub fn record_path(&self) -> PathBuf {
        self.path.join(RECORD)
    }
}

#[async_trait]
impl StateStore for FileStore {
    async fn acquire(&self) -> Result<Arc<dyn Lease>, AcquireError> {
        let store = self.clone();
        blocking(move || {
            let ownership = take_ownership(&store.path)?;
            let lease: Arc<dyn Lease> = Arc::new(FileLease::new(ownership));
            Ok(lease)
        })
        .await
    }

    async fn observe(&self) -> Observation {
        let path = self.path.clone();
        blocking(move || Look::at(&path).observation().clone()).await
    }
}

/// Runs what may wait for the disk on a thread that may wait.
///
/// It always comes back: only a runtime that is going down drops its threads' results, and with them the one who waits.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => std::future::pending().await,
    }
}

/// How often the lock file may vanish under a starter before it gives up.
const TRIES: usize = 64;

/// Locks the lock file that the path leads to, without waiting.
pub(super) fn take_ownership(path: &Path) -> Result<Ownership, AcquireError> {
    let failed = |action, source: io::Error| {
        let path = path.join(LOCK);
        match state_dir::means_symlink(&source) {
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
        let dir = match StateDir::create(path) {
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
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(match owner_of(&dir) {
                    Some(owner) => owner,
                    None => AcquireError::Busy(Hint::read(&lock).map(|hint| hint.phase)),
                });
            }
            Err(TryLockError::Error(source)) if state_dir::means_no_locks(&source) => {
                return Err(AcquireError::NoLocks {
                    path: path.to_owned(),
                    source: Arc::new(source),
                });
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock", error)),
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
pub(super) fn owner_of(dir: &StateDir) -> Option<AcquireError> {
    match look::see(dir).0 {
        Observation::Record(record, LockSeen::Held) => Some(AcquireError::AlreadyRunning(record)),
        _ => None,
    }
}
