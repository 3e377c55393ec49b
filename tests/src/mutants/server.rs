//! A server that isn't one.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use daymark_core::http_server::{
    DrainReport, HttpServer, RunningServer, ServeError, ServerEnd, ServerStats,
};
use daymark_core::record::Endpoint;
use futures_util::FutureExt as _;

/// What is wrong with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerFlaw {
    /// Nothing.
    None,
    /// It is never ready.
    IsNeverReady,
    /// It doesn't start where it was prepared.
    StartsOnlyUnprepared,
    /// It says that it is ready when it has ended.
    IsReadyAfterItsEnd,
    /// It tells another address than its listener's.
    TellsAWrongAddress,
    /// A start that is dropped midway leaves a server behind.
    KeepsDroppedStarts,
    /// A server that has drained keeps its listener.
    KeepsItsListener,
    /// It takes no second server on the same listener.
    ServesOnlyOnce,
    /// A drain never ends.
    NeverDrains,
    /// A drain doesn't wait.
    DrainsAtOnce,
    /// A drain doesn't begin.
    AnswersWhileItDrains,
    /// A drain that nobody waits for doesn't begin.
    ForgetsDroppedDrains,
    /// An abort does nothing.
    AbortsNothing,
    /// An abort counts only what it cuts off itself.
    ForgetsWhatItDrained,
    /// An abort that follows a drain never ends.
    HangsBetweenDrainAndAbort,
    /// Each report is another one.
    ReportsAnew,
    /// Being asked to end counts as ending.
    EndsWhenAsked,
    /// A server that nobody waits for ends.
    EndsWithItsFutures,
    /// A server that is dropped goes on.
    SurvivesItsHandle,
    /// Requests aren't counted.
    CountsNothing,
}

/// Servers with a flaw. Clones share it.
#[derive(Clone)]
pub struct FlawedHttp<H> {
    http: H,
    flaw: ServerFlaw,
    prepared: Arc<AtomicBool>,
    kept: Arc<Mutex<Vec<Arc<dyn RunningServer>>>>,
}

impl<H> FlawedHttp<H> {
    /// `http`, with this flaw.
    pub fn new(http: H, flaw: ServerFlaw) -> Self {
        Self {
            http,
            flaw,
            prepared: Arc::default(),
            kept: Arc::default(),
        }
    }
}

#[async_trait]
impl<H: HttpServer> HttpServer for FlawedHttp<H> {
    type Listener = H::Listener;

    fn prepare(&self) {
        self.prepared.store(true, Ordering::SeqCst);
        self.http.prepare();
    }

    async fn start(
        &self,
        listener: Arc<H::Listener>,
    ) -> Result<Arc<dyn RunningServer>, ServeError> {
        let kept_listener = (self.flaw == ServerFlaw::KeepsItsListener).then(|| listener.clone());
        std::mem::forget(kept_listener);
        if self.flaw == ServerFlaw::StartsOnlyUnprepared && self.prepared.load(Ordering::SeqCst) {
            return Err(ServeError::Start {
                what: "once prepared".to_owned(),
                source: Arc::new(std::io::ErrorKind::Other.into()),
            });
        }
        let server = self.http.start(listener).await?;
        let is_first = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let is_first = kept.is_empty();
            if matches!(
                self.flaw,
                ServerFlaw::SurvivesItsHandle
                    | ServerFlaw::KeepsDroppedStarts
                    | ServerFlaw::ServesOnlyOnce
            ) {
                kept.push(server.clone());
            }
            is_first
        };
        match self.flaw {
            ServerFlaw::KeepsDroppedStarts => {
                tokio::task::yield_now().await;
                let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.pop();
            }
            ServerFlaw::ServesOnlyOnce if !is_first => {
                server.abort().await;
            }
            _ => {}
        }
        Ok(Arc::new(FlawedServer {
            server,
            flaw: self.flaw,
            reports: AtomicU64::new(0),
            has_drained: AtomicBool::new(false),
        }))
    }
}

struct FlawedServer {
    server: Arc<dyn RunningServer>,
    flaw: ServerFlaw,
    reports: AtomicU64,
    has_drained: AtomicBool,
}

impl FlawedServer {
    fn asked(&self) -> u64 {
        self.reports.fetch_add(1, Ordering::SeqCst)
    }

    fn tell(&self, report: DrainReport) -> DrainReport {
        let times = self.asked();
        match self.flaw {
            ServerFlaw::ReportsAnew => DrainReport {
                drained: report.drained + times,
                ..report
            },
            _ => report,
        }
    }
}

/// Ends a server when a future is dropped.
struct Ends(Arc<dyn RunningServer>);

impl Drop for Ends {
    fn drop(&mut self) {
        let aborted = self.0.abort().now_or_never();
        assert!(aborted.is_some(), "memory doesn't wait");
    }
}

#[async_trait]
impl RunningServer for FlawedServer {
    async fn ready(&self) -> Result<Endpoint, ServeError> {
        let ready = self.server.ready().await;
        match (self.flaw, ready) {
            (ServerFlaw::IsNeverReady, _) => std::future::pending().await,
            (ServerFlaw::IsReadyAfterItsEnd, Err(_)) => Ok(Endpoint::v4(std::num::NonZeroU16::MAX)),
            (ServerFlaw::TellsAWrongAddress, Ok(_)) => Ok(Endpoint::v4(std::num::NonZeroU16::MAX)),
            (_, ready) => ready,
        }
    }

    async fn drain(&self) -> DrainReport {
        self.has_drained.store(true, Ordering::SeqCst);
        match self.flaw {
            ServerFlaw::NeverDrains => {
                self.server.drain().await;
                std::future::pending().await
            }
            ServerFlaw::DrainsAtOnce => {
                let mut drain = self.server.drain();
                let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                // However far it gets.
                let _ = drain.as_mut().poll(&mut context);
                DrainReport::default()
            }
            ServerFlaw::AnswersWhileItDrains => DrainReport::default(),
            ServerFlaw::ForgetsDroppedDrains => {
                tokio::task::yield_now().await;
                self.tell(self.server.drain().await)
            }
            _ => {
                let report = self.server.drain().await;
                self.tell(report)
            }
        }
    }

    async fn abort(&self) -> DrainReport {
        if self.flaw == ServerFlaw::AbortsNothing {
            return DrainReport::default();
        }
        let hangs = self.flaw == ServerFlaw::HangsBetweenDrainAndAbort;
        if hangs && self.has_drained.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let report = self.server.abort().await;
        match self.flaw {
            ServerFlaw::ForgetsWhatItDrained => DrainReport {
                drained: 0,
                ..report
            },
            _ => self.tell(report),
        }
    }

    async fn ended(&self) -> ServerEnd {
        if self.flaw == ServerFlaw::EndsWhenAsked && self.reports.load(Ordering::SeqCst) > 0 {
            return ServerEnd::because("it was asked to");
        }
        let _ends =
            (self.flaw == ServerFlaw::EndsWithItsFutures).then(|| Ends(self.server.clone()));
        self.server.ended().await
    }

    fn stats(&self) -> ServerStats {
        match self.flaw {
            ServerFlaw::CountsNothing => ServerStats::default(),
            _ => self.server.stats(),
        }
    }
}
