//! Being woken when a directory changes, without looking all the time.

use std::io;
use std::path::{Path, PathBuf};

use same_file::Handle;

use super::events::Events;

/// Watches one directory, by the system's own means. Needs a tokio runtime with I/O enabled, on Linux.
///
/// The directory is watched, not a file in it: a watch on a file ends when another one is renamed over it.
#[derive(Debug)]
pub struct DirWatch {
    events: Events,
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
        Ok(Self {
            dir: open(dir)?,
            events: Events::of(dir)?,
            path: dir.to_owned(),
        })
    }

    /// Whether `path` is what was watched, still leads to the directory that is, and changes are still told.
    #[must_use]
    pub fn is_on(&self, path: &Path) -> bool {
        self.events.go_on() && self.path == path && open(path).is_ok_and(|now| now == self.dir)
    }

    /// Waits until something has changed since the last call, or since the watch began. It may wake for nothing. One
    /// waiter at a time.
    pub async fn changed(&self) {
        self.events.next().await;
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
