//! Every command line in `docs/recipes.md` does what that page says, with the real server.
//!
//! Lines and files are taken out of the page as they stand there. The servers come from `$DAYMARK_RECIPES/bin`, which
//! `.ci/recipe-servers` fills, and from `PATH`. Where one is missing, its tests say so.
#![cfg(target_os = "linux")]

mod clients;
mod ground;
mod page;
mod processes;
mod programs;
mod restarts;
mod running;
mod servers;
mod tools;
