//! Daymark's adapters: for every trait of the core a real implementation and one in memory.
//!
//! One folder per trait. Folders don't import each other, save for the listener type that a port picker hands to a
//! server; only an application names them together.

pub mod identity;
pub mod log_file;
#[cfg(unix)]
mod private;
pub mod record_json;

/// What Linux tells in /proc, for whichever adapter asks, the app, and the fuzzer. Parsers take any bytes; what only reads
/// is for adapters.
#[cfg(target_os = "linux")]
#[doc(hidden)]
pub mod proc_fs {
    #[cfg(feature = "child-process")]
    pub mod family;
    pub mod processes;
    pub mod sock_diag;
    pub mod tcp_table;
}

/// Ports: always as sockets that are bound.
pub mod port_picker {
    #[cfg(unix)]
    mod held;
    mod holder;
    mod inherited;
    #[cfg(unix)]
    #[doc(hidden)]
    pub mod listen_fds;
    mod listener;
    mod loopback;
    mod memory;

    #[cfg(unix)]
    pub use held::{Held, HeldPort};
    pub use inherited::Inherited;
    pub use listener::BoundListener;
    pub use loopback::Loopback;
    pub use memory::{MemoryListener, MemoryPorts};
}

/// Servers.
pub mod http_server {
    mod alarm;
    mod answer;
    mod app;
    mod body;
    #[cfg(all(unix, feature = "child-process"))]
    mod child_process;
    mod code;
    mod connection;
    mod crowd;
    mod gate;
    mod in_process;
    mod incoming;
    mod limits;
    mod memory;

    pub use app::{App, AppContext, StopSignal};
    pub use body::{BodyError, RequestBody};
    #[cfg(all(unix, feature = "child-process"))]
    pub use child_process::{
        ChildConfig, ChildListener, ChildProcess, ChildView, InvalidReadiness, Orphans,
        Passthrough, Readiness, Told, Warn, close_inherited, itself, run_hidden_verb,
    };
    pub use code::{AskError, ask_for_link};
    pub use gate::{
        Access, Admission, AllowedHost, AllowedOrigin, CODE_LIFETIME, HostPolicy, InvalidHost,
        InvalidOrigin,
    };
    pub use in_process::{HttpConfig, InProcess};
    pub use limits::Limits;
    pub use memory::{MemoryHttp, MemoryServer};

    /// Who may ask, by itself, for the tests and the fuzzer.
    #[doc(hidden)]
    pub mod rules {
        pub use super::gate::{Refusal, Rules};
    }

    /// What a child prints, as it is read, for the fuzzer.
    #[cfg(all(unix, feature = "child-process"))]
    #[doc(hidden)]
    pub mod printed {
        pub use super::child_process::{LONGEST_LINE, Said, lines_of};
    }

    /// A child process' tree by itself, for the tests.
    #[cfg(all(unix, feature = "child-process"))]
    #[doc(hidden)]
    pub mod process_tree {
        pub use super::child_process::{Ask, Exit, Spawn, Tree};
    }
}

/// Ownership and records.
pub mod state_store {
    mod atomic_file;
    mod blocking;
    mod dir_watch;
    #[doc(hidden)]
    pub mod directory;
    #[cfg_attr(unix, path = "disk_unix.rs")]
    #[cfg_attr(not(unix), path = "disk_portable.rs")]
    mod disk;
    #[cfg_attr(target_os = "linux", path = "events_linux.rs")]
    #[cfg_attr(not(target_os = "linux"), path = "events_portable.rs")]
    mod events;
    mod file;
    mod hint;
    mod lease;
    mod look;
    mod memory;
    mod ownership;
    mod proof;
    mod state_dir;
    mod trust;

    pub use dir_watch::DirWatch;
    pub use file::FileStore;
    pub use look::Look;
    pub use memory::MemoryStore;

    /// The record's file name.
    pub const RECORD: &str = "server.json";
    /// The ownership's file name.
    pub const LOCK: &str = "server.lock";
}

/// Time.
pub mod clock {
    mod manual;
    mod system;

    pub use manual::ManualClock;
    pub use system::SystemClock;
}
