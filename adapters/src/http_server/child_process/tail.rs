//! The last lines of a child's output, for people, and each line as it comes, for who waits for one.
//!
//! This is output to be read: without colours and control characters, and cut where it is too long. What is passed on
//! untouched doesn't come through here.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anstream::adapter::StripBytes;
use tokio::sync::mpsc;

/// How many lines are kept, and how many bytes of them.
const LINES: usize = 200;
const BYTES: usize = 64 * 1024;

/// What is left of a longer line, in bytes. One that isn't UTF-8 may grow when it is made so.
pub const LONGEST_LINE: usize = 16 * 1024;

/// How many lines may wait for their reader, and for how long the child is held up by one who doesn't read.
const WAITING: usize = 256;
const PATIENCE: Duration = Duration::from_millis(500);

/// The last lines, over all streams in the order in which they ended. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<String>,
    bytes: usize,
    /// The line that each stream is at.
    open: BTreeMap<u64, String>,
    streams: u64,
}

impl Tail {
    /// The last lines, at most `count`: at the end those that have no end yet.
    #[must_use]
    pub(super) fn last(&self, count: usize) -> Vec<String> {
        let kept = self.kept();
        let open = kept.open.values().filter(|line| !line.is_empty());
        let all: Vec<&String> = kept.lines.iter().chain(open).collect();
        let from = all.len().saturating_sub(count);
        all[from..].iter().map(|line| (*line).clone()).collect()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn keep(&mut self, line: String) {
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.lines.len() > LINES || self.bytes > BYTES {
            let gone = self.lines.pop_front();
            self.bytes -= gone.map_or(0, |line| line.len());
        }
    }
}

/// Hands complete lines to one who asked for them before there were any.
#[derive(Clone, Debug)]
pub(super) struct Lines(Option<mpsc::Sender<String>>);

impl Lines {
    /// For nobody.
    pub(super) const fn unheard() -> Self {
        Self(None)
    }

    /// For whoever has the other end. Once that is dropped, or isn't read for a while, it is for nobody.
    pub(super) fn channel() -> (Self, mpsc::Receiver<String>) {
        let (lines, receiver) = mpsc::channel(WAITING);
        (Self(Some(lines)), receiver)
    }

    async fn send(&mut self, complete: Vec<String>) {
        for line in complete {
            let Some(lines) = &self.0 else { return };
            if lines.send_timeout(line, PATIENCE).await.is_err() {
                self.0 = None;
            }
        }
    }
}

/// One stream of a child, cut into lines.
#[derive(Debug)]
pub(super) struct Stream {
    id: u64,
    tail: Tail,
    lines: Lines,
    strip: StripBytes,
    line: Vec<u8>,
    /// Whether the next character begins the line anew, as a progress bar does.
    returned: bool,
}

impl Stream {
    pub(super) fn new(tail: Tail, lines: Lines) -> Self {
        let id = {
            let mut kept = tail.kept();
            kept.streams += 1;
            kept.streams
        };
        Self {
            id,
            tail,
            lines,
            strip: StripBytes::new(),
            line: Vec::new(),
            returned: false,
        }
    }

    /// Takes in what the child has written. Done at once, unless somebody waits for lines and doesn't read them.
    pub(super) async fn push(&mut self, bytes: &[u8]) {
        let complete = self.cut(bytes);
        self.lines.send(complete).await;
    }

    fn cut(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut complete = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match part.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (part, false),
            };
            self.extend(text);
            if ends {
                complete.push(readable(&self.line));
                self.line.clear();
                // A sequence that was never finished doesn't swallow the lines after it.
                self.strip = StripBytes::new();
            }
        }
        let mut kept = self.tail.kept();
        for line in &complete {
            kept.keep(line.clone());
        }
        kept.open.insert(self.id, readable(&self.line));
        drop(kept);
        match self.lines.0 {
            Some(_) => complete,
            None => Vec::new(),
        }
    }

    fn extend(&mut self, text: &[u8]) {
        // A sequence may have a tab in the middle. What follows that in the same piece, anstream would take for text.
        let is_break = |byte: &u8| byte.is_ascii_whitespace() && *byte != b' ';
        for part in text.split_inclusive(is_break) {
            for printable in self.strip.strip_next(part) {
                for byte in printable {
                    if *byte == b'\r' {
                        self.returned = true;
                        continue;
                    }
                    if std::mem::take(&mut self.returned) {
                        self.line.clear();
                    }
                    if self.line.len() < LONGEST_LINE {
                        self.line.push(*byte);
                    }
                }
            }
        }
    }

    /// There will be no more: what has no end by now is a line as well.
    pub(super) async fn end(mut self) {
        let rest = self.end_line();
        self.lines.send(rest.into_iter().collect()).await;
    }

    fn end_line(&mut self) -> Option<String> {
        let mut kept = self.tail.kept();
        kept.open.remove(&self.id);
        let rest = readable(&std::mem::take(&mut self.line));
        let rest = Some(rest).filter(|rest| !rest.is_empty());
        if let Some(rest) = &rest {
            kept.keep(rest.clone());
        }
        rest
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.end_line();
    }
}

/// The lines of an output that comes in these pieces, and the last ones of them.
pub fn lines_of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<String>, Vec<String>) {
    let (tail, (lines, _heard)) = (Tail::default(), Lines::channel());
    let mut stream = Stream::new(tail.clone(), lines);
    let mut all = Vec::new();
    for piece in pieces {
        all.extend(stream.cut(piece));
    }
    all.extend(stream.end_line());
    (all, tail.last(usize::MAX))
}

fn readable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let is_readable = |c: &char| *c == '\t' || !c.is_control();
    text.chars().filter(is_readable).collect()
}

#[cfg(test)]
#[path = "tail_tests.rs"]
mod tests;
