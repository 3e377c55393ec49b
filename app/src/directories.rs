//! Where state lives: one root for every way in, so that a desktop session, cron and ssh meet at the same servers.

use std::io;
use std::path::{Path, PathBuf};

use daymark_core::record::Name;

/// The directory whose children are the state directories of named servers.
///
/// Unix: `$XDG_STATE_HOME/daymark/run`, or `~/.local/state/daymark/run` (XDG Base Directory Specification; a relative
/// `XDG_STATE_HOME` is ignored, as that demands). Windows: `%LOCALAPPDATA%\daymark\run`. Never a runtime directory: those
/// are missing under cron and ssh, and go when the last session ends.
///
/// # Errors
///
/// When there is no home directory.
pub fn state_root() -> io::Result<PathBuf> {
    let variable = if cfg!(windows) {
        "LOCALAPPDATA"
    } else {
        "XDG_STATE_HOME"
    };
    let base = std::env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let base = match base {
        Some(base) => base,
        None => std::env::home_dir()
            .filter(|home| home.is_absolute())
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no home directory"))?
            .join(".local/state"),
    };
    Ok(base.join("daymark").join("run"))
}

/// The state directory of the server called `name`.
///
/// # Errors
///
/// When there is no home directory.
pub fn state_dir(name: &Name) -> io::Result<PathBuf> {
    Ok(state_root()?.join(name.as_str()))
}

/// The state directories under `root` and the names they stand for, in order. What isn't one is passed over.
///
/// # Errors
///
/// When the directory is there and can't be read.
pub fn named_in(root: &Path) -> io::Result<Vec<(Name, PathBuf)>> {
    let entries = match std::fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found: Vec<(Name, PathBuf)> = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_file()))
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .collect();
    found.sort();
    Ok(found)
}
