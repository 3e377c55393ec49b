//! The `daymark` command, as a person or a script meets it: the real program, its streams and its exit codes.
#![cfg(unix)]

mod clearing;
mod environment;
mod letting_in;
mod logs;
mod looking;
mod running;
mod sandbox;
mod serving;
mod stopping;
mod streams;
mod usage;
mod waiting;
