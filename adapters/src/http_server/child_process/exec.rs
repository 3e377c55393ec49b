//! `daymark __exec`: becomes the command, after what only the process itself can do for it.
//!
//! It dies with its guard, sits in front of its terminal where there is one, and knows by `LISTEN_PID` that the listener at
//! descriptor 3 is its own (sd_listen_fds(3)). It has no descriptors but those that it was given.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use rustix::process::{Pid, getppid};

/// The hidden verb, and what stands before the command's own words. `guard` writes what is read here.
pub(super) const VERB: &str = "__exec";
pub(super) const TERMINAL: &str = "--terminal";
pub(super) const LISTENER: &str = "--listener";
pub(super) const COMMAND: &str = "--";

/// The first descriptor that is handed over (sd_listen_fds(3)).
pub(super) const LISTENER_FD: i32 = 3;

/// The runner itself failed; the command wasn't tried.
const FAILED: u8 = 125;
/// The command is there and can't be executed, as shells say it.
const NOT_EXECUTABLE: u8 = 126;
/// There is no such command.
const NOT_FOUND: u8 = 127;

/// What a guard or an `__exec` is told in its arguments.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Orders {
    pub(super) parent: Option<i32>,
    pub(super) terminal: bool,
    pub(super) listener: bool,
    /// The command and its arguments, never empty.
    pub(super) command: Vec<OsString>,
}

impl Orders {
    /// The orders in these arguments; none if nobody of ours wrote them.
    pub(super) fn read(mut arguments: impl Iterator<Item = OsString>) -> Option<Self> {
        let mut orders = Self::default();
        loop {
            match arguments.next()?.to_str()? {
                COMMAND => break,
                TERMINAL => orders.terminal = true,
                LISTENER => orders.listener = true,
                parent => orders.parent = Some(parent.parse().ok()?),
            }
        }
        orders.command = arguments.collect();
        Some(orders).filter(|orders| !orders.command.is_empty())
    }
}

/// Becomes the command that the arguments after `__exec` name. Returns only if that failed.
pub(super) fn exec_main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(orders) = Orders::read(arguments) else {
        return complain("this is for its own use", FAILED);
    };
    close_from(LISTENER_FD + i32::from(orders.listener));
    if let Err(error) = bind_to_guard(orders.parent) {
        return complain(
            &format!("cannot bind a process to its guard: {error}"),
            FAILED,
        );
    }
    if orders.terminal
        && let Err(error) = take_terminal()
    {
        return complain(&format!("cannot take the terminal: {error}"), FAILED);
    }
    let name = &orders.command[0];
    let mut command = Command::new(name);
    command.args(&orders.command[1..]);
    if orders.listener {
        // The pid stays the same over an exec.
        command.env("LISTEN_PID", std::process::id().to_string());
    }
    // This also unblocks all signals and gives SIGPIPE its default back, which Rust ignores. The guard handles the others
    // that matter, so they have their defaults since it started us (execve(2)).
    let error = command.exec();
    not_executed(name, &error)
}

fn not_executed(name: &OsStr, error: &io::Error) -> ExitCode {
    let code = match error.kind() {
        io::ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_EXECUTABLE,
    };
    complain(&format!("cannot execute {}: {error}", name.display()), code)
}

/// Dies when the guard does: PR_SET_PDEATHSIG(2const). It holds over the exec, unless the command is set-user-ID.
#[cfg(target_os = "linux")]
fn bind_to_guard(guard: Option<i32>) -> io::Result<()> {
    use rustix::process::{Signal, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have been dead by then, and no signal comes any more.
    check_guard(guard)
}

/// Elsewhere nothing like it is to be had.
#[cfg(not(target_os = "linux"))]
fn bind_to_guard(guard: Option<i32>) -> io::Result<()> {
    check_guard(guard)
}

fn check_guard(guard: Option<i32>) -> io::Result<()> {
    if getppid() == guard.and_then(Pid::from_raw) {
        return Ok(());
    }
    Err(io::Error::other("it is gone"))
}

/// Makes stdin's terminal that of a new session, with this process in front (TIOCSCTTY(2const)).
fn take_terminal() -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::ioctl_tiocsctty(io::stdin())?;
    Ok(())
}

/// This program, to be started again. On Linux it is the one that runs, even if another was installed in its place.
///
/// # Errors
///
/// Where that isn't Linux, and the program's file can't be found.
pub fn itself() -> io::Result<PathBuf> {
    if cfg!(target_os = "linux") {
        return Ok(PathBuf::from("/proc/self/exe"));
    }
    std::env::current_exe()
}

/// Closes all descriptors from `first` on: what somebody left open across the start of this program.
///
/// To be called first of all in a process, when nothing else of it has opened any.
pub(super) fn close_from(first: i32) {
    // proc(5); elsewhere the same under an older name. A container may lack that one.
    let open = ["/proc/self/fd", "/dev/fd"];
    let Some(entries) = open.iter().find_map(|dir| std::fs::read_dir(dir).ok()) else {
        return;
    };
    let open: Vec<i32> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    for fd in open.into_iter().filter(|&fd| fd >= first) {
        // The one that read the directory is among them, and closed by now.
        let _ = nix::unistd::close(fd);
    }
}

/// Says what went wrong where the command would have said it.
pub(super) fn complain(what: &str, code: u8) -> ExitCode {
    // If nobody hears it, the code still says something.
    let _ = writeln!(io::stderr(), "daymark: {what}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Option<Orders> {
        Orders::read(arguments.iter().map(OsString::from))
    }

    #[test]
    fn words_after_the_dashes_are_the_command_s_own() {
        let orders = Orders {
            parent: Some(7),
            terminal: false,
            listener: true,
            command: vec!["sh".into(), "--".into(), "--terminal".into()],
        };
        assert_eq!(
            read(&["7", "--listener", "--", "sh", "--", "--terminal"]),
            Some(orders)
        );
    }

    #[test]
    fn orders_that_nobody_of_ours_wrote_are_not_obeyed() {
        for arguments in [&[][..], &["--"], &["7"], &["7", "sh"], &["x", "--", "sh"]] {
            assert_eq!(read(arguments), None, "{arguments:?}");
        }
    }
}
