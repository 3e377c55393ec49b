//! Being woken when a directory changes, without looking all the time.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use same_file::Handle;
use tokio::sync::Notify;

/// Watches one directory, by the system's own means (inotify(7), FSEvents, ReadDirectoryChangesW).
///
/// The directory is watched, not a file in it: a watch on a file ends when another one is renamed over it.
#[derive(Debug)]
pub struct DirWatch {
    _watcher: RecommendedWatcher,
    woken: Arc<Notify>,
    path: PathBuf,
    /// The directory itself, held open so that no other one can come to look like it.
    dir: Handle,
}

impl DirWatch {
    /// Watches `dir`, from now on.
    ///
    /// # Errors
    ///
    /// When there is no such directory, or the system has no watch left.
    pub fn on(dir: &Path) -> io::Result<Self> {
        let handle = open(dir)?;
        let woken = Arc::new(Notify::new());
        let waker = woken.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // That somebody reads is no change, and readers would wake themselves.
            if !event.is_ok_and(|event| is_mere_reading(event.kind)) {
                waker.notify_one();
            }
        })
        .map_err(io::Error::other)?;
        // Where it was given no thread it panics, and would again when it is dropped (notify's inotify.rs).
        let watching = AssertUnwindSafe(|| watcher.watch(dir, RecursiveMode::NonRecursive));
        match catch_unwind(watching) {
            Ok(watched) => watched.map_err(io::Error::other)?,
            Err(_) => {
                std::mem::forget(watcher);
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        Ok(Self {
            _watcher: watcher,
            woken,
            path: dir.to_owned(),
            dir: handle,
        })
    }

    /// Whether `path` is what was watched, and still leads to the directory that is.
    #[must_use]
    pub fn is_on(&self, path: &Path) -> bool {
        self.path == path && open(path).is_ok_and(|now| now == self.dir)
    }

    /// Waits until something has changed since the last call, or since the watch began. It may wake for nothing. One
    /// waiter at a time.
    pub async fn changed(&self) {
        self.woken.notified().await;
    }
}

/// The directory itself. Never waits: a FIFO that has come to stand there isn't opened.
#[cfg(unix)]
fn open(dir: &Path) -> io::Result<Handle> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    Handle::from_file(openat(CWD, dir, flags, Mode::empty())?.into())
}

#[cfg(not(unix))]
fn open(dir: &Path) -> io::Result<Handle> {
    Handle::from_path(dir)
}

/// A writer's close is more: with it go locks.
const fn is_mere_reading(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) => true,
        _ => false,
    }
}
