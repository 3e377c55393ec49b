//! The Python reader of `docs/discovery.md`, as it stands there, and restless.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::page::program;

/// The program, which runs again and again. It ends when it has said what must never be said, or has called somebody live
/// while nobody lives; whoever asks it then panics.
#[derive(Debug)]
pub struct PrintedReader {
    python: Child,
    stdin: ChildStdin,
    said: BufReader<ChildStdout>,
    /// Odd while nobody lives.
    epoch: File,
    now: u8,
    _temp: tempfile::TempDir,
}

/// Runs the program again and again. Told to, it looks twice more, and tells all that it has seen since it was last told.
const AGAIN_AND_AGAIN: &str = r#"
import contextlib, io, os, select, sys
code = compile(open(sys.argv[1]).read(), "the page", "exec")
epoch = os.open(sys.argv[2], os.O_RDONLY)
sys.argv = ["reader", sys.argv[3]]
looks, seen = 0, set()

def look():
    global looks
    looks += 1
    before, said = os.pread(epoch, 1, 0), io.StringIO()
    with contextlib.redirect_stdout(said):
        try: exec(code, {"__name__": "__main__"})
        except SystemExit: pass
    said = said.getvalue().rstrip("\n")
    if said not in ("absent", "stale") and not said.startswith("live "): sys.exit(f"never to be said: {said!r}")
    if said.startswith("live ") and before[0] % 2 and os.pread(epoch, 1, 0) == before: sys.exit(f"dead: {said}")
    seen.add(said)

while True:
    look()
    if not select.select([sys.stdin], [], [], 0)[0]: continue
    if not sys.stdin.readline(): break
    look(), look()
    print(looks, ",".join(seen), flush=True)
    seen.clear()
"#;

impl PrintedReader {
    /// The reader of this state directory, where nobody lives as yet.
    ///
    /// # Panics
    ///
    /// If it can't be started.
    #[must_use]
    pub fn of(dir: &Path) -> Self {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let (page, epoch) = (temp.path().join("page.py"), temp.path().join("epoch"));
        fs::write(&page, program("python")).expect("write the program");
        fs::write(&epoch, [1]).expect("write the epoch");
        let mut python = Command::new("python3")
            .args(["-c", AGAIN_AND_AGAIN])
            .args([&page, &epoch])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("run python3");
        Self {
            stdin: python.stdin.take().expect("stdin is a pipe"),
            said: BufReader::new(python.stdout.take().expect("stdout is a pipe")),
            epoch: OpenOptions::new().write(true).open(epoch).expect("open it"),
            python,
            now: 1,
            _temp: temp,
        }
    }

    /// Tells it that somebody may live there, from now on.
    pub fn somebody_may_live(&mut self) {
        self.turn();
    }

    /// Tells it that nobody lives there, from now on.
    pub fn nobody_lives(&mut self) {
        self.turn();
    }

    fn turn(&mut self) {
        self.now = self.now.wrapping_add(1);
        self.epoch
            .write_all_at(&[self.now], 0)
            .expect("write the epoch");
    }

    /// What it has said since it was last asked, after it has looked once more from the beginning.
    ///
    /// # Panics
    ///
    /// If it saw what must never be.
    pub fn looks_once_more(&mut self) -> Vec<String> {
        self.ask().1
    }

    fn ask(&mut self) -> (u64, Vec<String>) {
        writeln!(self.stdin).expect("it saw what must never be");
        let mut line = String::new();
        self.said.read_line(&mut line).expect("it speaks");
        let (looks, seen) = line
            .trim_end()
            .split_once(' ')
            .expect("it saw what must never be");
        let seen = seen.split(',').map(str::to_owned).collect();
        (looks.parse().expect("a number"), seen)
    }

    /// Lets it go; how often it has looked.
    ///
    /// # Panics
    ///
    /// If it saw what must never be.
    #[must_use]
    pub fn end(mut self) -> u64 {
        let looks = self.ask().0;
        drop(self.stdin);
        assert!(self.python.wait().expect("it ends").success());
        looks
    }
}
