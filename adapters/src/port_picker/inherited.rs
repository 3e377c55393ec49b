//! A socket that the process which started this one has bound already.

use std::io;
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use daymark_core::port_picker::{Listener as _, PickError, Picked, PortPicker, PortPreference};
use listenfd::ListenFd;

#[cfg(unix)]
use super::listen_fds::Passed;
use super::listener::BoundListener;

/// Hands out the first socket of `LISTEN_FDS` (sd_listen_fds(3)), once.
#[derive(Debug)]
pub struct Inherited(Mutex<Option<io::Result<TcpListener>>>);

impl Inherited {
    /// Takes the socket from the environment; none where no sockets were passed to this very process. The variables are
    /// removed, so that children don't take them for theirs. Call it early, while the process has one thread.
    #[must_use]
    pub fn from_env() -> Option<Self> {
        let nonsense = |reason| io::Error::new(io::ErrorKind::InvalidInput, reason);
        let socket = match nonsense_in_env() {
            Some(reason) => Err(nonsense(reason)),
            None => ListenFd::from_env().take_tcp_listener(0).transpose()?,
        };
        Some(Self(Mutex::new(Some(socket))))
    }
}

#[cfg(unix)]
fn nonsense_in_env() -> Option<String> {
    let variable = |name: &str| std::env::var(name).ok();
    match Passed::read(variable, std::process::id()) {
        Passed::Nonsense(reason) => Some(reason),
        Passed::Nothing | Passed::Sockets { .. } => None,
    }
}

/// Elsewhere sockets aren't passed by numbers.
#[cfg(not(unix))]
const fn nonsense_in_env() -> Option<String> {
    None
}

#[async_trait]
impl PortPicker for Inherited {
    type Listener = BoundListener;

    async fn pick(&self, preference: PortPreference) -> Result<Picked<BoundListener>, PickError> {
        let unfit = |reason: String| PickError::Inherited { reason };
        let socket = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .ok_or_else(|| unfit("it was used before".to_owned()))?
            .map_err(|e| unfit(e.to_string()))?;
        // Asked of the system, not believed: a bound socket that doesn't listen would refuse every client.
        #[cfg(target_os = "linux")]
        if !socket2::SockRef::from(&socket)
            .is_listener()
            .map_err(|e| unfit(e.to_string()))?
        {
            return Err(unfit("it does not listen".to_owned()));
        }
        let listener = BoundListener::adopt(socket).map_err(|e| unfit(e.to_string()))?;
        let port = listener.endpoint().port();
        match preference {
            PortPreference::Exact(wanted) if wanted != port => {
                Err(unfit(format!("it is bound to port {port}, not {wanted}")))
            }
            // Nobody tried for a preferred port: this is the one that there is.
            _ => Ok(Picked {
                listener,
                moved_from: None,
            }),
        }
    }
}
