//! State in a directory of the file system: `server.lock` is the ownership, `server.json` is the record.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use daymark_core::presence::Observation;
use daymark_core::state_store::{AcquireError, Lease, StateStore};

use super::blocking::blocking;
use super::directory::{Directory, Kind, Lock, OpenFile as _};
use super::disk::DiskDir;
use super::lease::FileLease;
use super::look::Look;
use super::ownership::{clear, owner_of, take_ownership};
use super::state_dir::StateDir;
use super::{LOCK, RECORD};
use crate::log_file;

/// The store for one state directory.
#[derive(Debug)]
pub struct FileStore<D: Directory = DiskDir> {
    root: D,
    path: PathBuf,
}

impl FileStore {
    /// The store in `path`. Nothing is touched yet.
    ///
    /// # Errors
    ///
    /// When the path is relative and the working directory isn't known.
    pub fn new(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        Ok(Self::within(DiskDir::working(), path))
    }
}

impl<D: Directory> FileStore<D> {
    /// The store in `path` of the file system of `root`.
    #[doc(hidden)]
    #[must_use]
    pub const fn within(root: D, path: PathBuf) -> Self {
        Self { root, path }
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
        match lock.lock(Lock::Shared)? {
            // As for every owner: what was locked counts only if it is still in its place.
            true => lock.unlock().map(|()| dir.leads_to(LOCK, &lock)),
            false => Ok(false),
        }
    }

    /// Makes sure that state may be kept in the directory, as far as it is there. Makes nothing that isn't.
    ///
    /// # Errors
    ///
    /// [`AcquireError::Unsafe`], or what keeps it from being found out.
    pub fn check(&self) -> Result<(), AcquireError> {
        StateDir::check_existing(&self.root, &self.path)
    }

    fn open_existing_lock(&self) -> io::Result<Option<(StateDir<D>, D::File)>> {
        let Some(dir) = StateDir::open(&self.root, &self.path)? else {
            return Ok(None);
        };
        match dir.open_to_read(LOCK) {
            Ok(lock) if lock.stat()?.kind == Kind::File => Ok(Some((dir, lock))),
            Ok(_) => Err(io::Error::other(format!("{LOCK} is not a regular file"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes all that a server left here, its log and the directory included; false if there is something else in it.
    ///
    /// Safe at any time: it happens under the ownership, and whoever waits for that looks, once it has it, whether the
    /// place is still there.
    ///
    /// # Errors
    ///
    /// [`AcquireError::AlreadyRunning`] and [`AcquireError::Busy`] when somebody owns the place.
    pub fn prune(&self) -> Result<bool, AcquireError> {
        let ownership = take_ownership(&self.root, &self.path)?;
        let dir = &ownership.dir;
        if let Some(owner) = owner_of(dir) {
            return Err(owner);
        }
        clear(dir)?;
        let removed = dir
            .remove_folder(log_file::DIR, &[log_file::CURRENT, log_file::PREVIOUS])
            .and_then(|()| dir.remove(LOCK))
            .and_then(|_| dir.remove_itself());
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

impl<D: Directory> Clone for FileStore<D> {
    fn clone(&self) -> Self {
        Self::within(self.root.root(), self.path.clone())
    }
}

#[async_trait]
impl<D: Directory> StateStore for FileStore<D> {
    async fn acquire(&self) -> Result<Arc<dyn Lease>, AcquireError> {
        let store = self.clone();
        blocking(move || {
            let ownership = take_ownership(&store.root, &store.path)?;
            let lease: Arc<dyn Lease> = Arc::new(FileLease::new(ownership));
            Ok(lease)
        })
        .await
    }

    async fn observe(&self) -> Observation {
        let store = self.clone();
        blocking(move || Look::within(&store.root, &store.path).observation().clone()).await
    }
}
