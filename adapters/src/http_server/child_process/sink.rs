//! Writing what a child prints to somebody who may be slow, stopped, or gone.
//!
//! A thread does the writing, for a write may last as long as it likes: standard output can be a pipe that nobody reads,
//! and a disk can hang. What waits for it is bounded. Bytes go out as they came in, and as soon as they can.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use super::log_file::LogFile;

/// How much may wait to be written.
const CAPACITY: usize = 1024 * 1024;

/// How long whoever has more than that is kept waiting in all, until as much as [`CAPACITY`] has been written: who takes
/// 2 MiB in a second misses nothing.
const PATIENCE: Duration = Duration::from_millis(500);

/// In nanoseconds.
const PATIENCE_PER_BYTE: u64 = PATIENCE.as_nanos() as u64 / CAPACITY as u64;

/// How much is written at once. A write to a pipe returns when all of it is in there (pipe(7)): progress is seen only in
/// such steps.
const PIECE: usize = 4096;

/// How long to wait for a descriptor that somebody has made non-blocking.
const PAUSE: Duration = Duration::from_millis(5);

/// What goes wrong with a sink. Each kind is told once in its life.
#[derive(Debug)]
pub(super) enum Trouble {
    /// What is written is taken too slowly, or not at all; until they have caught up, output is lost.
    TooSlow,
    /// A write failed. What it would have written is lost.
    Failed(io::Error),
}

/// Where output goes. Clones lead to the same place; with the last one the thread ends, when it has written what it has.
#[derive(Clone)]
pub(super) struct Sink(Arc<Handle>);

struct Handle {
    shared: Arc<Shared>,
    tell: Tell,
}

type Tell = Arc<dyn Fn(&Trouble) + Send + Sync>;

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// There is something to write, or nothing more will come. For the thread.
    work: Condvar,
    /// Something was written, or will never be. For those who push.
    progress: Notify,
    /// There is nothing left to write.
    idle: Notify,
}

struct State {
    queue: VecDeque<u8>,
    /// How much is out of the queue and not written yet.
    in_hand: usize,
    /// Whether nothing more is taken in.
    is_closed: bool,
    /// Whether nothing more is written either.
    is_dead: bool,
    /// For how much longer whoever pushes can be kept waiting. What is written gives it back.
    patience: Duration,
    /// Whether what comes is dropped until half of the queue is free.
    is_losing: bool,
    has_told: bool,
    lost: u64,
}

impl Default for State {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            in_hand: 0,
            is_closed: false,
            is_dead: false,
            patience: PATIENCE,
            is_losing: false,
            has_told: false,
            lost: 0,
        }
    }
}

/// What a failed write means for what comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Afterwards {
    /// The next one may succeed: there may be room on the disk again.
    TryAgain,
    /// If the reader is gone, so is the sink.
    EndWithReader,
}

impl Sink {
    /// To our own standard output or error, whatever that is. Nothing is buffered by lines, and no flag of it is changed:
    /// others may have it open, too.
    ///
    /// # Errors
    ///
    /// When there is no descriptor left, or no thread.
    pub(super) fn stream(
        stream: impl AsFd,
        tell: impl Fn(&Trouble) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let file = std::fs::File::from(stream.as_fd().try_clone_to_owned()?);
        Self::new(file, Afterwards::EndWithReader, tell)
    }

    /// To a log.
    ///
    /// # Errors
    ///
    /// When there is no thread left.
    pub(super) fn log(
        log: LogFile,
        tell: impl Fn(&Trouble) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Self::new(log, Afterwards::TryAgain, tell)
    }

    fn new(
        out: impl Write + Send + 'static,
        afterwards: Afterwards,
        tell: impl Fn(&Trouble) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let tell: Tell = Arc::new(tell);
        let writer = Writer {
            out,
            afterwards,
            shared: shared.clone(),
            tell: tell.clone(),
            has_told: false,
        };
        let thread = std::thread::Builder::new().name("daymark-sink".to_owned());
        thread.spawn(move || writer.run())?;
        Ok(Self(Arc::new(Handle { shared, tell })))
    }

    /// Puts bytes behind those that wait, all together. Where there is no room, it waits as long as there is [`PATIENCE`];
    /// then they are lost, and so is all that comes until half of the queue is free.
    pub(super) async fn push(&self, bytes: &[u8]) {
        let shared = &self.0.shared;
        loop {
            let moved = shared.progress.notified();
            let mut moved = std::pin::pin!(moved);
            // From here on it is told of every move, also of one that comes before it waits.
            moved.as_mut().enable();
            let patience = {
                let mut state = shared.state();
                if state.take_in(bytes) {
                    return shared.work.notify_one();
                }
                state.patience
            };
            let before = Instant::now();
            if timeout(patience, moved).await.is_err() {
                break;
            }
            shared.state().have_waited(before.elapsed());
        }
        if shared.state().give_up_on(bytes) {
            (self.0.tell)(&Trouble::TooSlow);
        }
    }

    /// Keeps nobody waiting now who has more than there is room for.
    pub(super) fn hurry(&self) {
        let shared = &self.0.shared;
        shared.state().patience = Duration::ZERO;
        shared.progress.notify_waiters();
    }

    /// Waits until all is written, or for so long; says how many bytes were lost in all. What isn't written by then is, and
    /// nothing can be pushed any more, through no clone.
    pub(super) async fn finish(&self, within: Duration) -> u64 {
        let shared = &self.0.shared;
        shared.close();
        self.flush(within).await;
        shared.die();
        shared.state().lost
    }

    /// Waits until all is written that was pushed so far, or for so long.
    pub(super) async fn flush(&self, within: Duration) {
        let shared = &self.0.shared;
        let deadline = Instant::now() + within;
        loop {
            let idle = shared.idle.notified();
            let mut idle = std::pin::pin!(idle);
            idle.as_mut().enable();
            if shared.state().is_idle() || timeout_at(deadline, idle).await.is_err() {
                break;
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.state().is_closed = true;
        self.work.notify_one();
        self.progress.notify_waiters();
    }

    /// The next piece to write; false when there will never be one.
    fn next(&self, piece: &mut Vec<u8>) -> bool {
        let mut state = self.state();
        while state.queue.is_empty() {
            if state.is_closed {
                return false;
            }
            let woken = self.work.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        }
        state.in_hand = state.queue.len().min(PIECE);
        let length = state.in_hand;
        piece.clear();
        piece.extend(state.queue.drain(..length));
        true
    }

    /// That many bytes are out of the way.
    fn moved(&self, count: usize, are_lost: bool) {
        let mut state = self.state();
        if state.is_dead {
            return;
        }
        state.in_hand = state.in_hand.saturating_sub(count);
        state.have_written(count);
        if are_lost {
            state.lose(count);
        }
        let is_idle = state.is_idle();
        drop(state);
        self.progress.notify_waiters();
        if is_idle {
            self.idle.notify_waiters();
        }
    }

    fn die(&self) {
        self.state().die();
        self.work.notify_one();
        self.progress.notify_waiters();
        self.idle.notify_waiters();
    }
}

impl State {
    /// Whether there is an answer already: the bytes are in the queue, or lost.
    fn take_in(&mut self, bytes: &[u8]) -> bool {
        let waiting = self.queue.len();
        if waiting <= CAPACITY / 2 {
            self.is_losing = false;
        }
        if self.is_closed || self.is_losing {
            self.lose(bytes.len());
            return true;
        }
        let fits = waiting == 0 || waiting.saturating_add(bytes.len()) <= CAPACITY;
        if fits {
            self.queue.extend(bytes);
        }
        fits
    }

    fn have_waited(&mut self, time: Duration) {
        self.patience = self.patience.saturating_sub(time);
    }

    fn have_written(&mut self, count: usize) {
        let for_that = Duration::from_nanos(PATIENCE_PER_BYTE * count as u64);
        self.patience = (self.patience + for_that).min(PATIENCE);
    }

    /// Whether it is the first time.
    fn give_up_on(&mut self, bytes: &[u8]) -> bool {
        self.is_losing = true;
        self.patience = Duration::ZERO;
        self.lose(bytes.len());
        !std::mem::replace(&mut self.has_told, true)
    }

    fn lose(&mut self, count: usize) {
        self.lost = self.lost.saturating_add(count as u64);
    }

    fn die(&mut self) {
        self.lose(self.queue.len() + self.in_hand);
        self.queue = VecDeque::new();
        self.in_hand = 0;
        self.is_closed = true;
        self.is_dead = true;
    }

    fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.in_hand == 0
    }
}

/// What the thread has.
struct Writer<W> {
    out: W,
    afterwards: Afterwards,
    shared: Arc<Shared>,
    tell: Tell,
    has_told: bool,
}

impl<W: Write> Writer<W> {
    fn run(mut self) {
        let mut piece = Vec::with_capacity(PIECE);
        while self.shared.next(&mut piece) {
            self.write(&piece);
        }
    }

    fn write(&mut self, mut rest: &[u8]) {
        while !rest.is_empty() && !self.shared.state().is_dead {
            let error = match self.out.write(rest) {
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(count) => {
                    rest = rest.get(count..).unwrap_or_default();
                    self.shared.moved(count, false);
                    continue;
                }
                Err(error) => error,
            };
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
                kind => {
                    if !std::mem::replace(&mut self.has_told, true) {
                        (self.tell)(&Trouble::Failed(error));
                    }
                    let reader_is_gone = kind == io::ErrorKind::BrokenPipe;
                    if reader_is_gone && self.afterwards == Afterwards::EndWithReader {
                        return self.shared.die();
                    }
                    return self.shared.moved(rest.len(), true);
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "sink_tests.rs"]
mod tests;
