//! Hearing `READY=1` (sd_notify(3)): a datagram of lines, sent to the socket that `NOTIFY_SOCKET` names.
//!
//! The socket has an abstract name (unix(7)): no file to protect or to leave behind. Any process of the machine can send to
//! it, so the kernel is asked who sent each datagram (`SO_PASSCRED`), and only this user and root are heard. Descriptors
//! that come along, as `BARRIER=1` and `FDSTORE=1` send them, are closed.

use std::ffi::{OsStr, OsString};
use std::io;

use thiserror::Error;

/// Why there is no socket to hear `READY=1` on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(super) enum NoNotify {
    #[cfg(not(target_os = "linux"))]
    /// Only Linux has abstract names and tells who sends.
    #[error("--ready notify works on Linux only")]
    NotHere,
    /// The system would not make the socket.
    #[cfg(target_os = "linux")]
    #[error("cannot make a socket for NOTIFY_SOCKET")]
    Socket(#[source] io::Error),
}

/// A socket on which a server says that it is ready.
#[derive(Debug)]
pub(super) struct NotifySocket {
    #[cfg(target_os = "linux")]
    socket: tokio::net::UnixDatagram,
    name: OsString,
}

impl NotifySocket {
    /// Opens one. It belongs to the current runtime.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn open() -> Result<Self, NoNotify> {
        Err(NoNotify::NotHere)
    }

    /// Opens one. It belongs to the current runtime.
    #[cfg(target_os = "linux")]
    pub(super) fn open() -> Result<Self, NoNotify> {
        linux::open().map_err(NoNotify::Socket)
    }

    /// What `NOTIFY_SOCKET` is set to.
    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }

    /// Waits until somebody of ours says `READY=1`.
    #[cfg(target_os = "linux")]
    pub(super) async fn ready(&self) -> io::Result<()> {
        while !linux::says_ready(&self.socket).await? {}
        Ok(())
    }

    /// There is no such socket.
    #[cfg(not(target_os = "linux"))]
    pub(super) async fn ready(&self) -> io::Result<()> {
        std::future::pending().await
    }
}

/// Whether one of the lines is `READY=1`. What was cut off can't be a whole line.
#[cfg(target_os = "linux")]
fn is_ready(datagram: &[u8], cut: bool) -> bool {
    let whole = match cut {
        true => datagram.iter().rposition(|&b| b == b'\n').unwrap_or(0),
        false => datagram.len(),
    };
    datagram[..whole]
        .split(|&b| b == b'\n')
        .any(|line| line == b"READY=1")
}

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::OsString;
    use std::fmt::Write as _;
    use std::io::{self, IoSliceMut};
    use std::mem::MaybeUninit;
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram as StdDatagram};

    use rustix::net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg, sockopt,
    };
    use tokio::io::Interest;
    use tokio::net::UnixDatagram;

    use super::{NotifySocket, is_ready};

    /// What is longer is cut. Status texts are the longest that servers send.
    const LONGEST: usize = 16 << 10;

    pub(super) fn open() -> io::Result<NotifySocket> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let mut name = "daymark-notify-".to_owned();
        for byte in random {
            let _ = write!(name, "{byte:02x}");
        }
        let socket = StdDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        // Before anybody knows the name, so that no datagram comes without its sender.
        sockopt::set_socket_passcred(&socket, true)?;
        socket.set_nonblocking(true)?;
        Ok(NotifySocket {
            socket: UnixDatagram::from_std(socket)?,
            name: OsString::from(format!("@{name}")),
        })
    }

    /// Takes one datagram.
    pub(super) async fn says_ready(socket: &UnixDatagram) -> io::Result<bool> {
        socket
            .async_io(Interest::READABLE, || {
                let mut buffer = vec![0; LONGEST];
                // Enough for the sender and no descriptors; those that have no room are closed by the kernel (unix(7)),
                // those that have, when the message is dropped.
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
                let mut ancillary = RecvAncillaryBuffer::new(&mut space);
                let got = recvmsg(
                    socket,
                    &mut [IoSliceMut::new(&mut buffer)],
                    &mut ancillary,
                    RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
                )?;
                let own = rustix::process::geteuid();
                let heard = ancillary.drain().any(|message| match message {
                    RecvAncillaryMessage::ScmCredentials(sender) => {
                        sender.uid == own || sender.uid.is_root()
                    }
                    _ => false,
                });
                let cut = got.flags.contains(ReturnFlags::TRUNC);
                let datagram = &buffer[..got.bytes.min(LONGEST)];
                Ok(heard && is_ready(datagram, cut))
            })
            .await
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_its_own_says_ready_and_nothing_less() {
        assert!(is_ready(b"READY=1", false));
        assert!(is_ready(b"STATUS=up\nREADY=1\nMAINPID=7\n", false));
        for text in [
            "",
            "READY=0",
            "READY=10",
            "STATUS=READY=1",
            "XREADY=1",
            " READY=1",
        ] {
            assert!(!is_ready(text.as_bytes(), false), "{text}");
        }
        assert!(!is_ready(b"STATUS=x\nREADY=1", true), "it may go on");
        assert!(is_ready(b"READY=1\nSTATUS=xx", true));
        assert!(!is_ready(b"READY=1", true));
    }

    mod real {
        use std::future::Future;
        use std::io::IoSlice;
        use std::mem::MaybeUninit;
        use std::os::fd::AsFd as _;
        use std::os::linux::net::SocketAddrExt as _;
        use std::os::unix::net::{SocketAddr, UnixDatagram};
        use std::time::Duration;

        use rustix::net::{
            SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, sendmsg_addr,
        };

        use super::*;

        fn address(socket: &NotifySocket) -> SocketAddr {
            let name = socket.name().to_str().unwrap();
            SocketAddr::from_abstract_name(name.strip_prefix('@').unwrap()).unwrap()
        }

        fn send(socket: &NotifySocket, datagram: &[u8]) {
            let sender = UnixDatagram::unbound().unwrap();
            sender.send_to_addr(datagram, &address(socket)).unwrap();
        }

        async fn in_time<T>(future: impl Future<Output = T>) -> T {
            let patience = Duration::from_secs(20);
            tokio::time::timeout(patience, future).await.expect("hangs")
        }

        #[tokio::test]
        async fn ready_is_heard_after_everything_else_that_is_said() {
            let socket = NotifySocket::open().unwrap();
            for datagram in [&b""[..], b"\xff\0", b"STATUS=starting", b"READY=0"] {
                send(&socket, datagram);
                assert!(!in_time(linux::says_ready(&socket.socket)).await.unwrap());
            }
            send(&socket, &vec![b'x'; 100 << 10]);
            send(&socket, b"STATUS=up\nREADY=1\n");
            in_time(socket.ready()).await.unwrap();
        }

        #[tokio::test]
        async fn descriptors_that_come_along_are_closed() {
            let socket = NotifySocket::open().unwrap();
            let name = &socket.name().as_encoded_bytes()[1..];
            let to = SocketAddrUnix::new_abstract_name(name).unwrap();
            let (reader, writer) = std::io::pipe().unwrap();
            let fds = [writer.as_fd(); 8];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
            let from = UnixDatagram::unbound().unwrap();
            let parts = [IoSlice::new(b"BARRIER=1\nREADY=1")];
            sendmsg_addr(&from, &to, &parts, &mut ancillary, SendFlags::empty()).unwrap();

            in_time(socket.ready()).await.unwrap();
            drop(writer);
            // The end of the file comes when nobody has the other end any more.
            let read = tokio::task::spawn_blocking(move || {
                std::io::Read::read(&mut { reader }, &mut [0]).unwrap()
            });
            assert_eq!(in_time(read).await.unwrap(), 0);
        }

        #[tokio::test]
        async fn two_sockets_never_have_one_name() {
            let (a, b) = (NotifySocket::open().unwrap(), NotifySocket::open().unwrap());
            assert_ne!(a.name(), b.name());
            send(&a, b"READY=1");
            in_time(a.ready()).await.unwrap();
        }
    }
}
