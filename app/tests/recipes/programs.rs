//! The servers, which a machine may lack.

use std::env;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;

/// `$DAYMARK_RECIPES/bin`, where that is set, and then `PATH`.
pub(crate) fn search_path() -> Vec<PathBuf> {
    let prepared = env::var_os("DAYMARK_RECIPES").map(|dir| PathBuf::from(dir).join("bin"));
    let path = env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
    prepared
        .into_iter()
        .chain(env::split_paths(&path))
        .collect()
}

/// Whether these programs can be run here. If not, that is said on stderr, past the harness's capture; where `CI` is set,
/// nothing may be left untried.
pub(crate) fn can_run(programs: &[&str]) -> bool {
    let path = search_path();
    let is_there = |program: &str| path.iter().any(|dir| dir.join(program).is_file());
    let missing: Vec<&str> = programs
        .iter()
        .copied()
        .filter(|program| !is_there(program))
        .collect();
    if missing.is_empty() {
        return true;
    }
    let missing = missing.join(", ");
    let hint = "`.ci/recipe-servers DIR`, then DAYMARK_RECIPES=DIR, absolute";
    assert!(env::var_os("CI").is_none(), "not found: {missing} ({hint})");
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // If nobody hears it, there is nothing else to do.
    let _ = writeln!(
        std::io::stderr(),
        "\nNOT RUN: {test}: not found: {missing} ({hint})"
    );
    false
}
