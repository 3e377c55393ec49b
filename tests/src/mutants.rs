//! Adapters that break one law each, over adapters that keep them all: what turns the tests red that look after that law.

mod clock;
mod ports;
mod server;
mod store;

pub use clock::{ClockFlaw, FlawedClock, FlawedManualClock};
pub use ports::{FlawedListener, FlawedPorts, PortFlaw};
pub use server::{FlawedHttp, ServerFlaw};
pub use store::{FlawedStore, StoreFlaw};
