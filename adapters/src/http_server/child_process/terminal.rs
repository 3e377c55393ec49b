//! A terminal for a child, where our own output is one: so that it shows colours as if we weren't there.
//!
//! It changes nothing of what passes through, for our own terminal does all that already. Its size is ours, also later.

use std::io;
use std::os::fd::OwnedFd;

use rustix::pty::{OpenptFlags, grantpt, openpt, unlockpt};
use rustix::termios::{
    LocalModes, OptionalActions, OutputModes, Winsize, tcgetattr, tcgetwinsize, tcsetattr,
    tcsetwinsize,
};
use tokio::signal::unix::{SignalKind, signal};

/// The master of a pseudoterminal (pty(7)). As long as it is there, the other side isn't hung up.
#[derive(Debug)]
pub(super) struct Terminal(OwnedFd);

/// The size of our own terminal: that of standard output; none if it isn't one.
pub(super) fn own_size() -> Option<Winsize> {
    tcgetwinsize(rustix::stdio::stdout()).ok()
}

impl Terminal {
    /// A new pseudoterminal and its slave, the child's side. That must be dropped here once the child has it: the output
    /// ends only when nobody has it any more.
    ///
    /// # Errors
    ///
    /// When there is no pseudoterminal left.
    pub(super) fn open(size: Option<Winsize>) -> io::Result<(Self, OwnedFd)> {
        let master = open_master()?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let slave = open_slave(&master)?;
        let mut modes = tcgetattr(&slave)?;
        modes.output_modes.remove(OutputModes::OPOST);
        modes.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&slave, OptionalActions::Now, &modes)?;
        if let Some(size) = size {
            tcsetwinsize(&slave, size)?;
        }
        Ok((Self(master), slave))
    }

    /// What the child writes, for a [`pump`](super::pump::pump).
    ///
    /// # Errors
    ///
    /// When there is no descriptor left.
    pub(super) fn output(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }

    /// Gives it this size, that of our own terminal, whenever that changes (SIGWINCH, signal(7)), for as long as it is awaited.
    /// The child is told by a SIGWINCH of its own (tty_ioctl(4)).
    ///
    /// # Errors
    ///
    /// When signals can't be received.
    pub(super) async fn follow(&self, size: impl Fn() -> Option<Winsize>) -> io::Result<()> {
        let mut changes = signal(SignalKind::window_change())?;
        loop {
            // First of all: it may have changed since the terminal was opened.
            self.resize(size())?;
            if changes.recv().await.is_none() {
                return Ok(());
            }
        }
    }

    fn resize(&self, size: Option<Winsize>) -> io::Result<()> {
        let is_new = |size: &Winsize| {
            tcgetwinsize(&self.0)
                .is_ok_and(|now| (now.ws_row, now.ws_col) != (size.ws_row, size.ws_col))
        };
        match size.filter(is_new) {
            Some(size) => Ok(tcsetwinsize(&self.0, size)?),
            None => Ok(()),
        }
    }
}

#[cfg(target_os = "linux")]
fn open_master() -> io::Result<OwnedFd> {
    Ok(openpt(
        OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
    )?)
}

#[cfg(not(target_os = "linux"))]
fn open_master() -> io::Result<OwnedFd> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
    rustix::io::fcntl_setfd(&master, rustix::io::FdFlags::CLOEXEC)?;
    Ok(master)
}

/// By the master itself (TIOCGPTPEER, ioctl_tty(2)): its name may mean another one where /dev/pts is of another namespace.
#[cfg(target_os = "linux")]
fn open_slave(master: &OwnedFd) -> io::Result<OwnedFd> {
    use rustix::pty::ioctl_tiocgptpeer;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    Ok(ioctl_tiocgptpeer(master, flags)?)
}

#[cfg(not(target_os = "linux"))]
fn open_slave(master: &OwnedFd) -> io::Result<OwnedFd> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    let name = rustix::pty::ptsname(master, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(openat(CWD, name, flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU16, Ordering};

    use rustix::termios::isatty;

    use super::*;

    const fn size(rows: u16, columns: u16) -> Winsize {
        Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        }
    }

    #[test]
    fn a_child_sees_a_terminal_of_the_given_size_that_changes_nothing() {
        let (terminal, slave) = Terminal::open(Some(size(33, 77))).unwrap();
        assert!(isatty(&slave));
        let seen = tcgetwinsize(&slave).unwrap();
        assert_eq!((seen.ws_row, seen.ws_col), (33, 77));
        let modes = tcgetattr(&slave).unwrap();
        assert!(!modes.output_modes.contains(OutputModes::OPOST));
        assert!(!modes.local_modes.contains(LocalModes::ECHO));
        terminal.resize(Some(size(10, 20))).unwrap();
        let seen = tcgetwinsize(&slave).unwrap();
        assert_eq!((seen.ws_row, seen.ws_col), (10, 20));
    }

    #[tokio::test]
    async fn it_follows_the_size_of_our_own() {
        use rustix::process::{Signal, getpid, kill_process};
        let (terminal, slave) = Terminal::open(None).unwrap();
        let seen = || {
            let seen = tcgetwinsize(&slave).unwrap();
            (seen.ws_row, seen.ws_col)
        };
        let rows = AtomicU16::new(10);
        let following = terminal.follow(|| Some(size(rows.load(Ordering::Relaxed), 20)));
        let changing = async {
            while seen() != (10, 20) {
                tokio::task::yield_now().await;
            }
            rows.store(11, Ordering::Relaxed);
            kill_process(getpid(), Signal::WINCH).unwrap();
            while seen() != (11, 20) {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            ended = following => panic!("{ended:?}"),
            () = changing => {}
        }
    }

    #[test]
    fn neither_side_is_inherited_by_accident() {
        use rustix::io::{FdFlags, fcntl_getfd};
        let (terminal, slave) = Terminal::open(None).unwrap();
        for fd in [&terminal.0, &slave] {
            assert!(fcntl_getfd(fd).unwrap().contains(FdFlags::CLOEXEC));
        }
    }
}
