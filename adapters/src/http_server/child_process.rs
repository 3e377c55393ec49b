//! Any program that serves HTTP, as a process tree of its own.
#![expect(dead_code, reason = "not put together yet")]

mod command;
mod exec;
mod guard;
mod log_file;
mod notify;
mod orphans;
mod probe;
mod pump;
mod readiness;
mod sink;
mod sockets;
mod tail;
mod terminal;
mod tree;
