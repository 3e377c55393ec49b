//! That the model is worth something: for each flaw, a few steps that show it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use daymark_core::RestartPolicy;
use daymark_core::record::HeldBy;
use daymark_tests::failing::{Call, Wrong};
use daymark_tests::mutants::StoreFlaw;

use super::driver::{Driver, Flaw};
use super::reference::{Ask, Kind, Reference, Step, Wish};

const LONG: Option<Duration> = Some(Duration::from_secs(3));

/// Takes these steps with this flaw, as the property does.
fn play(flaw: Flaw, steps: &[Step]) {
    let mut reference = Reference::new(Kind {
        held_by: HeldBy::Owner,
        restarts: Some(RestartPolicy::Always),
        is_calm: false,
    });
    let mut driver = Driver::new(&reference, flaw);
    for step in steps {
        reference.take(step);
        driver.take(step, &reference);
        driver.check_always(&reference);
    }
    driver.end_well(&reference);
}

/// The flaw turns it red; without it, it is green.
fn assert_shown(flaw: Flaw, steps: &[Step]) {
    play(Flaw::None, steps);
    let played = catch_unwind(AssertUnwindSafe(|| play(flaw, steps)));
    assert!(played.is_err(), "{flaw:?} is not noticed");
}

fn start() -> [Step; 2] {
    [Step::Ask(Ask::Start), Step::Settle]
}

fn after_start(steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    start().into_iter().chain(steps).collect()
}

#[test]
fn a_future_that_owns_the_run_is_noticed() {
    let steps = after_start([
        Step::Begin(Wish::Stopping),
        Step::DropFuture(0),
        Step::Settle,
    ]);
    assert_shown(Flaw::FuturesOwnTheRun, &steps);
}

#[test]
fn a_dropped_stop_that_hurries_is_noticed() {
    let steps = after_start([
        Step::BeginRequest,
        Step::Begin(Wish::Stop(LONG)),
        Step::Settle,
        Step::DropFuture(0),
        Step::Settle,
    ]);
    assert_shown(Flaw::DroppedStopsHurry, &steps);
}

#[test]
fn reports_that_are_made_for_each_who_asks_are_noticed() {
    let stop = || Step::Begin(Wish::Stop(None));
    let steps = after_start([stop(), stop(), Step::Settle]);
    assert_shown(Flaw::ReportsAreMade, &steps);
}

#[test]
fn a_clock_that_stands_still_is_noticed() {
    let steps = after_start([
        Step::BeginRequest,
        Step::Ask(Ask::Stop(LONG)),
        Step::Settle,
        Step::Pass(40),
    ]);
    assert_shown(Flaw::TimeStandsStill, &steps);
}

#[test]
fn a_withdrawal_that_does_nothing_is_noticed() {
    let steps = after_start([Step::Ask(Ask::Stop(None)), Step::Settle]);
    assert_shown(Flaw::Store(StoreFlaw::WithdrawsNothing), &steps);
}

#[test]
fn a_release_that_gives_nothing_back_is_noticed() {
    let steps = after_start([Step::Ask(Ask::Stop(None)), Step::Settle]);
    assert_shown(Flaw::Store(StoreFlaw::ReleasesNothing), &steps);
}

#[test]
fn a_proof_that_outlives_a_hanging_disk_is_noticed() {
    let steps = after_start([
        Step::Arm(Call::Withdraw, Wrong::HangsBefore),
        Step::Ask(Ask::Stop(Some(Duration::ZERO))),
        Step::Pass(20),
    ]);
    assert_shown(Flaw::Store(StoreFlaw::DisownsNothing), &steps);
}

#[test]
fn a_server_that_falls_in_a_place_that_another_has_is_found_out_by_the_next_look() {
    // Found by chance: it is ready again for a moment, for it hears of the other only when it looks.
    let steps = after_start([Step::ServerDies, Step::TakeOver, Step::Pass(2)]);
    play(Flaw::None, &steps);
}

#[test]
fn a_second_owner_is_noticed() {
    // A look after that is due at the latest.
    let steps = after_start([Step::TakeOver, Step::Settle, Step::Pass(601)]);
    assert_shown(Flaw::Store(StoreFlaw::ReclaimsFromOthers), &steps);
}
