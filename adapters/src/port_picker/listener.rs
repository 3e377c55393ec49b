//! The listening socket that real pickers hand out and real servers serve on.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};

use daymark_core::port_picker::Listener;
use daymark_core::record::Endpoint;
use socket2::{Domain, Protocol, Socket, Type};

/// How many connections the kernel queues before anybody accepts. std asks for 128, and an overflow costs a client a
/// second. The kernel caps it at `net.core.somaxconn` (listen(2)).
const BACKLOG: i32 = 4096;

/// A non-blocking TCP socket, bound to a loopback address and listening.
#[derive(Debug)]
pub struct BoundListener {
    socket: TcpListener,
    endpoint: Endpoint,
}

impl BoundListener {
    /// Binds `addr` and listens. Connections are queued from now on.
    pub(super) fn bind(addr: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        if addr.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // On Windows this would let others steal the port.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        Self::adopt(socket.into())
    }

    /// Takes over a socket that somebody else bound.
    pub(super) fn adopt(socket: TcpListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let endpoint = Endpoint::try_from(socket.local_addr()?).map_err(io::Error::other)?;
        Ok(Self { socket, endpoint })
    }

    /// Accepts one queued connection, or fails with `WouldBlock`.
    ///
    /// # Errors
    ///
    /// As accept(2).
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.socket.accept()
    }

    /// Listens again, if somebody who shares the socket has shut it down: that is over for all of them, then.
    ///
    /// # Errors
    ///
    /// As bind(2) and listen(2), if the port has gone to somebody else meanwhile.
    #[cfg(target_os = "linux")]
    pub fn revive(&self) -> io::Result<()> {
        let socket = socket2::SockRef::from(&self.socket);
        if socket.is_listener()? {
            return Ok(());
        }
        // A port that the system has chosen was let go with that, one that was asked for wasn't: tcp_set_state in
        // net/ipv4/tcp.c. Of that, bind says EINVAL.
        match socket.bind(&self.endpoint.addr().into()) {
            Err(error) if error.kind() != io::ErrorKind::InvalidInput => Err(error),
            _ => socket.listen(BACKLOG),
        }
    }

    /// Another descriptor of the same socket.
    ///
    /// # Errors
    ///
    /// As dup(2).
    pub fn duplicate(&self) -> io::Result<TcpListener> {
        self.socket.try_clone()
    }
}

impl Listener for BoundListener {
    fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    fn highest_descriptor(&self) -> Option<i32> {
        #[cfg(unix)]
        {
            use std::os::fd::AsRawFd as _;
            Some(self.socket.as_raw_fd())
        }
        #[cfg(not(unix))]
        None
    }
}

#[cfg(unix)]
impl std::os::fd::AsRawFd for BoundListener {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{Ipv4Addr, Shutdown};

    use super::*;

    fn shut_down(listener: &BoundListener) -> io::Result<()> {
        let socket = listener.duplicate()?;
        socket2::SockRef::from(&socket).shutdown(Shutdown::Both)
    }

    #[test]
    fn a_socket_that_was_shut_down_listens_again_on_its_port() {
        let chosen = BoundListener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let addr = chosen.endpoint().addr();
        for _ in 0..2 {
            shut_down(&chosen).unwrap();
            chosen.revive().unwrap();
            let client = TcpStream::connect(addr).unwrap();
            assert_eq!(chosen.accept().unwrap().1, client.local_addr().unwrap());
        }
        chosen.revive().unwrap();
        drop(TcpStream::connect(addr).unwrap());
    }

    #[test]
    fn a_port_that_went_to_somebody_else_is_not_replaced_by_another() {
        let ours = BoundListener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        shut_down(&ours).unwrap();
        let _theirs = BoundListener::bind(ours.endpoint().addr()).unwrap();
        let error = ours.revive().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }
}
