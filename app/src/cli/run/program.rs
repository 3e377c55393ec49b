//! Whether there is a command to run at all: found out before anything else happens.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::cli::exit::{Exit, Failure};

/// Looks for the command as execvp(3) will: by its path if there is a slash in it, else in `PATH`.
pub(super) fn check(command: &[OsString]) -> Result<(), Failure> {
    let Some(program) = command.first() else {
        return Ok(());
    };
    if program.is_empty() {
        return Err(not_found("the command is empty".to_owned()));
    }
    let name = program.to_string_lossy();
    let candidates: Vec<PathBuf> = match program.as_bytes().contains(&b'/') {
        true => vec![PathBuf::from(program)],
        false => {
            let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
            std::env::split_paths(&path)
                .map(|dir| dir.join(program))
                .collect()
        }
    };
    if candidates.iter().any(|path| is_executable(path)) {
        return Ok(());
    }
    match candidates.iter().find(|path| path.exists()) {
        Some(path) if path.is_dir() => Err(Failure::new(
            Exit::NotExecutable,
            format!("cannot run {name}: it is a directory"),
            "name a program after --",
        )),
        Some(path) => Err(Failure::new(
            Exit::NotExecutable,
            format!("cannot run {}: it is not executable", path.display()),
            format!("chmod +x {}, or name what runs it", path.display()),
        )),
        None => Err(not_found(format!("there is no command {name}"))),
    }
}

fn not_found(sentence: String) -> Failure {
    Failure::new(
        Exit::NotFound,
        sentence,
        "check its spelling and PATH; shell code needs a shell: daymark run -- sh -c '...'",
    )
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}
