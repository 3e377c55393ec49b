//! Readers who never rest: threads of this process, by the library and by the bytes.

use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use daymark_adapters::state_store::{Look, RECORD};
use daymark_core::presence::{LockSeen, Observation};

use crate::files::read_whole;

/// They look at a state directory all the time, and panic at what must never be seen there.
#[derive(Debug)]
pub struct Onlookers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    over: AtomicBool,
    /// Odd while nobody lives there.
    epoch: AtomicU64,
    looks: [AtomicU64; 2],
}

/// Nobody lives as long as this exists.
#[derive(Debug)]
pub struct Dead<'a>(&'a Shared);

impl Drop for Dead<'_> {
    fn drop(&mut self) {
        self.0.epoch.fetch_add(1, Ordering::SeqCst);
    }
}

impl Onlookers {
    /// Those of this state directory.
    #[must_use]
    pub fn of(dir: &Path) -> Self {
        let shared = Arc::new(Shared::default());
        let looks: [fn(&Path, &Shared); 2] = [read_bytes, look_and_connect];
        let start = |(i, look): (usize, fn(&Path, &Shared))| {
            let (dir, shared) = (dir.to_owned(), shared.clone());
            std::thread::spawn(move || {
                while !shared.over.load(Ordering::SeqCst) {
                    look(&dir, &shared);
                    shared.looks[i].fetch_add(1, Ordering::SeqCst);
                }
            })
        };
        let threads = looks.into_iter().enumerate().map(start).collect();
        Self { shared, threads }
    }

    /// Tells them that nobody lives there, until what is returned is dropped.
    #[must_use]
    pub fn nobody_lives(&self) -> Dead<'_> {
        self.shared.epoch.fetch_add(1, Ordering::SeqCst);
        Dead(&self.shared)
    }

    /// Returns when each of them has looked again, from the beginning.
    ///
    /// # Panics
    ///
    /// If one of them saw what must never be.
    pub fn look_once_more(&self) {
        for (looks, thread) in self.shared.looks.iter().zip(&self.threads) {
            let before = looks.load(Ordering::SeqCst);
            // The one that is under way may have begun before.
            while looks.load(Ordering::SeqCst) < before + 2 {
                assert!(!thread.is_finished(), "a reader saw what must never be");
                std::thread::yield_now();
            }
        }
    }

    /// Lets them go; how often they have looked.
    ///
    /// # Panics
    ///
    /// If one of them saw what must never be.
    #[must_use]
    pub fn end(self) -> u64 {
        self.shared.over.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().expect("a reader saw what must never be");
        }
        self.shared
            .looks
            .iter()
            .map(|looks| looks.load(Ordering::SeqCst))
            .sum()
    }
}

/// What stands there is a whole record or none.
fn read_bytes(dir: &Path, _: &Shared) {
    read_whole(&dir.join(RECORD));
}

/// No look says that a record is vouched for, once its writer was reaped; and while it is vouched for, somebody listens.
fn look_and_connect(dir: &Path, shared: &Shared) {
    let epoch = shared.epoch.load(Ordering::SeqCst);
    let look = Look::at(dir);
    match look.observation() {
        Observation::NoRecord(_) | Observation::Record(_, LockSeen::Free) => {}
        Observation::Record(record, LockSeen::Held) => {
            let dead = epoch % 2 == 1 && shared.epoch.load(Ordering::SeqCst) == epoch;
            assert!(!dead, "it is believed, and its writer was reaped");
            let refused = TcpStream::connect(record.endpoint.addr()).is_err();
            assert!(
                !(refused && look.still_holds()),
                "it is believed, and nobody listens"
            );
        }
        other => panic!("never to be seen: {other:?}"),
    }
}
