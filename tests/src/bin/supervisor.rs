//! The `daymark` command, for tests of this package to start, stop and kill.

use std::process::ExitCode;

fn main() -> ExitCode {
    daymark::cli::main()
}
