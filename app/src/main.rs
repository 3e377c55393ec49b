//! The `daymark` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    daymark::cli::main()
}
