//! The programs that are compared, and where they come from.

#![expect(
    clippy::print_stdout,
    reason = "a build and an installation are worth a word"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::figures::{on_disk, root};
use super::process::{Running, start};

/// What can be measured here.
pub(crate) struct Programs {
    /// Of the release profile.
    built: PathBuf,
    /// The command again, without the libraries that a loader has to find; none where the C library can't be had like that.
    pub(crate) linked_statically: Option<PathBuf>,
    /// Python with uvicorn, FastAPI and Jupyter, where it could be had.
    pub(crate) python: Option<PathBuf>,
    pub(crate) node: bool,
}

/// A program that serves, and writes a record into a directory that it is told.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// The command, with `{dir}` for the directory.
    words: Vec<String>,
    /// Where in the directory its record is, or how its name begins.
    record: &'static str,
}

impl Programs {
    pub(crate) fn get() -> Self {
        println!("building the release profile, as it is shipped");
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let built = Command::new(&cargo)
            .args(["build", "--quiet", "--release", "--locked"])
            .args(["-p", "daymark", "-p", "daymark-tests"])
            .args([
                "--bin",
                "daymark",
                "--bin",
                "bare",
                "--bin",
                "roomy",
                "--example",
                "hello",
            ])
            .current_dir(root())
            .status();
        assert!(built.is_ok_and(|status| status.success()), "it builds");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
        Self {
            built: target.expect("the target directory").join("release"),
            linked_statically: link_statically(&cargo),
            python: install_python(),
            node: runs(Command::new("node").arg("--version")),
        }
    }

    pub(crate) fn daymark(&self) -> PathBuf {
        self.built.join("daymark")
    }

    pub(crate) fn bare(&self) -> Peer {
        Peer {
            name: "bare hyper",
            words: vec![self.bare_path().display().to_string(), "{dir}".to_owned()],
            record: "server.json",
        }
    }

    pub(crate) fn bare_path(&self) -> PathBuf {
        self.built.join("bare")
    }

    /// The example, with room for many connections.
    pub(crate) fn roomy(&self) -> Peer {
        Peer {
            words: vec![self.built.join("roomy").display().to_string()],
            ..self.hello()
        }
    }

    /// The example of that name.
    pub(crate) fn hello(&self) -> Peer {
        let path = self.built.join("examples/hello");
        Peer {
            name: "daymark (hello)",
            words: vec![path.display().to_string()],
            record: "daymark/run/hello/server.json",
        }
    }

    pub(crate) fn serve(&self) -> Peer {
        serve("daymark serve", &self.daymark())
    }

    pub(crate) fn static_serve(&self) -> Option<Peer> {
        let path = self.linked_statically.as_ref()?;
        Some(serve("daymark serve, linked statically", path))
    }

    pub(crate) fn node(&self) -> Option<Peer> {
        self.node.then(|| Peer {
            name: "node http",
            words: vec!["node".to_owned(), script("node.js"), "{dir}".to_owned()],
            record: "server.json",
        })
    }

    pub(crate) fn original(&self) -> Option<Peer> {
        let python = self.python.as_ref()?.display().to_string();
        Some(Peer {
            name: "uvicorn + FastAPI, by hand",
            words: vec![python, script("original.py"), "{dir}".to_owned()],
            record: "server.json",
        })
    }

    pub(crate) fn jupyter(&self) -> Option<Peer> {
        let python = self.python.as_ref()?.display().to_string();
        let words = [
            &python,
            "-m",
            "jupyter_server",
            "--no-browser",
            "--allow-root",
            "--log-level=CRITICAL",
            "--ServerApp.root_dir={dir}",
        ];
        Some(Peer {
            name: "Jupyter Server",
            words: words.map(str::to_owned).to_vec(),
            record: "jpserver-",
        })
    }

    /// What is missing, for the reader of the figures.
    pub(crate) fn missing(&self) -> Option<String> {
        let mut missing = Vec::new();
        if self.python.is_none() {
            missing.push("Python with uvicorn, FastAPI and Jupyter");
        }
        if !self.node {
            missing.push("node");
        }
        let list = missing.join(", ");
        (!missing.is_empty()).then(|| format!("Not measured, for it can't be had here: {list}."))
    }
}

fn serve(name: &'static str, program: &Path) -> Peer {
    let path = program.display().to_string();
    let words = [&path, "serve", "{dir}", "-q", "--name", "files"];
    Peer {
        name,
        words: words.map(str::to_owned).to_vec(),
        record: "daymark/run/files/server.json",
    }
}

/// As CONTRIBUTING.md says.
fn link_statically(cargo: &str) -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("static");
    let built = Command::new(cargo)
        .args(["rustc", "--quiet", "--release", "--locked", "-p", "daymark"])
        .args(["--bin", "daymark", "--target-dir"])
        .arg(&target)
        .args(["--", "-C", "target-feature=+crt-static"])
        .current_dir(root())
        .status();
    let is_built = built.is_ok_and(|status| status.success());
    is_built.then(|| target.join("release/daymark"))
}

pub(crate) fn script(name: &str) -> String {
    let path = root().join("tests/benches/peers").join(name);
    path.display().to_string()
}

fn runs(command: &mut Command) -> bool {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A virtual environment with the peers, kept for the next time; none where there is no network, or no Python.
fn install_python() -> Option<PathBuf> {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers-python");
    let python = venv.join("bin/python");
    let imports = ["-c", "import uvicorn, fastapi, jupyter_server"];
    if !runs(Command::new(&python).args(imports)) {
        println!(
            "installing uvicorn, FastAPI and Jupyter into {}",
            venv.display()
        );
        let made = runs(Command::new("python3").args(["-m", "venv"]).arg(&venv))
            && runs(
                Command::new(&python)
                    .args([
                        "-m",
                        "pip",
                        "install",
                        "--quiet",
                        "--retries=1",
                        "--timeout=20",
                    ])
                    .args(["uvicorn", "fastapi", "jupyter_server"]),
            );
        if !made || !runs(Command::new(&python).args(imports)) {
            println!("they can't be had: the rest is measured without them");
            return None;
        }
    }
    Some(python)
}

impl Peer {
    /// Starts it, waits for its record, and for its first answer.
    pub(crate) fn start(&self) -> Running {
        self.start_in(on_disk())
    }

    pub(crate) fn start_in(&self, dir: TempDir) -> Running {
        let words = self
            .words
            .iter()
            .map(|word| word.replace("{dir}", &dir.path().display().to_string()));
        let words: Vec<String> = words.collect();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        let state = dir.path().join(self.record);
        start(command, dir, state)
    }
}
