//! Servers whose state is far away: a `StateStore` that every call has to travel to, and whose leases end by the clock.
//!
//! A simulation: the memory adapter behind a delay, on a clock that is moved by hand. It takes no time and needs no network,
//! and what it shows is discussed in `docs/many-servers.md`.

#![expect(
    clippy::print_stdout,
    reason = "printing figures is what benches are for"
)]

#[expect(dead_code, reason = "not all of it is needed here")]
mod figures;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use daymark_adapters::clock::ManualClock;
use daymark_adapters::state_store::MemoryStore;
use daymark_core::Status;
use daymark_core::clock::Clock as _;
use daymark_core::presence::{LockSeen, Observation};
use daymark_core::record::ServerRecord;
use daymark_core::state_store::{
    AcquireError, Custody, Lease, PublishError, Recovered, StateStore, WithdrawError,
};
use daymark_tests::sample;
use daymark_tests::world::{Run, World};
use futures_util::FutureExt as _;

use self::figures::{figure, page, writes};

/// What stands in for chance, the same every time.
const SEED: u64 = 6;
const TRIALS: usize = 10_000;
const SERVERS: f64 = 100_000.0;

fn main() {
    let tables = [
        ("runs", runs()),
        ("deaths", deaths()),
        ("latecomers", latecomers()),
    ];
    for (section, Table(text)) in tables {
        println!("\n{text}");
        if writes() {
            page::put("docs/many-servers.md", section, &text);
        }
    }
}

/// A table in Markdown.
struct Table(String);

impl Table {
    fn of(titles: &[&str]) -> Self {
        let rule = "---:|".repeat(titles.len());
        Self(format!("| {} |\n|{rule}\n", titles.join(" | ")))
    }

    fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.0.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
}

/// How far away something is.
#[derive(Clone)]
struct Way {
    clock: ManualClock,
    round_trip: Duration,
    calls: Arc<AtomicU32>,
}

impl Way {
    /// A call, there and back.
    async fn call<T>(&self, call: impl Future<Output = T> + Send) -> T {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.half().await;
        let value = call.await;
        self.half().await;
        value
    }

    async fn half(&self) {
        let until = self.clock.monotonic() + self.round_trip / 2;
        self.clock.sleep_until(until).await;
    }
}

/// A store that is far away.
struct Distant {
    store: MemoryStore,
    way: Way,
}

#[async_trait]
impl StateStore for Distant {
    async fn acquire(&self) -> Result<Arc<dyn Lease>, AcquireError> {
        let lease = self.way.call(self.store.acquire()).await?;
        let way = self.way.clone();
        Ok(Arc::new(DistantLease { lease, way }))
    }

    async fn observe(&self) -> Observation {
        self.way.call(self.store.observe()).await
    }
}

struct DistantLease {
    lease: Arc<dyn Lease>,
    way: Way,
}

#[async_trait]
impl Lease for DistantLease {
    async fn recover(&self) -> Result<Recovered, AcquireError> {
        self.way.call(self.lease.recover()).await
    }

    async fn publish(&self, record: &ServerRecord, above: Option<i32>) -> Result<(), PublishError> {
        self.way.call(self.lease.publish(record, above)).await
    }

    async fn retract(&self) -> Result<(), WithdrawError> {
        self.way.call(self.lease.retract()).await
    }

    async fn withdraw(&self) -> Result<(), WithdrawError> {
        self.way.call(self.lease.withdraw()).await
    }

    /// The one call that can't travel: it must not wait. Here it is as if the message arrived at once.
    fn disown(&self) {
        self.lease.disown();
    }

    async fn changed(&self) {
        self.lease.changed().await;
    }

    async fn inspect(&self) -> Custody {
        self.way.call(self.lease.inspect()).await
    }

    async fn reclaim(&self) -> Result<(), AcquireError> {
        self.way.call(self.lease.reclaim()).await
    }

    async fn release(&self) -> Result<(), WithdrawError> {
        self.way.call(self.lease.release()).await
    }
}

/// What a start and a stop take, by the real runner.
fn runs() -> Table {
    let mut table = Table::of(&[
        "round trip",
        "start → ready",
        "calls",
        "stop → gone",
        "calls",
    ]);
    for micros in [0, 200, 1_000, 20_000, 100_000] {
        let round_trip = Duration::from_micros(micros);
        let world = World::new();
        let way = Way {
            clock: world.clock.clone(),
            round_trip,
            calls: Arc::default(),
        };
        let store = Distant {
            store: world.store.clone(),
            way: way.clone(),
        };
        let mut run = world.run(1, store);
        run.start();
        let start = until(&world, &mut run, round_trip, |status| {
            matches!(status, Status::Ready(_))
        });
        let start_calls = way.calls.swap(0, Ordering::Relaxed);
        run.stop(None);
        let stop = until(&world, &mut run, round_trip, |status| {
            matches!(status, Status::Stopped(_))
        });
        table.row([
            millis(round_trip),
            millis(start),
            start_calls.to_string(),
            millis(stop),
            way.calls.load(Ordering::Relaxed).to_string(),
        ]);
    }
    table
}

/// Moves the clock until the run is there.
fn until(
    world: &World,
    run: &mut Run,
    round_trip: Duration,
    there: impl Fn(&Status) -> bool,
) -> Duration {
    let step = (round_trip / 2).max(Duration::from_micros(1));
    let began = world.clock.monotonic().0;
    run.settle();
    while !there(&run.handle.status()) {
        world.clock.advance(step);
        run.settle();
    }
    world.clock.monotonic().0 - began
}

/// A lease that ends by the clock is renewed after each third of its time. How long a dead owner is believed, how often a
/// living one that only stalls loses its place, and what that costs the store.
fn deaths() -> Table {
    let mut table = Table::of(&[
        "lease",
        "kill → known, half",
        "99 of 100",
        "lost by a stall of 1 s",
        "3 s",
        "10 s",
        "writes a second, 100,000 servers",
    ]);
    let mut random = fastrand::Rng::with_seed(SEED);
    for seconds in [1.0, 3.0, 10.0, 30.0] {
        let renewed_every = seconds / 3.0;
        let mut known: Vec<f64> = (0..TRIALS)
            .map(|_| seconds - random.f64() * renewed_every)
            .collect();
        known.sort_by(f64::total_cmp);
        let lost = [1.0, 3.0, 10.0].map(|stall| {
            let lost = (0..TRIALS).filter(|_| random.f64() * renewed_every + stall > seconds);
            format!("{:.0} %", lost.count() as f64 / TRIALS as f64 * 100.0)
        });
        let [one, three, ten] = lost;
        table.row([
            format!("{seconds} s"),
            format!("{:.2} s", known[TRIALS / 2]),
            format!("{:.2} s", known[TRIALS * 99 / 100]),
            one,
            three,
            ten,
            figure(SERVERS / renewed_every),
        ]);
    }
    table
}

/// An owner stalls with a record on its way, its lease ends, another one takes the place, and then the record arrives. In the
/// memory adapter the number of the owner's term is the fencing token; without one, the store takes what comes.
fn latecomers() -> Table {
    let mut table = Table::of(&[
        "stalls",
        "arrived too late",
        "believed, without a token",
        "believed, with one",
    ]);
    let mut random = fastrand::Rng::with_seed(SEED);
    let lease_time = 10.0;
    let (mut late, mut unfenced, mut fenced) = (0, 0, 0);
    for _ in 0..TRIALS {
        let ends = lease_time - random.f64() * lease_time / 3.0;
        let arrives = random.f64() * 2.0 * lease_time;
        if arrives > ends {
            late += 1;
            unfenced += usize::from(old_record_is_believed(false));
            fenced += usize::from(old_record_is_believed(true));
        }
    }
    assert_eq!(fenced, 0, "the term is a fencing token");
    table.row([TRIALS, late, unfenced, fenced].map(|n| n.to_string()));
    table
}

fn old_record_is_believed(fenced: bool) -> bool {
    let store = MemoryStore::default();
    let old = now(store.acquire()).expect("it is free");
    now(old.publish(&sample::record(1, 50_001), None)).expect("it is the owner");
    // What the end of a lease does: the ownership goes, the record stays.
    store.crash_owner();
    let new = now(store.acquire()).expect("it is free again");
    now(new.publish(&sample::record(2, 50_002), None)).expect("it is the owner");
    let late = sample::record(1, 50_001);
    // A plain `SET` asks nobody for a term: it does what the present owner may do.
    let writer = if fenced { &old } else { &new };
    drop(now(writer.publish(&late, None)));
    matches!(now(store.observe()), Observation::Record(seen, LockSeen::Held) if *seen == late)
}

fn now<T>(call: impl Future<Output = T>) -> T {
    call.now_or_never().expect("memory doesn't wait")
}

fn millis(span: Duration) -> String {
    format!("{} ms", span.as_secs_f64() * 1e3)
}
