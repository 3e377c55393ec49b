//! Clients in threads of their own, who keep asking.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crate::supervised::eventually;
use crate::watcher::ask;

/// Clients that open a new connection for each request, all the time.
#[derive(Debug)]
pub struct Clients {
    over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    threads: Vec<thread::JoinHandle<Vec<io::Error>>>,
}

impl Clients {
    /// So many, at a port.
    #[must_use]
    pub fn of(port: u16, count: usize) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let start = |i: usize| {
            let (over, answered) = (over.clone(), answered.clone());
            let path = if i.is_multiple_of(2) { "/" } else { "/slow" };
            thread::spawn(move || {
                let mut lost = Vec::new();
                while !over.load(Ordering::SeqCst) {
                    match ask(port, path) {
                        Ok(_) => drop(answered.fetch_add(1, Ordering::SeqCst)),
                        Err(error) => lost.push(error),
                    }
                }
                lost
            })
        };
        Self {
            threads: (0..count).map(start).collect(),
            over,
            answered,
        }
    }

    /// Waits until so many more requests were answered.
    ///
    /// # Panics
    ///
    /// If they aren't.
    pub fn answered(&self, more: u64) {
        let until = self.answered.load(Ordering::SeqCst) + more;
        eventually("they are answered", || {
            (self.answered.load(Ordering::SeqCst) >= until).then_some(())
        });
    }

    /// How many were answered, and what became of the others.
    ///
    /// # Panics
    ///
    /// Never.
    #[must_use]
    pub fn end(self) -> (u64, Vec<io::Error>) {
        self.over.store(true, Ordering::SeqCst);
        let threads = self.threads.into_iter();
        let lost = threads.flat_map(|thread| thread.join().expect("clients don't panic"));
        (self.answered.load(Ordering::SeqCst), lost.collect())
    }
}
