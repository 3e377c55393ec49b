//! What Daymark decides: who may publish a server, in which order things happen, and what a reader may believe.
//!
//! No I/O, no clock and no runtime are in here. Four traits stand for the world, and adapters implement them:
//!
//! ```text
//!            Handle ── commands ──▶ ServerRunner ── Effect ──▶ PortPicker   a bound socket
//!               ▲                        │  ▲                  HttpServer   serves, drains, aborts
//!               │                  Event │  │ Step             StateStore   ownership, record, proof
//!               └─ status, events ──     ▼  │                  Clock        now, sleep until
//!                                      lifecycle
//! ```
//!
//! What Daymark promises: a record that a reader believes belongs to a live process that answers; two processes never own
//! one place; a stop always ends; and a crash at any point leaves nothing that anybody believes.

pub mod clock;
mod handle;
pub mod http_server;
pub mod lifecycle;
pub mod port_picker;
pub mod presence;
pub mod record;
mod restart;
mod runner;
pub mod state_store;

pub use handle::{
    Events, Handle, Leftover, LifecycleEvent, RestartCause, StartError, Status, StopCause,
    StopError, StopReport,
};
pub use restart::RestartPolicy;
pub use runner::{CUT_OFF, GRACE, Plan, ServerRunner};
