//! A port picker that isn't one.

use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use daymark_adapters::port_picker::{MemoryListener, MemoryPorts};
use daymark_core::port_picker::{Listener, PickError, Picked, PortPicker, PortPreference};
use daymark_core::record::Endpoint;

use crate::contract::port_picker::{ListeningBench, PortBench};

/// What is wrong with a port picker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortFlaw {
    /// Nothing.
    None,
    /// What it hands out is bound only when somebody gets round to it.
    DoesNotListen,
    /// It closes what it has bound and hopes for the best.
    BindsAndCloses,
    /// All its listeners have the same port.
    SharesAPort,
    /// A port that is dropped stays taken.
    LeaksListeners,
    /// A port that is wanted and taken is given all the same.
    IgnoresWhoHasIt,
    /// It moves from an exact port, too.
    MovesFromAnExactPort,
    /// A preferred port is never given.
    NeverGivesWhatIsPreferred,
    /// It moves and doesn't say so.
    MovesInSilence,
    /// It refuses where it should move.
    RefusesToMove,
    /// A pick that is dropped midway leaves its socket bound.
    LeaksDroppedPicks,
    /// A listener tells another port than its own.
    TellsAWrongPort,
}

/// Ports in memory, handed out with a flaw.
#[derive(Debug)]
pub struct FlawedPorts {
    ports: MemoryPorts,
    flaw: PortFlaw,
    leaked: Arc<Mutex<Vec<MemoryListener>>>,
}

impl FlawedPorts {
    /// Ports with this flaw.
    #[must_use]
    pub fn new(flaw: PortFlaw) -> Self {
        Self {
            ports: MemoryPorts::default(),
            flaw,
            leaked: Arc::default(),
        }
    }

    fn leak(&self, listener: MemoryListener) {
        let mut leaked = self.leaked.lock().unwrap_or_else(PoisonError::into_inner);
        leaked.push(listener);
    }
}

/// A port, or the claim to have one.
#[derive(Debug)]
pub struct FlawedListener {
    port: NonZeroU16,
    listener: Option<MemoryListener>,
    leaks_to: Option<Arc<Mutex<Vec<MemoryListener>>>>,
}

impl Listener for FlawedListener {
    fn endpoint(&self) -> Endpoint {
        Endpoint::v4(self.port)
    }

    fn highest_descriptor(&self) -> Option<i32> {
        None
    }
}

impl Drop for FlawedListener {
    fn drop(&mut self) {
        if let (Some(leaked), Some(listener)) = (&self.leaks_to, self.listener.take()) {
            let mut leaked = leaked.lock().unwrap_or_else(PoisonError::into_inner);
            leaked.push(listener);
        }
    }
}

/// A port that nobody is given first.
const SHARED: NonZeroU16 = NonZeroU16::new(65_000).unwrap();

#[async_trait]
impl PortPicker for FlawedPorts {
    type Listener = FlawedListener;

    async fn pick(&self, preference: PortPreference) -> Result<Picked<FlawedListener>, PickError> {
        let asked = match (self.flaw, preference) {
            (PortFlaw::MovesFromAnExactPort, PortPreference::Exact(port)) => {
                PortPreference::Prefer(port)
            }
            (PortFlaw::RefusesToMove, PortPreference::Prefer(port)) => PortPreference::Exact(port),
            (PortFlaw::NeverGivesWhatIsPreferred, PortPreference::Prefer(port)) => {
                PortPreference::Prefer(port.saturating_add(1))
            }
            _ => preference,
        };
        let picked = match (self.ports.pick(asked).await, asked) {
            (Err(PickError::PortTaken { port, .. }), _)
                if self.flaw == PortFlaw::IgnoresWhoHasIt =>
            {
                return Ok(Picked {
                    listener: FlawedListener {
                        port,
                        listener: None,
                        leaks_to: None,
                    },
                    moved_from: None,
                });
            }
            (picked, _) => picked?,
        };
        let moved_from = match self.flaw {
            PortFlaw::MovesInSilence => None,
            _ => picked.moved_from,
        };
        if self.flaw == PortFlaw::LeaksDroppedPicks {
            self.leak(picked.listener);
            tokio::task::yield_now().await;
            let mut leaked = self.leaked.lock().unwrap_or_else(PoisonError::into_inner);
            let listener = leaked.pop().expect("it was put there");
            return Ok(self.hand_out(listener, moved_from));
        }
        Ok(self.hand_out(picked.listener, moved_from))
    }
}

impl FlawedPorts {
    fn hand_out(
        &self,
        listener: MemoryListener,
        moved_from: Option<NonZeroU16>,
    ) -> Picked<FlawedListener> {
        let bound = listener.endpoint().port();
        let port = match self.flaw {
            PortFlaw::SharesAPort => SHARED,
            PortFlaw::TellsAWrongPort => bound.saturating_add(100),
            _ => bound,
        };
        let listener = Some(listener).filter(|_| self.flaw != PortFlaw::BindsAndCloses);
        let leaks = self.flaw == PortFlaw::LeaksListeners;
        let leaks_to = leaks.then(|| self.leaked.clone());
        let listener = FlawedListener {
            port,
            listener,
            leaks_to,
        };
        Picked {
            listener,
            moved_from,
        }
    }
}

impl PortBench for FlawedPorts {
    type Picker = Self;

    fn picker(&self) -> &Self {
        self
    }

    fn is_taken(&self, endpoint: Endpoint) -> bool {
        self.ports.held().contains(&endpoint.port())
    }
}

impl ListeningBench for FlawedPorts {
    fn is_listening(&self, endpoint: Endpoint) -> bool {
        self.flaw != PortFlaw::DoesNotListen && self.is_taken(endpoint)
    }
}
