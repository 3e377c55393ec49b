//! All connections that a server has, and who of them goes when there is no place for one more.
//!
//! Whoever has nothing under way goes first: those that never asked for anything, then those that haven't for the longest.
//! Then go those that keep us waiting, in the middle of a request or of its answer. Nobody else ever goes, until a drain has
//! everybody leave.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;

/// How long a client may keep us waiting, in the middle of something, before its place may be given to another.
const PATIENCE: Duration = Duration::from_secs(2);

/// Nobody waits for it.
const NEVER: u64 = u64::MAX;

/// The connections there are.
#[derive(Debug)]
pub(super) struct Crowd {
    tenants: Mutex<Tenants>,
    /// When time began here.
    since: Instant,
    came: AtomicU64,
}

#[derive(Debug, Default)]
struct Tenants {
    /// By number.
    there: BTreeMap<u64, Arc<Tenant>>,
    /// Everybody leaves, and so does who still comes.
    leaving: bool,
}

/// Who has a place.
#[derive(Debug)]
pub(super) struct Tenant {
    /// How many came before.
    number: u64,
    since: Instant,
    /// Requests whose answer the kernel hasn't taken in full yet.
    active: AtomicU32,
    /// Bodies that an app may still read. It may do so after it has answered.
    bodies: AtomicU32,
    /// How many requests were answered when this one's last was; 0 if it never asked.
    last: AtomicU64,
    /// When patience with it ends, in milliseconds.
    due: AtomicU64,
    /// Its place is wanted for another.
    asked_to_leave: AtomicBool,
    /// It leaves when it has nothing left to do, for another or for a drain.
    leaves: AtomicBool,
    /// Who is to know.
    waker: AtomicWaker,
}

impl Default for Crowd {
    fn default() -> Self {
        Self {
            tenants: Mutex::default(),
            since: Instant::now(),
            came: AtomicU64::new(0),
        }
    }
}

impl Crowd {
    /// One more. Who has left must be [removed](Self::remove).
    pub(super) fn add(&self) -> Arc<Tenant> {
        let mut tenants = self.lock();
        let tenant = Arc::new(Tenant {
            number: self.came.fetch_add(1, Ordering::Relaxed),
            since: self.since,
            active: AtomicU32::new(0),
            bodies: AtomicU32::new(0),
            last: AtomicU64::new(0),
            due: AtomicU64::new(NEVER),
            asked_to_leave: AtomicBool::new(false),
            leaves: AtomicBool::new(tenants.leaving),
            waker: AtomicWaker::new(),
        });
        tenants.there.insert(tenant.number, tenant.clone());
        tenant
    }

    pub(super) fn remove(&self, tenant: &Tenant) {
        self.lock().there.remove(&tenant.number);
    }

    /// How many came so far.
    pub(super) fn came(&self) -> u64 {
        self.came.load(Ordering::Relaxed)
    }

    /// How many are there.
    pub(super) fn len(&self) -> usize {
        self.lock().there.len()
    }

    /// Asks one to leave, if there is one that may be asked.
    pub(super) fn ask_one_to_leave(&self) {
        let now = millis(self.since.elapsed());
        let chosen = {
            let tenants = self.lock();
            let there = tenants.there.values();
            let ranked = there.filter_map(|t| Some((t.rank(now)?, t)));
            ranked.min_by_key(|(rank, _)| *rank).map(|(_, t)| t.clone())
        };
        if let Some(tenant) = chosen {
            tenant.asked_to_leave.store(true, Ordering::Relaxed);
            tenant.leave();
        }
    }

    /// Has everybody leave, and who comes from now on.
    pub(super) fn drain(&self) {
        let there: Vec<_> = {
            let mut tenants = self.lock();
            tenants.leaving = true;
            tenants.there.values().cloned().collect()
        };
        // Who is woken may want the lock.
        there.iter().for_each(|tenant| tenant.leave());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Tenants> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tenant {
    /// The less, the sooner it goes; none if it stays.
    fn rank(&self, now: u64) -> Option<(u8, u64)> {
        if self.asked_to_leave.load(Ordering::Relaxed) {
            return None;
        }
        let due = self.due.load(Ordering::Relaxed);
        match (self.is_active(), self.last.load(Ordering::Relaxed)) {
            (false, 0) => Some((0, self.number)),
            (false, last) => Some((1, last)),
            (true, _) if due <= now => Some((2, due)),
            (true, _) => None,
        }
    }

    pub(super) fn begin(&self) {
        self.active.fetch_add(1, Ordering::Relaxed);
    }

    /// One of its requests is over: so many were before, of anybody's.
    pub(super) fn end(&self, finished: u64) {
        self.last.store(finished + 1, Ordering::Relaxed);
        self.active.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed) > 0
    }

    pub(super) fn begin_body(&self) {
        self.bodies.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end_body(&self) {
        self.bodies.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn has_bodies(&self) -> bool {
        self.bodies.load(Ordering::Relaxed) > 0
    }

    /// It keeps us waiting from now on, and has for this long before.
    pub(super) fn keeps_waiting(&self, before: Duration) {
        let due = self.since.elapsed() + PATIENCE.saturating_sub(before);
        self.due.store(millis(due), Ordering::Relaxed);
    }

    pub(super) fn keeps_up(&self) {
        self.due.store(NEVER, Ordering::Relaxed);
    }

    /// Whether patience with it has ended.
    fn is_overdue(&self) -> bool {
        self.due.load(Ordering::Relaxed) <= millis(self.since.elapsed())
    }

    fn leave(&self) {
        self.leaves.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Has this one woken when it is to leave. Whether that is so already must be [looked at](Self::leaves) after that.
    pub(super) fn wakes(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// It has left, and nobody needs to know any more.
    pub(super) fn wakes_nobody(&self) {
        self.waker.take();
    }

    /// Whether it leaves when it has nothing left to do.
    pub(super) fn leaves(&self) -> bool {
        self.leaves.load(Ordering::Acquire)
    }

    /// Whether it leaves whatever it has to do: its place is wanted for another, and patience with it has ended.
    pub(super) fn leaves_at_once(&self) -> bool {
        self.asked_to_leave.load(Ordering::Relaxed) && self.is_overdue()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(NEVER - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(tenant: &Tenant) -> bool {
        tenant.asked_to_leave.load(Ordering::Relaxed)
    }

    #[test]
    fn the_silent_go_before_the_idle_and_the_busy_stay() {
        let crowd = Crowd::default();
        let [busy, idle, silent, newest] = [(); 4].map(|()| crowd.add());
        busy.begin();
        idle.begin();
        idle.end(0);
        let mut gone = Vec::new();
        for _ in 0..5 {
            crowd.ask_one_to_leave();
            let order = [&silent, &newest, &idle, &busy].map(|tenant| asked(tenant));
            gone.push(order.iter().filter(|asked| **asked).count());
            assert!(order.is_sorted_by(|a, b| a >= b), "{order:?}");
        }
        assert_eq!(gone, [1, 2, 3, 3, 3]);
    }

    #[test]
    fn who_was_idle_for_longer_goes_first() {
        let crowd = Crowd::default();
        let [late, early] = [(); 2].map(|()| crowd.add());
        for (tenant, finished) in [(&early, 0), (&late, 1)] {
            tenant.begin();
            tenant.end(finished);
        }
        crowd.ask_one_to_leave();
        assert!(asked(&early) && !asked(&late));
    }

    #[test]
    fn who_keeps_us_waiting_goes_when_nobody_is_idle_and_patience_has_ended() {
        let crowd = Crowd::default();
        let [patient, slow] = [(); 2].map(|()| crowd.add());
        patient.begin();
        slow.begin();
        patient.keeps_waiting(Duration::ZERO);
        slow.keeps_waiting(PATIENCE);
        let due = |tenant: &Tenant| tenant.due.load(Ordering::Relaxed);
        assert!(due(&slow) < due(&patient));
        crowd.ask_one_to_leave();
        assert!(asked(&slow) && slow.is_overdue());
        slow.keeps_up();
        assert!(!slow.is_overdue());
    }

    #[test]
    fn a_drain_has_everybody_leave_and_who_comes_after_it_begins() {
        let crowd = Crowd::default();
        let early = crowd.add();
        early.begin();
        assert!(!early.leaves());
        crowd.drain();
        let late = crowd.add();
        assert!(early.leaves() && late.leaves());
        assert!(!asked(&early) && !early.leaves_at_once());
    }

    #[test]
    fn who_has_left_is_forgotten() {
        let crowd = Crowd::default();
        let tenant = crowd.add();
        crowd.remove(&tenant);
        crowd.ask_one_to_leave();
        assert!(!asked(&tenant));
        assert_eq!((crowd.len(), crowd.came()), (0, 1));
    }
}
