//! What a reader saw, and what it may believe. Pure: the looking is done elsewhere, and changes nothing.

use std::fmt;

use crate::record::{Origin, ServerRecord};

/// What one look at a state directory found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Observation {
    /// There is no record. An owner that holds the directory may have left word of what it is doing.
    NoRecord(Option<Phase>),
    /// A record, whole, and what is known of the lock on its very inode.
    Record(Box<ServerRecord>, LockSeen),
    /// Something that isn't a record, and why it isn't.
    Corrupt(String),
    /// Something that must not be believed, for instance another user's file.
    Refused(String),
    /// It couldn't be looked at.
    Unknown(String),
}

/// What a reader could learn of the lock on a record's inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockSeen {
    /// Held: whoever wrote these bytes lives.
    Held,
    /// Free: it is gone, or has withdrawn the record.
    Free,
    /// It couldn't be tried.
    Unknown(String),
}

/// What an owner was doing when it last left word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It has the ownership, and nothing is published yet.
    Starting,
    /// A record is published.
    Serving,
    /// The record is withdrawn, and accepted work is being finished.
    Stopping,
}

/// What may be believed of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Presence {
    /// It is there, and its writer is alive.
    Live,
    /// Somebody owns the directory and hasn't published yet.
    Starting,
    /// Its owner has withdrawn the record and is finishing.
    Stopping,
    /// The record's writer is gone.
    Stale,
    /// There is a file that isn't a record.
    Corrupt,
    /// There is a record that must not be believed.
    Refused,
    /// A record that nothing proves and nothing refutes.
    Unproven,
    /// Alive, but elsewhere: its address means nothing here.
    Unreachable,
    /// It couldn't be found out.
    Unknown,
    /// Nobody is there.
    Absent,
}

impl Presence {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Live,
        Self::Starting,
        Self::Stopping,
        Self::Stale,
        Self::Corrupt,
        Self::Refused,
        Self::Unproven,
        Self::Unreachable,
        Self::Unknown,
        Self::Absent,
    ];

    /// The word for it, as it stands in output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::Stale => "stale",
            Self::Corrupt => "corrupt",
            Self::Refused => "refused",
            Self::Unproven => "unproven",
            Self::Unreachable => "unreachable",
            Self::Unknown => "unknown",
            Self::Absent => "absent",
        }
    }
}

impl fmt::Display for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A presence, and the reason for it where the word alone doesn't say enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What may be believed.
    pub presence: Presence,
    /// Why, in one sentence fragment.
    pub reason: Option<String>,
}

/// Judges what was seen by a reader that lives at `here`.
#[must_use]
pub fn judge(seen: &Observation, here: &Origin) -> Verdict {
    let because = |presence, reason: &str| Verdict {
        presence,
        reason: Some(reason.to_owned()),
    };
    let plain = |presence| Verdict {
        presence,
        reason: None,
    };
    match seen {
        Observation::NoRecord(Some(Phase::Starting)) => plain(Presence::Starting),
        Observation::NoRecord(Some(Phase::Stopping)) => plain(Presence::Stopping),
        Observation::NoRecord(_) => plain(Presence::Absent),
        Observation::Corrupt(reason) => because(Presence::Corrupt, reason),
        Observation::Refused(reason) => because(Presence::Refused, reason),
        Observation::Unknown(reason) => because(Presence::Unknown, reason),
        Observation::Record(_, LockSeen::Unknown(reason)) => because(Presence::Unknown, reason),
        Observation::Record(record, LockSeen::Held) => {
            let Origin {
                boot_id, net_ns, ..
            } = &record.origin;
            match (
                compare(boot_id.as_ref(), here.boot_id.as_ref()),
                compare(net_ns.as_ref(), here.net_ns.as_ref()),
            ) {
                (Place::Other, _) => because(Presence::Unreachable, OTHER_MACHINE),
                (_, Place::Other) => because(
                    Presence::Unreachable,
                    "it runs in another network namespace",
                ),
                (Place::Lost, _) | (_, Place::Lost) => because(
                    Presence::Unknown,
                    "it is alive; whether it is on this machine and network, a process that does not know its own cannot tell",
                ),
                _ => plain(Presence::Live),
            }
        }
        Observation::Record(record, LockSeen::Free) if record.instance_id.is_none() => because(
            Presence::Unproven,
            "the record carries no instance_id, so no lock vouches for it",
        ),
        Observation::Record(_, LockSeen::Free) => {
            because(Presence::Stale, "the process that wrote the record is gone")
        }
    }
}

const OTHER_MACHINE: &str = "it runs on another machine";

/// Why a pid at `there` isn't that process at `here`: it is only where boot and pid namespace are the same, and known.
#[must_use]
pub fn pid_is_foreign(there: &Origin, here: &Origin) -> Option<&'static str> {
    let boot = compare(there.boot_id.as_ref(), here.boot_id.as_ref());
    let pid_ns = compare(there.pid_ns.as_ref(), here.pid_ns.as_ref());
    match (boot, pid_ns) {
        (Place::Same, Place::Same) => None,
        (Place::Other, _) => Some(OTHER_MACHINE),
        (_, Place::Other) => Some("it runs in another pid namespace"),
        (_, Place::Unsaid) => Some("its record does not say in which pid namespace it runs"),
        (Place::Unsaid, _) => Some("its record does not say on which boot of the machine it runs"),
        (Place::Lost, _) | (_, Place::Lost) => {
            Some("this process does not know its own boot or pid namespace")
        }
    }
}

/// How what a record says of its writer's place compares to the reader's.
#[derive(Clone, Copy)]
enum Place {
    /// The same; or this is a system that has no such thing, and the record says so, too.
    Same,
    Other,
    /// The record doesn't say.
    Unsaid,
    /// The reader doesn't know its own.
    Lost,
}

fn compare<T: PartialEq>(there: Option<T>, here: Option<T>) -> Place {
    match (there, here) {
        (Some(there), Some(here)) if there != here => Place::Other,
        (Some(_), Some(_)) | (None, None) => Place::Same,
        (None, Some(_)) => Place::Unsaid,
        (Some(_), None) => Place::Lost,
    }
}

#[cfg(test)]
#[path = "presence_tests.rs"]
mod tests;
