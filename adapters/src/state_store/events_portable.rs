//! Changes of a directory by the system's own means (FSEvents, ReadDirectoryChangesW), told by a thread.

use std::io;
use std::path::Path;
use std::sync::Arc;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

/// What happens in one directory.
#[derive(Debug)]
pub(super) struct Events {
    _watcher: RecommendedWatcher,
    woken: Arc<Notify>,
}

impl Events {
    pub(super) fn of(dir: &Path) -> io::Result<Self> {
        let woken = Arc::new(Notify::new());
        let waker = woken.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // That somebody reads is no change, and readers would wake themselves.
            if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
                waker.notify_one();
            }
        })
        .map_err(io::Error::other)?;
        watcher
            .watch(dir, RecursiveMode::NonRecursive)
            .map_err(io::Error::other)?;
        Ok(Self {
            _watcher: watcher,
            woken,
        })
    }

    /// Whether they go on.
    #[expect(clippy::unused_self, reason = "elsewhere they may end")]
    pub(super) const fn go_on(&self) -> bool {
        true
    }

    /// Waits for the next.
    pub(super) async fn next(&self) {
        self.woken.notified().await;
    }
}
