//! Where a server's log is, and how to read it: for those who write it, print it and remove it.
//!
//! A log is one or two files: the one that is written, and the one before. A file always begins with a line of its own, so
//! the end of a file ends a line. Who may remove them, and when, isn't known here.
//!
//! Longer than others: half of it is tests.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use same_file::Handle;

/// The directory in the state directory that holds a log, and nothing else of Daymark's.
pub const DIR: &str = "logs";
/// The file that is written.
pub const CURRENT: &str = "server.log";
/// The one before.
pub const PREVIOUS: &str = "server.log.1";

/// More than any log that is written. Of a file that has grown beyond, the end is read.
const LARGEST: u64 = 16 * 1024 * 1024;

/// A longer line is read in parts.
const LONGEST_LINE: usize = 1024 * 1024;

/// How often the files are looked for while they are being renamed.
const TRIES: usize = 16;

/// The file that is written.
#[must_use]
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(DIR).join(CURRENT)
}

/// Reads a log from its oldest line on, also while it is written, and over to the next file.
#[derive(Debug)]
pub struct LogReader {
    dir: PathBuf,
    /// The file that is read, and those after it.
    files: VecDeque<File>,
    /// The file that was read before, held open so that no other one can come to look like it.
    done: Option<File>,
    /// A line that has no end yet.
    open: Vec<u8>,
}

impl LogReader {
    /// The log in `state_dir`; none if there isn't any. Symbolic links are not followed.
    ///
    /// # Errors
    ///
    /// When it can't be opened, or is no regular file.
    pub fn open(state_dir: &Path) -> io::Result<Option<Self>> {
        let mut reader = Self {
            dir: state_dir.join(DIR),
            files: VecDeque::new(),
            done: None,
            open: Vec::new(),
        };
        reader.files = reader.files_after(None)?;
        Ok((!reader.files.is_empty()).then_some(reader))
    }

    /// Hands out the lines that are complete by now, without their ends, each once.
    ///
    /// # Errors
    ///
    /// When a file can't be read. What was read until then is not lost.
    pub fn read(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        loop {
            self.read_front(&mut each)?;
            if self.files.len() < 2 {
                let next = self.files_after(self.files.front())?;
                if next.is_empty() {
                    return Ok(());
                }
                // Something may have been written since the file's end was seen, and before the next file was there.
                self.read_front(&mut each)?;
                self.files.extend(next);
            }
            self.done = self.files.pop_front();
            self.end_line(&mut each);
        }
    }

    /// Hands out the last line, if it has no end yet. What is still written to it counts as a line of its own.
    pub fn rest(&mut self, mut each: impl FnMut(&[u8])) {
        self.end_line(&mut each);
    }

    fn read_front(&mut self, each: &mut impl FnMut(&[u8])) -> io::Result<()> {
        let Some(file) = self.files.front_mut() else {
            return Ok(());
        };
        let (end, mut at) = (file.metadata()?.len(), file.stream_position()?);
        // Whoever emptied the file has it begin anew.
        if end < at {
            at = file.seek(SeekFrom::Start(0))?;
        }
        let mut buffer = vec![0; 64 * 1024];
        // To the end as it was: who writes faster than this reads doesn't keep it for ever.
        while at < end {
            let read = match file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => &buffer[..read],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            at += read.len() as u64;
            for part in read.split_inclusive(|byte| *byte == b'\n') {
                let (text, ends) = match part.strip_suffix(b"\n") {
                    Some(text) => (text, true),
                    None => (part, false),
                };
                self.open.extend_from_slice(text);
                if ends || self.open.len() >= LONGEST_LINE {
                    each(&self.open);
                    self.open.clear();
                }
            }
        }
        Ok(())
    }

    fn end_line(&mut self, each: &mut impl FnMut(&[u8])) {
        if !self.open.is_empty() {
            each(&self.open);
            self.open.clear();
        }
    }

    /// The files that come after `this` one, which may have been renamed, or be gone.
    fn files_after(&self, this: Option<&File>) -> io::Result<VecDeque<File>> {
        let mut files = VecDeque::new();
        for file in both(&self.dir)?.into_iter().flatten() {
            if is_same(this, Some(&file))? {
                files.clear();
            } else if !is_same(self.done.as_ref(), Some(&file))? {
                files.push_back(file);
            }
        }
        Ok(files)
    }
}

/// The previous file and the current one, of the same moment.
fn both(dir: &Path) -> io::Result<[Option<File>; 2]> {
    let mut current = open_file(dir, CURRENT)?;
    for _ in 0..TRIES {
        let previous = open_file(dir, PREVIOUS)?;
        let now = open_file(dir, CURRENT)?;
        if is_same(current.as_ref(), now.as_ref())? {
            return Ok([previous, now]);
        }
        current = now;
    }
    Err(io::Error::other("its files change all the time"))
}

fn is_same(a: Option<&File>, b: Option<&File>) -> io::Result<bool> {
    match (a, b) {
        (Some(a), Some(b)) => {
            Ok(Handle::from_file(a.try_clone()?)? == Handle::from_file(b.try_clone()?)?)
        }
        (a, b) => Ok(a.is_none() && b.is_none()),
    }
}

fn open_file(dir: &Path, name: &str) -> io::Result<Option<File>> {
    match open_to_read(dir, name) {
        Ok(mut file) if file.metadata()?.is_file() => {
            if let Some(beyond) = file.metadata()?.len().checked_sub(LARGEST) {
                file.seek(SeekFrom::Start(beyond))?;
            }
            Ok(Some(file))
        }
        Ok(_) => Err(io::Error::other(format!("{name} is not a regular file"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Never waits, whatever it is. Nothing is read that others may have put there.
#[cfg(unix)]
fn open_to_read(dir: &Path, name: &str) -> io::Result<File> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let in_dir = flags | OFlags::DIRECTORY;
    let state_dir = openat(CWD, dir.parent().unwrap_or(dir), in_dir, Mode::empty())?;
    let state_dir = ours(state_dir.into(), "the state directory")?;
    let dir = openat(&state_dir, DIR, in_dir, Mode::empty())?;
    let dir = ours(dir.into(), DIR)?;
    let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY;
    ours(openat(&dir, name, flags, Mode::empty())?.into(), name)
}

/// The file, if it is this user's and nobody else may write to it.
#[cfg(unix)]
fn ours(file: File, name: &str) -> io::Result<File> {
    use std::os::unix::fs::MetadataExt as _;
    let stat = file.metadata()?;
    if stat.uid() != rustix::process::geteuid().as_raw() {
        let whose = format!("{name} belongs to user {}", stat.uid());
        return Err(io::Error::other(whose));
    }
    match stat.mode() & 0o022 {
        0 => Ok(file),
        _ => Err(io::Error::other(format!("others may write to {name}"))),
    }
}

#[cfg(not(unix))]
fn open_to_read(dir: &Path, name: &str) -> io::Result<File> {
    let path = dir.join(name);
    for path in [dir, &path] {
        if std::fs::symlink_metadata(path)?.is_symlink() {
            return Err(io::Error::other("it is a symbolic link"));
        }
    }
    File::open(path)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use tempfile::TempDir;

    use super::*;

    struct Log(TempDir);

    impl Log {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join(DIR)).unwrap();
            Self(dir)
        }

        fn append(&self, text: &str) {
            let mut options = File::options();
            let file = options.append(true).create(true);
            let mut file = file.open(path(self.0.path())).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        fn rotate(&self) {
            let current = path(self.0.path());
            fs::rename(&current, current.with_file_name(PREVIOUS)).unwrap();
        }

        fn reader(&self) -> LogReader {
            LogReader::open(self.0.path()).unwrap().unwrap()
        }
    }

    fn lines(reader: &mut LogReader) -> Vec<String> {
        let mut lines = Vec::new();
        let each = |line: &[u8]| lines.push(String::from_utf8_lossy(line).into_owned());
        reader.read(each).unwrap();
        lines
    }

    #[test]
    fn a_log_that_is_not_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        assert!(LogReader::open(dir.path()).unwrap().is_none());
        let log = Log::new();
        assert!(LogReader::open(log.0.path()).unwrap().is_none());
    }

    #[test]
    fn both_files_are_read_the_older_one_first_and_none_runs_into_the_other() {
        let log = Log::new();
        log.append("one\ntwo");
        log.rotate();
        log.append("three\nfo");
        let mut reader = log.reader();
        assert_eq!(lines(&mut reader), ["one", "two", "three"]);
        log.append("ur\nfive");
        assert_eq!(lines(&mut reader), ["four"]);
        let mut rest = Vec::new();
        reader.rest(|line| rest.push(line.to_owned()));
        assert_eq!(rest, [b"five"]);
    }

    #[test]
    fn a_reader_goes_over_to_the_next_file_and_misses_nothing() {
        let log = Log::new();
        log.append("one\n");
        let mut reader = log.reader();
        assert_eq!(lines(&mut reader), ["one"]);
        log.append("two\n");
        log.rotate();
        assert_eq!(lines(&mut reader), ["two"]);
        log.append("three\n");
        log.rotate();
        log.append("four\n");
        assert_eq!(lines(&mut reader), ["three", "four"]);
    }

    #[test]
    fn what_was_read_is_not_read_again_when_a_file_with_nothing_in_it_makes_way() {
        let log = Log::new();
        log.append("one\n");
        log.rotate();
        log.append("");
        let mut reader = log.reader();
        assert_eq!(lines(&mut reader), ["one"]);
        fs::remove_file(path(log.0.path())).unwrap();
        log.append("two\n");
        assert_eq!(lines(&mut reader), ["two"]);
    }

    #[test]
    fn a_reader_that_slept_through_a_file_goes_on_with_the_oldest_there_is() {
        let log = Log::new();
        log.append("one\n");
        let mut reader = log.reader();
        for line in ["two\n", "three\n", "four\n"] {
            log.rotate();
            log.append(line);
        }
        assert_eq!(lines(&mut reader), ["one", "three", "four"]);
    }

    #[test]
    fn a_file_that_was_emptied_begins_anew() {
        let log = Log::new();
        log.append("one, and quite long\n");
        let mut reader = log.reader();
        assert_eq!(lines(&mut reader), ["one, and quite long"]);
        fs::write(path(log.0.path()), "two\n").unwrap();
        assert_eq!(lines(&mut reader), ["two"]);
    }

    #[test]
    fn a_line_without_end_is_read_in_parts() {
        let log = Log::new();
        log.append(&"x".repeat(LONGEST_LINE + 70_000));
        let mut reader = log.reader();
        assert_eq!(lines(&mut reader).len(), 1);
        assert!(reader.open.len() <= 70_000);
    }

    #[test]
    fn of_a_file_that_no_log_can_be_only_the_end_is_read() {
        let log = Log::new();
        let file = fs::File::create(path(log.0.path())).unwrap();
        file.set_len(1 << 40).unwrap();
        drop(file);
        log.append("\nlast\n");
        let mut read = 0;
        let mut last = Vec::new();
        let mut reader = log.reader();
        reader
            .read(|line| {
                read += line.len() as u64;
                last = line.to_owned();
            })
            .unwrap();
        assert_eq!(last, b"last");
        assert!(read <= LARGEST, "{read}");
    }

    #[cfg(unix)]
    #[test]
    fn nothing_is_read_that_others_may_have_put_there() {
        use std::os::unix::fs::PermissionsExt as _;

        let log = Log::new();
        log.append("one\n");
        let file = path(log.0.path());
        let dirs = [log.0.path().to_owned(), log.0.path().join(DIR)];
        for loose in dirs.iter().chain([&file]) {
            let before = fs::metadata(loose).unwrap().permissions();
            fs::set_permissions(loose, fs::Permissions::from_mode(0o777)).unwrap();
            let refused = LogReader::open(log.0.path()).unwrap_err();
            assert!(
                refused.to_string().contains("others may write"),
                "{refused}"
            );
            fs::set_permissions(loose, before).unwrap();
        }
        assert_eq!(lines(&mut log.reader()), ["one"]);
    }

    #[cfg(unix)]
    #[test]
    fn no_link_is_followed() {
        let log = Log::new();
        let elsewhere = log.0.path().join("elsewhere");
        fs::write(&elsewhere, "secret\n").unwrap();
        std::os::unix::fs::symlink(&elsewhere, path(log.0.path())).unwrap();
        assert!(LogReader::open(log.0.path()).is_err());

        fs::remove_file(path(log.0.path())).unwrap();
        log.append("one\n");
        let outside = tempfile::tempdir().unwrap();
        let link = outside.path().join("state");
        std::os::unix::fs::symlink(log.0.path(), &link).unwrap();
        assert!(LogReader::open(&link).is_err());
    }
}
