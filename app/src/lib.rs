//! Run an HTTP server on this machine that other processes find, trust, wait for and stop.

mod builder;
mod compose;
pub mod directories;
mod discovery;
mod park;
mod server;
mod signals;
#[cfg(all(unix, feature = "cli"))]
mod supervise;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "cli")]
mod directory;

pub use builder::{Builder, Given, Port};
pub use daymark_adapters::http_server::{
    App, AppContext, AskError, BodyError, InvalidHost, InvalidOrigin, RequestBody, StopSignal,
};
pub use daymark_core::clock::Timestamp;
pub use daymark_core::http_server::{ServeError, ServerEnd, ServerStats, Trouble};
pub use daymark_core::port_picker::PickError;
pub use daymark_core::presence::Presence;
pub use daymark_core::record::{
    AppInfo, Endpoint, HeldBy, InstanceId, InvalidName, Name, Origin, ServerRecord, Token,
};
pub use daymark_core::state_store::{AcquireError, PublishError, Recovered, WithdrawError};
pub use daymark_core::{
    Events, Handle, Leftover, LifecycleEvent, RestartCause, StartError, Status, StopCause,
    StopError, StopReport,
};
pub use discovery::{
    ConnectError, Connection, LinkError, Place, PlaceError, RestartServerError, Sighting,
    StopOptions, StopServerError, Stopped, WaitError, Watch, connect, discover, list, wait_down,
    wait_ready, watch,
};
pub use server::{Prepared, Server};
pub use signals::{FirstSignal, Signal};
