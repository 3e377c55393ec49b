//! Every look has one verdict, and what either side doesn't know sets nothing apart.

use std::num::NonZeroU16;

use super::*;
use crate::clock::Timestamp;
use crate::record::{Endpoint, HeldBy, InstanceId};

fn origin(boot_id: &str, pid_ns: u64, net_ns: u64) -> Origin {
    Origin {
        boot_id: Some(boot_id.to_owned()),
        pid_ns: Some(pid_ns),
        net_ns: Some(net_ns),
    }
}

fn seen(origin: Origin, is_proven: bool, lock: LockSeen) -> Observation {
    let record = ServerRecord {
        endpoint: Endpoint::v4(NonZeroU16::MAX),
        pid: 2,
        started_at: Timestamp::from_unix_micros(0),
        name: None,
        instance_id: is_proven.then(|| InstanceId::from_bits(1)),
        held_by: HeldBy::Owner,
        restarts: None,
        origin,
        app: None,
        token: None,
    };
    Observation::Record(Box::new(record), lock)
}

#[test]
fn every_look_has_its_verdict() {
    let here = origin("here", 1, 1);
    let held = |there: Origin| seen(there, true, LockSeen::Held);
    let why = "why".to_owned();
    let gone = Some("the process that wrote the record is gone");
    let no_id = Some("the record carries no instance_id, so no lock vouches for it");
    let cases = [
        (Observation::NoRecord(None), Presence::Absent, None),
        (
            Observation::NoRecord(Some(Phase::Starting)),
            Presence::Starting,
            None,
        ),
        (
            Observation::NoRecord(Some(Phase::Serving)),
            Presence::Absent,
            None,
        ),
        (
            Observation::NoRecord(Some(Phase::Stopping)),
            Presence::Stopping,
            None,
        ),
        (
            Observation::Corrupt(why.clone()),
            Presence::Corrupt,
            Some("why"),
        ),
        (
            Observation::Refused(why.clone()),
            Presence::Refused,
            Some("why"),
        ),
        (
            Observation::Unknown(why.clone()),
            Presence::Unknown,
            Some("why"),
        ),
        (
            seen(here.clone(), true, LockSeen::Unknown(why)),
            Presence::Unknown,
            Some("why"),
        ),
        (
            seen(here.clone(), true, LockSeen::Free),
            Presence::Stale,
            gone,
        ),
        (
            seen(here.clone(), false, LockSeen::Free),
            Presence::Unproven,
            no_id,
        ),
        (held(here.clone()), Presence::Live, None),
        (held(origin("here", 2, 1)), Presence::Live, None),
        (held(Origin::default()), Presence::Live, None),
        (
            held(origin("there", 1, 1)),
            Presence::Unreachable,
            Some("it runs on another machine"),
        ),
        (
            held(origin("here", 1, 2)),
            Presence::Unreachable,
            Some("it runs in another network namespace"),
        ),
    ];
    for (seen, presence, reason) in cases {
        let verdict = judge(&seen, &here);
        assert_eq!(
            (verdict.presence, verdict.reason.as_deref()),
            (presence, reason),
            "{seen:?}"
        );
    }
}

#[test]
fn a_pid_means_something_only_where_it_was_given() {
    let here = origin("here", 1, 1);
    let unknown = Origin {
        pid_ns: None,
        ..here.clone()
    };
    for (there, reason) in [
        (here.clone(), None),
        (origin("here", 1, 2), None),
        (origin("there", 1, 1), Some("it runs on another machine")),
        (
            origin("here", 2, 1),
            Some("it runs in another pid namespace"),
        ),
        (
            unknown.clone(),
            Some("its record does not say in which pid namespace it runs"),
        ),
    ] {
        assert_eq!(pid_is_foreign(&there, &here), reason, "{there:?}");
    }
    // Where nobody knows of namespaces, there is one.
    assert_eq!(pid_is_foreign(&unknown, &unknown), None);
    // Who has lost its own, as in a bare chroot, doesn't guess.
    let lost = Some("this process does not know its own boot or pid namespace");
    assert_eq!(pid_is_foreign(&here, &unknown), lost);
    assert_eq!(pid_is_foreign(&here, &Origin::default()), lost);
    assert!(pid_is_foreign(&Origin::default(), &here).is_some());
    assert_eq!(pid_is_foreign(&Origin::default(), &Origin::default()), None);
}

#[test]
fn who_does_not_know_its_own_place_calls_nobody_live() {
    let there = origin("here", 1, 1);
    let seen_from =
        |here: &Origin| judge(&seen(there.clone(), true, LockSeen::Held), here).presence;
    let without_network = Origin {
        net_ns: None,
        ..there.clone()
    };
    assert_eq!(seen_from(&Origin::default()), Presence::Unknown);
    assert_eq!(seen_from(&without_network), Presence::Unknown);
    let elsewhere = Origin {
        boot_id: Some("there".to_owned()),
        ..Origin::default()
    };
    assert_eq!(seen_from(&elsewhere), Presence::Unreachable);
    // On a system that has no such thing, there is one place.
    let nowhere = Origin::default();
    let verdict = judge(&seen(nowhere.clone(), true, LockSeen::Held), &nowhere);
    assert_eq!(verdict.presence, Presence::Live);
}

#[test]
fn every_presence_has_a_word_of_its_own() {
    let words: std::collections::BTreeSet<&str> = Presence::ALL
        .iter()
        .map(|presence| presence.as_str())
        .collect();
    assert_eq!(words.len(), Presence::ALL.len());
    assert!(words.iter().all(|word| !word.is_empty()));
    assert_eq!(format!("{:>6}|", Presence::Live), "  live|");
}
