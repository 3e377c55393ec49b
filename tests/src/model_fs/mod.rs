//! A file system that remembers after a crash only what it must.
//!
//! It stands under the file store's own code, in place of the disk. POSIX promises little of what outlasts a power cut, and the
//! model keeps to that: of what was written since the last fsync, any block may be the old one, the new one or zeros, and the
//! file may have any length on the way; what a name led to since its directory was synced (which nobody does), it may lead to
//! again, each name by itself, so that a rename may be seen at one end only. No lock outlasts a boot, nor its holder. The
//! number of a file that nothing refers to any more is at once another one's.
//!
//! That is more than any one file system forgets: ext4 and xfs keep directories in the order of their changes.

mod crash;
pub mod explore;
mod machine;
pub mod scene;
mod seam;
mod wrong;

pub use crash::Disk;
pub use machine::{Machine, Process};
pub use seam::{Computer, ModelDir, ModelFile, Snapshot, Stage};
pub use wrong::{Fault, Wrong};
