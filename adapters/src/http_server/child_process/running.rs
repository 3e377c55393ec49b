//! A child at work: whether it is ready, whether it has ended, and what becomes of it when it is to end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use async_trait::async_trait;
use daymark_core::http_server::{
    DrainReport, RunningServer, ServeError, ServerEnd, ServerStats, Trouble as CoreTrouble,
};
use daymark_core::record::Endpoint;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::notify::NotifySocket;
use super::readiness::wait_until_ready;
use super::streams::Carrying;
use super::tree::Tree;
use super::trouble::{Problem, Trouble};
use super::wire::Ask;
use super::wish::Wish;
use super::{Shared, sockets};

/// A tree at work. Dropping it kills it.
pub(super) struct Running {
    shared: Arc<Shared>,
    tree: Tree,
    trouble: Trouble,
    ready: watch::Receiver<Option<Result<Endpoint, CoreTrouble>>>,
    search: JoinHandle<()>,
    carrying: tokio::sync::Mutex<Carrying>,
    was_asked: AtomicBool,
    /// How it ended, if by itself.
    fell: OnceLock<ServerEnd>,
    survivors: Mutex<Option<u64>>,
}

impl Running {
    /// Begins to look whether it is ready. `printed` is what it prints, `notify` where it may say so.
    pub(super) fn new(
        shared: Arc<Shared>,
        tree: Tree,
        wish: Wish,
        printed: Option<mpsc::Receiver<String>>,
        notify: Option<NotifySocket>,
        carrying: Carrying,
    ) -> Self {
        let trouble = Trouble::default();
        let (found, ready) = watch::channel(None);
        let (below, seen) = (sockets::Tree::Below(tree.guard()), trouble.clone());
        let warn = shared.config.warn.clone();
        let search = tokio::spawn(async move {
            let answer = wait_until_ready(&wish, below, printed, notify, &seen, &warn).await;
            found.send_replace(Some(
                answer.map_err(|error| CoreTrouble::with(error.to_string())),
            ));
        });
        Self {
            shared,
            tree,
            trouble,
            ready,
            search,
            carrying: tokio::sync::Mutex::new(carrying),
            was_asked: AtomicBool::new(false),
            fell: OnceLock::new(),
            survivors: Mutex::new(None),
        }
    }

    /// Waits until nothing is left of it that could be ended.
    async fn is_gone(&self) -> DrainReport {
        let survivors = self.tree.gone().await;
        self.search.abort();
        let mut carrying = self.carrying.lock().await;
        carrying.end().await;
        if let Some(end) = self.fell.get() {
            carrying.conclude(&end.reason).await;
        }
        *lock(&self.survivors) = Some(survivors);
        report(survivors)
    }

    async fn end(&self, how: Ask) -> DrainReport {
        self.was_asked.store(true, Ordering::Relaxed);
        if let Some(survivors) = *lock(&self.survivors) {
            return report(survivors);
        }
        self.tree.ask(how);
        self.is_gone().await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.search.abort();
    }
}

#[async_trait]
impl RunningServer for Running {
    async fn ready(&self) -> Result<Endpoint, ServeError> {
        let mut ready = self.ready.clone();
        let found = async {
            let found = ready.wait_for(Option::is_some).await;
            found.ok().and_then(|found| found.clone())
        };
        let exit = tokio::select! {
            biased;
            exit = self.tree.ended() => exit,
            found = found => match found {
                Some(found) => return found.map_err(ServeError::NotReady),
                // The search was called off, because it is gone.
                None => self.tree.ended().await,
            },
        };
        // What it said of it is told with it.
        self.carrying.lock().await.end().await;
        Err(ServeError::Ended(self.shared.explain(exit)))
    }

    fn trouble(&self) -> Option<CoreTrouble> {
        self.trouble.last().as_ref().map(in_words)
    }

    async fn drain(&self) -> DrainReport {
        let how = match (self.shared.config.interrupted)() {
            true => Ask::Interrupt,
            false => Ask::Terminate,
        };
        self.end(how).await
    }

    async fn abort(&self) -> DrainReport {
        self.end(Ask::Kill).await
    }

    async fn ended(&self) -> ServerEnd {
        let exit = self.tree.ended().await;
        if self.was_asked.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        self.fell.get_or_init(|| self.shared.explain(exit)).clone()
    }

    fn stats(&self) -> ServerStats {
        ServerStats::default()
    }
}

const fn report(survivors: u64) -> DrainReport {
    DrainReport {
        drained: 0,
        aborted: 0,
        survivors,
    }
}

fn in_words(problem: &Problem) -> CoreTrouble {
    CoreTrouble {
        problem: problem.to_string(),
        remedy: problem.hint().map(str::to_owned),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
