//! Servers in memory under the laws of servers.

use std::sync::Arc;

use async_trait::async_trait;
use daymark_adapters::http_server::MemoryHttp;
use daymark_adapters::port_picker::{MemoryListener, MemoryPorts};
use daymark_core::port_picker::{PortPicker as _, PortPreference};

use super::http_server::{CountingBench, HttpBench};

/// A server in memory.
#[derive(Debug)]
pub struct InMemory {
    http: MemoryHttp,
    listener: Arc<MemoryListener>,
}

impl InMemory {
    /// With a port of its own.
    pub async fn new() -> Self {
        let picked = MemoryPorts::default().pick(PortPreference::Any).await;
        Self {
            http: MemoryHttp::default(),
            listener: Arc::new(picked.expect("a port").listener),
        }
    }
}

#[async_trait]
impl HttpBench for InMemory {
    type Http = MemoryHttp;

    fn http(&self) -> MemoryHttp {
        self.http.clone()
    }

    fn listener(&self) -> Arc<MemoryListener> {
        self.listener.clone()
    }

    async fn is_answered(&self) -> bool {
        self.begin_request().await && self.http.last().is_some_and(|s| s.finish_request())
    }
}

#[async_trait]
impl CountingBench for InMemory {
    async fn begin_request(&self) -> bool {
        self.http.last().expect("a server").begin_request()
    }

    async fn finish_request(&self) {
        assert!(self.http.last().expect("a server").finish_request());
    }

    async fn see_cut_off(&self) {
        assert!(!self.http.last().expect("a server").finish_request());
    }
}
