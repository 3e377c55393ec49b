//! The machine's clocks.

use std::sync::LazyLock;
use std::time::Instant;

use async_trait::async_trait;
use chrono::Utc;
use daymark_core::clock::{Clock, Moment, Timestamp};

static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The system's wall clock and monotonic clock. Sleeping needs a tokio runtime with time enabled.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_micros(Utc::now().timestamp_micros())
    }

    fn monotonic(&self) -> Moment {
        Moment(ORIGIN.elapsed())
    }

    async fn sleep_until(&self, deadline: Moment) {
        match ORIGIN.checked_add(deadline.0) {
            Some(instant) => tokio::time::sleep_until(instant.into()).await,
            None => std::future::pending().await,
        }
    }
}
