//! Asks a port and looks at a record all the time, and remembers what must never be seen.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use daymark_adapters::state_store::Look;
use daymark_core::presence::{LockSeen, Observation};
use daymark_core::record::HeldBy;

/// How long an answer may take before it is given up. Not an error: whoever is asked may be killed.
const PATIENCE: Duration = Duration::from_secs(5);
/// A pause between two questions: the machine has other things to do.
const PACE: Duration = Duration::from_millis(1);

/// Who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// When the main process of its tree began.
    pub launch: u128,
    /// Its own pid.
    pub pid: u32,
}

/// Asks who serves on a port.
///
/// # Errors
///
/// What kept it from being answered.
pub fn ask(port: u16, path: &str) -> std::io::Result<Answer> {
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: {addr}\r\n\r\n").as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let answer = text.split_once("\r\n\r\n").and_then(|(_, line)| {
        let (launch, pid) = line.strip_suffix('\n')?.split_once(' ')?;
        let (launch, pid) = (launch.parse().ok()?, pid.parse().ok()?);
        Some(Answer { launch, pid })
    });
    answer.ok_or_else(|| std::io::Error::other(format!("half an answer: {text:?}")))
}

/// What was seen.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// How many questions were answered.
    pub answers: u64,
    /// How many different launches answered.
    pub launches: u64,
    /// How many looks found a record that was believed.
    pub live: u64,
    /// The longest time that a child's record was believed while its port refused.
    pub longest_lie: Duration,
}

#[derive(Debug, Default)]
struct Shared {
    over: AtomicBool,
    broken: Mutex<Option<String>>,
    answers: AtomicU64,
    launches: AtomicU64,
    live: AtomicU64,
    longest_lie: Mutex<Duration>,
}

impl Shared {
    fn broken(&self, what: String) {
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        broken.get_or_insert(what);
    }
}

/// Watches until it is told to end.
#[derive(Debug)]
pub struct Watcher {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Watcher {
    /// Watches the servers of `dir`, which serve on `port`. A child's record may be believed for so long after its port has
    /// begun to refuse.
    #[must_use]
    pub fn of(dir: &Path, port: u16, unnoticed: Duration) -> Self {
        let shared = Arc::new(Shared::default());
        let (asking, looking) = (shared.clone(), shared.clone());
        let dir = dir.to_owned();
        let threads = vec![
            thread::spawn(move || keep_asking(port, &asking)),
            thread::spawn(move || keep_looking(&dir, unnoticed, &looking)),
        ];
        Self { shared, threads }
    }

    /// Fails if something was seen that must never be.
    ///
    /// # Panics
    ///
    /// Then.
    pub fn check(&self) {
        let broken = self.shared.broken.lock();
        let broken = broken.unwrap_or_else(PoisonError::into_inner);
        assert!(broken.is_none(), "{broken:?}");
    }

    /// Stops, and tells.
    ///
    /// # Panics
    ///
    /// If something was seen that must never be.
    #[must_use]
    pub fn end(mut self) -> Seen {
        self.shared.over.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().expect("a watcher doesn't panic");
        }
        self.check();
        let longest_lie = self.shared.longest_lie.lock();
        Seen {
            answers: self.shared.answers.load(Ordering::SeqCst),
            launches: self.shared.launches.load(Ordering::SeqCst),
            live: self.shared.live.load(Ordering::SeqCst),
            longest_lie: *longest_lie.unwrap_or_else(PoisonError::into_inner),
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
    }
}

/// Once a server has answered, none that began before it answers a question that is asked after that.
fn keep_asking(port: u16, shared: &Shared) {
    let mut newest = 0;
    while !shared.over.load(Ordering::SeqCst) {
        if let Ok(answer) = ask(port, "/") {
            shared.answers.fetch_add(1, Ordering::SeqCst);
            if answer.launch < newest {
                shared.broken(format!("{answer:?} answers after {newest} has"));
            }
            if answer.launch > newest {
                shared.launches.fetch_add(1, Ordering::SeqCst);
                newest = answer.launch;
            }
        }
        thread::sleep(PACE);
    }
}

/// While a record is believed, its port doesn't refuse: never where its owner holds the socket, and elsewhere only until
/// the owner has heard of its child's death.
fn keep_looking(dir: &Path, unnoticed: Duration, shared: &Shared) {
    while !shared.over.load(Ordering::SeqCst) {
        let look = Look::at(dir);
        if let Observation::Record(record, LockSeen::Held) = look.observation() {
            shared.live.fetch_add(1, Ordering::SeqCst);
            let begun = Instant::now();
            let addr = record.endpoint.addr();
            while let Err(error) = TcpStream::connect_timeout(&addr, PATIENCE)
                && look.still_holds()
            {
                let lie = begun.elapsed();
                let longest = shared.longest_lie.lock();
                let mut longest = longest.unwrap_or_else(PoisonError::into_inner);
                *longest = lie.max(*longest);
                if record.held_by == HeldBy::Owner || lie > unnoticed {
                    shared.broken(format!("{record:?} is believed, and for {lie:?}: {error}"));
                    return;
                }
            }
        }
        thread::sleep(PACE);
    }
}
