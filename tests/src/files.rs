//! A state directory for one test, and what every moment of its life must look like from outside.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use daymark::Presence;
use daymark_adapters::record_json;
use daymark_adapters::state_store::{LOCK, RECORD};
use daymark_core::record::ServerRecord;

/// A place for a state directory, which isn't made yet. All of it goes when this is dropped.
#[derive(Debug)]
pub struct Ground {
    dir: PathBuf,
    _temp: Option<tempfile::TempDir>,
}

impl Ground {
    /// A fresh one.
    #[must_use]
    pub fn new() -> Self {
        let temp = tempfile::tempdir().expect("a temporary directory");
        Self {
            dir: temp.path().join("state"),
            _temp: Some(temp),
        }
    }

    /// This state directory, which goes with whatever it is in.
    #[must_use]
    pub const fn at(dir: PathBuf) -> Self {
        Self { dir, _temp: None }
    }

    /// The state directory.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.dir.clone()
    }

    /// The state directory, as a place to look at.
    #[must_use]
    pub fn place(&self) -> daymark::Place {
        daymark::Place::at(self.dir()).expect("an absolute path")
    }

    /// What may be believed of it.
    #[must_use]
    pub fn presence(&self) -> Presence {
        self.place().look().presence
    }

    /// The record's path.
    #[must_use]
    pub fn record(&self) -> PathBuf {
        self.dir().join(RECORD)
    }

    /// The lock file's path.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.dir().join(LOCK)
    }

    /// The names of the files in it, in order.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let entries = match std::fs::read_dir(self.dir()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
            Err(error) => panic!("cannot list {}: {error}", self.dir().display()),
        };
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name())
            .map(|name| name.into_string().expect("a name in UTF-8"))
            .collect();
        names.sort();
        names
    }

    /// Nothing is left of a server but its free lock; after a start that failed, not even that.
    pub fn assert_left_clean(&self) {
        assert_eq!(self.presence(), Presence::Absent);
        let names = self.names();
        assert!(
            names.is_empty() || names == [LOCK],
            "a stop leaves only {LOCK}: {names:?}"
        );
    }

    /// What a crash may leave: nobody believes it, and there is nothing that the next start doesn't clear away.
    pub fn assert_survivable(&self) {
        let presence = self.presence();
        assert!(
            matches!(presence, Presence::Absent | Presence::Stale),
            "its writer is gone, and it is called {presence}"
        );
        read_whole(&self.record());
        for name in self.names() {
            let temporary = name.starts_with(".server.json.") && name.ends_with(".tmp");
            assert!(
                temporary || name == LOCK || name == RECORD,
                "{name:?} was left behind"
            );
        }
    }
}

impl Default for Ground {
    fn default() -> Self {
        Self::new()
    }
}

/// The record at `path`, which is whole or absent.
///
/// # Panics
///
/// If it is neither.
pub fn read_whole(path: &Path) -> Option<ServerRecord> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => panic!("cannot read {}: {error}", path.display()),
    };
    match record_json::read(&bytes) {
        Ok(record) => Some(record),
        Err(reason) => panic!(
            "half a record: {reason} in {:?}",
            String::from_utf8_lossy(&bytes)
        ),
    }
}
