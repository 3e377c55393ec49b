//! A clock that stands still until somebody moves it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use daymark_core::clock::{Clock, Moment, Timestamp};
use tokio::sync::watch;

/// A clock for tests. Clones show the same time.
#[derive(Clone, Debug)]
pub struct ManualClock {
    elapsed: Arc<watch::Sender<Duration>>,
    origin: Timestamp,
}

impl ManualClock {
    /// A clock that shows `origin`, at moment zero.
    #[must_use]
    pub fn at(origin: Timestamp) -> Self {
        Self {
            elapsed: Arc::new(watch::Sender::new(Duration::ZERO)),
            origin,
        }
    }

    /// Moves it forward, and wakes who waited for that.
    pub fn advance(&self, span: Duration) {
        self.elapsed
            .send_modify(|elapsed| *elapsed = elapsed.saturating_add(span));
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        let micros = i64::try_from(self.elapsed.borrow().as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_unix_micros(self.origin.unix_micros().saturating_add(micros))
    }

    fn monotonic(&self) -> Moment {
        Moment(*self.elapsed.borrow())
    }

    async fn sleep_until(&self, deadline: Moment) {
        // The sender lives in `self`, so the wait can't fail.
        let _ = self
            .elapsed
            .subscribe()
            .wait_for(|elapsed| *elapsed >= deadline.0)
            .await;
    }
}
