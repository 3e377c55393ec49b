//! The file system itself, through the descriptors of directories.
//!
//! Whoever swaps a path for another directory meanwhile changes nothing for us. Locks are flock(2) on open file
//! descriptions, and are always given back by an explicit unlock: a sibling that is just being forked holds copies of our
//! descriptors for a moment, and a close alone would leave the lock with those.

#[cfg(target_os = "linux")]
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{File, TryLockError};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

#[cfg(target_os = "linux")]
use super::directory::Locks;
use super::directory::{
    Access, Asked, Directory, Kind, Lock, OpenFile, Stat, another_took_its_place,
};
use crate::private;

/// An open directory of the disk, or the working directory, where relative paths begin.
#[derive(Debug)]
pub struct DiskDir(Option<OwnedFd>);

const PRIVATE_FILE: Mode = Mode::from_raw_mode(0o600);

/// A directory that is only searched need not be readable.
#[cfg(target_os = "linux")]
const SEARCH: OFlags = OFlags::PATH;
#[cfg(not(target_os = "linux"))]
const SEARCH: OFlags = OFlags::RDONLY;

impl DiskDir {
    pub(super) const fn working() -> Self {
        Self(None)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_ref().map_or(CWD, OwnedFd::as_fd)
    }
}

impl Directory for DiskDir {
    type File = File;

    fn root(&self) -> Self {
        Self::working()
    }

    fn user() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    fn open_dir(&self, path: &Path) -> io::Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let fd = rustix::fs::openat(self.fd(), path, flags, Mode::empty())?;
        Ok(Self(Some(fd)))
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        match private::make_dir(self.fd(), path)? {
            true => Ok(()),
            false => Err(io::ErrorKind::AlreadyExists.into()),
        }
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        match rustix::fs::unlinkat(self.fd(), path, AtFlags::REMOVEDIR) {
            // The same, on some systems (rmdir(2)).
            Err(Errno::EXIST) => Err(io::ErrorKind::DirectoryNotEmpty.into()),
            removed => Ok(removed?),
        }
    }

    /// In the parent that is opened here: wherever that is by then, nothing else is removed than what was seen in it.
    fn remove_this(&self, path: &Path, this: &Self) -> io::Result<()> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::ResourceBusy.into());
        };
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | SEARCH;
        let parent = Self(Some(rustix::fs::openat(
            self.fd(),
            parent,
            flags,
            Mode::empty(),
        )?));
        match parent.stat_at(name.as_ref())?.id == this.stat()?.id {
            true => parent.remove_dir(name.as_ref()),
            false => Err(another_took_its_place()),
        }
    }

    fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(self.fd())? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn stat(&self) -> io::Result<Stat> {
        Ok(stat(&rustix::fs::fstat(self.fd())?))
    }

    fn stat_at(&self, path: &Path) -> io::Result<Stat> {
        let found = rustix::fs::statat(self.fd(), path, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(stat(&found))
    }

    fn open(&self, name: &Path, access: Access) -> io::Result<File> {
        let how = match access {
            Access::Read => OFlags::RDONLY,
            Access::Write => OFlags::RDWR | OFlags::CREATE,
            Access::New => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
        };
        let never = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = rustix::fs::openat(self.fd(), name, how | never, PRIVATE_FILE)?;
        if access == Access::New
            && let Err(error) = private::settle_file(fd.as_fd())
        {
            // Whoever isn't given it doesn't know that it is there.
            let _ = self.unlink(name);
            return Err(error);
        }
        Ok(fd.into())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Ok(rustix::fs::renameat(self.fd(), from, self.fd(), to)?)
    }

    fn unlink(&self, name: &Path) -> io::Result<()> {
        match rustix::fs::unlinkat(self.fd(), name, AtFlags::empty()) {
            // Of a directory, outside of Linux (unlink(2)).
            #[cfg(not(target_os = "linux"))]
            Err(Errno::PERM) => Err(io::ErrorKind::IsADirectory.into()),
            removed => Ok(removed?),
        }
    }
}

impl OpenFile for File {
    const LOCKED_IS_READABLE: bool = true;

    fn stat(&self) -> io::Result<Stat> {
        Ok(stat(&rustix::fs::fstat(self)?))
    }

    fn read(&self, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; most];
        let mut len = 0;
        while len < most {
            match self.read_at(&mut bytes[len..], len as u64) {
                Ok(0) => break,
                Ok(more) => len += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(len);
        Ok(bytes)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, 0)
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

    /// By what `/proc` says of that process, or by `/proc/locks` (proc_locks(5)), without trying the lock.
    #[cfg(target_os = "linux")]
    fn lock_holder(&self, asked: Asked<'_>) -> Option<u32> {
        match self.is_locked_by(asked.claimed_by) {
            Some(true) => Some(asked.claimed_by),
            Some(false) if !asked.others => None,
            _ => holder_among(asked.locks, asked.stat),
        }
    }

    /// Here it can't be told without trying the lock.
    #[cfg(not(target_os = "linux"))]
    fn lock_holder(&self, _asked: Asked<'_>) -> Option<u32> {
        None
    }

    #[cfg(target_os = "linux")]
    fn is_locked_by(&self, pid: u32) -> Option<bool> {
        use crate::proc_fs::processes;
        processes::holds_lock(processes::pid(pid)?, &self.metadata().ok()?)
    }

    fn links(&self) -> io::Result<u64> {
        Ok(self.metadata()?.nlink())
    }

    fn close_to_others(&self) -> io::Result<()> {
        private::settle_file(self.as_fd())
    }

    fn numbered_above(self, above: i32) -> io::Result<Self> {
        /// Below this there is room for what a process opens later, and what must go after the proof when it dies: a socket
        /// whose end tells others to stop what still serves for it. Closing one, or a watch of a directory, can take tens
        /// of milliseconds.
        const ROOM: i32 = 256;

        let least = above.saturating_add(1);
        let number = |least| rustix::io::fcntl_dupfd_cloexec(&self, least).map(Self::from);
        match number(least.max(ROOM)) {
            Err(Errno::INVAL | Errno::MFILE) if self.as_raw_fd() >= least => Ok(self),
            Err(Errno::INVAL | Errno::MFILE) => Ok(number(least)?),
            numbered => Ok(numbered?),
        }
    }
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

fn stat(found: &rustix::fs::Stat) -> Stat {
    Stat {
        // The types of these fields differ between systems.
        id: (found.st_dev.into(), found.st_ino),
        kind: match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Link,
            _ => Kind::Other,
        },
        user: found.st_uid,
        mode: u64::from(found.st_mode) & 0o7777,
        len: found.st_size,
        modified: (found.st_mtime, found.st_mtime_nsec.into()),
    }
}

/// The process that has a lock on the file that looks like this.
#[cfg(target_os = "linux")]
fn holder_among(locks: &Locks, file: &Stat) -> Option<u32> {
    let (device, inode) = file.id;
    let device = u64::try_from(device).ok()?;
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    locks.holder(&format!("{major:02x}:{minor:02x}:{inode}"), all_locks)
}

/// Every flock(2) of this machine: `MAJOR:MINOR:INODE` and a process that has it.
#[cfg(target_os = "linux")]
fn all_locks() -> HashMap<String, u32> {
    /// The kernel may leave a line out, between one piece and the next, while other locks come and go.
    const READS: u32 = 3;

    // Columns: number, (-> for who waits,) class, kind, mode, pid, file, range.
    let holder_in = |line: &str| {
        let mut words = line.split_ascii_whitespace().rev().skip(2);
        Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
    };
    let is_held = |line: &&str| line.contains(" FLOCK ") && !line.contains(" -> ");
    let mut held = HashMap::new();
    for _ in 0..READS {
        let Ok((table, pieces)) = read_in_pieces("/proc/locks") else {
            break;
        };
        let table = String::from_utf8_lossy(&table);
        held.extend(table.lines().filter(is_held).filter_map(holder_in));
        if pieces < 2 {
            break;
        }
    }
    held
}

/// All of a file that the kernel makes up, and how many pieces it gave it in.
#[cfg(target_os = "linux")]
fn read_in_pieces(path: &str) -> io::Result<(Vec<u8>, usize)> {
    let mut file = File::open(path)?;
    let (mut all, mut pieces) = (Vec::new(), 0);
    // Two of what the kernel makes up at once.
    let mut piece = vec![0; 8 * 1024];
    loop {
        match io::Read::read(&mut file, &mut piece)? {
            0 => return Ok((all, pieces)),
            len => all.extend_from_slice(&piece[..len]),
        }
        pieces += 1;
    }
}
