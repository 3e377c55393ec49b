//! What is swept: a command, how it is started, and what may have been there before.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use daymark_adapters::record_json;
use daymark_adapters::state_store::{LOCK, RECORD};

use crate::files::Ground;
use crate::sample;

/// What the command is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// A server of its own.
    Serve,
    /// Another program's server.
    Run,
    /// What is there.
    Status,
    /// That it ends.
    Stop,
}

/// What was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Were {
    /// Nothing.
    Fresh,
    /// The record of a server that was killed.
    Stale,
    /// What a server leaves that was killed while it wrote its record.
    HalfWritten,
    /// A server.
    Alive,
}

/// Programs, and a directory to serve.
#[derive(Debug)]
pub struct Site {
    /// What is tried.
    pub program: PathBuf,
    /// What comes after it, and what else isn't tried itself: the real command.
    pub real: PathBuf,
    /// A server to be run.
    pub servant: PathBuf,
    /// What is wrong with the program that is tried; nothing that is known.
    pub fault: &'static str,
    served: tempfile::TempDir,
}

impl Site {
    /// With the real command, and a server for it to run.
    ///
    /// # Panics
    ///
    /// If there can't be a directory.
    #[must_use]
    pub fn new(program: PathBuf, servant: PathBuf) -> Self {
        let served = tempfile::tempdir().expect("a temporary directory");
        let page = served.path().join("index.html");
        fs::write(page, "hello\n").expect("write a page");
        Self {
            real: program.clone(),
            program,
            servant,
            fault: "",
            served,
        }
    }

    /// The words after the command.
    #[must_use]
    pub fn words(&self, verb: Verb, state: &Path) -> Vec<String> {
        let text = |path: &Path| path.display().to_string();
        let mut words = vec!["--state-dir".to_owned(), text(state)];
        match verb {
            Verb::Serve => {
                let served = text(self.served.path());
                words.extend(
                    ["serve", "-n", "swept", "-p", "0", "--drain", "1s"].map(str::to_owned),
                );
                words.push(served);
            }
            Verb::Run => {
                words.extend(["run", "-n", "swept", "--drain", "1s"].map(str::to_owned));
                words.extend(["--ready-timeout", "15s", "--"].map(str::to_owned));
                // What the command itself says of its own troubles is not the supervisor's.
                let script = format!("exec \"$0\" \"$@\" 2>'{}.servant'", state.display());
                words.extend(["/bin/sh".to_owned(), "-c".to_owned(), script]);
                words.extend([text(&self.servant), "{port}".to_owned()]);
            }
            Verb::Status => words.push("status".to_owned()),
            Verb::Stop => words.extend(["stop", "--drain", "1s"].map(str::to_owned)),
        }
        words
    }
}

/// Puts there what may be there before. A server that lives is not its business.
pub(super) fn prepare(ground: &Ground, were: Were) {
    if matches!(were, Were::Fresh | Were::Alive) {
        return;
    }
    let mut builder = fs::DirBuilder::new();
    builder
        .mode(0o700)
        .create(ground.dir())
        .expect("make the directory");
    let record = record_json::write(&sample::record(7, 9));
    let lock = format!("{} {:032x} serving 9\n", i32::MAX, 7);
    leave(&ground.dir().join(LOCK), lock.as_bytes());
    match were {
        Were::Stale => leave(&ground.dir().join(RECORD), &record),
        _ => {
            let name = format!(".server.json.{:032x}.tmp", 7);
            leave(&ground.dir().join(name), &record[..record.len() / 2]);
        }
    }
}

fn leave(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("write what is left");
    let private = fs::Permissions::from_mode(0o600);
    fs::set_permissions(path, private).expect("make it private");
}
