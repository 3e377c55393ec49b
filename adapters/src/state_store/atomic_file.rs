//! Putting a record in place: whole, on the disk, and with the proof of life on it, before anybody can see it.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::Arc;

use super::state_dir::{StateDir, numbered_above};

/// A file that is written, synced and vouched for, and not yet in place. Dropped, it vanishes.
pub(super) struct Prepared<'a> {
    dir: &'a StateDir,
    name: &'a str,
    path: tempfile::TempPath,
}

/// Makes a file of `bytes` under a temporary name. `hold` is called with it when it is locked and still empty, to take
/// care of it from then on.
///
/// The directory isn't synced afterwards. No lock survives a boot, so a record that a power cut brings back, or takes
/// away, is not believed.
pub(super) fn prepare<'a>(
    dir: &'a StateDir,
    name: &'a str,
    bytes: &[u8],
    above: Option<i32>,
    hold: impl FnOnce(Arc<File>),
) -> Result<Prepared<'a>, (&'static str, io::Error)> {
    let created = dir.create_temporary(name).or_else(|error| {
        // Left by an attempt of our own that couldn't clean up: nobody else uses the name.
        if error.kind() != io::ErrorKind::AlreadyExists {
            return Err(error);
        }
        dir.remove(name)?;
        dir.create_temporary(name)
    });
    let (file, path) = created.map_err(|e| ("create", e))?;
    let prepared = Prepared { dir, name, path };
    let file = Arc::new(numbered_above(file, above).map_err(|e| ("number", e))?);
    StateDir::hold_proof(&file).map_err(|e| ("lock", e))?;
    hold(file.clone());
    (&*file).write_all(bytes).map_err(|e| ("write", e))?;
    file.sync_all().map_err(|e| ("sync", e))?;
    Ok(prepared)
}

impl Prepared<'_> {
    /// Replaces the record, in one step that nobody can see half of.
    pub(super) fn put_in_place(mut self) -> Result<(), (&'static str, io::Error)> {
        self.dir
            .rename_to_record(self.name)
            .map_err(|e| ("rename", e))?;
        // Nothing is left under the temporary name.
        self.path.disable_cleanup(true);
        Ok(())
    }
}
