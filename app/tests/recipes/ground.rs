//! A directory with the files of the page in it, and an environment that nothing of this machine's leaks into.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::{page, programs};

const DAYMARK: &str = env!("CARGO_BIN_EXE_daymark");

pub(crate) struct Ground {
    dir: TempDir,
    name: String,
}

impl Ground {
    /// For a server of this name, where the command line doesn't give another.
    pub(crate) fn new(name: &str) -> Self {
        // An nginx that was started by root has workers that are somebody else, and must come to the files.
        let dir = tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .expect("a directory");
        let ground = Self {
            dir,
            name: name.to_owned(),
        };
        for inside in ["site", "state", "bin", ".jupyter"] {
            fs::create_dir(ground.path(inside)).expect("a directory");
        }
        symlink(DAYMARK, ground.path("bin/daymark")).expect("a link");
        if listening().is_file() {
            symlink(listening(), ground.path("site/listening")).expect("a link");
        }
        // The tests may be run by root, whom Jupyter refuses otherwise.
        let jupyter = r#"{"ServerApp": {"allow_root": true}}"#;
        fs::write(ground.path(".jupyter/jupyter_server_config.json"), jupyter).expect("a file");
        fs::write(ground.path("site/index.html"), "hello\n").expect("a page");
        for (name, text) in page::files() {
            fs::write(ground.path("site").join(name), text).expect("a file");
        }
        ground
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.dir.path().join(inside)
    }

    /// What every process that comes from here has in its environment, and no other.
    pub(crate) fn mark(&self) -> String {
        format!("RECIPE={}", self.dir.path().display())
    }

    /// A line as it is typed into a shell.
    pub(crate) fn shell(&self, line: &str) -> Command {
        let mut path = vec![self.path("bin")];
        path.extend(programs::search_path());
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", line])
            .env_clear()
            .env("PATH", std::env::join_paths(path).expect("a search path"))
            .env("HOME", self.dir.path())
            .env("XDG_STATE_HOME", self.path("state"))
            .env("RECIPE", self.dir.path())
            .env("DAYMARK_NAME", &self.name)
            .env("DAYMARK_JSON", "1")
            .current_dir(self.path("site"))
            .stdin(Stdio::null());
        command
    }

    /// Runs a line to its end; what it printed, if it succeeded.
    #[track_caller]
    pub(crate) fn succeeds(&self, line: &str) -> String {
        let output = self.shell(line).output().expect("a shell");
        assert!(output.status.success(), "{line}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// The presence of the server: 0 is the exit code of one that is live, and 3 of all others.
    pub(crate) fn status(&self) -> String {
        let output = self.shell("daymark status").output().expect("a shell");
        let object: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        object["presence"].as_str().expect("a presence").to_owned()
    }

    /// The one object that a line prints.
    #[track_caller]
    pub(crate) fn json(&self, line: &str) -> Value {
        let out = self.succeeds(line);
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{line}: {error}: {out}"))
    }
}

/// The example of that name, which `cargo test` builds.
pub(crate) fn listening() -> PathBuf {
    Path::new(DAYMARK)
        .with_file_name("examples")
        .join("listening")
}
