//! How a guard comes to its main process: the descriptors for it arrive over the socket, and it is started with them.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use command_fds::{CommandFdExt as _, FdMapping};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::Pid;

use super::exec::{self, Orders, itself};

/// What the command gets: stdin, stdout, stderr, and perhaps a listener. None if nobody is left who could send it.
pub(super) fn receive(socket: &UnixStream) -> io::Result<Option<Vec<OwnedFd>>> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    #[cfg(target_os = "linux")]
    let flags = RecvFlags::CMSG_CLOEXEC;
    #[cfg(not(target_os = "linux"))]
    let flags = RecvFlags::empty();
    let received = rustix::io::retry_on_intr(|| {
        recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut byte)],
            &mut control,
            flags,
        )
    });
    match received {
        Ok(message) if message.bytes > 0 => {}
        Ok(_) | Err(Errno::CONNRESET) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(sent) = message {
            descriptors.extend(sent);
        }
    }
    #[cfg(not(target_os = "linux"))]
    for descriptor in &descriptors {
        rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::CLOEXEC)?;
    }
    Ok(Some(descriptors))
}

/// Starts the main process. Its ends of the descriptors aren't kept.
pub(super) fn spawn(orders: &Orders, descriptors: Vec<OwnedFd>) -> io::Result<Pid> {
    let mut descriptors = descriptors.into_iter();
    let (Some(stdin), Some(stdout), Some(stderr)) =
        (descriptors.next(), descriptors.next(), descriptors.next())
    else {
        return Err(Errno::BADF.into());
    };
    let mut command = Command::new(itself()?);
    command
        .arg0("daymark")
        .arg(exec::VERB)
        .arg(std::process::id().to_string());
    if orders.terminal {
        // It makes a session of its own, which no leader of a group can.
        command.arg(exec::TERMINAL);
    } else {
        command.process_group(0);
    }
    if let Some(parent_fd) = descriptors.next() {
        let child_fd = exec::LISTENER_FD;
        let mapping = FdMapping {
            parent_fd,
            child_fd,
        };
        command.arg(exec::LISTENER);
        command
            .fd_mappings(vec![mapping])
            .map_err(io::Error::other)?;
    }
    command.arg(exec::COMMAND).args(&orders.command);
    command.stdin(stdin).stdout(stdout).stderr(stderr);
    let child = command.spawn()?;
    Ok(Pid::from_child(&child))
}
