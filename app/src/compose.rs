//! The composition root: the one place where real adapters meet the core.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use daymark_adapters::clock::SystemClock;
use daymark_adapters::state_store::FileStore;
use daymark_core::http_server::HttpServer;
use daymark_core::port_picker::PortPicker;
use daymark_core::{Handle, Plan, ServerRunner, StartError};

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

/// Puts a run together, on a `daymark-control` thread.
pub(crate) fn launch<P, H>(ports: P, http: H, parts: Parts) -> Result<Launched, StartError>
where
    P: PortPicker,
    H: HttpServer<Listener = P::Listener>,
{
    let store = FileStore::new(&parts.state_dir).map_err(setup("find the working directory"))?;
    let record_path = store.record_path();
    let can_restart = parts.plan.restarts.is_some();
    let (runner, handle) = ServerRunner::new(ports, http, store, SystemClock, parts.plan);

    let runtime = tokio::runtime::Builder::new_current_thread()
        .thread_name("daymark-store")
        .enable_all()
        .build()
        .map_err(setup("start a runtime"))?;
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

pub(crate) fn setup(action: &'static str) -> impl FnOnce(io::Error) -> StartError {
    move |source| StartError::Setup {
        action,
        source: Arc::new(source),
    }
}
