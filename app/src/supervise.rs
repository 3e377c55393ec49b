//! A command of another program's, composed like a server of our own: the same runner over a child process.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use daymark_adapters::http_server::{
    ChildConfig, ChildListener, ChildProcess, ChildView, Orphans, Passthrough, Readiness, Warn,
};
use daymark_adapters::identity;
use daymark_adapters::port_picker::{Held, Loopback};
use daymark_core::port_picker::{PickError, Picked, PortPicker, PortPreference};
use daymark_core::record::{AppInfo, HeldBy, InstanceId, Name};
use daymark_core::{Plan, RestartPolicy, StartError};
use tokio::task::spawn_blocking;

use crate::builder::LOOK_EVERY;
use crate::compose::{self, Parts, setup};
use crate::server::Prepared;
use crate::signals::{FirstSignal, Signal};

/// What to run, and how.
#[derive(Clone)]
pub(crate) struct Supervised {
    pub(crate) name: Name,
    pub(crate) state_dir: PathBuf,
    /// Where the command is started.
    pub(crate) dir: Option<String>,
    pub(crate) command: Vec<OsString>,
    pub(crate) port: PortPreference,
    /// Whether the port of the last run is preferred to any other.
    pub(crate) sticky: bool,
    /// Whether the command is passed a listening socket, and not only a number.
    pub(crate) pass_socket: bool,
    pub(crate) readiness: Readiness,
    /// How long to wait for another one that is coming or going.
    pub(crate) own_timeout: Duration,
    pub(crate) ready_timeout: Duration,
    pub(crate) drain: Duration,
    pub(crate) restart: RestartPolicy,
    pub(crate) passthrough: Passthrough,
    /// Told when output is lost, and what had to be cleared away.
    pub(crate) warn: Warn,
}

impl Supervised {
    /// Sets everything up and starts nothing yet.
    pub(crate) fn prepare(self) -> Result<(Prepared, ChildView), StartError> {
        match self.pass_socket {
            true => self.prepare_on(Loopback::V4),
            false => self.prepare_on(Held),
        }
    }

    fn prepare_on<P>(self, ports: P) -> Result<(Prepared, ChildView), StartError>
    where
        P: PortPicker<Listener: ChildListener>,
    {
        let instance_id = identity::new_instance_id().map_err(setup("get random numbers"))?;
        let first_signal = FirstSignal::default();
        let asked_by = first_signal.clone();
        let (child, view) = ChildProcess::new(ChildConfig {
            command: self.command,
            name: self.name.clone(),
            state_dir: self.state_dir.clone(),
            instance_id,
            readiness: self.readiness,
            passthrough: self.passthrough,
            warn: self.warn.clone(),
            interrupted: Arc::new(move || asked_by.get() == Some(Signal::Interrupt)),
        });
        let plan = Plan {
            name: self.name,
            instance_id,
            pid: std::process::id(),
            origin: identity::origin().clone(),
            app: AppInfo {
                name: "daymark".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                dir: self.dir,
            },
            token: None,
            held_by: match self.pass_socket {
                true => HeldBy::Owner,
                false => HeldBy::Child,
            },
            restarts: Some(self.restart),
            port: self.port,
            sticky: self.sticky,
            own_timeout: self.own_timeout,
            start_timeout: self.ready_timeout,
            drain: self.drain,
            look_every: LOOK_EVERY,
        };
        let ports = Cleared {
            ports,
            state_dir: self.state_dir.clone(),
            instance_id,
            warn: self.warn,
        };
        let parts = Parts {
            plan,
            state_dir: self.state_dir,
            signals: Some(first_signal),
        };
        let launched = compose::launch(ports, child, parts)?;
        Ok((Prepared::new(launched, None), view))
    }
}

/// Picks a port once nothing is left that a dead supervisor had started here: that may still serve on it.
struct Cleared<P> {
    ports: P,
    state_dir: PathBuf,
    instance_id: InstanceId,
    warn: Warn,
}

#[async_trait]
impl<P: PortPicker> PortPicker for Cleared<P> {
    type Listener = P::Listener;

    async fn pick(&self, preference: PortPreference) -> Result<Picked<P::Listener>, PickError> {
        match self.clear().await? {
            0 => {}
            1 => (self.warn)("ended a process that an earlier server had left behind"),
            ended => (self.warn)(&format!(
                "ended {ended} processes that an earlier server had left behind"
            )),
        }
        self.ports.pick(preference).await
    }
}

impl<P> Cleared<P> {
    /// Ends what is left of earlier servers; how many processes that was.
    ///
    /// Nothing is ended but what a look has found that was over while this was still awaited, and so while the place was
    /// ours. So if a stop comes meanwhile, and this is dropped, the next owner's processes aren't among it.
    async fn clear(&self) -> Result<usize, PickError> {
        let mut ended = 0;
        loop {
            let (state_dir, own) = (self.state_dir.clone(), self.instance_id);
            let look = spawn_blocking(move || Orphans::find(&state_dir, &own));
            // A look that panicked has found none.
            let found = look.await.unwrap_or_default();
            if found.is_empty() {
                return Ok(ended);
            }
            let end = spawn_blocking(move || found.end()).await.unwrap_or(Ok(0));
            ended += end.map_err(|pids| PickError::Orphans { pids })?;
        }
    }
}
