//! The lock, record and proof protocol as a model: small enough to be explored in every interleaving.
//!
//! It says what `docs/protocol.md` says, in steps as large as a system call, and follows the code in
//! `adapters/src/state_store`, `app/src/discovery` and `core/src/lifecycle.rs`. Each actor has a file:
//!
//! | file | who |
//! |---|---|
//! | [`kernel`] | directories, files with their locks, ports and pids |
//! | [`starter`] | takes the place, and clears what is left there; prunes |
//! | [`serving`] | binds, publishes, and looks after what it holds |
//! | [`stopping`] | withdraws, closes and releases; dies |
//! | [`publish`] | what a starter's store thread does meanwhile |
//! | [`reader`] | looks, connects, looks again |
//! | [`stopper`] | `daymark stop`: looks, pins, looks again, signals, and waits until the place is free |
//! | [`fate`] | kills, power cuts, careless hands, and strangers who take what was freed |
//! | [`safety`] | what must hold in every state |
//!
//! Every [`Rule`] can be broken, one at a time. An explorer that finds nothing then would be worth nothing.
//!
//! Steps that nobody else can tell apart are one: making a directory and opening it; what an owner does to a temporary file
//! that nobody reads; a shared lock that is tried and given back. One reader stands for all, for readers change nothing.

pub mod explorer;
pub mod fate;
pub mod kernel;
pub mod publish;
pub mod reader;
pub mod safety;
pub mod scenario;
pub mod serving;
pub mod starter;
pub mod stopper;
pub mod stopping;
pub mod world;

pub use explorer::{Explored, explore};
pub use safety::Violation;
pub use scenario::Scenario;

/// What the protocol rests on. Without any one of them there is a run in which it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// All file operations go through the descriptor of the directory that was checked. Else: through its path.
    ThroughTheCheckedDirectory,
    /// In a forked child, dropping a lease only closes. Else: it withdraws and releases, as its parent would.
    LeaseRemembersItsPid,
    /// Who connects looks again before it believes. Else: one look.
    SecondLook,
    /// The second look is a refused lock on the first look's open descriptor. Else: any locked record with its inode number.
    SecondLookThroughTheDescriptor,
    /// The second look also asks whether the path still leads there. Else: the lock alone.
    SecondLookAtThePath,
    /// The server's end of the connection is this user's. Else: whoever accepts.
    PeerIsOurs,
    /// `fstat` and `stat` of the lock file agree once it is locked. Else: a lock is a lock.
    LockFileIsInPlace,
    /// The socket that answers before the record is published is ours. Else: an answer is an answer.
    AnswerIsOurs,
    /// The record's descriptor is numbered above the listener's, so a kill ends the lock first. Else: the listener first.
    ProofAboveListener,
    /// What lands after a stop began is vouched for by nobody. Else: a publish that is under way doesn't ask.
    NothingAfterStop,
    /// The ownership isn't given back while a call to the store is out. Else: a stop doesn't wait for it.
    ReleaseAwaitsTheStore,
    /// The record is unlocked before the listener closes. Else: the listener first.
    UnlockBeforeListenerCloses,
    /// The lock file outlives its owner. Else: a stop removes it, once unlocked.
    LockFileStays,
    /// What is published listens already. Else: the record first.
    BindBeforePublish,
    /// The record is withdrawn before the ownership is given back. Else: the other way round.
    WithdrawBeforeRelease,
    /// The record is locked before it is renamed into place. Else: right after that.
    LockBeforeRename,
    /// What was renamed had been synced. Else: a power cut may tear it.
    SyncBeforeRename,
    /// A record is believed by its lock. Else: by its pid.
    LivenessByLock,
    /// Nobody is signalled by a pid of another namespace. Else: a number is a number.
    SignalInOwnNamespace,
    /// Who signals looks again before it does. Else: one look.
    SecondLookBeforeSignal,
    /// The signal goes to the process that was pinned between two looks. Else: to whoever has the number by then.
    SignalThePinned,
    /// An owner without a record is who both the kernel and the lock file's line name. Else: the line alone.
    WordAndKernelAgree,
    /// Whoever owns the lock file and finds a locked record gives back. Else: it clears it away.
    RecoverSparesTheLiving,
    /// Locks are given back by an unlock. Else: by a close, and forked children keep them.
    UnlockNotClose,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::ThroughTheCheckedDirectory,
        Self::LeaseRemembersItsPid,
        Self::SecondLook,
        Self::SecondLookThroughTheDescriptor,
        Self::SecondLookAtThePath,
        Self::PeerIsOurs,
        Self::LockFileIsInPlace,
        Self::AnswerIsOurs,
        Self::ProofAboveListener,
        Self::NothingAfterStop,
        Self::ReleaseAwaitsTheStore,
        Self::UnlockBeforeListenerCloses,
        Self::LockFileStays,
        Self::BindBeforePublish,
        Self::WithdrawBeforeRelease,
        Self::LockBeforeRename,
        Self::SyncBeforeRename,
        Self::LivenessByLock,
        Self::SignalInOwnNamespace,
        Self::SecondLookBeforeSignal,
        Self::SignalThePinned,
        Self::WordAndKernelAgree,
        Self::RecoverSparesTheLiving,
        Self::UnlockNotClose,
    ];
}
