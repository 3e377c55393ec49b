//! The laws of [`StateStore`] and [`Lease`].
//!
//! Longer than others: one suite for each trait, however many laws that has.

use std::sync::Arc;

use async_trait::async_trait;
use daymark_adapters::state_store::{FileStore, MemoryStore};
use daymark_core::presence::{LockSeen, Observation, Phase};
use daymark_core::record::ServerRecord;
use daymark_core::state_store::{AcquireError, Custody, Lease, PublishError, StateStore};

use super::{A_MOMENT, begin_and_drop, in_time};
use crate::files::Ground;
use crate::sample::record;

/// A place, and what careless people do to it.
#[async_trait]
pub trait StoreBench: Send + Sync {
    /// A way into the place, for another run each time.
    fn store(&self) -> Box<dyn StateStore>;

    /// The record is removed.
    fn lose_record(&self);

    /// What carries the ownership is removed.
    fn lose_ownership(&self);
}

/// A directory.
#[derive(Debug, Default)]
pub struct Files {
    ground: Ground,
}

impl StoreBench for Files {
    fn store(&self) -> Box<dyn StateStore> {
        let store = FileStore::new(&self.ground.dir());
        Box::new(store.expect("an absolute path"))
    }

    fn lose_record(&self) {
        std::fs::remove_file(self.ground.record()).expect("remove the record");
    }

    fn lose_ownership(&self) {
        std::fs::remove_file(self.ground.lock()).expect("remove the lock file");
    }
}

impl StoreBench for MemoryStore {
    fn store(&self) -> Box<dyn StateStore> {
        Box::new(self.clone())
    }

    fn lose_record(&self) {
        Self::lose_record(self);
    }

    fn lose_ownership(&self) {
        Self::lose_ownership(self);
    }
}

async fn acquire(bench: &impl StoreBench) -> Arc<dyn Lease> {
    match bench.store().acquire().await {
        Ok(lease) => lease,
        Err(error) => panic!("it is free: {error}"),
    }
}

/// Acquires as soon as the last call of a former lease has come back.
async fn acquire_soon(bench: &impl StoreBench) -> Arc<dyn Lease> {
    in_time("it is given back", async {
        loop {
            match bench.store().acquire().await {
                Ok(lease) => return lease,
                Err(AcquireError::Busy(_)) => tokio::time::sleep(A_MOMENT).await,
                Err(error) => panic!("nobody is live: {error}"),
            }
        }
    })
    .await
}

async fn refused(bench: &impl StoreBench) -> AcquireError {
    match bench.store().acquire().await {
        Ok(_) => panic!("there is an owner already"),
        Err(error) => error,
    }
}

async fn recover(lease: &Arc<dyn Lease>) {
    let recovered = lease.recover().await;
    recovered.unwrap_or_else(|error| panic!("{error}"));
}

async fn publish(lease: &Arc<dyn Lease>, record: &ServerRecord) {
    let published = lease.publish(record, None).await;
    published.unwrap_or_else(|error| panic!("{error}"));
}

async fn withdraw(lease: &Arc<dyn Lease>) {
    let withdrawn = lease.withdraw().await;
    withdrawn.unwrap_or_else(|error| panic!("{error}"));
}

fn seen(record: &ServerRecord, lock: LockSeen) -> Observation {
    Observation::Record(Box::new(record.clone()), lock)
}

/// At most one lease exists at a time.
pub async fn there_is_one_lease_at_a_time(bench: &impl StoreBench) {
    let lease = acquire(bench).await;
    assert!(matches!(refused(bench).await, AcquireError::Busy(_)));
    lease
        .release()
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let next = acquire(bench).await;
    // The old lease gives nothing back that isn't its own any more.
    drop(lease);
    assert!(matches!(refused(bench).await, AcquireError::Busy(_)));
    drop(next);
    acquire(bench).await;
}

/// Whoever finds a live server is told of it.
pub async fn a_live_owner_is_named(bench: &impl StoreBench) {
    let lease = acquire(bench).await;
    publish(&lease, &record(1, 8001)).await;
    match refused(bench).await {
        AcquireError::AlreadyRunning(named) => assert_eq!(*named, record(1, 8001)),
        error => panic!("it has a record: {error}"),
    }
}

/// What is published is seen, whole and vouched for.
pub async fn what_is_published_is_seen(bench: &impl StoreBench) {
    let reader = bench.store();
    assert_eq!(reader.observe().await, Observation::NoRecord(None));
    let lease = acquire(bench).await;
    recover(&lease).await;
    let starting = Observation::NoRecord(Some(Phase::Starting));
    assert_eq!(reader.observe().await, starting);
    for port in [8001, 8002] {
        publish(&lease, &record(1, port)).await;
        assert_eq!(
            reader.observe().await,
            seen(&record(1, port), LockSeen::Held)
        );
    }
}

/// Whoever looks sees the old record, the new one or none, and never a part.
pub async fn a_record_is_replaced_in_one_step(bench: &impl StoreBench) {
    let lease = acquire(bench).await;
    publish(&lease, &record(1, 1)).await;
    let reader = bench.store();
    let looking = async {
        let mut seen = Vec::new();
        while seen.last() != Some(&200) {
            match reader.observe().await {
                Observation::Record(record, LockSeen::Held) => {
                    seen.push(record.endpoint.port().get());
                }
                other => panic!("never to be seen: {other:?}"),
            }
            tokio::task::yield_now().await;
        }
        assert!(seen.is_sorted(), "an older record came back: {seen:?}");
    };
    let publishing = async {
        for port in 2..=200 {
            publish(&lease, &record(1, port)).await;
            tokio::task::yield_now().await;
        }
    };
    in_time("the last record", async {
        tokio::join!(looking, publishing)
    })
    .await;
}

/// After a withdrawal nobody sees a record, and nothing is published any more.
pub async fn a_withdrawal_is_final(bench: &impl StoreBench) {
    let lease = acquire(bench).await;
    recover(&lease).await;
    publish(&lease, &record(1, 8001)).await;
    for _ in 0..2 {
        withdraw(&lease).await;
        let stopping = Observation::NoRecord(Some(Phase::Stopping));
        assert_eq!(bench.store().observe().await, stopping);
    }
    let late = lease.publish(&record(1, 8001), None).await;
    assert!(matches!(late, Err(PublishError::Withdrawn)), "{late:?}");
    assert!(matches!(
        bench.store().observe().await,
        Observation::NoRecord(_)
    ));
}

/// After [`Lease::disown`] the record is there, and nobody believes it: it is vouched for by nobody, or known to be its owner's
/// who stops.
pub async fn a_disowned_record_is_not_believed(bench: &impl StoreBench) {
    let lease = acquire(bench).await;
    publish(&lease, &record(1, 8001)).await;
    let unbelieved = [
        seen(&record(1, 8001), LockSeen::Free),
        Observation::NoRecord(Some(Phase::Stopping)),
    ];
    for _ in 0..2 {
        lease.disown();
        assert!(unbelieved.contains(&bench.store().observe().await));
    }
    let late = lease.publish(&record(1, 8002), None).await;
    assert!(matches!(late, Err(PublishError::Withdrawn)), "{late:?}");
    assert!(unbelieved.contains(&bench.store().observe().await));
    withdraw(&lease).await;
    assert!(matches!(
        bench.store().observe().await,
        Observation::NoRecord(_)
    ));
}

/// Dropping a lease withdraws its record and gives the ownership back.
pub async fn a_lease_that_is_dropped_leaves_nothing(bench: &impl StoreBench) {
    let lease = acquire(bench).await;
    publish(&lease, &record(1, 8001)).await;
    drop(lease);
    assert_eq!(bench.store().observe().await, Observation::NoRecord(None));
    acquire(bench).await;
}

/// A record that isn't this lease's is never removed.
pub async fn a_successor_s_record_is_left_alone(bench: &impl StoreBench) {
    let old = acquire(bench).await;
    publish(&old, &record(1, 8001)).await;
    withdraw(&old).await;
    old.release()
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let new = acquire(bench).await;
    publish(&new, &record(2, 8002)).await;

    withdraw(&old).await;
    old.disown();
    drop(old);

    let held = seen(&record(2, 8002), LockSeen::Held);
    assert_eq!(bench.store().observe().await, held);
}

/// [`Lease::recover`] clears what a dead owner left, and says what that was.
pub async fn what_a_dead_owner_left_is_cleared(bench: &impl StoreBench) {
    let dead = acquire(bench).await;
    publish(&dead, &record(1, 8001)).await;
    dead.disown();
    bench.lose_ownership();
    // Forgotten, not dropped: the dead clean nothing up.
    std::mem::forget(dead);

    let lease = acquire(bench).await;
    let recovered = lease
        .recover()
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(recovered.record.as_deref(), Some(&record(1, 8001)));
    assert_eq!(recovered.removed, 1);
    assert_eq!(recovered.last_port, Some(record(1, 8001).endpoint.port()));
    assert!(matches!(
        bench.store().observe().await,
        Observation::NoRecord(_)
    ));
    let again = lease
        .recover()
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((again.record, again.removed), (None, 0));
}

/// [`Lease::recover`] leaves a live record alone, though the ownership was free.
pub async fn a_live_record_is_never_cleared(bench: &impl StoreBench) {
    let first = acquire(bench).await;
    publish(&first, &record(1, 8001)).await;
    bench.lose_ownership();

    let second = acquire(bench).await;
    match second.recover().await {
        Err(AcquireError::AlreadyRunning(named)) => assert_eq!(*named, record(1, 8001)),
        other => panic!("its writer lives: {other:?}"),
    }
    drop(second);
    let held = seen(&record(1, 8001), LockSeen::Held);
    assert_eq!(bench.store().observe().await, held);
}

/// [`Lease::inspect`] finds out what is lost, and [`Lease::changed`] wakes whoever waits for that.
pub async fn a_loss_is_noticed(bench: &impl StoreBench) {
    let lease = acquire(bench).await;
    publish(&lease, &record(1, 8001)).await;
    assert_eq!(lease.inspect().await, Custody::Intact);
    for (lose, expected) in [
        (StoreBench::lose_record as fn(&_), Custody::RecordLost),
        (StoreBench::lose_ownership, Custody::OwnershipLost),
    ] {
        lose(bench);
        in_time("a loss is told of", async {
            while lease.inspect().await != expected {
                lease.changed().await;
            }
        })
        .await;
    }
}

/// A record that was lost can be published again.
pub async fn a_lost_record_is_published_again(bench: &impl StoreBench) {
    let lease = acquire(bench).await;
    publish(&lease, &record(1, 8001)).await;
    bench.lose_record();
    publish(&lease, &record(1, 8001)).await;
    assert_eq!(lease.inspect().await, Custody::Intact);
    let held = seen(&record(1, 8001), LockSeen::Held);
    assert_eq!(bench.store().observe().await, held);
}

/// [`Lease::reclaim`] takes the ownership again, where nobody else has it.
pub async fn a_lost_ownership_is_taken_again(bench: &impl StoreBench) {
    let lease = acquire(bench).await;
    publish(&lease, &record(1, 8001)).await;
    bench.lose_ownership();
    for _ in 0..2 {
        let reclaimed = lease.reclaim().await;
        reclaimed.unwrap_or_else(|error| panic!("{error}"));
        publish(&lease, &record(1, 8001)).await;
        assert_eq!(lease.inspect().await, Custody::Intact);
    }
    let refusal = refused(bench).await;
    assert!(matches!(refusal, AcquireError::AlreadyRunning(_)));
}

/// [`Lease::retract`] ends the proof and removes the record, which may be published again.
pub async fn a_retracted_record_is_gone_until_it_is_published_again(bench: &impl StoreBench) {
    let lease = acquire(bench).await;
    recover(&lease).await;
    for _ in 0..2 {
        publish(&lease, &record(1, 8001)).await;
        let held = seen(&record(1, 8001), LockSeen::Held);
        assert_eq!(bench.store().observe().await, held);
        for _ in 0..2 {
            let retracted = lease.retract().await;
            retracted.unwrap_or_else(|error| panic!("{error}"));
            let starting = Observation::NoRecord(Some(Phase::Starting));
            assert_eq!(bench.store().observe().await, starting);
        }
        assert_eq!(lease.inspect().await, Custody::RecordLost);
        assert!(matches!(refused(bench).await, AcquireError::Busy(_)));
    }
    withdraw(&lease).await;
    assert!(lease.publish(&record(1, 8001), None).await.is_err());
}

/// [`Lease::reclaim`] leaves a successor alone.
pub async fn an_ownership_that_a_successor_has_is_not_taken_again(bench: &impl StoreBench) {
    let old = acquire(bench).await;
    publish(&old, &record(1, 8001)).await;
    bench.lose_record();
    bench.lose_ownership();
    let new = acquire(bench).await;
    recover(&new).await;
    assert!(matches!(old.reclaim().await, Err(AcquireError::Busy(_))));

    publish(&new, &record(2, 8002)).await;
    match old.reclaim().await {
        Err(AcquireError::AlreadyRunning(named)) => assert_eq!(*named, record(2, 8002)),
        other => panic!("it has an owner: {other:?}"),
    }
    drop(old);
    let held = seen(&record(2, 8002), LockSeen::Held);
    assert_eq!(bench.store().observe().await, held);
}

/// Dropping an acquisition midway gives back what it may have got.
pub async fn an_acquisition_that_is_dropped_is_given_back(bench: &impl StoreBench) {
    for _ in 0..20 {
        begin_and_drop(bench.store().acquire());
        drop(acquire_soon(bench).await);
    }
}

/// Dropping a publication midway neither undoes it nor lets it outlive a withdrawal.
pub async fn a_publication_that_is_dropped_is_withdrawn_all_the_same(bench: &impl StoreBench) {
    for _ in 0..20 {
        let lease = acquire_soon(bench).await;
        begin_and_drop(lease.publish(&record(1, 8001), None));
        withdraw(&lease).await;
        assert!(matches!(
            bench.store().observe().await,
            Observation::NoRecord(_)
        ));
        drop(lease);
    }
}

/// [`StateStore::observe`] changes nothing, whatever there is to see.
pub async fn looking_changes_nothing(bench: &impl StoreBench) {
    let look_twice = async || {
        let first = bench.store().observe().await;
        assert_eq!(bench.store().observe().await, first);
    };
    look_twice().await;
    let lease = acquire(bench).await;
    recover(&lease).await;
    look_twice().await;
    publish(&lease, &record(1, 8001)).await;
    look_twice().await;
    assert_eq!(lease.inspect().await, Custody::Intact);
    lease.disown();
    look_twice().await;
    withdraw(&lease).await;
    look_twice().await;
}

/// Dropping a withdrawal midway neither undoes nor stops it.
pub async fn a_withdrawal_that_is_dropped_happens_all_the_same(bench: &impl StoreBench) {
    let lease = acquire(bench).await;
    publish(&lease, &record(1, 8001)).await;
    begin_and_drop(lease.withdraw());
    in_time("it is withdrawn", async {
        while matches!(
            bench.store().observe().await,
            Observation::Record(_, LockSeen::Held)
        ) {
            tokio::time::sleep(A_MOMENT).await;
        }
    })
    .await;
    let late = lease.publish(&record(1, 8001), None).await;
    assert!(matches!(late, Err(PublishError::Withdrawn)), "{late:?}");
}

/// While a record is retracted and published again, nobody sees it without its proof and takes its owner for gone.
pub async fn a_retracted_record_is_never_seen_without_its_proof(bench: &impl StoreBench) {
    let lease = acquire(bench).await;
    publish(&lease, &record(1, 1)).await;
    let reader = bench.store();
    let looking = async {
        loop {
            match reader.observe().await {
                Observation::Record(record, LockSeen::Held) => {
                    if record.endpoint.port().get() == 20 {
                        return;
                    }
                }
                Observation::NoRecord(_) => {}
                other => panic!("never to be seen: {other:?}"),
            }
            tokio::task::yield_now().await;
        }
    };
    let retracting = async {
        for port in 2..=20 {
            let retracted = lease.retract().await;
            retracted.unwrap_or_else(|error| panic!("{error}"));
            tokio::task::yield_now().await;
            publish(&lease, &record(1, port)).await;
            tokio::task::yield_now().await;
        }
    };
    in_time("the last record", async {
        tokio::join!(looking, retracting)
    })
    .await;
}

/// Tries the law of that name.
///
/// # Panics
///
/// If it is broken, or there is no such law.
pub async fn keep(bench: &impl StoreBench, law: &str) {
    crate::with_laws_of_stores!(crate::law_named, law, bench);
}

/// Calls a macro with the laws of stores.
#[macro_export]
macro_rules! with_laws_of_stores {
    ($macro:path, $($before:tt)*) => {
        $macro!($($before)*, [
            there_is_one_lease_at_a_time,
            a_live_owner_is_named,
            what_is_published_is_seen,
            looking_changes_nothing,
            a_record_is_replaced_in_one_step,
            a_withdrawal_is_final,
            a_withdrawal_that_is_dropped_happens_all_the_same,
            a_retracted_record_is_gone_until_it_is_published_again,
            a_retracted_record_is_never_seen_without_its_proof,
            a_disowned_record_is_not_believed,
            a_lease_that_is_dropped_leaves_nothing,
            a_successor_s_record_is_left_alone,
            what_a_dead_owner_left_is_cleared,
            a_live_record_is_never_cleared,
            a_loss_is_noticed,
            a_lost_record_is_published_again,
            a_lost_ownership_is_taken_again,
            an_ownership_that_a_successor_has_is_not_taken_again,
            an_acquisition_that_is_dropped_is_given_back,
            a_publication_that_is_dropped_is_withdrawn_all_the_same,
        ]);
    };
}

/// Tests of all laws of stores.
#[macro_export]
macro_rules! state_store_laws {
    ($adapter:ident, $bench:expr) => {
        $crate::with_laws_of_stores!(
            $crate::each_law,
            $adapter,
            $bench,
            $crate::contract::state_store
        );
    };
}
