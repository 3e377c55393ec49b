//! The composition root: the one place where real adapters meet the core.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use daymark_adapters::clock::SystemClock;
use daymark_adapters::http_server::{App, AppContext, HttpConfig, InProcess};
use daymark_adapters::port_picker::{BoundListener, Inherited, Loopback};
use daymark_adapters::state_store::FileStore;
use daymark_core::port_picker::PortPicker;
use daymark_core::{Handle, Plan, ServerRunner, StartError};

use crate::signals::{self, FirstSignal};

/// Where the listening socket comes from.
#[derive(Debug)]
pub(crate) enum Sockets {
    Loopback(Loopback),
    Inherited(Inherited),
}

/// Everything that a run is made of, but the app.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) plan: Plan,
    pub(crate) state_dir: PathBuf,
    pub(crate) http: HttpConfig,
    pub(crate) handle_signals: bool,
}

/// A run on a thread of its own, waiting to be started.
pub(crate) struct Launched {
    pub(crate) handle: Handle,
    pub(crate) record_path: PathBuf,
    pub(crate) first_signal: FirstSignal,
    pub(crate) control: JoinHandle<()>,
}

/// Puts a run together, on a `daymark-control` thread.
pub(crate) fn launch<F, S>(sockets: Sockets, parts: Parts, make: F) -> Result<Launched, StartError>
where
    F: FnOnce(AppContext) -> S + Send + 'static,
    S: App,
{
    match sockets {
        Sockets::Loopback(ports) => launch_on(ports, parts, make),
        Sockets::Inherited(ports) => launch_on(ports, parts, make),
    }
}

fn launch_on<P, F, S>(ports: P, parts: Parts, make: F) -> Result<Launched, StartError>
where
    P: PortPicker<Listener = BoundListener>,
    F: FnOnce(AppContext) -> S + Send + 'static,
    S: App,
{
    let store = FileStore::new(&parts.state_dir).map_err(setup("find the working directory"))?;
    let record_path = store.record_path();
    let http = InProcess::new(make, parts.http);
    let (runner, handle) = ServerRunner::new(ports, http, store, SystemClock, parts.plan);

    let runtime = tokio::runtime::Builder::new_current_thread()
        .thread_name("daymark-store")
        .enable_all()
        .build()
        .map_err(setup("start a runtime"))?;
    let first_signal = FirstSignal::default();
    let signalled = parts
        .handle_signals
        .then(|| (handle.clone(), first_signal.clone()));
    let control = std::thread::Builder::new()
        .name("daymark-control".to_owned())
        .spawn(move || {
            runtime.block_on(async move {
                if let Some((handle, first)) = signalled {
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
        first_signal,
        control,
    })
}

pub(crate) fn setup(action: &'static str) -> impl FnOnce(io::Error) -> StartError {
    move |source| StartError::Setup {
        action,
        source: Arc::new(source),
    }
}
