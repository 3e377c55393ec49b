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
mod search;
mod sink;
mod sockets;
mod tail;
mod terminal;
mod tree;
mod trouble;
