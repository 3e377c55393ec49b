//! What a killed guard left behind: it comes to this process, which is a subreaper, and is killed here.
//!
//! This process has other children, and other parts of it may reap those at any moment. So every signal goes through a
//! pidfd that was opened before the look at whose process it is, and only what was found to be the guard's is reaped.

use std::process::Child;

/// Waits until the guard has ended, and until what it left is gone; how much of that couldn't be killed. The guard isn't
/// reaped here: for as long as it isn't, its pid is its session's alone.
#[cfg(not(target_os = "linux"))]
pub(super) fn clear(_guard: &Child, _main: Option<u32>, _instance: Option<&[u8]>) -> u64 {
    // Orphans don't come here.
    0
}

#[cfg(target_os = "linux")]
pub(super) fn clear(guard: &Child, main: Option<u32>, instance: Option<&[u8]>) -> u64 {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

    let guard = Pid::from_child(guard);
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    match rustix::io::retry_on_intr(|| waitid(WaitId::Pid(guard), look)) {
        // It left in order: nothing of the tree was left that could have come here.
        Ok(Some(status)) if status.exit_status() == Some(0) => return 0,
        _ => {}
    }
    let main = main.and_then(crate::proc_fs::processes::pid);
    linux::Adopted::new(guard, main, instance).clear()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::HashSet;
    use std::thread;
    use std::time::{Duration, Instant};

    use rustix::io::Errno;
    use rustix::process::{
        Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, waitpid,
    };

    use crate::http_server::child_process::command::INSTANCE_ID;
    use crate::proc_fs::processes;

    /// How often to look. What comes here comes without a signal that would be ours to wait for.
    const LOOK_EVERY: Duration = Duration::from_millis(5);
    /// How long to try to kill what may not be killed.
    const STUBBORN: Duration = Duration::from_millis(500);

    pub(super) struct Adopted<'a> {
        guard: Pid,
        main: Option<Pid>,
        instance: Option<&'a [u8]>,
        /// What was found to be the guard's, and isn't reaped.
        found: HashSet<Pid>,
    }

    impl<'a> Adopted<'a> {
        pub(super) fn new(guard: Pid, main: Option<Pid>, instance: Option<&'a [u8]>) -> Self {
            Self {
                guard,
                main,
                instance,
                found: HashSet::new(),
            }
        }

        pub(super) fn clear(mut self) -> u64 {
            let mut refused_since = None;
            loop {
                let refused = self.kill();
                // What was below those that are reaped has come here before they could be (exit_notify in kernel/exit.c), so a
                // look after that finds it.
                if self.found.is_empty() {
                    return 0;
                }
                self.found.retain(|&pid| !is_reaped(pid));
                if refused == 0 || refused < self.found.len() {
                    refused_since = None;
                } else if refused_since.get_or_insert_with(Instant::now).elapsed() >= STUBBORN {
                    return refused.try_into().unwrap_or(u64::MAX);
                }
                thread::sleep(LOOK_EVERY);
            }
        }

        /// Kills what has come here; how many of that may not be killed.
        fn kill(&mut self) -> usize {
            let mut refused = 0;
            for pid in processes::children() {
                let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else {
                    continue;
                };
                if pid == self.guard || !self.is_ours(pid) {
                    continue;
                }
                self.found.insert(pid);
                if pidfd_send_signal(&pidfd, Signal::KILL) == Err(Errno::PERM) {
                    refused += 1;
                }
            }
            refused
        }

        fn is_ours(&self, pid: Pid) -> bool {
            let own = Some(rustix::process::getpid());
            let Some(stat) = processes::stat(pid).filter(|stat| stat.parent == own) else {
                return false;
            };
            // With a terminal the main process has its own session. Of a dead one, that is all there is to see.
            let sessions = [Some(self.guard), self.main];
            let is_of_the_tree = stat.session.is_some() && sessions.contains(&stat.session);
            if is_of_the_tree || self.found.contains(&pid) {
                return true;
            }
            let environ = processes::environ(pid);
            let instance = processes::variable(&environ, INSTANCE_ID);
            instance.is_some() && instance == self.instance
        }
    }

    /// Reaps a child that is known to be ours alone; true also if it is no child of ours.
    fn is_reaped(pid: Pid) -> bool {
        match waitpid(Some(pid), WaitOptions::NOHANG) {
            Ok(reaped) => reaped.is_some(),
            Err(error) => error != Errno::INTR,
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_child_with_the_number_of_a_reaped_main_process_is_spared() {
        let sleep = || Command::new("sleep").arg("60").spawn().unwrap();
        let (mut guard, mut other) = (sleep(), sleep());
        guard.kill().unwrap();
        assert_eq!(clear(&guard, Some(other.id()), None), 0);
        guard.wait().unwrap();
        let ended = other.try_wait();
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(matches!(ended, Ok(None)), "{ended:?}");
    }
}
