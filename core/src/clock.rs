//! Time, passed in. Nothing else in this crate reads a clock, so tests run on one they move by hand.

use std::time::Duration;

use async_trait::async_trait;

/// A point in wall-clock time: microseconds since 1970-01-01T00:00:00Z, leap seconds ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    micros: i64,
}

impl Timestamp {
    /// The timestamp that many microseconds after the Unix epoch.
    #[must_use]
    pub const fn from_unix_micros(micros: i64) -> Self {
        Self { micros }
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub const fn unix_micros(self) -> i64 {
        self.micros
    }

    /// The time since `earlier`; zero when the wall clock was set back meanwhile.
    #[must_use]
    pub fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(
            u64::try_from(self.micros.saturating_sub(earlier.micros)).unwrap_or(0),
        )
    }
}

/// A point in monotonic time, counted from an origin that each clock chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub Duration);

impl std::ops::Add<Duration> for Moment {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }
}

/// Wall time for records, monotonic time for deadlines.
///
/// # Laws
///
/// - [`monotonic`](Clock::monotonic) never goes back.
/// - [`sleep_until`](Clock::sleep_until) ends at or after its moment, never before; a moment that has passed ends it at
///   once. Dropping the future midway has no effect.
/// - Wall time may jump either way; nothing is decided by it.
#[async_trait]
pub trait Clock: Send + Sync + 'static {
    /// The wall clock's reading.
    fn now(&self) -> Timestamp;

    /// The monotonic clock's reading.
    fn monotonic(&self) -> Moment;

    /// Waits until the monotonic clock has reached `deadline`.
    async fn sleep_until(&self, deadline: Moment);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_keeps_its_microseconds_and_counts_none_backwards() {
        let (earlier, later) = (
            Timestamp::from_unix_micros(7),
            Timestamp::from_unix_micros(12),
        );
        assert_eq!(later.unix_micros(), 12);
        assert_eq!(later.saturating_since(earlier), Duration::from_micros(5));
        assert_eq!(earlier.saturating_since(later), Duration::ZERO);
    }

    #[test]
    fn a_moment_may_be_the_end_of_time_and_no_later() {
        let last = Moment(Duration::MAX);
        assert_eq!(
            Moment(Duration::from_secs(1)) + Duration::from_secs(2),
            Moment(Duration::from_secs(3))
        );
        assert_eq!(last + Duration::from_secs(1), last);
    }
}
