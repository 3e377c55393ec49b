//! The protocol in every interleaving: nothing goes wrong while its rules are kept, and something does without any of them.
//!
//! `DAYMARK_TEST_FULL=1` explores more starts and faults at a time, and wants `--release`. `DAYMARK_TEST_TRACES=1` prints how
//! each broken rule leads to what it leads to (with `-- --nocapture`).
//!
//! Longer than others: each rule that is broken is a test.

use daymark_tests::protocol::scenario::{Kind, Left};
use daymark_tests::protocol::{Rule, Scenario, Violation, explore};
use daymark_tests::scale::rounds;

use Kind::{Prunes, Runs, Serves};

/// So many by default, and in full.
fn few(sample: u8, full: u8) -> u8 {
    let rounds = rounds(usize::from(sample), usize::from(full));
    u8::try_from(rounds).expect("it is one of the two")
}

fn of(name: &'static str, starters: &'static [Kind], left: Left) -> Scenario {
    Scenario {
        name,
        starters,
        reader: false,
        stopper: false,
        is_elsewhere: false,
        strangers_are_foreign: false,
        left,
        broken: None,
    }
}

fn starts_and_stops() -> Scenario {
    let left = Left {
        starts: few(2, 3),
        stops: 1,
        kills: 1,
        ..Left::default()
    };
    of("two starters, stopped and killed", &[Serves, Serves], left)
}

fn three_starters() -> Scenario {
    let left = Left {
        starts: 3,
        stops: few(0, 1),
        ..Left::default()
    };
    of("three starters", &[Serves, Serves, Serves], left)
}

fn starts_after_stops() -> Scenario {
    let left = Left {
        starts: 3,
        stops: few(1, 2),
        ..Left::default()
    };
    of(
        "two starters, stopped and started again",
        &[Serves, Serves],
        left,
    )
}

fn connects() -> Scenario {
    let left = Left {
        starts: 2,
        stops: 1,
        kills: 1,
        hijacks: 1,
        bystanders: few(0, 1),
        ..Left::default()
    };
    let starters: &[Kind] = if few(0, 1) == 0 {
        &[Serves]
    } else {
        &[Serves, Serves]
    };
    Scenario {
        reader: true,
        ..of("a reader, and who takes freed ports", starters, left)
    }
}

fn recycled_pids() -> Scenario {
    let left = Left {
        starts: 2,
        kills: 1,
        bystanders: 1,
        ..Left::default()
    };
    Scenario {
        reader: true,
        ..of("a reader, and who gets freed pids", &[Serves], left)
    }
}

fn shared_sockets() -> Scenario {
    let left = Left {
        starts: few(1, 2),
        stops: 1,
        kills: 1,
        hijacks: 1,
        shutdowns: 1,
        ..Left::default()
    };
    Scenario {
        reader: true,
        strangers_are_foreign: true,
        ..of(
            "a reader, and a socket that a child shuts down",
            &[Serves],
            left,
        )
    }
}

fn stops_from_outside() -> Scenario {
    let left = Left {
        starts: 2,
        kills: 1,
        bystanders: 1,
        ..Left::default()
    };
    let starters: &[Kind] = if few(0, 1) == 0 {
        &[Serves]
    } else {
        &[Serves, Serves]
    };
    Scenario {
        stopper: true,
        ..of(
            "a stop from outside, and who gets freed pids",
            starters,
            left,
        )
    }
}

fn stops_into_another_namespace() -> Scenario {
    let left = Left {
        starts: 2,
        kills: 1,
        ..Left::default()
    };
    Scenario {
        stopper: true,
        is_elsewhere: true,
        ..of("a stop of who is in another pid namespace", &[Serves], left)
    }
}

fn prunes() -> Scenario {
    let left = Left {
        starts: few(2, 3),
        kills: 1,
        ..Left::default()
    };
    let starters: &[Kind] = if few(0, 1) == 0 {
        &[Serves, Prunes]
    } else {
        &[Serves, Serves, Prunes]
    };
    of("a pruner", starters, left)
}

fn careless_hands() -> Scenario {
    let left = Left {
        starts: 2,
        stops: few(0, 1),
        removals: 1,
        ..Left::default()
    };
    of("two starters, and careless hands", &[Serves, Serves], left)
}

fn careless_hands_before_a_reader() -> Scenario {
    let left = Left {
        starts: few(1, 2),
        stops: few(1, 0),
        removals: 1,
        ..Left::default()
    };
    let starters: &[Kind] = if few(0, 1) == 0 {
        &[Serves]
    } else {
        &[Serves, Serves]
    };
    Scenario {
        reader: true,
        ..of("a reader, and careless hands", starters, left)
    }
}

fn failing_disks() -> Scenario {
    let left = Left {
        starts: 2,
        stops: 1,
        disk_errors: few(1, 2),
        ..Left::default()
    };
    of(
        "two starters, and a disk that fails and hangs",
        &[Serves, Serves],
        left,
    )
}

fn forks() -> Scenario {
    let left = Left {
        starts: 2,
        stops: 1,
        kills: few(0, 1),
        forks: 1,
        disk_errors: few(0, 1),
        ..Left::default()
    };
    of("two starters that fork", &[Serves, Serves], left)
}

fn held_ports() -> Scenario {
    let left = Left {
        starts: 2,
        stops: 1,
        kills: 1,
        hijacks: 1,
        ..Left::default()
    };
    of("a held port, and who takes it", &[Runs], left)
}

fn deaths_of_all() -> Scenario {
    let left = Left {
        starts: 2,
        stops: 1,
        massacres: 1,
        disk_errors: few(0, 1),
        ..Left::default()
    };
    of(
        "two starters, and the death of all",
        &[Serves, Serves],
        left,
    )
}

fn power_cuts() -> Scenario {
    let left = Left {
        starts: 2,
        stops: 1,
        kills: few(0, 1),
        power_cuts: 1,
        ..Left::default()
    };
    Scenario {
        reader: true,
        ..of("a reader, and power cuts", &[Serves], left)
    }
}

#[test]
fn nothing_goes_wrong_in_any_order() {
    let (mut states, mut steps) = (0, 0);
    for scenario in [
        starts_and_stops(),
        starts_after_stops(),
        three_starters(),
        connects(),
        recycled_pids(),
        shared_sockets(),
        stops_from_outside(),
        stops_into_another_namespace(),
        prunes(),
        careless_hands(),
        careless_hands_before_a_reader(),
        failing_disks(),
        forks(),
        held_ports(),
        deaths_of_all(),
        power_cuts(),
    ] {
        let explored = explore(&scenario);
        let name = scenario.name;
        eprintln!(
            "{:>9} states, {:>9} steps: {name}",
            explored.states, explored.steps
        );
        if let Some(counterexample) = explored.counterexample {
            panic!("{name}: {counterexample}");
        }
        states += explored.states;
        steps += explored.steps;
    }
    eprintln!("{states:>9} states, {steps:>9} steps in all");
}

/// Without `rule`, that happens.
#[expect(clippy::print_stderr, reason = "the traces are there to be read")]
fn breaks(rule: Rule, scenario: &Scenario, violation: Violation) {
    let found = explore(&scenario.without(rule)).counterexample;
    let found = found.unwrap_or_else(|| panic!("without {rule:?} nothing goes wrong"));
    if std::env::var_os("DAYMARK_TEST_TRACES").is_some() {
        eprintln!("without {rule:?}, {found}");
    }
    assert_eq!(found.violation, violation, "{found}");
}

#[test]
fn files_reached_by_their_path_are_another_s() {
    breaks(
        Rule::ThroughTheCheckedDirectory,
        &careless_hands(),
        Violation::AnothersRecordRemoved,
    );
}

#[test]
fn a_forked_child_that_drops_the_lease_makes_two_owners() {
    breaks(Rule::LeaseRemembersItsPid, &forks(), Violation::TwoOwners);
}

#[test]
fn one_look_sends_the_token_to_a_stranger() {
    breaks(Rule::SecondLook, &connects(), Violation::TokenToStranger);
}

#[test]
fn a_second_look_at_an_inode_number_sends_the_token_to_a_stranger() {
    breaks(
        Rule::SecondLookThroughTheDescriptor,
        &connects(),
        Violation::TokenToStranger,
    );
}

#[test]
fn a_second_look_at_the_lock_alone_believes_a_record_that_is_gone() {
    breaks(
        Rule::SecondLookAtThePath,
        &careless_hands_before_a_reader(),
        Violation::SupersededBelieved,
    );
}

#[test]
fn a_peer_that_nobody_asks_about_is_sent_the_token() {
    breaks(
        Rule::PeerIsOurs,
        &shared_sockets(),
        Violation::TokenToStranger,
    );
}

#[test]
fn a_lock_file_that_is_not_looked_for_again_makes_two_owners() {
    breaks(
        Rule::LockFileIsInPlace,
        &careless_hands(),
        Violation::TwoOwners,
    );
}

#[test]
fn any_answer_publishes_a_stranger() {
    breaks(
        Rule::AnswerIsOurs,
        &held_ports(),
        Violation::StrangerPublished,
    );
}

#[test]
fn a_proof_numbered_below_the_listener_is_believed_without_it() {
    breaks(
        Rule::ProofAboveListener,
        &connects(),
        Violation::BelievedAndNotServed,
    );
}

#[test]
fn a_publish_that_does_not_heed_a_stop_is_believed() {
    breaks(
        Rule::NothingAfterStop,
        &failing_disks(),
        Violation::BelievedAfterStop,
    );
}

#[test]
fn a_release_during_a_publish_lands_on_others() {
    breaks(
        Rule::ReleaseAwaitsTheStore,
        &starts_and_stops(),
        Violation::PublishedUnowned,
    );
}

#[test]
fn a_listener_closed_first_is_believed_without_it_on_every_path() {
    let stop = starts_and_stops();
    let mut failure = failing_disks();
    failure.left.stops = 0;
    let mut lost_ownership = careless_hands();
    lost_ownership.left.stops = 0;
    lost_ownership.reader = true;
    for path in [stop, failure, lost_ownership] {
        breaks(
            Rule::UnlockBeforeListenerCloses,
            &path,
            Violation::BelievedAndNotServed,
        );
    }
}

#[test]
fn a_lock_file_removed_on_stop_makes_two_owners() {
    breaks(
        Rule::LockFileStays,
        &starts_after_stops(),
        Violation::TwoOwners,
    );
}

#[test]
fn a_record_before_the_port_is_believed_without_it() {
    breaks(
        Rule::BindBeforePublish,
        &starts_and_stops(),
        Violation::BelievedAndNotServed,
    );
}

#[test]
fn a_release_before_the_withdrawal_costs_a_successor_its_record() {
    breaks(
        Rule::WithdrawBeforeRelease,
        &starts_and_stops(),
        Violation::AnothersRecordRemoved,
    );
}

#[test]
fn a_record_locked_late_is_seen_unvouched_for() {
    breaks(
        Rule::LockBeforeRename,
        &starts_and_stops(),
        Violation::NotVouchedFor,
    );
}

#[test]
fn a_record_that_was_not_synced_is_seen_torn() {
    breaks(Rule::SyncBeforeRename, &power_cuts(), Violation::TornRecord);
}

#[test]
fn a_pid_makes_a_reader_believe_the_dead() {
    breaks(
        Rule::LivenessByLock,
        &recycled_pids(),
        Violation::DeadBelieved,
    );
}

#[test]
fn a_pid_of_another_namespace_is_a_stranger_s() {
    breaks(
        Rule::SignalInOwnNamespace,
        &stops_into_another_namespace(),
        Violation::StrangerSignalled,
    );
}

#[test]
fn one_look_signals_a_stranger() {
    breaks(
        Rule::SecondLookBeforeSignal,
        &stops_from_outside(),
        Violation::StrangerSignalled,
    );
}

#[test]
fn a_signal_by_number_goes_to_a_stranger() {
    breaks(
        Rule::SignalThePinned,
        &stops_from_outside(),
        Violation::StrangerSignalled,
    );
}

#[test]
fn the_lock_file_s_word_alone_signals_a_stranger() {
    breaks(
        Rule::WordAndKernelAgree,
        &stops_from_outside(),
        Violation::StrangerSignalled,
    );
}

#[test]
fn a_recovery_that_does_not_look_removes_a_living_owner_s_record() {
    breaks(
        Rule::RecoverSparesTheLiving,
        &careless_hands(),
        Violation::AnothersRecordRemoved,
    );
}

#[test]
fn a_lock_that_is_only_closed_stays_with_a_forked_child() {
    breaks(Rule::UnlockNotClose, &forks(), Violation::BelievedAfterStop);
}

/// A rule without a test would be one that nobody has seen matter.
#[test]
fn every_rule_is_broken_by_a_test() {
    let tests = include_str!("protocol.rs");
    for rule in Rule::ALL {
        let named = format!("Rule::{rule:?},");
        assert!(tests.contains(&named), "no test breaks {rule:?}");
    }
}
