//! One look at a state directory: what a reader sees, and the descriptor it saw it through.
//!
//! Looking changes nothing and waits for nobody. The descriptor stays, because the second look of a sandwich must be at the
//! very same record: a pid or an inode number alone is soon used again.

use std::io;
use std::path::Path;

use daymark_core::presence::{LockSeen, Observation, Phase};
use daymark_core::record::ServerRecord;

use super::directory::{Asked, Directory, Kind, Locks, OpenFile as _, Stat};
use super::disk::{DiskDir, means_symlink};
use super::hint::Hint;
use super::state_dir::StateDir;
use super::{LOCK, RECORD};
use crate::record_json;

/// No record is larger.
pub(super) const LARGEST: usize = 16 * 1024;

/// How often a record may be replaced under a reader before it gives up.
const TRIES: usize = 16;

/// What was seen, and through what.
#[derive(Debug)]
pub struct Look<D: Directory = DiskDir> {
    observation: Observation,
    seen: Option<(StateDir<D>, D::File)>,
    /// An owner without a record, who says so and is named by the system, and the lock file by which it is.
    owner: Option<(StateDir<D>, D::File, u32)>,
}

impl Look {
    /// Looks at the state directory `path`.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self::within(&DiskDir::working(), path)
    }

    /// Looks at each of these state directories, one after the other.
    pub fn at_each<P: AsRef<Path>>(
        paths: impl IntoIterator<Item = P>,
    ) -> impl Iterator<Item = Self> {
        // Else what the kernel tells of all locks would be read for each, and a list would cost the square of its length.
        let locks = Locks::default();
        let look = move |path: P| Self::among(&DiskDir::working(), path.as_ref(), &locks);
        paths.into_iter().map(look)
    }
}

impl<D: Directory> Look<D> {
    /// Looks at the state directory `path` of the file system of `root`.
    #[doc(hidden)]
    #[must_use]
    pub fn within(root: &D, path: &Path) -> Self {
        Self::among(root, path, &Locks::default())
    }

    fn among(root: &D, path: &Path, locks: &Locks) -> Self {
        let without = |observation| Self {
            observation,
            seen: None,
            owner: None,
        };
        match StateDir::open(root, path) {
            Ok(Some(dir)) => match dir.distrust() {
                Some(reason) => without(Observation::Refused(reason)),
                None => Self::into(dir, locks),
            },
            Ok(None) => without(Observation::NoRecord(None)),
            Err(error) if means_symlink(&error) || error.kind() == io::ErrorKind::NotADirectory => {
                without(Observation::Refused(
                    "the state directory is a symbolic link, or not a directory".to_owned(),
                ))
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                without(Observation::Refused(
                    "the state directory may not be entered by this user".to_owned(),
                ))
            }
            Err(error) => without(Observation::Unknown(format!(
                "cannot open {}: {error}",
                path.display()
            ))),
        }
    }

    /// Looks into a directory that is to be trusted.
    fn into(dir: StateDir<D>, locks: &Locks) -> Self {
        let (observation, file) = see(&dir);
        let word = match observation {
            // A record is published in no time, or lost and about to be published again.
            Observation::NoRecord(_) => {
                word_of_owner(&dir, false, locks).map(|word| word.serving_means(Phase::Starting))
            }
            // Its proof has ended, and it is about to be removed: by its own writer, or by the next owner.
            Observation::Record(_, LockSeen::Free) => word_of_owner(&dir, true, locks)
                .filter(|word| word.pid.is_some())
                .map(|word| word.serving_means(Phase::Stopping)),
            _ => None,
        };
        match (observation, word) {
            (_, Some(Word { phase, pid, lock })) => Self {
                observation: Observation::NoRecord(Some(phase)),
                seen: None,
                owner: pid.map(|pid| (dir, lock, pid)),
            },
            (observation, None) => Self {
                observation,
                seen: file.map(|file| (dir, file)),
                owner: None,
            },
        }
    }

    /// What was seen.
    #[must_use]
    pub const fn observation(&self) -> &Observation {
        &self.observation
    }

    /// The record that was seen.
    #[must_use]
    pub const fn record(&self) -> Option<&ServerRecord> {
        match &self.observation {
            Observation::Record(record, _) => Some(record),
            _ => None,
        }
    }

    /// The second look: whether the record's writer still vouches for it, and it is still the one that is published.
    #[must_use]
    pub fn still_holds(&self) -> bool {
        self.seen.as_ref().is_some_and(|(dir, file)| {
            dir.proof_is_held(file).unwrap_or(false) && dir.leads_to(RECORD, file)
        })
    }

    /// The process that owns the place and has no record: it is starting, or stopping. None where the system doesn't tell, or
    /// tells another one than the lock file does.
    #[must_use]
    pub fn owner_without_record(&self) -> Option<u32> {
        self.owner.as_ref().map(|(_, _, pid)| *pid)
    }

    /// The second look for that one: whether it is still the same.
    #[must_use]
    pub fn owner_still_holds(&self) -> bool {
        self.owner.as_ref().is_some_and(|(dir, _, pid)| {
            word_of_owner(dir, false, &Locks::default()).is_some_and(|word| word.pid == Some(*pid))
        })
    }

    /// Whether the process with this number holds the lock that was seen, on the record or the lock file. One that was
    /// given the number of a dead owner doesn't, even while something that the owner had forked keeps its lock. None
    /// where the system doesn't tell: the process is another user's, or hides itself, or `/proc` is that of another pid
    /// namespace.
    #[must_use]
    pub fn is_locked_by(&self, pid: u32) -> Option<bool> {
        let record = self.seen.as_ref().map(|(_, record)| record);
        let locked = record.or(self.owner.as_ref().map(|(_, lock, _)| lock))?;
        locked.is_locked_by(pid)
    }

    /// Blocks until the record's writer doesn't vouch for it any more: withdrawn, replaced, or dead. No time limit.
    ///
    /// # Errors
    ///
    /// When there was no record, or its lock can't be waited for.
    pub fn wait_for_end(&self) -> io::Result<()> {
        let (dir, file) = self.seen.as_ref().ok_or(io::ErrorKind::NotFound)?;
        dir.wait_for_proof_to_end(file)
    }
}

/// Looks at the record in an open state directory: what is seen, and the file it was seen in. What the owner says isn't
/// asked for.
pub(super) fn see<D: Directory>(dir: &StateDir<D>) -> (Observation, Option<D::File>) {
    for _ in 0..TRIES {
        let file = match dir.open_to_read(RECORD) {
            Ok(file) => file,
            Err(error) => return (unopened(&error), None),
        };
        let (record, stat) = match read_record::<D>(&file) {
            Ok(read) => read,
            Err(observation) => return (observation, Some(file)),
        };
        if dir.others_may_open(&stat) {
            return (believed_by_nobody(record, &stat), Some(file));
        }
        let lock = match dir.proof_is_held(&file) {
            Ok(true) => LockSeen::Held,
            Ok(false) if !dir.leads_to_what_is(RECORD, &stat) => continue,
            Ok(false) => LockSeen::Free,
            Err(error) => LockSeen::Unknown(format!("its lock cannot be tried: {error}")),
        };
        return (Observation::Record(record, lock), Some(file));
    }
    let given_up = "the record is replaced all the time".to_owned();
    (Observation::Unknown(given_up), None)
}

/// A record on which anybody may hold a lock. What carries an instance was written by a server that doesn't leave it like
/// this; what carries none isn't believed anyway.
fn believed_by_nobody(record: Box<ServerRecord>, stat: &Stat) -> Observation {
    match record.instance_id {
        None => Observation::Record(record, LockSeen::Free),
        Some(_) => Observation::Refused(format!(
            "others may open the record (mode {:04o}), so its lock proves nothing",
            stat.mode
        )),
    }
}

fn unopened(error: &io::Error) -> Observation {
    match error.kind() {
        io::ErrorKind::NotFound => Observation::NoRecord(None),
        io::ErrorKind::PermissionDenied => {
            Observation::Refused("the record may not be read by this user".to_owned())
        }
        _ if means_symlink(error) => {
            Observation::Corrupt("the record is a symbolic link".to_owned())
        }
        // What can't be opened for reading isn't a file: a socket, for instance (open(2)).
        _ if error.raw_os_error().is_some() => {
            Observation::Corrupt(format!("the record cannot be opened: {error}"))
        }
        _ => Observation::Unknown(format!("the record cannot be opened: {error}")),
    }
}

/// What an owner says it is doing.
struct Word<F> {
    phase: Phase,
    /// Its pid, if what it says agrees with what the system does. It may not: who tries whether the place is free has the lock
    /// for an instant, too.
    pid: Option<u32>,
    /// The file that it is read in, and that the owner has locked.
    lock: F,
}

impl<F> Word<F> {
    fn serving_means(self, phase: Phase) -> Self {
        match self.phase {
            Phase::Serving => Self { phase, ..self },
            Phase::Starting | Phase::Stopping => self,
        }
    }
}

/// The owner's word, if there is one.
fn word_of_owner<D: Directory>(
    dir: &StateDir<D>,
    is_published: bool,
    locks: &Locks,
) -> Option<Word<D::File>> {
    let lock = dir.open_to_read(LOCK).ok()?;
    let stat = lock.stat().ok()?;
    if stat.user != D::user() || dir.others_may_open(&stat) {
        return None;
    }
    let hint = Hint::read(&lock)?;
    let holder = lock.lock_holder(Asked {
        stat: &stat,
        claimed_by: hint.pid,
        // Somebody else's word says nothing of a record that is there.
        others: !is_published,
        locks,
    })?;
    Some(Word {
        phase: hint.phase,
        pid: (holder == hint.pid).then_some(holder),
        lock,
    })
}

fn read_record<D: Directory>(file: &D::File) -> Result<(Box<ServerRecord>, Stat), Observation> {
    let unreadable = |e: io::Error| Observation::Unknown(format!("the record cannot be read: {e}"));
    let corrupt = |reason: &str| Observation::Corrupt(reason.to_owned());
    let stat = file.stat().map_err(unreadable)?;
    if stat.kind != Kind::File {
        return Err(corrupt("the record is not a regular file"));
    }
    if stat.user != D::user() {
        return Err(Observation::Refused(
            "the record belongs to another user".to_owned(),
        ));
    }
    let len = usize::try_from(stat.len).unwrap_or(usize::MAX);
    if len > LARGEST {
        return Err(corrupt("the record is larger than 16 KiB"));
    }
    let bytes = file.read(len).map_err(unreadable)?;
    record_json::read(&bytes)
        .map(|record| (Box::new(record), stat))
        .map_err(Observation::Corrupt)
}
