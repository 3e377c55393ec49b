//! Any program that serves HTTP, as a process tree of its own.

mod adopted;
mod command;
mod exec;
mod guard;
mod launch;
mod log_file;
mod notify;
mod orphans;
mod probe;
mod processes;
mod pump;
mod readiness;
mod sink;
mod sockets;
mod tail;
mod terminal;
mod tree;

pub use orphans::clear_orphans;
pub use tree::{Ask, Exit, Spawn, Tree};

use std::ffi::OsString;
use std::process::ExitCode;

/// Does what a process of ours was started for that stands between a supervisor and its command; none if these arguments
/// ask for nothing of the kind. A program that starts trees of processes calls this first of all, with its arguments after
/// its name: it starts itself again.
pub fn run_hidden_verb(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    match arguments.next()?.to_str()? {
        guard::VERB => Some(guard::guard_main(arguments)),
        exec::VERB => Some(exec::exec_main(arguments)),
        _ => None,
    }
}
