//! The state directory and its files, through the open directory that was checked.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use daymark_core::state_store::AcquireError;

use super::directory::{Access, Directory, Kind, Lock, OpenFile, Stat};
use super::disk::{DiskDir, means_symlink};
use super::{LOCK, RECORD, trust};

/// An open state directory.
#[derive(Debug)]
pub(super) struct StateDir<D: Directory = DiskDir> {
    root: D,
    path: PathBuf,
    dir: D,
    is_new: bool,
}

impl<D: Directory> StateDir<D> {
    /// Opens `path` for a reader; none if there is no such directory.
    pub(super) fn open(root: &D, path: &Path) -> io::Result<Option<Self>> {
        // Without a trailing slash, which would have a symbolic link followed.
        let path: PathBuf = path.components().collect();
        match root.open_dir(&path) {
            Ok(dir) => Ok(Some(Self {
                root: root.root(),
                path,
                dir,
                is_new: false,
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes `path` with its parents where it is missing, and makes sure that it is private and ours.
    pub(super) fn create(root: &D, path: &Path) -> Result<Self, AcquireError> {
        let failed = |action, source: io::Error| AcquireError::Io {
            action,
            path: path.to_owned(),
            source: Arc::new(source),
        };
        let open = || Self::open(root, path).map_err(|error| why_not(root, path, error));
        if let Some(dir) = open()? {
            return dir.check().map(|()| dir);
        }
        let is_new = match make_with_parents(root, path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(failed("create", error)),
        };
        match open()? {
            Some(dir) => dir.check().map(|()| Self { is_new, ..dir }),
            None => Err(failed("open", io::ErrorKind::NotFound.into())),
        }
    }

    /// Whether it was made for this very purpose just now.
    pub(super) const fn is_new(&self) -> bool {
        self.is_new
    }

    /// Makes sure that `path`, if it is there, is a directory that is private and ours.
    pub(super) fn check_existing(root: &D, path: &Path) -> Result<(), AcquireError> {
        match Self::open(root, path).map_err(|error| why_not(root, path, error))? {
            Some(dir) => dir.check(),
            None => Ok(()),
        }
    }

    fn check(&self) -> Result<(), AcquireError> {
        let stat = self.dir.stat().map_err(|e| AcquireError::Io {
            action: "check",
            path: self.path.clone(),
            source: Arc::new(e),
        })?;
        let me = D::user();
        let (problem, remedy) = if stat.user != me {
            (
                format!("it belongs to user {}, not to user {me}", stat.user),
                "name a directory of your own".to_owned(),
            )
        } else if stat.mode & 0o077 != 0 {
            (
                format!("others may enter it (mode {:04o})", stat.mode),
                format!("chmod 700 {}", self.path.display()),
            )
        } else {
            return Ok(());
        };
        Err(AcquireError::Unsafe {
            path: self.path.clone(),
            problem,
            remedy,
        })
    }

    /// Why a reader believes nothing in it.
    pub(super) fn distrust(&self) -> Option<String> {
        match self.dir.stat() {
            Ok(stat) => trust::of_directory(stat.user, stat.mode, D::user()),
            Err(error) => Some(format!("the state directory cannot be checked: {error}")),
        }
    }

    /// Whether others may have this file of ours open, so that a lock on it proves nothing.
    pub(super) fn others_may_open(&self, file: &Stat) -> bool {
        // Mostly the file's mode decides, and the directory needn't be asked.
        let may_open_in = |directory| trust::others_may_open(file.mode, directory);
        may_open_in(0o777) && self.dir.stat().is_ok_and(|dir| may_open_in(dir.mode))
    }

    /// Makes sure that the lock file is this user's, and no other file by another name: it will be written to. What was
    /// put there while others could get at the directory is of no use any more, whatever the directory's mode is by now.
    pub(super) fn check_lock(&self, lock: &D::File) -> Result<(), AcquireError> {
        let path = self.path.join(LOCK);
        let failed = |source: io::Error| AcquireError::Io {
            action: "check",
            path: path.clone(),
            source: Arc::new(source),
        };
        let owner = lock.stat().map_err(failed)?.user;
        let links = lock.links().map_err(failed)?;
        match trust::of_lock_file(owner, links, D::user()) {
            None => lock.close_to_others().map_err(failed),
            Some(problem) => Err(AcquireError::Unsafe {
                problem: format!("{LOCK} in it {problem}"),
                remedy: format!("rm {}", path.display()),
                path: self.path.clone(),
            }),
        }
    }

    /// Where its path begins.
    pub(super) const fn root(&self) -> &D {
        &self.root
    }

    /// The path by which it was opened.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the path still leads to this very directory.
    pub(super) fn is_current(&self) -> bool {
        same(self.root.stat_at(&self.path), self.dir.stat())
    }

    /// Opens the lock file, and makes it where it is missing.
    pub(super) fn open_lock(&self) -> io::Result<D::File> {
        let file = self.dir.open(LOCK.as_ref(), Access::Write)?;
        match file.stat()?.kind {
            Kind::File => Ok(file),
            _ => Err(io::Error::other("it is not a regular file")),
        }
    }

    /// Opens one of the files to read it. Never waits, whatever it is.
    pub(super) fn open_to_read(&self, name: &str) -> io::Result<D::File> {
        self.dir.open(name.as_ref(), Access::Read)
    }

    /// Makes a new private file.
    pub(super) fn create_temporary(&self, name: &str) -> io::Result<D::File> {
        let file = tempfile::Builder::new()
            .prefix(name)
            .suffix("")
            .rand_bytes(0)
            // That would go by the path.
            .disable_cleanup(true)
            .make_in(&self.path, |_| self.dir.open(name.as_ref(), Access::New))?;
        Ok(file.into_parts().0)
    }

    /// Moves a temporary file over the record.
    pub(super) fn rename_to_record(&self, name: &str) -> io::Result<()> {
        let rename = || self.dir.rename(name.as_ref(), RECORD.as_ref());
        match rename() {
            // An empty directory in the way is no more than any other file there.
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                self.dir.remove_dir(RECORD.as_ref())?;
                rename()
            }
            renamed => renamed,
        }
    }

    /// Removes a file, or an empty directory; false if there is none.
    pub(super) fn remove(&self, name: &str) -> io::Result<bool> {
        let removed = match self.dir.unlink(name.as_ref()) {
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                self.dir.remove_dir(name.as_ref())
            }
            removed => removed,
        };
        match removed {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes these files from a directory in it, and that, too, if it is empty then. What isn't a directory stays.
    pub(super) fn remove_folder(&self, name: &str, files: &[&str]) -> io::Result<()> {
        use io::ErrorKind::{DirectoryNotEmpty, IsADirectory, NotADirectory, NotFound};

        let folder = match self.dir.open_dir(name.as_ref()) {
            Ok(folder) => folder,
            Err(error) if means_symlink(&error) => return Ok(()),
            Err(error) if matches!(error.kind(), NotFound | NotADirectory) => return Ok(()),
            Err(error) => return Err(error),
        };
        for file in files {
            match folder.unlink(file.as_ref()) {
                // A directory of that name is nothing of ours.
                Err(error) if !matches!(error.kind(), NotFound | IsADirectory) => {
                    return Err(error);
                }
                _ => {}
            }
        }
        match self.dir.remove_dir(name.as_ref()) {
            Err(error) if !matches!(error.kind(), NotFound | DirectoryNotEmpty) => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes the directory itself, which must be empty. Where the path leads elsewhere by now, what is there stays.
    pub(super) fn remove_itself(&self) -> io::Result<()> {
        self.root.remove_this(&self.path, &self.dir)
    }

    /// The names of what is in it.
    pub(super) fn names(&self) -> io::Result<Vec<OsString>> {
        self.dir.names()
    }

    /// Whether `name` leads to this very file.
    pub(super) fn leads_to(&self, name: &str, file: &D::File) -> bool {
        file.stat()
            .is_ok_and(|file| self.leads_to_what_is(name, &file))
    }

    /// The same for an open file that was asked before which it is.
    pub(super) fn leads_to_what_is(&self, name: &str, file: &Stat) -> bool {
        same(self.dir.stat_at(name.as_ref()), Ok(*file))
    }

    /// What `name` leads to now, and as it was last written; none if it leads nowhere.
    pub(super) fn stat(&self, name: &str) -> Option<Stat> {
        self.dir.stat_at(name.as_ref()).ok()
    }

    /// Whether the record's writer vouches for it, by the lock on the file that was read: a shared lock is tried.
    ///
    /// Where a locked file couldn't be read, it is the owner's lock. That is weaker, for it vouches for an owner and not for
    /// these very bytes: while a new owner clears a dead one's record away, a reader may believe that for an instant.
    pub(super) fn proof_is_held(&self, record: &D::File) -> io::Result<bool> {
        if D::File::LOCKED_IS_READABLE {
            return is_held(record);
        }
        match self.open_to_read(LOCK) {
            Ok(lock) => is_held(&lock),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Waits until nobody vouches for the record any more.
    pub(super) fn wait_for_proof_to_end(&self, record: &D::File) -> io::Result<()> {
        if D::File::LOCKED_IS_READABLE {
            return wait(record);
        }
        wait(&self.open_to_read(LOCK)?)
    }

    /// Begins to vouch for a record, where the owner's lock doesn't do so already.
    pub(super) fn hold_proof(record: &D::File) -> io::Result<()> {
        match !D::File::LOCKED_IS_READABLE || record.lock(Lock::Exclusive)? {
            true => Ok(()),
            false => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

/// Makes a directory, and its parents where they are missing: private as well, whatever the umask is, for who may write to
/// them can put another one in its place.
fn make_with_parents<D: Directory>(root: &D, path: &Path) -> io::Result<()> {
    match (root.make_dir(path), path.parent()) {
        (Err(error), Some(parent)) if error.kind() == io::ErrorKind::NotFound => {
            match make_with_parents(root, parent) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                _ => root.make_dir(path),
            }
        }
        (made, _) => made,
    }
}

/// Why a directory couldn't be opened.
fn why_not<D: Directory>(root: &D, path: &Path, error: io::Error) -> AcquireError {
    let bare: PathBuf = path.components().collect();
    let is_link = || matches!(root.stat_at(&bare), Ok(stat) if stat.kind == Kind::Link);
    let unsafe_because = |problem: &str, remedy: &str| AcquireError::Unsafe {
        path: path.to_owned(),
        problem: problem.to_owned(),
        remedy: remedy.to_owned(),
    };
    let is_no_directory = error.kind() == io::ErrorKind::NotADirectory;
    if (is_no_directory || means_symlink(&error)) && is_link() {
        unsafe_because(
            "it is a symbolic link",
            "name the directory that it points to",
        )
    } else if is_no_directory {
        unsafe_because(
            "it is not a directory",
            "remove it, or name another directory",
        )
    } else {
        AcquireError::Io {
            action: "open",
            path: path.to_owned(),
            source: Arc::new(error),
        }
    }
}

fn is_held(file: &impl OpenFile) -> io::Result<bool> {
    match file.lock(Lock::Shared)? {
        true => file.unlock().map(|()| false),
        false => Ok(true),
    }
}

fn wait(file: &impl OpenFile) -> io::Result<()> {
    file.lock(Lock::SharedInTime)?;
    file.unlock()
}

fn same(a: io::Result<Stat>, b: io::Result<Stat>) -> bool {
    matches!((a, b), (Ok(a), Ok(b)) if a.id == b.id)
}
