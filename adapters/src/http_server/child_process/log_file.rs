//! Writing a server's log: never more than two files, of bounded size, that nobody else can read.
//!
//! No name in the directory is trusted: a file is only written if this very call has made it, so links, FIFOs and files of
//! others are never opened.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::log_file::{CURRENT, DIR, PREVIOUS};
use crate::private;

/// How long a file gets before there is a new one, at the next line.
const LIMIT: u64 = 5 * 1024 * 1024;

/// How much further it may get if no line ends there.
const OVERRUN: u64 = 1024 * 1024;

/// The log that is written. It is not buffered.
#[derive(Debug)]
pub(super) struct LogFile {
    state_dir: PathBuf,
    file: File,
    size: u64,
    limit: u64,
    /// Whether the last byte ended a line.
    at_line_start: bool,
}

impl LogFile {
    /// Begins a new log in `state_dir`, which must be private. The one that is there becomes the previous one.
    ///
    /// # Errors
    ///
    /// What keeps the log from being written, and what is in the way.
    pub(super) fn open(state_dir: &Path) -> io::Result<Self> {
        Self::with_limit(state_dir, LIMIT)
    }

    fn with_limit(state_dir: &Path, limit: u64) -> io::Result<Self> {
        Ok(Self {
            state_dir: state_dir.to_owned(),
            file: begin(state_dir)?,
            size: 0,
            limit,
            at_line_start: true,
        })
    }

    /// Whether it is time for a new file.
    const fn is_full(&self) -> bool {
        self.size >= self.limit.saturating_add(OVERRUN)
            || (self.size >= self.limit && self.at_line_start)
    }

    /// How much of it belongs into this file: all, or if that would be too much, as far as the first line that ends where
    /// it may be full.
    fn share(&self, bytes: &[u8]) -> usize {
        let room = self.limit.saturating_sub(self.size).saturating_sub(1);
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let beyond = bytes.get(room..).unwrap_or_default();
        match beyond.iter().position(|byte| *byte == b'\n') {
            Some(end) => room + end + 1,
            None => bytes.len(),
        }
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_full() {
            *self = Self::with_limit(&self.state_dir, self.limit)?;
        }
        let share = self.share(bytes);
        let written = self.file.write(&bytes[..share])?;
        if let Some(last) = written.checked_sub(1) {
            self.at_line_start = bytes[last] == b'\n';
            self.size += written as u64;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Makes a new, empty file, and the one that is there the previous one.
fn begin(state_dir: &Path) -> io::Result<File> {
    let dir = open_dir(state_dir)?;
    match rustix::fs::statat(&dir, CURRENT, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(old) => {
            let is_file = FileType::from_raw_mode(old.st_mode) == FileType::RegularFile;
            if !is_file || old.st_uid != rustix::process::geteuid().as_raw() {
                return Err(in_the_way(CURRENT));
            }
            match old.st_size {
                // There is nothing in it that would be worth losing the one before for.
                0 => rustix::fs::unlinkat(&dir, CURRENT, AtFlags::empty())?,
                _ => rustix::fs::renameat(&dir, CURRENT, &dir, PREVIOUS)?,
            }
        }
        Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    // O_EXCL: what has come to be there since is not opened, not even through a link (open(2)).
    let flags = OFlags::WRONLY
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::EXCL
        | OFlags::NOFOLLOW
        | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&dir, CURRENT, flags, Mode::RUSR | Mode::WUSR)?;
    private::settle_file(file.as_fd())?;
    Ok(file.into())
}

fn open_dir(state_dir: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let parent = rustix::fs::openat(CWD, state_dir, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&parent)?;
    if stat.st_uid != rustix::process::geteuid().as_raw() || stat.st_mode & 0o022 != 0 {
        // It was made sure of at the start. Somebody has put another one in its place since, or opened it to others.
        return Err(io::Error::other(
            "the state directory isn't private any more",
        ));
    }
    private::make_dir(parent.as_fd(), DIR.as_ref())?;
    let dir = match rustix::fs::openat(&parent, DIR, flags, Mode::empty()) {
        Ok(dir) => dir,
        Err(Errno::LOOP | Errno::NOTDIR) => return Err(in_the_way(DIR)),
        Err(error) => return Err(error.into()),
    };
    let stat = rustix::fs::fstat(&dir)?;
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(in_the_way(DIR));
    }
    if stat.st_mode & 0o777 != 0o700 {
        rustix::fs::fchmod(&dir, Mode::RWXU)?;
    }
    Ok(dir)
}

fn in_the_way(name: &str) -> io::Error {
    let what = match name {
        DIR => "directory",
        _ => "file",
    };
    io::Error::other(format!("{name} is there, and is no {what} of this user's"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
    use std::os::unix::net::UnixListener;

    use tempfile::TempDir;

    use super::*;
    use crate::log_file::path;

    fn room() -> TempDir {
        tempfile::tempdir().unwrap()
    }

    fn previous(dir: &TempDir) -> PathBuf {
        path(dir.path()).with_file_name(PREVIOUS)
    }

    fn text(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn the_log_is_private_and_takes_any_bytes() {
        let dir = room();
        let mut log = LogFile::open(dir.path()).unwrap();
        log.write_all(b"\0\xff\x1b[1m no end").unwrap();
        let file = path(dir.path());
        assert_eq!(fs::read(&file).unwrap(), b"\0\xff\x1b[1m no end");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        let logs = fs::metadata(file.parent().unwrap()).unwrap();
        assert_eq!(logs.mode() & 0o777, 0o700);
    }

    #[test]
    fn a_new_log_keeps_the_one_before_and_no_more() {
        let dir = room();
        for run in ["1", "2", "3"] {
            let mut log = LogFile::open(dir.path()).unwrap();
            log.write_all(run.as_bytes()).unwrap();
        }
        assert_eq!(text(&path(dir.path())), "3");
        assert_eq!(text(&previous(&dir)), "2");
        assert_eq!(fs::read_dir(dir.path().join(DIR)).unwrap().count(), 2);
    }

    #[test]
    fn a_log_with_nothing_in_it_does_not_cost_the_one_before() {
        let dir = room();
        LogFile::open(dir.path()).unwrap().write_all(b"1").unwrap();
        drop(LogFile::open(dir.path()).unwrap());
        drop(LogFile::open(dir.path()).unwrap());
        assert_eq!(text(&previous(&dir)), "1");
    }

    #[test]
    fn a_full_file_gives_way_at_the_end_of_a_line() {
        let dir = room();
        let mut log = LogFile::with_limit(dir.path(), 10).unwrap();
        log.write_all(b"12345\n78").unwrap();
        log.write_all(b"9abc").unwrap();
        log.write_all(b"de\nnew").unwrap();
        assert_eq!(text(&previous(&dir)), "12345\n789abcde\n");
        assert_eq!(text(&path(dir.path())), "new");
    }

    #[test]
    fn a_line_that_never_ends_does_not_fill_the_disk() {
        let dir = room();
        let mut log = LogFile::with_limit(dir.path(), 10).unwrap();
        let piece = vec![b'x'; 64 * 1024];
        for _ in 0..40 {
            log.write_all(&piece).unwrap();
        }
        for file in [path(dir.path()), previous(&dir)] {
            assert!(fs::metadata(file).unwrap().len() < OVERRUN + 128 * 1024);
        }
    }

    #[test]
    fn a_log_directory_that_was_removed_comes_back_with_the_next_file() {
        let dir = room();
        let mut log = LogFile::with_limit(dir.path(), 2).unwrap();
        log.write_all(b"1\n").unwrap();
        fs::remove_dir_all(dir.path().join(DIR)).unwrap();
        log.write_all(b"2\n").unwrap();
        assert_eq!(text(&path(dir.path())), "2\n");
    }

    #[test]
    fn nothing_that_is_no_log_is_opened() {
        let dir = room();
        let elsewhere = dir.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        let logs = dir.path().join(DIR);
        symlink(&elsewhere, &logs).unwrap();
        assert!(LogFile::open(dir.path()).is_err());
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);

        fs::remove_file(&logs).unwrap();
        fs::create_dir(&logs).unwrap();
        let target = elsewhere.join("target");
        fs::write(&target, "mine").unwrap();
        symlink(&target, path(dir.path())).unwrap();
        assert!(LogFile::open(dir.path()).is_err());
        assert_eq!(text(&target), "mine");

        fs::remove_file(path(dir.path())).unwrap();
        let _socket = UnixListener::bind(path(dir.path())).unwrap();
        let error = LogFile::open(dir.path()).unwrap_err();
        assert!(
            error.to_string().contains("no file of this user"),
            "{error}"
        );
    }

    #[test]
    fn nothing_is_written_into_a_directory_that_is_not_private_any_more() {
        let dir = room();
        let link = dir.path().join("link");
        symlink(dir.path(), &link).unwrap();
        assert!(LogFile::open(&link).is_err());
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let refused = LogFile::open(dir.path()).unwrap_err();
        assert!(refused.to_string().contains("private"), "{refused}");
        assert!(!dir.path().join(DIR).exists());
    }

    #[test]
    fn a_log_directory_that_others_may_enter_is_closed_to_them() {
        let dir = room();
        let logs = dir.path().join(DIR);
        fs::create_dir(&logs).unwrap();
        fs::set_permissions(&logs, fs::Permissions::from_mode(0o755)).unwrap();
        LogFile::open(dir.path()).unwrap();
        assert_eq!(fs::metadata(&logs).unwrap().mode() & 0o777, 0o700);
    }
}
