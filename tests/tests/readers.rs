//! The readers printed in `docs/discovery.md` keep what that page promises.
//!
//! Each fenced program is taken out of the page as it stands and run by its own interpreter, against a real server and
//! against records written by hand. Where a program is missing, its tests say so.
#![cfg(target_os = "linux")]

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};

use daymark_tests::files::Ground;
use daymark_tests::owner::Owner;
use daymark_tests::page::program;
use daymark_tests::programs::can_run;
use serde_json::json;
use tempfile::TempDir;

const OWNER: &str = env!("CARGO_BIN_EXE_owner");
const MOST_LINES: usize = 40;

const PYTHON: Reader = Reader {
    tag: "python",
    interpreter: "python3",
    needs: &[],
};
const NODE: Reader = Reader {
    tag: "js",
    interpreter: "node",
    needs: &["sh", "flock"],
};
const SHELL: Reader = Reader {
    tag: "sh",
    interpreter: "sh",
    needs: &["flock", "stat", "dd", "tr", "grep", "awk", "sed", "id"],
};

macro_rules! keeps_its_promises {
    ($language:ident, $reader:expr) => {
        mod $language {
            use super::*;

            #[test]
            fn fits_in_forty_lines() {
                let lines = $reader.source().lines().count();
                assert!((1..=MOST_LINES).contains(&lines), "the block has {lines} lines");
            }

            #[test]
            fn prints_live_and_the_url_while_the_server_serves() {
                if !$reader.can_run() {
                    return;
                }
                let ground = Ground::new();
                let mut owner = Owner::start(OWNER, &ground.dir());
                let (url, _) = owner.ready();
                assert_eq!($reader.observe(&ground.dir()), (format!("live {url}\n"), Some(0)));
                owner.stop();
            }

            #[test]
            fn prints_stale_once_the_server_was_killed() {
                if !$reader.can_run() {
                    return;
                }
                let ground = Ground::new();
                let mut owner = Owner::start(OWNER, &ground.dir());
                owner.ready();
                owner.kill();
                assert_eq!($reader.observe(&ground.dir()), ("stale\n".to_owned(), Some(3)));
            }

            #[test]
            fn prints_absent_where_nothing_was_published() {
                if !$reader.can_run() {
                    return;
                }
                let ground = Ground::new();
                assert_eq!($reader.observe(&ground.dir()), ("absent\n".to_owned(), Some(3)));
                private_directory(&ground.dir());
                assert_eq!($reader.observe(&ground.dir()), ("absent\n".to_owned(), Some(3)));
            }

            #[test]
            fn prints_unproven_and_a_url_for_a_record_of_the_original_three_fields() {
                if !$reader.can_run() {
                    return;
                }
                let record = json!({"port": 41873, "pid": 8123, "started_at": "2026-11-22T06:25:00.123456Z"});
                let ground = ground_with(record.to_string().as_bytes());
                assert_eq!($reader.observe(&ground.dir()), ("unproven http://127.0.0.1:41873/\n".to_owned(), Some(3)));
            }

            #[test]
            fn prints_corrupt_for_half_a_record() {
                if !$reader.can_run() {
                    return;
                }
                let ground = ground_with(br#"{"port":41873,"pid":8123,"started_"#);
                assert_eq!($reader.observe(&ground.dir()), ("corrupt\n".to_owned(), Some(3)));
            }
        }
    };
}

keeps_its_promises!(the_python_reader, PYTHON);
keeps_its_promises!(the_node_reader, NODE);
keeps_its_promises!(the_shell_reader, SHELL);

/// One fenced program of the page.
struct Reader {
    tag: &'static str,
    interpreter: &'static str,
    /// Programs that it calls itself, without which it could only say `unknown` or worse.
    needs: &'static [&'static str],
}

impl Reader {
    fn source(&self) -> String {
        program(self.tag)
    }

    /// Whether all that it needs is here.
    fn can_run(&self) -> bool {
        can_run(&[&[self.interpreter], self.needs].concat())
    }

    /// What the program prints about `state_dir`, and its exit code.
    fn observe(&self, state_dir: &Path) -> (String, Option<i32>) {
        let temp = TempDir::new().expect("a temporary directory");
        let script = temp.path().join(format!("reader.{}", self.tag));
        fs::write(&script, self.source()).expect("write the program");
        let mut command = Command::new(self.interpreter);
        command
            .arg(&script)
            .arg(state_dir)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit());
        let output = command
            .output()
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", self.interpreter));
        (
            String::from_utf8(output.stdout).expect("the reader prints UTF-8"),
            output.status.code(),
        )
    }
}

/// A state directory with these bytes as its record.
fn ground_with(record: &[u8]) -> Ground {
    let ground = Ground::new();
    private_directory(&ground.dir());
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(ground.record()).expect("create the record");
    file.write_all(record).expect("write the record");
    ground
}

fn private_directory(path: &Path) {
    DirBuilder::new()
        .mode(0o700)
        .create(path)
        .expect("create a state directory");
}
