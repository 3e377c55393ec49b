//! Programs that some tests need and that a machine may lack.

use std::io::Write as _;

/// Whether these programs can be run here.
///
/// Where one is missing, the test says on stderr that it wasn't run, and why, past the test harness's capture. Where `CI`
/// is set it fails: there nothing may be left untried.
///
/// # Panics
///
/// If a program is missing and `CI` is set.
#[must_use]
pub fn can_run(programs: &[&str]) -> bool {
    let missing: Vec<&str> = programs
        .iter()
        .copied()
        .filter(|program| !is_on_path(program))
        .collect();
    if missing.is_empty() {
        return true;
    }
    let missing = missing.join(", ");
    assert!(std::env::var_os("CI").is_none(), "not on PATH: {missing}");
    not_run(&format!("not on PATH: {missing}"));
    false
}

/// Says on stderr, past the test harness's capture, that the test which this thread runs was not run, and why.
pub fn not_run(why: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // If nobody hears it, there is nothing else to do.
    let _ = writeln!(std::io::stderr(), "\nNOT RUN: {test}: {why}");
}

fn is_on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .any(|dir| dir.join(program).is_file())
}
