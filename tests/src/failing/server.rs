//! Ports and servers whose calls go wrong.

use std::sync::Arc;

use async_trait::async_trait;
use daymark_core::http_server::{
    DrainReport, HttpServer, RunningServer, ServeError, ServerEnd, ServerStats, Trouble,
};
use daymark_core::port_picker::{PickError, Picked, PortPicker, PortPreference};
use daymark_core::record::Endpoint;

use super::{Call, Faults, injected};

/// A picker with faults in it.
#[derive(Clone)]
pub struct FailingPorts<P> {
    ports: P,
    faults: Faults,
}

impl<P> FailingPorts<P> {
    /// `ports`, with these faults.
    pub fn with(ports: P, faults: Faults) -> Self {
        Self { ports, faults }
    }
}

#[async_trait]
impl<P: PortPicker> PortPicker for FailingPorts<P> {
    type Listener = P::Listener;

    async fn pick(&self, preference: PortPreference) -> Result<Picked<P::Listener>, PickError> {
        let error = || {
            Err(PickError::Bind {
                what: "a port".to_owned(),
                source: injected(),
            })
        };
        let work = self.ports.pick(preference);
        self.faults.meet(Call::Pick, error, work).await
    }
}

/// Servers with faults in them.
#[derive(Clone)]
pub struct FailingHttp<H> {
    http: H,
    faults: Faults,
}

impl<H> FailingHttp<H> {
    /// `http`, with these faults.
    pub fn with(http: H, faults: Faults) -> Self {
        Self { http, faults }
    }
}

#[async_trait]
impl<H: HttpServer> HttpServer for FailingHttp<H> {
    type Listener = H::Listener;

    fn prepare(&self) {
        self.http.prepare();
    }

    async fn start(
        &self,
        listener: Arc<H::Listener>,
    ) -> Result<Arc<dyn RunningServer>, ServeError> {
        let error = || {
            Err(ServeError::Start {
                what: "at all".to_owned(),
                source: injected(),
            })
        };
        let work = self.http.start(listener);
        Ok(Arc::new(FailingServer {
            server: self.faults.meet(Call::Launch, error, work).await?,
            faults: self.faults.clone(),
        }))
    }
}

struct FailingServer {
    server: Arc<dyn RunningServer>,
    faults: Faults,
}

const SURVIVOR: DrainReport = DrainReport {
    drained: 0,
    aborted: 0,
    survivors: 1,
};

#[async_trait]
impl RunningServer for FailingServer {
    async fn ready(&self) -> Result<Endpoint, ServeError> {
        let error = || Err(ServeError::NotReady(Trouble::with("injected")));
        let work = self.server.ready();
        self.faults.meet(Call::Probe, error, work).await
    }

    async fn drain(&self) -> DrainReport {
        let work = self.server.drain();
        self.faults.meet(Call::Drain, || SURVIVOR, work).await
    }

    async fn abort(&self) -> DrainReport {
        let work = self.server.abort();
        self.faults.meet(Call::Abort, || SURVIVOR, work).await
    }

    async fn ended(&self) -> ServerEnd {
        self.server.ended().await
    }

    fn stats(&self) -> ServerStats {
        self.server.stats()
    }
}
