//! Ports that are kept free for somebody else to listen on: a program that can only be told a number.
//!
//! What Linux 6.18 was seen to do (socket(7) has the rule in one sentence; inet_bind_conflict in
//! net/ipv4/inet_connection_sock.c has it whole). `bind` looks at the option of both sockets:
//!
//! | there is already | with `SO_REUSEADDR` | without |
//! |---|---|---|
//! | a socket that listens on this address or a wildcard (`::` counts for both families) | refused | refused |
//! | one that is only bound and has no `SO_REUSEADDR` | refused | refused |
//! | one that is only bound and has `SO_REUSEADDR` | **allowed** | refused |
//! | connections that a server left behind (TIME_WAIT and others) which had `SO_REUSEADDR` | allowed | **refused** |
//! | an outgoing connection that has this port as its own | refused | refused |
//!
//! The option of the socket that is there counts as it is *now*, so it may be set after `bind`. Hence:
//!
//! - A port is bound without the option, and gets it afterwards: nobody else had it, and a server that sets the option, as
//!   nearly all do, can listen on it, on wildcard addresses too. Who binds with port 0 or connects is never given it, not
//!   even when all other ports of the range are taken.
//! - If that is refused, and connections are left behind there, the option is set first. Then other sockets that are only
//!   bound are tolerated, so two of us could hold one port. A *mark* keeps us apart: the same port of one more loopback
//!   address, that nobody ever connects to, so that the strict way always works for it. Wildcard sockets are in its way too.
//!   What remains unseen is a stranger who holds, with the option and without listening, exactly the address on which
//!   connections are left.
//!
//! This keeps accidents away, not attackers: any user may set the option and listen first.
//!
//! Elsewhere than on Linux a held port would be refused to the server itself (BSDs want `SO_REUSEPORT` of both, see their
//! setsockopt(2)), so there a port is only found to be free, and let go.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;

use async_trait::async_trait;
use daymark_core::port_picker::{Listener, PickError, Picked, PortPicker, PortPreference};
use daymark_core::record::Endpoint;
use socket2::{Domain, Protocol, Socket, Type};

use super::holder;

/// All of 127.0.0.0/8 is this machine (RFC 1122, section 3.2.1.3), and Linux answers for all of it (ip-route(8), `local`).
#[cfg(target_os = "linux")]
const MARK: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 68, 77, 75));

/// How many ports are tried that are free on `127.0.0.1` and turn out not to be on `::1`.
const TRIES: u32 = 64;

/// Holds ports of `127.0.0.1` and, where there is IPv6, `::1`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Held;

/// A port on which nobody listens by our doing, and that the system gives to nobody who doesn't name it.
#[derive(Debug)]
pub struct HeldPort {
    sockets: Vec<Socket>,
    port: NonZeroU16,
}

impl Listener for HeldPort {
    fn endpoint(&self) -> Endpoint {
        Endpoint::v4(self.port)
    }

    fn highest_descriptor(&self) -> Option<i32> {
        use std::os::fd::AsRawFd as _;
        self.sockets.iter().map(|s| s.as_raw_fd()).max()
    }
}

#[async_trait]
impl PortPicker for Held {
    type Listener = HeldPort;

    async fn pick(&self, preference: PortPreference) -> Result<Picked<HeldPort>, PickError> {
        let (listener, moved_from) = match preference {
            PortPreference::Any => (any()?, None),
            PortPreference::Exact(port) => (exact(port)?, None),
            PortPreference::Prefer(port) => match exact(port) {
                Ok(listener) => (listener, None),
                Err(_) => (any()?, Some(port)),
            },
        };
        Ok(Picked {
            listener,
            moved_from,
        })
    }
}

fn any() -> Result<HeldPort, PickError> {
    let mut tries = TRIES;
    loop {
        tries -= 1;
        match any_once() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
            Ok(held) => return Ok(held),
            Err(source) => {
                return Err(PickError::Bind {
                    what: "any port of 127.0.0.1 and [::1]".to_owned(),
                    source: Arc::new(source),
                });
            }
        }
    }
}

fn any_once() -> io::Result<HeldPort> {
    let socket = bind(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0), When::After)?;
    let port = socket.local_addr()?.as_socket().map_or(0, |a| a.port());
    let port = NonZeroU16::new(port).ok_or_else(|| io::Error::other("bound to no port"))?;
    let mut sockets = vec![socket];
    for ip in beside_v4() {
        let addr = SocketAddr::new(ip, port.get());
        sockets.extend(where_it_exists(bind(addr, When::After))?);
    }
    Ok(keep(sockets, port))
}

fn exact(port: NonZeroU16) -> Result<HeldPort, PickError> {
    let mut sockets = vec![];
    for ip in std::iter::once(Ipv4Addr::LOCALHOST.into()).chain(beside_v4()) {
        let addr = SocketAddr::new(ip, port.get());
        let bound = where_it_exists(bind_over_leftovers(addr)).map_err(|source| {
            if source.kind() == io::ErrorKind::AddrInUse {
                let holder = holder::of_port(addr);
                return PickError::PortTaken { port, holder };
            }
            PickError::Bind {
                what: addr.to_string(),
                source: Arc::new(source),
            }
        })?;
        sockets.extend(bound);
    }
    Ok(keep(sockets, port))
}

fn keep(sockets: Vec<Socket>, port: NonZeroU16) -> HeldPort {
    HeldPort {
        sockets: if cfg!(target_os = "linux") {
            sockets
        } else {
            Vec::new()
        },
        port,
    }
}

/// Whether a port is kept for somebody who may not listen on it yet.
pub(super) fn is_held(port: NonZeroU16) -> bool {
    #[cfg(target_os = "linux")]
    return bind(SocketAddr::new(MARK, port.get()), When::After)
        .is_err_and(|error| error.kind() == io::ErrorKind::AddrInUse);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = port;
        false
    }
}

/// The addresses that are bound after `127.0.0.1`.
fn beside_v4() -> impl Iterator<Item = IpAddr> {
    [
        Ipv6Addr::LOCALHOST.into(),
        #[cfg(target_os = "linux")]
        MARK,
    ]
    .into_iter()
}

/// An address that this machine doesn't have needs no holding: nobody can listen on it.
fn where_it_exists(bound: io::Result<Socket>) -> io::Result<Option<Socket>> {
    use rustix::io::Errno;
    match bound {
        Ok(socket) => Ok(Some(socket)),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT) => Ok(None),
            _ => Err(error),
        },
    }
}

#[cfg(target_os = "linux")]
fn bind_over_leftovers(addr: SocketAddr) -> io::Result<Socket> {
    match bind(addr, When::After) {
        Err(error)
            if error.kind() == io::ErrorKind::AddrInUse
                && addr.ip() != MARK
                && holder::has_connections(addr.port()) =>
        {
            bind(addr, When::Before)
        }
        bound => bound,
    }
}

/// BSDs refuse an address that is only bound to all others, with the option as well (setsockopt(2)).
#[cfg(not(target_os = "linux"))]
fn bind_over_leftovers(addr: SocketAddr) -> io::Result<Socket> {
    bind(addr, When::Before)
}

/// When `SO_REUSEADDR` is set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Before,
    After,
}

fn bind(addr: SocketAddr, reuse: When) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(reuse == When::Before)?;
    socket.bind(&addr.into())?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
#[path = "held_tests.rs"]
mod tests;
