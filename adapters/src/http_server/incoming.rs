//! The kernel's queue of accepted connections, awaited.
//!
//! Streams come out as plain non-blocking sockets, bound to no runtime, for they are served on another one than they are
//! accepted on.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

#[cfg(unix)]
use tokio::io::{Interest, unix::AsyncFd};

use crate::port_picker::BoundListener;

type Accepted = (TcpStream, SocketAddr);

/// The queue, registered with the current runtime. It needs no descriptor of its own.
#[cfg(unix)]
pub(super) struct Incoming(AsyncFd<Arc<BoundListener>>);

#[cfg(unix)]
impl Incoming {
    #[expect(
        deprecated,
        reason = "its successor is unsafe; what that asks for holds: the listener keeps its descriptor for life"
    )]
    pub(super) fn of(listener: Arc<BoundListener>) -> io::Result<Self> {
        AsyncFd::with_interest(listener, Interest::READABLE).map(Self)
    }

    /// The next connection, as soon as there is one.
    pub(super) async fn next(&self) -> io::Result<Accepted> {
        let accept = |listener: &Arc<BoundListener>| listener.accept();
        nonblocking(self.0.async_io(Interest::READABLE, accept).await)
    }

    /// The next connection that is there already.
    pub(super) fn next_now(&self) -> io::Result<Accepted> {
        nonblocking(self.0.get_ref().accept())
    }
}

#[cfg(unix)]
fn nonblocking(accepted: io::Result<Accepted>) -> io::Result<Accepted> {
    let (stream, peer) = accepted?;
    stream.set_nonblocking(true)?;
    Ok((stream, peer))
}

/// The queue, registered with the current runtime.
#[cfg(not(unix))]
pub(super) struct Incoming(tokio::net::TcpListener, Arc<BoundListener>);

#[cfg(not(unix))]
impl Incoming {
    pub(super) fn of(listener: Arc<BoundListener>) -> io::Result<Self> {
        let socket = tokio::net::TcpListener::from_std(listener.duplicate()?)?;
        Ok(Self(socket, listener))
    }

    pub(super) async fn next(&self) -> io::Result<Accepted> {
        let (stream, peer) = self.0.accept().await?;
        Ok((stream.into_std()?, peer))
    }

    pub(super) fn next_now(&self) -> io::Result<Accepted> {
        let (stream, peer) = self.1.accept()?;
        stream.set_nonblocking(true)?;
        Ok((stream, peer))
    }
}

/// What a failed accept means (accept(2)).
pub(super) enum Gravity {
    /// That connection is gone. The next one may be fine.
    OneConnection,
    /// The process or the system is out of descriptors or memory, for now.
    Resources,
    /// The listener itself is of no use any more.
    Listener,
}

pub(super) fn gravity(error: &io::Error) -> Gravity {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        match Errno::from_io_error(error) {
            Some(Errno::BADF | Errno::INVAL | Errno::NOTSOCK | Errno::OPNOTSUPP) => {
                Gravity::Listener
            }
            Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => Gravity::Resources,
            // Linux passes errors of the new connection's network on from accept.
            _ => Gravity::OneConnection,
        }
    }
    #[cfg(not(unix))]
    match error.kind() {
        io::ErrorKind::InvalidInput => Gravity::Listener,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => Gravity::OneConnection,
        _ => Gravity::Resources,
    }
}
