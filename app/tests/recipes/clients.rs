//! Clients that open a new connection for each request, several at once, and count what becomes of them.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::running::{PATIENCE, get};

const CLIENTS: usize = 8;

pub(crate) struct Clients {
    counts: Arc<Counts>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    is_over: AtomicBool,
    answered: AtomicU64,
    refused: AtomicU64,
    lost: Mutex<Vec<String>>,
}

/// What clients saw.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) answered: u64,
    /// Connections that nobody took.
    pub(crate) refused: u64,
    /// Connections that were taken, and closed without a whole answer.
    pub(crate) lost: Vec<String>,
}

impl Clients {
    pub(crate) fn start(url: &str, answer: &'static str) -> Self {
        let counts = Arc::new(Counts::default());
        let client = || {
            let (counts, url) = (Arc::clone(&counts), url.to_owned());
            std::thread::spawn(move || {
                while !counts.is_over.load(Ordering::Relaxed) {
                    counts.ask(&url, answer);
                }
            })
        };
        let threads = (0..CLIENTS).map(|_| client()).collect();
        Self { counts, threads }
    }

    /// Waits until so many more requests were answered.
    #[track_caller]
    pub(crate) fn await_answers(&self, more: u64) {
        let enough = self.counts.answered.load(Ordering::Relaxed) + more;
        let deadline = Instant::now() + PATIENCE;
        while self.counts.answered.load(Ordering::Relaxed) < enough {
            assert!(Instant::now() < deadline, "answers don't come");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Lets the last requests end.
    pub(crate) fn end(mut self) -> Seen {
        self.join();
        let counts = &self.counts;
        Seen {
            answered: counts.answered.load(Ordering::Relaxed),
            refused: counts.refused.load(Ordering::Relaxed),
            lost: std::mem::take(&mut counts.lost.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    fn join(&mut self) {
        self.counts.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("a client doesn't panic");
        }
    }
}

impl Counts {
    fn ask(&self, url: &str, answer: &str) {
        let why = match get(url) {
            Ok(got) if got.contains(" 200 ") && got.contains(answer) => {
                self.answered.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Ok(got) => format!("{got:?}"),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Err(error) => error.to_string(),
        };
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.push(why);
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.counts.is_over.store(true, Ordering::Relaxed);
    }
}
