//! The composition root: the one place where real adapters meet the core.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use daymark_adapters::clock::SystemClock;
use daymark_adapters::state_store::FileStore;
use daymark_core::http_server::HttpServer;
use daymark_core::port_picker::PortPicker;
use daymark_core::{Handle, Plan, ServerRunner, StartError};
use tokio::runtime::{Builder, Runtime};

use crate::signals::{self, FirstSignal};

/// What a run is made of, next to its ports and its server.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) plan: Plan,
    pub(crate) state_dir: PathBuf,
    /// Where to note the signal that stops the run; none if signals are left alone.
    pub(crate) signals: Option<FirstSignal>,
}

/// A run on a thread of its own, waiting to be started.
pub(crate) struct Launched {
    pub(crate) handle: Handle,
    pub(crate) record_path: PathBuf,
    pub(crate) first_signal: FirstSignal,
    pub(crate) control: JoinHandle<()>,
}

/// As long as any process lives.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Starts the first thread for calls that may block, or says that there is none to be had: then the runtime would panic
/// (tokio::task::spawn_blocking). As long as it has one, it waits for that.
fn have_a_thread(runtime: &Runtime) -> io::Result<()> {
    let started = catch_unwind(AssertUnwindSafe(|| runtime.spawn_blocking(|| ())));
    started
        .map(drop)
        .map_err(|_| io::ErrorKind::WouldBlock.into())
}

/// Puts a run together, on a `daymark-control` thread.
pub(crate) fn launch<P, H>(ports: P, http: H, parts: Parts) -> Result<Launched, StartError>
where
    P: PortPicker,
    H: HttpServer<Listener = P::Listener>,
{
    make_room_for_descriptors();
    let store = FileStore::new(&parts.state_dir).map_err(setup("find the working directory"))?;
    let record_path = store.record_path();
    let can_restart = parts.plan.restarts.is_some();
    let (runner, handle) = ServerRunner::new(ports, http, store, SystemClock, parts.plan);

    let runtime = Builder::new_current_thread()
        .thread_name("daymark-store")
        .thread_keep_alive(FOR_EVER)
        .enable_all()
        .build()
        .map_err(setup("start a runtime"))?;
    have_a_thread(&runtime).map_err(setup("start a thread"))?;
    let signalled = parts.signals.clone().map(|first| (handle.clone(), first));
    let control = std::thread::Builder::new()
        .name("daymark-control".to_owned())
        .spawn(move || {
            runtime.block_on(async move {
                if let Some((handle, first)) = signalled {
                    if can_restart {
                        signals::restart_on_signal(handle.clone());
                    }
                    signals::stop_on_signals(handle, first);
                }
                runner.run().await;
            });
            // A call to the disk that hangs keeps its thread, and nobody waits for that.
            runtime.shutdown_background();
        })
        .map_err(setup("start a thread"))?;
    Ok(Launched {
        handle,
        record_path,
        first_signal: parts.signals.unwrap_or_default(),
        control,
    })
}

/// The proof of life takes a descriptor with a high number. To grow its table of descriptors for that, a process that has
/// threads waits for all processors, some 15 ms (expand_fdtable in the kernel's fs/file.c); one that has none yet doesn't.
pub(crate) fn make_room_for_descriptors() {
    #[cfg(unix)]
    if let Ok(any) = std::fs::File::open("/") {
        // If so many aren't allowed, the proof takes a lower one.
        let _ = rustix::io::fcntl_dupfd_cloexec(&any, HIGH_DESCRIPTOR);
    }
}

/// As high as the state store numbers what it vouches with.
#[cfg(unix)]
const HIGH_DESCRIPTOR: i32 = 256;

pub(crate) fn setup(action: &'static str) -> impl FnOnce(io::Error) -> StartError {
    move |source| StartError::Setup {
        action,
        source: Arc::new(source),
    }
}
