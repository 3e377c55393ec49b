//! The state directory and its files, through the descriptor of the very directory that was checked.
//!
//! Whoever swaps the path for another directory meanwhile changes nothing for us. Locks are flock(2) on open file
//! descriptions, and are always given back by an explicit unlock: a sibling that is just being forked holds copies of our
//! descriptors for a moment, and a close alone would leave the lock with those.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, Metadata, TryLockError};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use daymark_core::state_store::AcquireError;
use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, Stat};
use rustix::io::Errno;
use tempfile::TempPath;

use super::{LOCK, RECORD};

/// An open state directory.
#[derive(Debug)]
pub(super) struct StateDir {
    path: PathBuf,
    fd: OwnedFd,
    is_new: bool,
}

const PRIVATE_DIR: Mode = Mode::RWXU;
const PRIVATE_FILE: Mode = Mode::from_raw_mode(0o600);

impl StateDir {
    /// Opens `path` for a reader; none if there is no such directory.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        // Without a trailing slash, which would have a symbolic link followed.
        let path: PathBuf = path.components().collect();
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        match rustix::fs::openat(CWD, &path, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(Self {
                path,
                fd,
                is_new: false,
            })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes `path` with its parents where it is missing, and makes sure that it is private and ours.
    pub(super) fn create(path: &Path) -> Result<Self, AcquireError> {
        let failed = |action, source: io::Error| AcquireError::Io {
            action,
            path: path.to_owned(),
            source: Arc::new(source),
        };
        let mut is_new = false;
        let opened = match Self::open(path) {
            Ok(None) => {
                if let Some(parent) = path.parent() {
                    // Private as well, whatever the umask is: who may write to them can put another one in our place.
                    DirBuilder::new()
                        .recursive(true)
                        .mode(0o700)
                        .create(parent)
                        .map_err(|e| failed("create the parents of", e))?;
                }
                match rustix::fs::mkdirat(CWD, path, PRIVATE_DIR) {
                    // A strange umask may have taken our own rights away.
                    Ok(()) => {
                        is_new = true;
                        rustix::fs::chmodat(CWD, path, PRIVATE_DIR, AtFlags::empty())
                            .map_err(|e| failed("make private", e.into()))?;
                    }
                    Err(Errno::EXIST) => {}
                    Err(error) => return Err(failed("create", error.into())),
                }
                Self::open(path)
            }
            opened => opened,
        };
        match opened.map_err(|error| Self::why_not(path, error))? {
            Some(dir) => dir.check().map(|()| Self { is_new, ..dir }),
            None => Err(failed("open", io::ErrorKind::NotFound.into())),
        }
    }

    /// Whether it was made for this very purpose just now.
    pub(super) const fn is_new(&self) -> bool {
        self.is_new
    }

    /// Makes sure that `path`, if it is there, is a directory that is private and ours.
    pub(super) fn check_existing(path: &Path) -> Result<(), AcquireError> {
        match Self::open(path).map_err(|error| Self::why_not(path, error))? {
            Some(dir) => dir.check(),
            None => Ok(()),
        }
    }

    fn why_not(path: &Path, error: io::Error) -> AcquireError {
        let bare: PathBuf = path.components().collect();
        let is_link = std::fs::symlink_metadata(bare).is_ok_and(|m| m.is_symlink());
        let unsafe_because = |problem: &str, remedy: &str| AcquireError::Unsafe {
            path: path.to_owned(),
            problem: problem.to_owned(),
            remedy: remedy.to_owned(),
        };
        match Errno::from_io_error(&error) {
            Some(Errno::LOOP | Errno::NOTDIR) if is_link => unsafe_because(
                "it is a symbolic link",
                "name the directory that it points to",
            ),
            Some(Errno::NOTDIR) => unsafe_because(
                "it is not a directory",
                "remove it, or name another directory",
            ),
            _ => AcquireError::Io {
                action: "open",
                path: path.to_owned(),
                source: Arc::new(error),
            },
        }
    }

    fn check(&self) -> Result<(), AcquireError> {
        let stat = rustix::fs::fstat(&self.fd).map_err(|e| AcquireError::Io {
            action: "check",
            path: self.path.clone(),
            source: Arc::new(e.into()),
        })?;
        let me = rustix::process::geteuid().as_raw();
        let (problem, remedy) = if stat.st_uid != me {
            (
                format!("it belongs to user {}, not to user {me}", stat.st_uid),
                "name a directory of your own".to_owned(),
            )
        } else if stat.st_mode & 0o077 != 0 {
            (
                format!("others may enter it (mode {:04o})", stat.st_mode & 0o7777),
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

    /// The path by which it was opened.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the path still leads to this very directory.
    pub(super) fn is_current(&self) -> bool {
        let at_path = rustix::fs::statat(CWD, &self.path, AtFlags::SYMLINK_NOFOLLOW);
        matches!((at_path, rustix::fs::fstat(&self.fd)), (Ok(a), Ok(b)) if same(&a, &b))
    }

    /// Opens the lock file, and makes it where it is missing.
    pub(super) fn open_lock(&self) -> io::Result<File> {
        let flags = OFlags::RDWR
            | OFlags::CREATE
            | OFlags::NOFOLLOW
            | OFlags::CLOEXEC
            | OFlags::NONBLOCK
            | OFlags::NOCTTY;
        let file = File::from(rustix::fs::openat(&self.fd, LOCK, flags, PRIVATE_FILE)?);
        require_regular(&file)?;
        Ok(file)
    }

    /// Opens one of the files to read it. Never waits, whatever it is.
    pub(super) fn open_to_read(&self, name: &str) -> io::Result<File> {
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        Ok(rustix::fs::openat(&self.fd, name, flags, Mode::empty())?.into())
    }

    /// Makes a new private file, to be removed again if its path is dropped.
    pub(super) fn create_temporary(&self, name: &str) -> io::Result<(File, TempPath)> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        tempfile::Builder::new()
            .prefix(name)
            .suffix("")
            .rand_bytes(0)
            .make_in(&self.path, |_| {
                let fd = rustix::fs::openat(&self.fd, name, flags, PRIVATE_FILE)?;
                Ok(File::from(fd))
            })
            .map(tempfile::NamedTempFile::into_parts)
    }

    /// Moves a temporary file over the record.
    pub(super) fn rename_to_record(&self, name: &str) -> io::Result<()> {
        let rename = || rustix::fs::renameat(&self.fd, name, &self.fd, RECORD);
        match rename() {
            // An empty directory in the way is no more than any other file there.
            Err(Errno::ISDIR) => {
                rustix::fs::unlinkat(&self.fd, RECORD, AtFlags::REMOVEDIR)?;
                Ok(rename()?)
            }
            renamed => Ok(renamed?),
        }
    }

    /// Removes a file, or an empty directory; false if there is none.
    pub(super) fn remove(&self, name: &str) -> io::Result<bool> {
        let removed = match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR),
            removed => removed,
        };
        match removed {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes these files from a directory in it, and that, too, if it is empty then. What isn't a directory stays.
    pub(super) fn remove_folder(&self, name: &str, files: &[&str]) -> io::Result<()> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let folder = match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(folder) => folder,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for file in files {
            match rustix::fs::unlinkat(&folder, *file, AtFlags::empty()) {
                // A directory of that name is nothing of ours (EPERM: unlink(2) outside of Linux).
                Ok(()) | Err(Errno::NOENT | Errno::ISDIR | Errno::PERM) => {}
                Err(error) => return Err(error.into()),
            }
        }
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes the directory itself, which must be empty.
    pub(super) fn remove_itself(&self) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(CWD, &self.path, AtFlags::REMOVEDIR)?)
    }

    /// The names of what is in it.
    pub(super) fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd)? {
            let name = entry?.file_name().to_bytes().to_owned();
            names.push(std::ffi::OsStr::from_bytes(&name).to_owned());
        }
        Ok(names)
    }

    /// Whether `name` leads to this very file.
    pub(super) fn leads_to(&self, name: &str, file: &File) -> bool {
        let at_path = rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW);
        matches!((at_path, rustix::fs::fstat(file)), (Ok(a), Ok(b)) if same(&a, &b))
    }

    /// What `name` leads to now, and as it was last written; none if it leads nowhere.
    pub(super) fn stamp(&self, name: &str) -> Option<Stamp> {
        rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)
            .ok()
            .map(|stat| Stamp {
                // The types of these fields differ between systems.
                inode: (stat.st_dev.into(), stat.st_ino),
                size: stat.st_size,
                modified: (stat.st_mtime, stat.st_mtime_nsec.into()),
            })
    }

    /// Whether the record's writer vouches for it, by the lock on the file that was read: a shared lock is tried.
    pub(super) fn proof_is_held(&self, record: &File) -> Result<bool, io::Error> {
        match record.try_lock_shared() {
            Ok(()) => {
                record.unlock()?;
                Ok(false)
            }
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Waits until nobody vouches for the record any more.
    pub(super) fn wait_for_proof_to_end(&self, record: &File) -> io::Result<()> {
        record.lock_shared()?;
        record.unlock()
    }

    /// Begins to vouch for a record.
    pub(super) fn hold_proof(record: &File) -> io::Result<()> {
        record.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
            TryLockError::Error(error) => error,
        })
    }

    /// Ends that.
    pub(super) fn drop_proof(record: &File) {
        // Unlocking a lock that one holds can't fail (flock(2)).
        let _ = record.unlock();
    }
}

/// What a name led to at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: (i128, u64),
    size: i64,
    modified: (i64, i128),
}

/// Below this there is room for what a process opens later, and what must go after the proof when it dies: a socket whose end
/// tells others to stop what still serves for it. Closing one, or a watch of a directory, can take tens of milliseconds.
const ROOM: i32 = 256;

/// The same file under a descriptor whose number is above `above`, and if so many are allowed, above [`ROOM`].
pub(super) fn numbered_above(file: File, above: Option<i32>) -> io::Result<File> {
    let Some(above) = above else { return Ok(file) };
    let least = above.saturating_add(1);
    let number = |least| rustix::io::fcntl_dupfd_cloexec(&file, least).map(File::from);
    match number(least.max(ROOM)) {
        Err(Errno::INVAL | Errno::MFILE) if file.as_raw_fd() >= least => Ok(file),
        Err(Errno::INVAL | Errno::MFILE) => Ok(number(least)?),
        numbered => Ok(numbered?),
    }
}

/// Whether the file is this user's.
pub(super) fn is_ours(file: &Metadata) -> bool {
    file.uid() == rustix::process::geteuid().as_raw()
}

/// Whether the error says that the file system has no locks.
pub(super) fn means_no_locks(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL)
    )
}

/// Whether the error says that the name is a symbolic link that wasn't followed.
pub(super) fn means_symlink(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::LOOP)
}

/// The process that holds a lock on the file, as far as the system tells without trying it: `/proc/locks`
/// (proc_locks(5)).
#[cfg(target_os = "linux")]
pub(super) fn lock_holder(file: &File) -> Option<u32> {
    /// The kernel may leave a line out while other locks come and go.
    const READS: u32 = 3;

    let meta = file.metadata().ok()?;
    let (major, minor) = (rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()));
    let wanted = format!("{major:02x}:{minor:02x}:{}", meta.ino());
    // Columns: number, (-> for who waits,) class, kind, mode, pid, file, range.
    let listed = |locks: String| {
        let of_file = |line: &&str| line.contains(" FLOCK ") && !line.contains(" -> ");
        locks.lines().filter(of_file).find_map(|line| {
            let mut words = line.split_ascii_whitespace().rev().skip(2);
            (words.next()? == wanted).then(|| words.next()?.parse().ok())?
        })
    };
    (0..READS).find_map(|_| std::fs::read_to_string("/proc/locks").ok().and_then(listed))
}

/// Here it can't be told without trying the lock.
#[cfg(not(target_os = "linux"))]
pub(super) const fn lock_holder(_file: &File) -> Option<u32> {
    None
}

fn require_regular(file: &File) -> io::Result<()> {
    match file.metadata()?.is_file() {
        true => Ok(()),
        false => Err(io::Error::other("it is not a regular file")),
    }
}

const fn same(a: &Stat, b: &Stat) -> bool {
    a.st_dev == b.st_dev && a.st_ino == b.st_ino
}
