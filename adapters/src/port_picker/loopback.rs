//! Ports of `127.0.0.1`, or of `::1`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;

use async_trait::async_trait;
use daymark_core::port_picker::{PickError, Picked, PortPicker, PortPreference};

#[cfg(unix)]
use super::held::is_held;
use super::holder;
use super::listener::BoundListener;

/// Binds ports of the loopback interface.
#[derive(Clone, Copy, Debug)]
pub struct Loopback(IpAddr);

impl Loopback {
    /// Ports of `127.0.0.1`.
    pub const V4: Self = Self(IpAddr::V4(Ipv4Addr::LOCALHOST));
    /// Ports of `::1`.
    pub const V6: Self = Self(IpAddr::V6(Ipv6Addr::LOCALHOST));

    fn bind(self, port: u16) -> Result<BoundListener, PickError> {
        let addr = SocketAddr::new(self.0, port);
        let bound = match NonZeroU16::new(port) {
            // The system wouldn't refuse it: both set SO_REUSEADDR, and the other doesn't listen.
            Some(port) if is_held(port) => Err(io::ErrorKind::AddrInUse.into()),
            _ => BoundListener::bind(addr),
        };
        bound.map_err(|error| match NonZeroU16::new(port) {
            Some(port) if error.kind() == io::ErrorKind::AddrInUse => PickError::PortTaken {
                port,
                holder: holder::of_port(addr),
            },
            _ => PickError::Bind {
                what: addr.to_string(),
                source: Arc::new(error),
            },
        })
    }
}

/// Ports are held for commands that are run.
#[cfg(not(unix))]
const fn is_held(_port: NonZeroU16) -> bool {
    false
}

#[async_trait]
impl PortPicker for Loopback {
    type Listener = BoundListener;

    async fn pick(&self, preference: PortPreference) -> Result<Picked<BoundListener>, PickError> {
        let (listener, moved_from) = match preference {
            PortPreference::Any => (self.bind(0)?, None),
            PortPreference::Exact(port) => (self.bind(port.get())?, None),
            PortPreference::Prefer(port) => match self.bind(port.get()) {
                Ok(listener) => (listener, None),
                Err(_) => (self.bind(0)?, Some(port)),
            },
        };
        Ok(Picked {
            listener,
            moved_from,
        })
    }
}
