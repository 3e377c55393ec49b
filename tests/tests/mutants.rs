//! Every law of the contract suites turns red where it is broken: each mutant is tried by the very law that it breaks.
//!
//! They live in memory, and time is paused: what would be waited for in vain costs none.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use async_trait::async_trait;
use daymark_adapters::http_server::MemoryHttp;
use daymark_adapters::port_picker::MemoryListener;
use daymark_adapters::state_store::MemoryStore;
use daymark_core::state_store::StateStore;
use daymark_tests::contract::http_server::{CountingBench, HttpBench};
use daymark_tests::contract::memory_http::InMemory;
use daymark_tests::contract::state_store::StoreBench;
use daymark_tests::contract::{clock, http_server, port_picker, state_store};
use daymark_tests::mutants::{
    ClockFlaw, FlawedHttp, FlawedManualClock, FlawedPorts, FlawedStore, PortFlaw, ServerFlaw,
    StoreFlaw,
};
use daymark_tests::{
    with_laws_of_clocks, with_laws_of_counting_servers, with_laws_of_every_port_picker,
    with_laws_of_every_server, with_laws_of_stores,
};

/// Whether a law holds.
fn holds(law: impl Future<Output = ()>) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    catch_unwind(AssertUnwindSafe(|| runtime.block_on(law))).is_ok()
}

/// Makes a test of each law of a suite: without a flaw it holds, with each of these it doesn't.
macro_rules! caught {
    ($suite:ident, $keep:path, $bench:path, $flaws:ident, [$($law:ident: $($flaw:ident),+;)+]) => {
        mod $suite {
            use super::*;

            /// Those of the table below.
            pub(super) const BROKEN: &[&str] = &[$(stringify!($law)),+];

            async fn try_law(law: &str, flaw: $flaws) {
                let bench = $bench(flaw).await;
                $keep(&bench, law).await;
            }
            $(
                #[test]
                fn $law() {
                    let law = stringify!($law);
                    assert!(holds(try_law(law, $flaws::None)), "broken by nothing");
                    for flaw in [$($flaws::$flaw),+] {
                        assert!(!holds(try_law(law, flaw)), "{flaw:?} breaks it unnoticed");
                    }
                }
            )+
        }
    };
}

/// Keeps the names of a list of laws.
macro_rules! names {
    ($names:ident, [$($law:ident),+ $(,)?]) => {
        const $names: &[&str] = &[$(stringify!($law)),+];
    };
}

with_laws_of_clocks!(names, OF_CLOCKS);
with_laws_of_every_port_picker!(names, OF_PORT_PICKERS);
with_laws_of_every_server!(names, OF_SERVERS);
with_laws_of_counting_servers!(names, OF_COUNTING_SERVERS);
with_laws_of_stores!(names, OF_STORES);

#[test]
fn there_is_a_mutant_for_every_law() {
    for (laws, broken) in [
        (OF_CLOCKS, clocks::BROKEN),
        (OF_PORT_PICKERS, ports::BROKEN),
        (OF_SERVERS, servers::BROKEN),
        (OF_COUNTING_SERVERS, counting_servers::BROKEN),
        (OF_STORES, stores::BROKEN),
    ] {
        for law in laws {
            assert!(broken.contains(law), "nothing breaks {law}");
        }
    }
}

async fn flawed_clock(flaw: ClockFlaw) -> FlawedManualClock {
    FlawedManualClock::new(flaw)
}

async fn flawed_ports(flaw: PortFlaw) -> FlawedPorts {
    FlawedPorts::new(flaw)
}

/// Servers in memory, started with a flaw.
struct FlawedServers {
    servers: InMemory,
    http: FlawedHttp<MemoryHttp>,
}

async fn flawed_servers(flaw: ServerFlaw) -> FlawedServers {
    let servers = InMemory::new().await;
    let http = FlawedHttp::new(servers.http(), flaw);
    FlawedServers { servers, http }
}

#[async_trait]
impl HttpBench for FlawedServers {
    type Http = FlawedHttp<MemoryHttp>;

    fn http(&self) -> Self::Http {
        self.http.clone()
    }

    fn listener(&self) -> Arc<MemoryListener> {
        self.servers.listener()
    }

    async fn is_answered(&self) -> bool {
        self.servers.is_answered().await
    }
}

#[async_trait]
impl CountingBench for FlawedServers {
    async fn begin_request(&self) -> bool {
        self.servers.begin_request().await
    }

    async fn finish_request(&self) {
        self.servers.finish_request().await;
    }

    async fn see_cut_off(&self) {
        self.servers.see_cut_off().await;
    }
}

/// A place in memory, and a flawed way into it.
struct FlawedPlace {
    place: MemoryStore,
    store: FlawedStore<MemoryStore>,
}

async fn flawed_store(flaw: StoreFlaw) -> FlawedPlace {
    let place = MemoryStore::default();
    let store = FlawedStore::new(place.clone(), flaw);
    FlawedPlace { place, store }
}

impl StoreBench for FlawedPlace {
    fn store(&self) -> Box<dyn StateStore> {
        Box::new(self.store.clone())
    }

    fn lose_record(&self) {
        self.place.lose_record();
    }

    fn lose_ownership(&self) {
        self.place.lose_ownership();
    }
}

caught!(clocks, clock::keep, flawed_clock, ClockFlaw, [
    monotonic_time_never_goes_back: GoesBack;
    wall_time_passes: WallStandsStill;
    a_sleep_ends_at_its_moment_and_not_before: WakesEarly, NeverWakes;
    a_sleep_until_later_waits: WakesEarly;
    a_sleep_until_a_moment_that_has_passed_ends_at_once: MissesThePast;
    a_sleep_until_the_end_of_time_waits: EndsTime;
    a_sleep_that_is_dropped_disturbs_no_other: WakesNobodyAfterADrop;
]);

caught!(ports, port_picker::keep, flawed_ports, PortFlaw, [
    what_is_picked_is_listening_already: DoesNotListen, BindsAndCloses;
    no_two_listeners_share_a_port: SharesAPort;
    a_listener_that_is_dropped_frees_its_port: LeaksListeners;
    an_exact_port_that_is_taken_is_refused_by_name: IgnoresWhoHasIt, MovesFromAnExactPort;
    a_preferred_port_is_taken_if_it_is_free: NeverGivesWhatIsPreferred;
    a_preferred_port_that_is_taken_gives_another_and_says_so: MovesInSilence, RefusesToMove;
    a_pick_that_is_dropped_leaves_nothing_bound: LeaksDroppedPicks;
    a_listener_tells_the_same_for_as_long_as_it_lives: TellsAWrongPort, BindsAndCloses;
]);

caught!(servers, http_server::keep, flawed_servers, ServerFlaw, [
    a_server_that_serves_is_ready: IsNeverReady;
    a_server_that_was_prepared_is_ready: StartsOnlyUnprepared;
    a_server_is_ready_at_its_listener_s_address: TellsAWrongAddress;
    a_start_that_is_dropped_leaves_nobody_who_answers: KeepsDroppedStarts;
    a_drain_lets_go_of_the_listener: KeepsItsListener;
    a_server_that_has_ended_is_not_ready: IsReadyAfterItsEnd;
    the_next_server_takes_over_the_same_listener: ServesOnlyOnce;
    a_drain_accepts_nobody_any_more: AnswersWhileItDrains;
    an_abort_leaves_nobody_who_answers: AbortsNothing;
    an_abort_may_follow_a_drain: HangsBetweenDrainAndAbort;
    a_server_that_has_ended_is_asked_in_vain: ReportsAnew;
    a_server_that_was_asked_to_end_has_not_ended_by_itself: EndsWhenAsked;
    a_server_goes_on_when_nobody_waits_for_it: EndsWithItsFutures;
    a_server_that_is_dropped_answers_nobody: SurvivesItsHandle;
]);

caught!(counting_servers, http_server::keep_counting, flawed_servers, ServerFlaw, [
    a_drain_of_an_idle_server_is_over_at_once: NeverDrains;
    a_drain_waits_for_all_requests: DrainsAtOnce;
    an_abort_cuts_off_all_requests: AbortsNothing;
    an_abort_counts_since_the_drain_began: ForgetsWhatItDrained, ForgetsDroppedDrains;
    every_drain_and_abort_gives_the_same_report: ReportsAnew;
    a_server_that_is_dropped_is_aborted: SurvivesItsHandle;
    requests_in_flight_are_counted: CountsNothing;
]);

caught!(stores, state_store::keep, flawed_store, StoreFlaw, [
    there_is_one_lease_at_a_time: GivesTwoLeases, ReleasesNothing;
    a_live_owner_is_named: NamesNobody;
    what_is_published_is_seen: ShowsNothing;
    looking_changes_nothing: LookingTidiesUp;
    a_record_is_replaced_in_one_step: PublishesInTwoSteps;
    a_withdrawal_is_final: WithdrawsOnlyOnce, PublishesAfterTheEnd, WithdrawsNothing;
    a_withdrawal_that_is_dropped_happens_all_the_same: ForgetsDroppedWithdrawals;
    a_retracted_record_is_gone_until_it_is_published_again: RetractsForGood;
    a_retracted_record_is_never_seen_without_its_proof: RetractsInTwoSteps;
    a_disowned_record_is_not_believed: DisownsNothing;
    a_lease_that_is_dropped_leaves_nothing: KeepsDroppedLeases;
    a_successor_s_record_is_left_alone: WithdrawsOthersRecords;
    what_a_dead_owner_left_is_cleared: RecoversNothing;
    a_live_record_is_never_cleared: RecoversTheLiving;
    a_loss_is_noticed: NoticesNothing;
    a_lost_record_is_published_again: PublishesOnlyOnce;
    a_lost_ownership_is_taken_again: ReclaimsNothing;
    an_ownership_that_a_successor_has_is_not_taken_again: ReclaimsFromOthers;
    an_acquisition_that_is_dropped_is_given_back: KeepsDroppedAcquisitions;
    a_publication_that_is_dropped_is_withdrawn_all_the_same: LetsDroppedPublicationsHappen;
]);
