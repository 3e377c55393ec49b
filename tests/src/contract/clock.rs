//! The laws of [`Clock`].

use std::time::Duration;

use async_trait::async_trait;
use daymark_adapters::clock::{ManualClock, SystemClock};
use daymark_core::clock::{Clock, Moment};

use super::{begin_and_drop, in_time, is_done_at_once};
use crate::sample;

/// A clock, and a way for its time to pass.
#[async_trait]
pub trait ClockBench: Send + Sync {
    /// The clock.
    fn clock(&self) -> &dyn Clock;

    /// Lets at least so much time pass.
    async fn pass(&self, span: Duration);
}

/// The machine's clocks, whose time passes by itself.
#[derive(Debug, Default)]
pub struct System(SystemClock);

#[async_trait]
impl ClockBench for System {
    fn clock(&self) -> &dyn Clock {
        &self.0
    }

    async fn pass(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}

/// A clock that is moved.
#[derive(Debug)]
pub struct Manual(ManualClock);

impl Default for Manual {
    fn default() -> Self {
        Self(ManualClock::at(sample::NOW))
    }
}

#[async_trait]
impl ClockBench for Manual {
    fn clock(&self) -> &dyn Clock {
        &self.0
    }

    async fn pass(&self, span: Duration) {
        self.0.advance(span);
    }
}

const SPAN: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(3_600);

/// [`Clock::monotonic`] never goes back.
pub async fn monotonic_time_never_goes_back(bench: &impl ClockBench) {
    let mut last = bench.clock().monotonic();
    for _ in 0..1_000 {
        let now = bench.clock().monotonic();
        assert!(now >= last, "{now:?} after {last:?}");
        last = now;
    }
    bench.pass(SPAN).await;
    assert!(bench.clock().monotonic() >= last + SPAN);
}

/// Time passes on both faces of the clock.
pub async fn wall_time_passes(bench: &impl ClockBench) {
    let before = bench.clock().now();
    bench.pass(SPAN).await;
    assert!(bench.clock().now() > before);
}

/// [`Clock::sleep_until`] ends at or after its moment, never before.
pub async fn a_sleep_ends_at_its_moment_and_not_before(bench: &impl ClockBench) {
    let moment = bench.clock().monotonic() + SPAN;
    let sleep = async {
        bench.clock().sleep_until(moment).await;
        assert!(bench.clock().monotonic() >= moment, "too early");
    };
    let passing = async {
        for _ in 0..4 {
            bench.pass(SPAN / 2).await;
            tokio::task::yield_now().await;
        }
    };
    in_time("a sleep ends", async { tokio::join!(sleep, passing) }).await;
}

/// A moment that is far ahead isn't there yet.
pub async fn a_sleep_until_later_waits(bench: &impl ClockBench) {
    let later = bench.clock().monotonic() + LONG;
    assert!(!is_done_at_once(bench.clock().sleep_until(later)));
}

/// A moment that has passed ends a sleep at once.
pub async fn a_sleep_until_a_moment_that_has_passed_ends_at_once(bench: &impl ClockBench) {
    bench.pass(SPAN).await;
    let now = bench.clock().monotonic();
    in_time("now", bench.clock().sleep_until(now)).await;
    in_time(
        "the origin",
        bench.clock().sleep_until(Moment(Duration::ZERO)),
    )
    .await;
}

/// A moment that never comes is waited for without harm.
pub async fn a_sleep_until_the_end_of_time_waits(bench: &impl ClockBench) {
    let never = Moment(Duration::MAX);
    assert!(!is_done_at_once(bench.clock().sleep_until(never)));
}

/// Dropping a sleep has no effect on others.
pub async fn a_sleep_that_is_dropped_disturbs_no_other(bench: &impl ClockBench) {
    let moment = bench.clock().monotonic() + SPAN;
    let other = bench.clock().sleep_until(moment);
    begin_and_drop(bench.clock().sleep_until(moment));
    let passing = bench.pass(SPAN * 2);
    in_time("the other", async { tokio::join!(other, passing) }).await;
}

/// Tries the law of that name.
///
/// # Panics
///
/// If it is broken, or there is no such law.
pub async fn keep(bench: &impl ClockBench, law: &str) {
    crate::with_laws_of_clocks!(crate::law_named, law, bench);
}

/// Calls a macro with the laws of clocks.
#[macro_export]
macro_rules! with_laws_of_clocks {
    ($macro:path, $($before:tt)*) => {
        $macro!($($before)*, [
            monotonic_time_never_goes_back,
            wall_time_passes,
            a_sleep_ends_at_its_moment_and_not_before,
            a_sleep_until_later_waits,
            a_sleep_until_a_moment_that_has_passed_ends_at_once,
            a_sleep_until_the_end_of_time_waits,
            a_sleep_that_is_dropped_disturbs_no_other,
        ]);
    };
}

/// Tests of all laws of clocks.
#[macro_export]
macro_rules! clock_laws {
    ($adapter:ident, $bench:expr) => {
        $crate::with_laws_of_clocks!($crate::each_law, $adapter, $bench, $crate::contract::clock);
    };
}
