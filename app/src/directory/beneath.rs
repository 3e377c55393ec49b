//! Opens what lies beneath a directory, in such a way that nothing that happens meanwhile leads elsewhere.
//!
//! A path given here was canonical a moment ago: no symlink and no `..` in it. On Unix it is opened name by name, and a
//! symlink that has taken a name's place since is an error, as with openat2's `RESOLVE_NO_SYMLINKS`; but this works on
//! macOS and on kernels and sandboxes without openat2 too. Elsewhere the path is opened as it stands.

use std::{ffi::OsString, fs::File, io, path::Path};

/// Opens `relative` for reading, the root itself if it is empty. A FIFO or device that has taken its place can't block.
#[cfg(unix)]
pub(super) fn open_beneath(root: &Path, relative: &Path) -> io::Result<File> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    use std::os::fd::{AsFd as _, OwnedFd};

    // O_PATH asks only for the right to pass through a directory; elsewhere than on Linux it must be readable too.
    #[cfg(target_os = "linux")]
    const PASS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);
    #[cfg(not(target_os = "linux"))]
    const PASS: OFlags = OFlags::DIRECTORY;
    const READ: OFlags = OFlags::NONBLOCK.union(OFlags::NOCTTY);

    let mut at: Option<OwnedFd> = None;
    let mut names = std::iter::once(root.as_os_str()).chain(relative).peekable();
    while let Some(name) = names.next() {
        let how = if names.peek().is_some() { PASS } else { READ };
        let how = how | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let base = at.as_ref().map_or(CWD, |fd| fd.as_fd());
        at = Some(openat(base, name, how, Mode::empty())?);
    }
    at.map(File::from)
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}

#[cfg(not(unix))]
pub(super) fn open_beneath(root: &Path, relative: &Path) -> io::Result<File> {
    File::open(root.join(relative))
}

/// The names in a directory, unsorted; on Unix `.` and `..` among them.
#[cfg(unix)]
pub(super) fn read_names(
    root: &Path,
    relative: &Path,
) -> io::Result<impl Iterator<Item = io::Result<OsString>>> {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

    let names = rustix::fs::Dir::new(open_beneath(root, relative)?)?;
    Ok(names.map(|entry| Ok(OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned())))
}

#[cfg(not(unix))]
pub(super) fn read_names(
    root: &Path,
    relative: &Path,
) -> io::Result<impl Iterator<Item = io::Result<OsString>>> {
    let entries = std::fs::read_dir(root.join(relative))?;
    Ok(entries.map(|entry| Ok(entry?.file_name())))
}
