//! What the store asks of a file system: these calls, and no others.
//!
//! Each is one call to the system, or a few that belong together; what they are put together to stands in the files that
//! use them. So whoever implements these two traits has the whole store run on it: there is the disk, and in the tests a
//! model of one that loses its power.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt::Debug;
use std::io;
use std::path::Path;

/// An open directory. Paths lead on from it; only those from the [root](Directory::root) have more than one part.
pub trait Directory: Debug + Send + Sync + Sized + 'static {
    /// An open file in it.
    type File: OpenFile;

    /// Where all paths of this file system begin.
    fn root(&self) -> Self;

    /// The user who asks.
    fn user() -> u32;

    /// Opens a directory, never through a symbolic link at its end.
    ///
    /// # Errors
    ///
    /// What the system says: [`io::ErrorKind::NotFound`] where there is none, for all such calls.
    fn open_dir(&self, path: &Path) -> io::Result<Self>;

    /// Makes a directory, private whatever the umask is.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AlreadyExists`], or what else the system says.
    fn make_dir(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::DirectoryNotEmpty`], or what else the system says.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory, if the path still leads to this one, or at least is in the same place.
    ///
    /// # Errors
    ///
    /// As for [`remove_dir`](Self::remove_dir).
    fn remove_this(&self, path: &Path, this: &Self) -> io::Result<()> {
        match self.stat_at(path)?.id == this.stat()?.id {
            true => self.remove_dir(path),
            false => Err(another_took_its_place()),
        }
    }

    /// The names of what is in it.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn names(&self) -> io::Result<Vec<OsString>>;

    /// What it is itself.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn stat(&self) -> io::Result<Stat>;

    /// What a path leads to. A symbolic link at its end is not followed.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn stat_at(&self, path: &Path) -> io::Result<Stat>;

    /// Opens a file. Never waits, and never follows a symbolic link.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn open(&self, name: &Path, access: Access) -> io::Result<Self::File>;

    /// Gives a file another name, in place of the file that had it.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::IsADirectory`], or what else the system says.
    fn unlink(&self, name: &Path) -> io::Result<()>;
}

/// An open file.
pub trait OpenFile: Debug + Send + Sync + Sized + 'static {
    /// Whether others can read it while it is locked.
    const LOCKED_IS_READABLE: bool;

    /// What it is.
    ///
    /// # Errors
    ///
    /// What the system says, as for all calls.
    fn stat(&self) -> io::Result<Stat>;

    /// Reads from the beginning on, and no more than `most` bytes.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn read(&self, most: usize) -> io::Result<Vec<u8>>;

    /// Writes over what is at the beginning.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn write(&self, bytes: &[u8]) -> io::Result<()>;

    /// Has what was written outlast a power cut.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn sync(&self) -> io::Result<()>;

    /// Locks it; false if another one's lock is in the way, where that isn't waited for.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn lock(&self, lock: Lock) -> io::Result<bool>;

    /// Gives the lock back.
    ///
    /// # Errors
    ///
    /// What the system says; but a lock that one holds can always be given back (flock(2)).
    fn unlock(&self) -> io::Result<()>;

    /// The process that holds a lock on it, as far as the system tells.
    fn lock_holder(&self, asked: Asked<'_>) -> Option<u32>;

    /// Whether that process holds an exclusive lock on it; none where the system doesn't say. Where nobody is ever asked, it
    /// does.
    fn is_locked_by(&self, pid: u32) -> Option<bool> {
        let _ = pid;
        Some(true)
    }

    /// How many names it has.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn links(&self) -> io::Result<u64> {
        Ok(1)
    }

    /// Leaves nobody but its owner the right to open it.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn close_to_others(&self) -> io::Result<()> {
        Ok(())
    }

    /// The same open file under a descriptor whose number is above `above`.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn numbered_above(self, above: i32) -> io::Result<Self>;
}

/// Why a directory isn't removed.
pub(super) fn another_took_its_place() -> io::Error {
    io::Error::other("another directory has taken its place")
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading.
    Read,
    /// Reading and writing. It is made, private, where it is missing.
    Write,
    /// The same. It must not be there yet.
    New,
}

/// Which lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// One that no other lock goes with.
    Exclusive,
    /// One that goes with others of its kind.
    Shared,
    /// The same, waited for.
    SharedInTime,
}

/// What there is at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Which of all files it is. The number of one that nothing refers to any more is soon another one's.
    pub id: (i128, u64),
    /// What kind of file.
    pub kind: Kind,
    /// Whose it is.
    pub user: u32,
    /// Who may do what with it: the lower twelve bits of chmod(2).
    pub mode: u64,
    /// How many bytes it has.
    pub len: i64,
    /// When it was last written, in seconds and their billionths.
    pub modified: (i64, i128),
}

/// How to find out who holds a lock.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// What the file looks like.
    pub stat: &'a Stat,
    /// The process that says it does.
    pub claimed_by: u32,
    /// Whether others come into question where that one can be seen not to. Where the system only tells of all locks at once, they
    /// cost some 8 ms (Linux waits for every processor then), once for all that share `locks`.
    pub others: bool,
    /// What the system has told of all.
    pub locks: &'a Locks,
}

/// Who holds which lock of this machine, as it was when that was first asked for.
#[derive(Debug, Default)]
pub struct Locks(OnceCell<HashMap<String, u32>>);

impl Locks {
    /// The process that holds a lock on this file, if there is one in what `read` finds.
    pub fn holder(&self, file: &str, read: fn() -> HashMap<String, u32>) -> Option<u32> {
        self.0.get_or_init(read).get(file).copied()
    }
}

/// Kinds of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// Anything else.
    Other,
}
