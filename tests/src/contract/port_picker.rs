//! The laws of [`PortPicker`] and its listeners.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::num::NonZeroU16;

#[cfg(target_os = "linux")]
use daymark_adapters::port_picker::Held;
use daymark_adapters::port_picker::{Loopback, MemoryPorts};
use daymark_core::port_picker::{Listener as _, PickError, PortPicker, PortPreference};
use daymark_core::record::Endpoint;
#[cfg(target_os = "linux")]
use tokio::net::TcpSocket;

use super::begin_and_drop;

/// A picker, and a look from outside.
pub trait PortBench: Send + Sync {
    /// What is tested.
    type Picker: PortPicker;

    /// The picker.
    fn picker(&self) -> &Self::Picker;

    /// Whether somebody has the endpoint.
    fn is_taken(&self, endpoint: Endpoint) -> bool;
}

/// A picker whose sockets listen.
pub trait ListeningBench: PortBench {
    /// Whether connections to the endpoint are queued.
    fn is_listening(&self, endpoint: Endpoint) -> bool;
}

impl PortBench for Loopback {
    type Picker = Self;

    fn picker(&self) -> &Self {
        self
    }

    fn is_taken(&self, endpoint: Endpoint) -> bool {
        self.is_listening(endpoint)
    }
}

impl ListeningBench for Loopback {
    fn is_listening(&self, endpoint: Endpoint) -> bool {
        TcpStream::connect(endpoint.addr()).is_ok()
    }
}

#[cfg(target_os = "linux")]
impl PortBench for Held {
    type Picker = Self;

    fn picker(&self) -> &Self {
        self
    }

    /// Nobody can connect, but a socket without `SO_REUSEADDR` (tokio sets none by itself) can't be bound either.
    fn is_taken(&self, endpoint: Endpoint) -> bool {
        let socket = match TcpSocket::new_v4() {
            Ok(socket) => socket,
            Err(error) => panic!("no socket: {error}"),
        };
        socket.bind(endpoint.addr()).is_err()
    }
}

impl PortBench for MemoryPorts {
    type Picker = Self;

    fn picker(&self) -> &Self {
        self
    }

    fn is_taken(&self, endpoint: Endpoint) -> bool {
        self.held().contains(&endpoint.port())
    }
}

impl ListeningBench for MemoryPorts {
    fn is_listening(&self, endpoint: Endpoint) -> bool {
        self.is_taken(endpoint)
    }
}

type ListenerOf<B> = <<B as PortBench>::Picker as PortPicker>::Listener;

async fn pick<B: PortBench>(
    bench: &B,
    preference: PortPreference,
) -> (ListenerOf<B>, Option<NonZeroU16>) {
    match bench.picker().pick(preference).await {
        Ok(picked) => (picked.listener, picked.moved_from),
        Err(error) => panic!("{preference:?}: {error}"),
    }
}

async fn pick_any<B: PortBench>(bench: &B) -> ListenerOf<B> {
    pick(bench, PortPreference::Any).await.0
}

/// The kernel queues connections from the moment `pick` returns, unless ports are held for others to listen on.
pub async fn what_is_picked_is_listening_already(bench: &impl ListeningBench) {
    let listener = pick_any(bench).await;
    assert!(bench.is_listening(listener.endpoint()));
}

/// Two live listeners never share a port.
pub async fn no_two_listeners_share_a_port(bench: &impl PortBench) {
    let mut listeners = Vec::new();
    for _ in 0..100 {
        listeners.push(pick_any(bench).await);
    }
    let ports: BTreeSet<u16> = listeners
        .iter()
        .map(|listener| listener.endpoint().port().get())
        .collect();
    assert_eq!(ports.len(), 100);
}

/// Nobody has it any more.
pub async fn a_listener_that_is_dropped_frees_its_port(bench: &impl PortBench) {
    let listener = pick_any(bench).await;
    let endpoint = listener.endpoint();
    drop(listener);
    assert!(!bench.is_taken(endpoint));
    let (again, moved_from) = pick(bench, PortPreference::Exact(endpoint.port())).await;
    assert_eq!((again.endpoint(), moved_from), (endpoint, None));
}

/// [`PortPreference::Exact`] fails where somebody has the port, and disturbs nobody.
pub async fn an_exact_port_that_is_taken_is_refused_by_name(bench: &impl PortBench) {
    let first = pick_any(bench).await;
    let port = first.endpoint().port();
    match bench.picker().pick(PortPreference::Exact(port)).await {
        Err(PickError::PortTaken { port: named, .. }) => assert_eq!(named, port),
        Err(error) => panic!("not the reason: {error}"),
        Ok(_) => panic!("two listeners share {port}"),
    }
    assert!(bench.is_taken(first.endpoint()));
}

/// [`PortPreference::Prefer`] takes the port if it is free.
pub async fn a_preferred_port_is_taken_if_it_is_free(bench: &impl PortBench) {
    let port = pick_any(bench).await.endpoint().port();
    let (listener, moved_from) = pick(bench, PortPreference::Prefer(port)).await;
    assert_eq!((listener.endpoint().port(), moved_from), (port, None));
}

/// [`PortPreference::Prefer`] takes another one if it isn't, and says so.
pub async fn a_preferred_port_that_is_taken_gives_another_and_says_so(bench: &impl PortBench) {
    let first = pick_any(bench).await;
    let port = first.endpoint().port();
    let (second, moved_from) = pick(bench, PortPreference::Prefer(port)).await;
    assert_ne!(second.endpoint().port(), port);
    assert_eq!(moved_from, Some(port));
    assert!(bench.is_taken(second.endpoint()));
}

/// Dropping the future midway leaves nothing bound.
pub async fn a_pick_that_is_dropped_leaves_nothing_bound(bench: &impl PortBench) {
    let endpoint = pick_any(bench).await.endpoint();
    let preference = PortPreference::Exact(endpoint.port());
    drop(bench.picker().pick(preference));
    begin_and_drop(bench.picker().pick(preference));
    assert!(!bench.is_taken(endpoint));
}

/// What a listener tells of itself stays true for as long as it lives, whatever else is picked.
pub async fn a_listener_tells_the_same_for_as_long_as_it_lives(bench: &impl PortBench) {
    let listener = pick_any(bench).await;
    let told = (listener.endpoint(), listener.highest_descriptor());
    let others = [pick_any(bench).await, pick_any(bench).await];
    assert!(bench.is_taken(told.0));
    drop(others);
    assert_eq!((listener.endpoint(), listener.highest_descriptor()), told);
    assert!(bench.is_taken(told.0));
}

/// Tries the law of that name.
///
/// # Panics
///
/// If it is broken, or there is no such law.
pub async fn keep(bench: &impl ListeningBench, law: &str) {
    match law {
        "what_is_picked_is_listening_already" => what_is_picked_is_listening_already(bench).await,
        law => {
            crate::with_laws_of_every_port_picker!(crate::law_named, law, bench);
        }
    }
}

/// Calls a macro with the laws that hold of every picker, whether its sockets listen or not.
#[macro_export]
macro_rules! with_laws_of_every_port_picker {
    ($macro:path, $($before:tt)*) => {
        $macro!($($before)*, [
            no_two_listeners_share_a_port,
            a_listener_that_is_dropped_frees_its_port,
            an_exact_port_that_is_taken_is_refused_by_name,
            a_preferred_port_is_taken_if_it_is_free,
            a_preferred_port_that_is_taken_gives_another_and_says_so,
            a_pick_that_is_dropped_leaves_nothing_bound,
            a_listener_tells_the_same_for_as_long_as_it_lives,
        ]);
    };
}

/// Tests of all laws of port pickers; `but_not_listening` leaves out what holds of listening sockets only.
#[macro_export]
macro_rules! port_picker_laws {
    ($adapter:ident, $bench:expr) => {
        mod $adapter {
            use super::*;
            $crate::port_picker_laws!(every_picker, $bench, but_not_listening);
            $crate::each_law!(
                listening,
                $bench,
                $crate::contract::port_picker,
                [what_is_picked_is_listening_already]
            );
        }
    };
    ($adapter:ident, $bench:expr, but_not_listening) => {
        $crate::with_laws_of_every_port_picker!(
            $crate::each_law,
            $adapter,
            $bench,
            $crate::contract::port_picker
        );
    };
}
