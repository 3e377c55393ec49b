//! What a dead supervisor left behind when its guard was killed with it.
//!
//! Every process of a tree carries its instance and its state directory in its environment. Whoever owns that directory now
//! knows that no other instance lives there, so what carries another's mark is an orphan. It is killed before a port is
//! bound that it may hold. A process that has written over its environment isn't found.

use std::path::Path;

use daymark_core::record::InstanceId;

/// Processes that earlier instances left of their trees. They are known by descriptors, not by numbers, so nobody else is
/// ever ended for them, however late that is.
#[derive(Debug, Default)]
pub struct Orphans(#[cfg(target_os = "linux")] Vec<linux::Orphan>);

impl Orphans {
    /// Looks for what others than `own` have left in `state_dir`. Only while that is owned those others are certainly dead.
    /// Elsewhere than on Linux nothing can be found out.
    #[must_use]
    pub fn find(state_dir: &Path, own: &InstanceId) -> Self {
        #[cfg(target_os = "linux")]
        return Self(linux::find(state_dir, *own));
        #[cfg(not(target_os = "linux"))]
        {
            let _ = (state_dir, own);
            Self::default()
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        #[cfg(target_os = "linux")]
        return self.0.is_empty();
        #[cfg(not(target_os = "linux"))]
        true
    }

    /// Kills them, and blocks until they are gone; how many they were. Who was found and forked meanwhile has left another
    /// one: only a look that finds none tells that there are none.
    ///
    /// # Errors
    ///
    /// The pids of those that were still there after two seconds.
    pub fn end(self) -> Result<usize, Vec<u32>> {
        #[cfg(target_os = "linux")]
        return linux::end(self.0, linux::PATIENCE);
        #[cfg(not(target_os = "linux"))]
        Ok(0)
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::fd::OwnedFd;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::Path;
    use std::thread;
    use std::time::{Duration, Instant};

    use daymark_core::record::InstanceId;
    use rustix::process::{Pid, PidfdFlags, Signal, geteuid, pidfd_open, pidfd_send_signal};

    use crate::http_server::child_process::command::{INSTANCE_ID, STATE_DIR};
    use crate::http_server::child_process::guard;
    use crate::proc_fs::family::is_gone;
    use crate::proc_fs::processes;

    /// How long all of it may take.
    pub(super) const PATIENCE: Duration = Duration::from_secs(2);
    /// How long a guard has to end its tree by itself, which it does more thoroughly than can be done from here.
    const GUARDS_HAVE: Duration = Duration::from_secs(1);
    const LOOK_EVERY: Duration = Duration::from_millis(5);

    #[derive(Debug)]
    pub(super) struct Orphan {
        pub(super) pid: Pid,
        pub(super) pidfd: OwnedFd,
        pub(super) is_guard: bool,
    }

    pub(super) fn find(state_dir: &Path, own: InstanceId) -> Vec<Orphan> {
        processes::all()
            .filter_map(|pid| orphan(pid, state_dir, own))
            .collect()
    }

    pub(super) fn end(mut orphans: Vec<Orphan>, patience: Duration) -> Result<usize, Vec<u32>> {
        let (begun, all) = (Instant::now(), orphans.len());
        while !orphans.is_empty() {
            if begun.elapsed() >= patience {
                let pids = orphans.iter();
                return Err(pids
                    .map(|o| o.pid.as_raw_nonzero().get().unsigned_abs())
                    .collect());
            }
            for orphan in &orphans {
                if !orphan.is_guard || begun.elapsed() >= GUARDS_HAVE {
                    // If it isn't ours to kill, or gone, time will tell.
                    let _ = pidfd_send_signal(&orphan.pidfd, Signal::KILL);
                }
            }
            thread::sleep(LOOK_EVERY);
            orphans.retain(|orphan| !is_gone(&orphan.pidfd));
        }
        Ok(all)
    }

    /// The process, if it is an orphan of this directory's.
    fn orphan(pid: Pid, state_dir: &Path, own: InstanceId) -> Option<Orphan> {
        let is_ours = |path: &str| {
            fs::metadata(path).is_ok_and(|metadata| metadata.uid() == geteuid().as_raw())
        };
        let path = format!("/proc/{pid}");
        if !is_ours(&path) {
            return None;
        }
        // Before the look at it: if the number is another's by then, the pidfd is of a dead process, and harms nobody.
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        let environ = processes::environ(pid);
        let dir = processes::variable(&environ, STATE_DIR)?;
        let instance = processes::variable(&environ, INSTANCE_ID)?;
        let instance: InstanceId = std::str::from_utf8(instance).ok()?.parse().ok()?;
        if instance == own || !is_same(Path::new(OsStr::from_bytes(dir)), state_dir) {
            return None;
        }
        if ancestry().contains(&pid) {
            return None;
        }
        let command = fs::read(format!("{path}/cmdline")).unwrap_or_default();
        let verb = command.split(|&byte| byte == 0).nth(1);
        Some(Orphan {
            pid,
            pidfd,
            is_guard: verb == Some(guard::VERB.as_bytes()),
        })
    }

    /// Whether both are the same directory. Each may have come there by its own path.
    fn is_same(one: &Path, other: &Path) -> bool {
        one == other || same_file::is_same_file(one, other).unwrap_or(false)
    }

    /// This process and all above it.
    fn ancestry() -> Vec<Pid> {
        let mut line = vec![rustix::process::getpid()];
        while let Some(&last) = line.last()
            && let Some(parent) = processes::stat(last).and_then(|stat| stat.parent)
            && !line.contains(&parent)
        {
            line.push(parent);
        }
        line
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    #[test]
    fn who_does_not_end_in_time_is_named() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_child(&child);
        // A guard isn't killed at once, so this one stays for longer than is waited for.
        let stubborn = linux::Orphan {
            pid,
            pidfd: pidfd_open(pid, PidfdFlags::empty()).unwrap(),
            is_guard: true,
        };
        let ended = linux::end(vec![stubborn], Duration::from_millis(20));
        let named = vec![child.id()];
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(ended, Err(named));
    }
}
