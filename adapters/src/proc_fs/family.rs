//! A process and all that it has started, to be signalled without ever meeting somebody else.
//!
//! Each of them is held by a pidfd. Whoever is added has a parent in the family that was alive when that was looked up, with
//! the pidfd open already: so neither number was another's by then. What has lost its parent before a look isn't found.

use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::processes;

/// Those of a family that have been found, and perhaps ended since: parents before their children.
#[derive(Debug)]
pub struct Family(Vec<(Pid, OwnedFd)>);

impl Family {
    /// The family of a child of ours that isn't reaped yet.
    #[must_use]
    pub fn of(child: Pid) -> Self {
        let pidfd = pidfd_open(child, PidfdFlags::empty());
        let mut family = Self(pidfd.map(|pidfd| (child, pidfd)).into_iter().collect());
        family.look();
        family
    }

    /// Finds whoever has come to it, and signals all: first of all the eldest, or a shell would go on with its next command.
    pub fn signal(&mut self, signal: Signal) {
        self.look();
        for (_, pidfd) in &self.0 {
            // Of one that is gone, or isn't ours to signal, there is nothing to be done.
            let _ = pidfd_send_signal(pidfd, signal);
        }
    }

    /// Whether all of it has ended.
    pub fn is_gone(&mut self) -> bool {
        self.look();
        self.0.is_empty()
    }

    fn look(&mut self) {
        loop {
            let known = self.0.len();
            for pid in processes::all() {
                if self.member(pid).is_none()
                    && let Some(pidfd) = self.child(pid)
                {
                    self.0.push((pid, pidfd));
                }
            }
            if self.0.len() == known {
                break;
            }
        }
        self.0.retain(|(_, pidfd)| !is_gone(pidfd));
    }

    fn member(&self, pid: Pid) -> Option<&OwnedFd> {
        let (_, pidfd) = self.0.iter().find(|(member, _)| *member == pid)?;
        Some(pidfd)
    }

    fn child(&self, pid: Pid) -> Option<OwnedFd> {
        let is_in = |parent| self.member(parent).is_some_and(|pidfd| !is_gone(pidfd));
        let parent = || processes::stat(pid).and_then(|stat| stat.parent);
        // Most processes are none of it, and need no descriptor.
        parent().filter(|parent| self.member(*parent).is_some())?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        parent().is_some_and(is_in).then_some(pidfd)
    }
}

/// Whether all threads of the process have ended: then its pidfd is readable (pidfd_open(2)).
pub fn is_gone(pidfd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}
