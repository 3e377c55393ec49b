//! strace(1), which kills a process at a chosen system call or makes that fail.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

/// A tracer that has attached to a process. It ends with that.
#[derive(Debug)]
pub struct Tracer(Child);

impl Tracer {
    /// Attaches to `pid`. The call `syscall` meets `what` (`signal=KILL`, `error=EIO`) at the `nth` time that a thread
    /// makes it; each thread counts its own.
    ///
    /// # Panics
    ///
    /// If strace is missing, or isn't allowed to.
    #[must_use]
    pub fn attach(pid: u32, syscall: &str, what: &str, nth: usize) -> Self {
        let mut command = Command::new("strace");
        command
            .args(["-f", "-o", "/dev/null", "-e"])
            .arg(format!("trace={syscall}"))
            .arg("-e")
            .arg(format!("inject={syscall}:{what}:when={nth}"))
            .args(["-p", &pid.to_string()])
            .stderr(Stdio::piped());
        let strace = command.spawn();
        let mut strace = strace.unwrap_or_else(|error| panic!("cannot run strace: {error}"));
        let mut said = String::new();
        let mut words = BufReader::new(strace.stderr.take().expect("stderr is a pipe"));
        words.read_line(&mut said).expect("read what strace says");
        assert!(said.contains("attached"), "strace: {said}");
        // It goes on talking, and must not be stopped by that.
        std::thread::spawn(move || std::io::copy(&mut words, &mut std::io::sink()));
        Self(strace)
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // What it traced is gone, or doesn't need it any more.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
