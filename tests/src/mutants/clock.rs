//! A clock that isn't one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use daymark_adapters::clock::ManualClock;
use daymark_core::clock::{Clock, Moment, Timestamp};

use crate::contract::clock::ClockBench;
use crate::sample;

/// What is wrong with a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockFlaw {
    /// Nothing.
    None,
    /// Each reading of monotonic time is earlier than the last.
    GoesBack,
    /// Wall time stands still.
    WallStandsStill,
    /// Sleeps end before their moment.
    WakesEarly,
    /// Sleeps never end.
    NeverWakes,
    /// Sleeps until a moment that has passed wait for the next one.
    MissesThePast,
    /// Sleeps until the end of time end.
    EndsTime,
    /// When a sleep is dropped, nobody else is woken.
    WakesNobodyAfterADrop,
}

/// A clock with a flaw.
#[derive(Debug)]
pub struct FlawedClock<C> {
    clock: C,
    flaw: ClockFlaw,
    readings: AtomicU64,
    is_silent: Arc<AtomicBool>,
}

/// Silences a clock when it is dropped.
struct Silences(Arc<AtomicBool>);

impl Drop for Silences {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl<C> FlawedClock<C> {
    /// `clock`, with this flaw.
    pub fn new(clock: C, flaw: ClockFlaw) -> Self {
        Self {
            clock,
            flaw,
            readings: AtomicU64::new(0),
            is_silent: Arc::default(),
        }
    }
}

/// A good deal longer than a suite's clocks have been running.
const AGO: Duration = Duration::from_secs(1_000_000);

#[async_trait]
impl<C: Clock> Clock for FlawedClock<C> {
    fn now(&self) -> Timestamp {
        match self.flaw {
            ClockFlaw::WallStandsStill => Timestamp::from_unix_micros(0),
            _ => self.clock.now(),
        }
    }

    fn monotonic(&self) -> Moment {
        let moment = self.clock.monotonic();
        if self.flaw != ClockFlaw::GoesBack {
            return moment;
        }
        let readings = self.readings.fetch_add(1, Ordering::SeqCst);
        let back = AGO.saturating_sub(Duration::from_nanos(readings));
        Moment(moment.0.saturating_add(back))
    }

    async fn sleep_until(&self, deadline: Moment) {
        let has_passed = deadline <= self.clock.monotonic();
        match self.flaw {
            ClockFlaw::WakesEarly => {}
            ClockFlaw::NeverWakes => std::future::pending().await,
            ClockFlaw::MissesThePast if has_passed => std::future::pending().await,
            ClockFlaw::EndsTime if deadline.0 == Duration::MAX => {}
            ClockFlaw::WakesNobodyAfterADrop => {
                if self.is_silent.load(Ordering::SeqCst) {
                    std::future::pending::<()>().await;
                }
                let _silences = Silences(self.is_silent.clone());
                self.clock.sleep_until(deadline).await;
            }
            _ => self.clock.sleep_until(deadline).await,
        }
    }
}

/// A clock that is moved by hand, read with a flaw.
#[derive(Debug)]
pub struct FlawedManualClock {
    hands: ManualClock,
    face: FlawedClock<ManualClock>,
}

impl FlawedManualClock {
    /// A clock with this flaw.
    #[must_use]
    pub fn new(flaw: ClockFlaw) -> Self {
        let hands = ManualClock::at(sample::NOW);
        let face = FlawedClock::new(hands.clone(), flaw);
        Self { hands, face }
    }
}

#[async_trait]
impl ClockBench for FlawedManualClock {
    fn clock(&self) -> &dyn Clock {
        &self.face
    }

    async fn pass(&self, span: Duration) {
        self.hands.advance(span);
    }
}
