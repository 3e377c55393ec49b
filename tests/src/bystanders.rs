//! Processes that have nothing to do with a test, and must live through it.

use std::process::{Child, Command};

/// Processes that nobody may touch.
#[derive(Debug, Default)]
pub struct Bystanders {
    all: Vec<Child>,
    /// How many there were.
    pub count: usize,
}

impl Bystanders {
    /// One more, in a process group of its own; its pid.
    ///
    /// # Panics
    ///
    /// If it can't be started.
    pub fn add(&mut self, env: &[(&str, &str)]) -> u32 {
        use std::os::unix::process::CommandExt as _;
        let mut command = Command::new("sleep");
        command
            .arg("7200")
            .envs(env.iter().copied())
            .process_group(0);
        let child = command.spawn().expect("run sleep");
        let pid = child.id();
        self.all.push(child);
        self.count += 1;
        pid
    }

    /// All of them live. Those that were close by aren't needed any more.
    ///
    /// # Panics
    ///
    /// If one doesn't.
    pub fn check(&mut self) {
        const KEPT: usize = 4;
        for child in &mut self.all {
            let ended = child.try_wait().expect("a child of ours");
            assert!(ended.is_none(), "a stranger was signalled: {ended:?}");
        }
        while self.all.len() > KEPT {
            end(self.all.pop());
        }
    }
}

impl Drop for Bystanders {
    fn drop(&mut self) {
        self.all.drain(..).for_each(|child| end(Some(child)));
    }
}

fn end(child: Option<Child>) {
    if let Some(mut child) = child {
        let _ = child.kill();
        let _ = child.wait();
    }
}
