//! Directories that nobody else may enter and files that nobody else may open: made so, whatever the umask is.
//!
//! Nothing is changed that wasn't made here. Between making and opening somebody may put a link there, who may write to the
//! directory above; that it leads elsewhere must not matter.

use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd as _;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Mode};
#[cfg(target_os = "linux")]
use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;

/// Makes a directory of mode 0700, whatever the umask is; false if something is there already.
pub(crate) fn make_dir(dir: BorrowedFd<'_>, path: &Path) -> io::Result<bool> {
    match rustix::fs::mkdirat(dir, path, Mode::RWXU) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    // A strange umask may have taken our own rights away, down to that of opening it.
    let stat = rustix::fs::statat(dir, path, AtFlags::SYMLINK_NOFOLLOW)?;
    if stat.st_mode & 0o777 != 0o700 {
        give_rights(dir, path)?;
    }
    Ok(true)
}

/// Gives a file that was made just now, or is known to be ours, the mode 0600.
pub(crate) fn settle_file(file: BorrowedFd<'_>) -> io::Result<()> {
    let own = Mode::RUSR | Mode::WUSR;
    match rustix::fs::fstat(file)?.st_mode & 0o777 {
        0o600 => Ok(()),
        _ => Ok(rustix::fs::fchmod(file, own)?),
    }
}

/// By the directory itself: somebody may have put a link in its place, and what that leads to isn't ours to change.
#[cfg(target_os = "linux")]
fn give_rights(dir: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(dir, path, flags, Mode::empty())?;
    // A descriptor that only names a file can't be asked to change it, but its name can (proc_pid_fd(5)).
    let itself = format!("/proc/self/fd/{}", made.as_raw_fd());
    Ok(rustix::fs::chmodat(
        CWD,
        &itself,
        Mode::RWXU,
        AtFlags::empty(),
    )?)
}

#[cfg(not(target_os = "linux"))]
fn give_rights(dir: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    Ok(rustix::fs::chmodat(
        dir,
        path,
        Mode::RWXU,
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use rustix::fs::CWD;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_directory_is_made_private_and_what_is_there_stays_as_it_is() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("new");
        assert!(make_dir(CWD, &path).unwrap());
        assert_eq!(mode(&path), 0o700);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(!make_dir(CWD, &path).unwrap(), "it is there");
        assert_eq!(mode(&path), 0o755);
    }

    #[test]
    fn rights_are_not_given_to_what_a_link_leads_to() {
        let temp = tempfile::tempdir().unwrap();
        let victim = temp.path().join("victim");
        fs::create_dir(&victim).unwrap();
        fs::set_permissions(&victim, fs::Permissions::from_mode(0o555)).unwrap();
        let link = temp.path().join("link");
        symlink(&victim, &link).unwrap();
        assert!(give_rights(CWD, &link).is_err() || cfg!(not(target_os = "linux")));
        assert_eq!(mode(&victim), 0o555);
    }
}
