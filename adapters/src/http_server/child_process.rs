//! Any program that serves HTTP, as a process tree of its own.
#![cfg_attr(not(test), expect(dead_code, reason = "not put together yet"))]

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
mod search;
mod sink;
mod sockets;
mod tail;
mod terminal;
mod tree;
mod trouble;

pub use notify::NoNotify;
pub use readiness::{Handover, InvalidReadiness, NotReady, Readiness};
pub use trouble::{Problem, Trouble};
