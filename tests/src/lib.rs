//! What the tests share: programs to play with, places to play in, and the suites that run over every adapter.

#[cfg(unix)]
pub mod bystanders;
pub mod client;
#[cfg(target_os = "linux")]
pub mod clients;
pub mod contract;
#[cfg(target_os = "linux")]
pub mod disk;
pub mod failing;
pub mod files;
pub mod guarded;
pub mod model_fs;
pub mod mutants;
pub mod onlookers;
#[cfg(target_os = "linux")]
pub mod others;
pub mod owner;
pub mod page;
#[cfg(unix)]
pub mod printed_reader;
pub mod programs;
pub mod protocol;
pub mod raw;
pub mod sample;
pub mod scale;
pub mod stage;
#[cfg(target_os = "linux")]
pub mod supervised;
#[cfg(target_os = "linux")]
pub mod sweep;
pub mod trace;
#[cfg(target_os = "linux")]
pub mod watcher;
pub mod world;
