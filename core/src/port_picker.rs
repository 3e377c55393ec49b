//! Getting a port: always as a socket that is bound already, never as a number that one hopes is free.

use std::io;
use std::num::NonZeroU16;
use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;

use crate::record::Endpoint;

/// Which port a server would like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PortPreference {
    /// Any free port.
    #[default]
    Any,
    /// This port or none.
    Exact(NonZeroU16),
    /// This port if it is free, else any.
    Prefer(NonZeroU16),
}

/// A port that is ours: a socket that is bound.
///
/// Most listen, so that connections which arrive are queued by the kernel from now on. A picker may also *hold* a port for
/// a program that can only be told a number and that will listen there itself; its documentation says so.
pub trait Listener: Send + Sync + 'static {
    /// The address really bound.
    fn endpoint(&self) -> Endpoint;

    /// The highest number among the descriptors by which this process holds the socket, where there are such numbers.
    ///
    /// The store puts its proof of life above this number. When a process dies, Linux puts the files of higher numbers away
    /// first (close_files queues them in order, task_work_run takes the last one first), so the proof never outlives the
    /// socket. That of a socket which children have too is let go of at once, and ends with those.
    fn highest_descriptor(&self) -> Option<i32>;
}

/// What [`PortPicker::pick`] found.
#[derive(Debug)]
pub struct Picked<L> {
    /// The bound socket.
    pub listener: L,
    /// The preferred port, when it was taken and another one was given.
    pub moved_from: Option<NonZeroU16>,
}

/// Finds a port by binding it.
///
/// # Laws
///
/// - The listener that is returned is never closed and bound again: the port is ours for as long as it lives.
/// - Unless the picker holds ports for others, that listener is the one that will serve, and the kernel queues connections
///   to it from the moment `pick` returns, so no client is refused.
/// - The same picker may be asked any number of times. Two live listeners never share a port, unless the picker hands
///   out a socket that it was given.
/// - Dropping the future midway leaves nothing bound.
#[async_trait]
pub trait PortPicker: Send + Sync + 'static {
    /// A bound socket. Its type is shared with the server that will use it, so a fake never meets a real one.
    type Listener: Listener;

    /// Binds a loopback port according to `preference`.
    ///
    /// # Errors
    ///
    /// [`PickError::PortTaken`] only for [`PortPreference::Exact`]; the others as the system reports them.
    async fn pick(&self, preference: PortPreference) -> Result<Picked<Self::Listener>, PickError>;
}

/// Why no port could be had.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum PickError {
    /// Somebody else listens there, or holds it.
    #[error("port {port} is taken{}", holder.as_ref().map(|h| format!(" by {h}")).unwrap_or_default())]
    PortTaken {
        /// The port asked for.
        port: NonZeroU16,
        /// The process that holds it, as far as the system tells.
        holder: Option<String>,
    },
    /// The system wouldn't bind the socket.
    #[error("cannot bind {what}")]
    Bind {
        /// The address, in words.
        what: String,
        /// The system's own report.
        #[source]
        source: Arc<io::Error>,
    },
    /// A socket was expected from the process that started this one, and it isn't there or isn't fit.
    #[error("the inherited socket cannot be used: {reason}")]
    Inherited {
        /// What is wrong with it.
        reason: String,
    },
    /// What an earlier server has left behind can't be ended, and may still serve on a port.
    #[error(
        "processes of a supervisor that is dead cannot be ended: {}",
        list(pids)
    )]
    Orphans {
        /// The processes.
        pids: Vec<u32>,
    },
}

fn list(pids: &[u32]) -> String {
    let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
    pids.join(", ")
}
