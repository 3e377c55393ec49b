//! From a child's stream to all who want it.

use std::io;
use std::os::fd::OwnedFd;

use futures_util::future::join;
use rustix::fs::OFlags;
use rustix::io::Errno;
use tokio::io::{Interest, unix::AsyncFd};

use super::sink::Sink;
use super::tail::{Lines, Stream, Tail};

/// How much is read at once.
const CHUNK: usize = 64 * 1024;

/// Who gets what a child writes to one stream.
pub(super) struct Outlets {
    /// Whoever looks on. They may be slow.
    pub(super) shown: Option<Sink>,
    /// Bytes as they come.
    pub(super) log: Option<Sink>,
    /// The last lines.
    pub(super) tail: Tail,
    /// Each line.
    pub(super) lines: Lines,
}

/// Reads the pipe, or the master of a pseudoterminal, to its end: until nobody has the other side open any more, which a
/// process that was left behind can delay as long as it likes. Dropping it ends it at once.
///
/// Whoever looks on comes last, so that log and lines have all that was read before they do, and is waited for no longer
/// than [`Sink::push`] says.
///
/// # Errors
///
/// When it can't be read.
pub(super) async fn pump(from: OwnedFd, outlets: Outlets) -> io::Result<()> {
    let from = registered(from)?;
    let mut stream = Stream::new(outlets.tail, outlets.lines);
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = |fd: &OwnedFd| Ok(rustix::io::read(fd, &mut *buffer)?);
        let count = match from.async_io(Interest::READABLE, read).await {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::INTR) => continue,
                // The other side of a pseudoterminal is closed (pty(7), tty_ioctl(4)); others say end of file.
                Some(Errno::IO) => break,
                _ => return Err(error),
            },
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        join(push(&outlets.log, bytes), stream.push(bytes)).await;
        push(&outlets.shown, bytes).await;
    }
    stream.end().await;
    Ok(())
}

async fn push(sink: &Option<Sink>, bytes: &[u8]) {
    if let Some(sink) = sink {
        sink.push(bytes).await;
    }
}

/// The descriptor, in the current runtime. It is made non-blocking, which concerns nobody else: reading sides aren't shared.
#[expect(
    deprecated,
    reason = "its successor is unsafe; what that asks for holds: an `OwnedFd` keeps its descriptor for life"
)]
fn registered(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
    AsyncFd::with_interest(fd, Interest::READABLE)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::time::Duration;

    use super::*;
    use crate::http_server::child_process::terminal::Terminal;

    fn to(shown: Option<Sink>, log: Option<Sink>) -> (Outlets, Tail) {
        let tail = Tail::default();
        let outlets = Outlets {
            shown,
            log,
            tail: tail.clone(),
            lines: Lines::unheard(),
        };
        (outlets, tail)
    }

    #[tokio::test]
    async fn everything_arrives_everywhere_untouched() {
        let (from, mut child) = io::pipe().unwrap();
        let (mut one, one_in) = io::pipe().unwrap();
        let (mut two, two_in) = io::pipe().unwrap();
        let [shown, log] = [one_in, two_in].map(|out| Sink::stream(out, |_| {}).ok());
        let (mut outlets, tail) = to(shown, log);
        let (lines, mut receiver) = Lines::channel();
        outlets.lines = lines;
        let pumping = tokio::spawn(pump(from.into(), outlets));
        let bytes = b"a\0\xff\x1b[31mb\r\nno end";
        child.write_all(bytes).unwrap();
        drop(child);
        pumping.await.unwrap().unwrap();
        for reader in [&mut one, &mut two] {
            let mut seen = Vec::new();
            reader.read_to_end(&mut seen).unwrap();
            assert_eq!(seen, bytes);
        }
        assert_eq!(tail.last(1), ["no end"]);
        let first = receiver.recv().await.unwrap();
        assert!(first.ends_with('b'), "{first}");
        assert_eq!(receiver.recv().await.unwrap(), "no end");
    }

    #[tokio::test]
    async fn who_looks_on_and_is_slow_costs_log_and_lines_nothing_and_the_child_little() {
        let (from, mut child) = io::pipe().unwrap();
        let (mut slow, slow_in) = io::pipe().unwrap();
        let (mut heard, heard_in) = io::pipe().unwrap();
        let [shown, log] = [slow_in, heard_in].map(|out| Sink::stream(out, |_| {}).unwrap());
        let (mut outlets, _) = to(Some(shown.clone()), Some(log.clone()));
        let (lines, mut receiver) = Lines::channel();
        outlets.lines = lines;
        let pumping = tokio::spawn(pump(from.into(), outlets));
        let text = [&vec![b'x'; 4 * 1024 * 1024][..], b"\nlast words"].concat();
        let length = text.len();
        let begun = std::time::Instant::now();
        let writing = std::thread::spawn(move || child.write_all(&text).unwrap());
        let (tell, told) = std::sync::mpsc::channel::<()>();
        let taking = std::thread::spawn(move || {
            // One that gets on, at 20 KB in a second.
            while told.recv_timeout(Duration::from_millis(200)).is_err() {
                slow.read_exact(&mut [0; 4096]).unwrap();
            }
        });
        let reading = std::thread::spawn(move || {
            let mut seen = Vec::new();
            heard.read_to_end(&mut seen).unwrap();
            seen.len()
        });
        assert!(receiver.recv().await.unwrap().ends_with('x'));
        assert_eq!(receiver.recv().await.unwrap(), "last words");
        pumping.await.unwrap().unwrap();
        let took = begun.elapsed();
        writing.join().unwrap();
        assert!(took < Duration::from_secs(20), "{took:?}");
        assert_eq!(log.finish(Duration::from_secs(60)).await, 0);
        drop(log);
        assert_eq!(reading.join().unwrap(), length);
        assert!(shown.finish(Duration::ZERO).await > 0);
        tell.send(()).unwrap();
        taking.join().unwrap();
    }

    #[tokio::test]
    async fn a_pipe_that_is_kept_open_by_somebody_is_let_go_of_when_the_pump_is_dropped() {
        let (from, mut left_behind) = io::pipe().unwrap();
        let (outlets, tail) = to(None, None);
        let mut pumping = Box::pin(pump(from.into(), outlets));
        left_behind.write_all(b"half a line").unwrap();
        while tail.last(1).is_empty() {
            tokio::select! {
                biased;
                ended = &mut pumping => panic!("{ended:?}"),
                () = tokio::task::yield_now() => {}
            }
        }
        drop(pumping);
        assert_eq!(tail.last(1), ["half a line"]);
        let error = left_behind.write_all(b"x").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn a_terminal_passes_bytes_on_untouched_and_ends_with_its_last_user() {
        let (terminal, slave) = Terminal::open(None).unwrap();
        let (mut out, out_in) = io::pipe().unwrap();
        let sink = Sink::stream(out_in, |_| {}).unwrap();
        let (outlets, _) = to(Some(sink), None);
        let pumping = tokio::spawn(pump(terminal.output().unwrap(), outlets));
        let mut child = std::fs::File::from(slave);
        child.write_all(b"a\nb\t\x1b[1m\xff\x04").unwrap();
        drop(child);
        pumping.await.unwrap().unwrap();
        let mut seen = Vec::new();
        out.read_to_end(&mut seen).unwrap();
        assert_eq!(seen, b"a\nb\t\x1b[1m\xff\x04");
    }
}
