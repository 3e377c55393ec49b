//! Ports that exist only in this process.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use daymark_core::port_picker::{Listener, PickError, Picked, PortPicker, PortPreference};
use daymark_core::record::Endpoint;

type Taken = Arc<Mutex<BTreeSet<NonZeroU16>>>;

/// Hands out made-up ports. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct MemoryPorts {
    taken: Taken,
    closing: Option<Closing>,
}

/// What is called when a listener closes.
#[derive(Clone)]
struct Closing(Arc<dyn Fn(NonZeroU16) + Send + Sync>);

impl fmt::Debug for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Closing(…)")
    }
}

impl MemoryPorts {
    /// The ports that are held now.
    #[must_use]
    pub fn held(&self) -> Vec<NonZeroU16> {
        lock(&self.taken).iter().copied().collect()
    }

    /// Calls `tell` whenever a listener is about to close, to see what else is true at that moment.
    #[must_use]
    pub fn when_closing(self, tell: impl Fn(NonZeroU16) + Send + Sync + 'static) -> Self {
        Self {
            closing: Some(Closing(Arc::new(tell))),
            ..self
        }
    }

    fn take(&self, port: NonZeroU16) -> Option<MemoryListener> {
        lock(&self.taken).insert(port).then(|| MemoryListener {
            port,
            ports: self.clone(),
        })
    }

    fn take_any(&self) -> Option<MemoryListener> {
        (49152..=u16::MAX)
            .filter_map(NonZeroU16::new)
            .find_map(|port| self.take(port))
    }
}

/// A port that is taken until this is dropped.
#[derive(Debug)]
pub struct MemoryListener {
    port: NonZeroU16,
    ports: MemoryPorts,
}

impl Listener for MemoryListener {
    fn endpoint(&self) -> Endpoint {
        Endpoint::v4(self.port)
    }

    fn highest_descriptor(&self) -> Option<i32> {
        None
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        if let Some(Closing(tell)) = &self.ports.closing {
            tell(self.port);
        }
        lock(&self.ports.taken).remove(&self.port);
    }
}

#[async_trait]
impl PortPicker for MemoryPorts {
    type Listener = MemoryListener;

    async fn pick(&self, preference: PortPreference) -> Result<Picked<MemoryListener>, PickError> {
        let exhausted = || PickError::Inherited {
            reason: "every port is taken".to_owned(),
        };
        let (listener, moved_from) = match preference {
            PortPreference::Any => (self.take_any().ok_or_else(exhausted)?, None),
            PortPreference::Exact(port) => {
                let taken = PickError::PortTaken { port, holder: None };
                (self.take(port).ok_or(taken)?, None)
            }
            PortPreference::Prefer(port) => match self.take(port) {
                Some(listener) => (listener, None),
                None => (self.take_any().ok_or_else(exhausted)?, Some(port)),
            },
        };
        Ok(Picked {
            listener,
            moved_from,
        })
    }
}

fn lock(taken: &Taken) -> std::sync::MutexGuard<'_, BTreeSet<NonZeroU16>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}
