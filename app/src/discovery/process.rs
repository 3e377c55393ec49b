//! A process that a signal can be sent to, and to no other one.

pub(super) use imp::Pinned;
#[cfg(unix)]
use rustix::{io::Errno, process::Signal};
#[cfg(unix)]
use std::io;

#[cfg(unix)]
impl Pinned {
    pub(super) fn terminate(&self) -> io::Result<()> {
        self.signal(Signal::TERM)
    }

    pub(super) fn restart(&self) -> io::Result<()> {
        self.signal(Signal::USR2)
    }

    pub(super) fn kill(&self) -> io::Result<()> {
        self.signal(Signal::KILL)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        match self.send(signal) {
            // It is gone already.
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// One process, whatever becomes of its number: a pidfd (pidfd_open(2)).
#[cfg(target_os = "linux")]
mod imp {
    use std::io;
    use std::os::fd::OwnedFd;

    use rustix::io::Errno;
    use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

    #[derive(Debug)]
    pub(in super::super) struct Pinned(OwnedFd);

    impl Pinned {
        /// The process that has this pid now, if there is one.
        pub(in super::super) fn new(pid: u32) -> io::Result<Option<Self>> {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            match pid.map(|pid| pidfd_open(pid, PidfdFlags::empty())) {
                None | Some(Err(Errno::SRCH)) => Ok(None),
                Some(opened) => Ok(Some(Self(opened?))),
            }
        }

        pub(super) fn send(&self, signal: Signal) -> rustix::io::Result<()> {
            pidfd_send_signal(&self.0, signal)
        }
    }
}

/// One process, by its number: here nothing better is to be had without unsafe code. The looks before and after leave a
/// window of microseconds.
#[cfg(all(unix, not(target_os = "linux")))]
mod imp {
    use std::io;

    use rustix::process::{Pid, Signal, kill_process};

    #[derive(Debug)]
    pub(in super::super) struct Pinned(Pid);

    impl Pinned {
        pub(in super::super) fn new(pid: u32) -> io::Result<Option<Self>> {
            Ok(i32::try_from(pid).ok().and_then(Pid::from_raw).map(Self))
        }

        pub(super) fn send(&self, signal: Signal) -> rustix::io::Result<()> {
            kill_process(self.0, signal)
        }
    }
}

/// Windows has no signal that asks a process to end.
#[cfg(not(unix))]
mod imp {
    use std::io;

    #[derive(Debug)]
    pub(in super::super) struct Pinned(std::convert::Infallible);

    impl Pinned {
        pub(in super::super) fn new(_pid: u32) -> io::Result<Option<Self>> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(in super::super) fn terminate(&self) -> io::Result<()> {
            match self.0 {}
        }

        pub(in super::super) fn restart(&self) -> io::Result<()> {
            match self.0 {}
        }

        pub(in super::super) fn kill(&self) -> io::Result<()> {
            match self.0 {}
        }
    }
}
