//! What a dead supervisor left behind when its guard was killed with it.
//!
//! Every process of a tree carries its instance and its state directory in its environment. Whoever owns that directory now
//! knows that no other instance lives there, so what carries another's mark is an orphan. It is killed before a port is
//! bound that it may hold. A process that has written over its environment isn't found.

use std::io;
use std::path::Path;

use daymark_core::record::InstanceId;

/// Kills what earlier instances left of their trees in `state_dir`, and waits until it is gone; how many processes that
/// were. For the directory's owner only. Elsewhere than on Linux nothing can be found out.
///
/// # Errors
///
/// [`io::ErrorKind::TimedOut`] if something was still there after two seconds.
pub fn clear_orphans(state_dir: &Path, own: &InstanceId) -> io::Result<u32> {
    #[cfg(target_os = "linux")]
    return linux::clear(state_dir, own);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (state_dir, own);
        Ok(0)
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::HashMap;
    use std::fs;
    use std::io;
    use std::os::fd::OwnedFd;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::Path;
    use std::thread;
    use std::time::{Duration, Instant};

    use daymark_core::record::InstanceId;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{Pid, PidfdFlags, Signal, geteuid, pidfd_open, pidfd_send_signal};

    use crate::http_server::child_process::command::{INSTANCE_ID, STATE_DIR};
    use crate::http_server::child_process::guard;
    use crate::proc_fs::processes;

    /// How long all of it may take.
    const PATIENCE: Duration = Duration::from_secs(2);
    /// How long a guard has to end its tree by itself, which it does more thoroughly than can be done from here.
    const GUARDS_HAVE: Duration = Duration::from_secs(1);
    const LOOK_EVERY: Duration = Duration::from_millis(5);

    struct Orphan {
        pidfd: OwnedFd,
        is_guard: bool,
    }

    pub(super) fn clear(state_dir: &Path, own: &InstanceId) -> io::Result<u32> {
        let begun = Instant::now();
        let own = own.to_string();
        let mut found: HashMap<Pid, Orphan> = HashMap::new();
        let mut ended = 0;
        loop {
            // A process that was found and forked meanwhile has left another one: until a look finds none.
            for pid in processes::all() {
                if !found.contains_key(&pid)
                    && let Some(orphan) = orphan(pid, state_dir, &own)
                {
                    found.insert(pid, orphan);
                }
            }
            if found.is_empty() {
                return Ok(ended);
            }
            for orphan in found.values() {
                if !orphan.is_guard || begun.elapsed() >= GUARDS_HAVE {
                    // If it isn't ours to kill, or gone, time will tell.
                    let _ = pidfd_send_signal(&orphan.pidfd, Signal::KILL);
                }
            }
            thread::sleep(LOOK_EVERY);
            let before = found.len();
            found.retain(|_, orphan| !is_gone(&orphan.pidfd));
            ended += u32::try_from(before - found.len()).unwrap_or(u32::MAX);
            if !found.is_empty() && begun.elapsed() >= PATIENCE {
                let pids: Vec<String> = found.keys().map(ToString::to_string).collect();
                let what = format!(
                    "an earlier server's processes are still there: {}",
                    pids.join(", ")
                );
                return Err(io::Error::new(io::ErrorKind::TimedOut, what));
            }
        }
    }

    /// The process, if it is an orphan of this directory's.
    fn orphan(pid: Pid, state_dir: &Path, own: &str) -> Option<Orphan> {
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
        if dir != state_dir.as_os_str().as_bytes() || instance.to_string() == own {
            return None;
        }
        if ancestry().contains(&pid) {
            return None;
        }
        let command = fs::read(format!("{path}/cmdline")).unwrap_or_default();
        let verb = command.split(|&byte| byte == 0).nth(1);
        Some(Orphan {
            pidfd,
            is_guard: verb == Some(guard::VERB.as_bytes()),
        })
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

    /// Whether all threads of the process have ended: then its pidfd is readable (pidfd_open(2)).
    fn is_gone(pidfd: &OwnedFd) -> bool {
        let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }
}
