//! Putting a record in place: whole, on the disk, and with the proof of life on it, before anybody can see it.

use std::io;
use std::sync::Arc;

use super::directory::{Directory, OpenFile as _};
use super::state_dir::StateDir;

/// A file that is written, synced and vouched for, and not yet in place. Dropped, it vanishes.
pub(super) struct Prepared<'a, D: Directory> {
    dir: &'a StateDir<D>,
    name: &'a str,
    is_in_place: bool,
}

/// Makes a file of `bytes` under a temporary name. `hold` is called with it when it is locked and still empty, to take
/// care of it from then on.
///
/// The directory isn't synced afterwards. No lock survives a boot, so a record that a power cut brings back, or takes
/// away, is not believed.
pub(super) fn prepare<'a, D: Directory>(
    dir: &'a StateDir<D>,
    name: &'a str,
    bytes: &[u8],
    above: Option<i32>,
    hold: impl FnOnce(Arc<D::File>),
) -> Result<Prepared<'a, D>, (&'static str, io::Error)> {
    let created = dir.create_temporary(name).or_else(|error| {
        // Left by an attempt of our own that couldn't clean up: nobody else uses the name.
        if error.kind() != io::ErrorKind::AlreadyExists {
            return Err(error);
        }
        dir.remove(name)?;
        dir.create_temporary(name)
    });
    let file = created.map_err(|e| ("create", e))?;
    let prepared = Prepared {
        dir,
        name,
        is_in_place: false,
    };
    let file = match above {
        Some(above) => file.numbered_above(above).map_err(|e| ("number", e))?,
        None => file,
    };
    let file = Arc::new(file);
    StateDir::<D>::hold_proof(&file).map_err(|e| ("lock", e))?;
    hold(file.clone());
    file.write(bytes).map_err(|e| ("write", e))?;
    file.sync().map_err(|e| ("sync", e))?;
    Ok(prepared)
}

impl<D: Directory> Prepared<'_, D> {
    /// Replaces the record, in one step that nobody can see half of.
    pub(super) fn put_in_place(mut self) -> Result<(), (&'static str, io::Error)> {
        self.dir
            .rename_to_record(self.name)
            .map_err(|e| ("rename", e))?;
        self.is_in_place = true;
        Ok(())
    }
}

impl<D: Directory> Drop for Prepared<'_, D> {
    fn drop(&mut self) {
        if !self.is_in_place {
            // If that fails, the next owner does it.
            let _ = self.dir.remove(self.name);
        }
    }
}
