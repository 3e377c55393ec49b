//! A server without sockets, for tests that play its part: it finishes, hangs or dies when they say so.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use daymark_core::http_server::{
    DrainReport, HttpServer, RunningServer, ServeError, ServerEnd, ServerStats, Trouble,
};
use daymark_core::port_picker::Listener as _;
use daymark_core::record::Endpoint;
use tokio::sync::watch;

use crate::port_picker::MemoryListener;

/// Starts servers in memory. Clones show the same ones.
#[derive(Clone, Debug, Default)]
pub struct MemoryHttp {
    started: Arc<Mutex<Vec<MemoryServer>>>,
}

impl MemoryHttp {
    /// The server that was started last.
    #[must_use]
    pub fn last(&self) -> Option<MemoryServer> {
        self.started().last().cloned()
    }

    /// How many servers haven't ended: they listen, or still answer.
    #[must_use]
    pub fn living(&self) -> usize {
        self.started()
            .iter()
            .filter(|server| server.lives())
            .count()
    }

    fn started(&self) -> std::sync::MutexGuard<'_, Vec<MemoryServer>> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl HttpServer for MemoryHttp {
    type Listener = MemoryListener;

    async fn start(
        &self,
        listener: Arc<MemoryListener>,
    ) -> Result<Arc<dyn RunningServer>, ServeError> {
        let server = MemoryServer(Arc::new(watch::Sender::new(Inside {
            listener: Some(listener),
            ..Inside::default()
        })));
        self.started().push(server.clone());
        Ok(Arc::new(Running(server)))
    }
}

#[derive(Debug, Default)]
struct Inside {
    listener: Option<Arc<MemoryListener>>,
    in_flight: u64,
    drained: u64,
    draining: bool,
    aborted: Option<u64>,
    died: Option<String>,
}

/// The inside of a server in memory, for a test to act on.
#[derive(Clone, Debug)]
pub struct MemoryServer(Arc<watch::Sender<Inside>>);

impl MemoryServer {
    /// A request comes in; false if nobody accepts any more.
    pub fn begin_request(&self) -> bool {
        self.0.send_if_modified(|s| {
            let accepts = s.listener.is_some() && !s.draining;
            s.in_flight += u64::from(accepts);
            accepts
        })
    }

    /// A request is answered; false if there was none.
    pub fn finish_request(&self) -> bool {
        self.0.send_if_modified(|s| {
            let any = s.in_flight > 0 && s.aborted.is_none();
            s.in_flight -= u64::from(any);
            s.drained += u64::from(any && s.draining);
            any
        })
    }

    /// Whether it accepts requests.
    #[must_use]
    pub fn listens(&self) -> bool {
        self.0.borrow().listener.is_some()
    }

    fn lives(&self) -> bool {
        let inside = self.0.borrow();
        inside.died.is_none() && (inside.listener.is_some() || inside.in_flight > 0)
    }

    /// The server ends by itself.
    pub fn die(&self, reason: &str) {
        self.0.send_modify(|s| {
            s.died = Some(reason.to_owned());
            s.listener = None;
        });
    }

    fn begin_drain(&self) {
        self.0.send_modify(|s| {
            s.draining = true;
            s.listener = None;
        });
    }

    fn report(&self) -> DrainReport {
        let inside = self.0.borrow();
        DrainReport {
            drained: inside.drained,
            aborted: inside.aborted.unwrap_or_default(),
            survivors: 0,
        }
    }

    fn cut_off(&self) {
        self.begin_drain();
        self.0.send_modify(|s| {
            s.aborted.get_or_insert(s.in_flight);
            s.in_flight = 0;
        });
    }
}

struct Running(MemoryServer);

#[async_trait]
impl RunningServer for Running {
    async fn ready(&self) -> Result<Endpoint, ServeError> {
        let inside = self.0.0.borrow();
        match &inside.listener {
            Some(listener) => Ok(listener.endpoint()),
            None => {
                let reason = inside.died.as_deref().unwrap_or("it ended");
                Err(ServeError::NotReady(Trouble::with(reason)))
            }
        }
    }

    async fn drain(&self) -> DrainReport {
        self.0.begin_drain();
        let mut inside = self.0.0.subscribe();
        let _ = inside
            .wait_for(|s| s.in_flight == 0 || s.died.is_some())
            .await;
        self.0.report()
    }

    async fn abort(&self) -> DrainReport {
        self.0.cut_off();
        self.0.report()
    }

    async fn ended(&self) -> ServerEnd {
        let mut inside = self.0.0.subscribe();
        let died = inside.wait_for(|s| s.died.is_some()).await;
        let reason = died.ok().and_then(|inside| inside.died.clone());
        match reason {
            Some(reason) => ServerEnd::because(reason),
            None => std::future::pending().await,
        }
    }

    fn stats(&self) -> ServerStats {
        let mut stats = ServerStats::default();
        stats.requests = self.0.0.borrow().in_flight;
        stats
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.cut_off();
    }
}
