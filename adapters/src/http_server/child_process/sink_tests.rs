use std::io::{PipeReader, Read as _};
use std::sync::mpsc;

use super::*;

/// Somebody who takes a piece whenever a permit is there, and answers as told.
struct Gated {
    answers: mpsc::Receiver<io::Result<()>>,
    begun: mpsc::Sender<()>,
    taken: Arc<Mutex<Vec<u8>>>,
}

impl Write for Gated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.begun.send(());
        self.answers.recv().map_err(io::Error::other)??;
        self.taken.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Gate {
    sink: Sink,
    answers: mpsc::Sender<io::Result<()>>,
    begun: mpsc::Receiver<()>,
    taken: Arc<Mutex<Vec<u8>>>,
    troubles: mpsc::Receiver<String>,
}

fn told() -> (impl Fn(&Trouble) + Send + Sync, mpsc::Receiver<String>) {
    let (tell, told) = mpsc::channel();
    (
        move |trouble: &Trouble| drop(tell.send(format!("{trouble:?}"))),
        told,
    )
}

fn gate(afterwards: Afterwards) -> Gate {
    let (answers, to_give) = mpsc::channel();
    let (begin, begun) = mpsc::channel();
    let taken = Arc::new(Mutex::new(Vec::new()));
    let out = Gated {
        answers: to_give,
        begun: begin,
        taken: taken.clone(),
    };
    let (tell, troubles) = told();
    Gate {
        sink: Sink::new(out, afterwards, tell).unwrap(),
        answers,
        begun,
        taken,
        troubles,
    }
}

const LONG: Duration = Duration::from_secs(60);

fn piped() -> (Sink, PipeReader, mpsc::Receiver<String>) {
    let (reader, writer) = io::pipe().unwrap();
    let (tell, troubles) = told();
    let sink = Sink::stream(writer, tell).unwrap();
    (sink, reader, troubles)
}

#[tokio::test]
async fn bytes_go_out_untouched_and_at_once() {
    let (sink, mut reader, _) = piped();
    let bytes = b"\0\xff\xc3 \x1b[31m no end of line";
    sink.push(bytes).await;
    let mut seen = vec![0; bytes.len()];
    reader.read_exact(&mut seen).unwrap();
    assert_eq!(seen, bytes);
    assert_eq!(sink.finish(LONG).await, 0);
}

#[tokio::test]
async fn what_was_pushed_is_written_before_the_end() {
    let (sink, mut reader, _) = piped();
    let reading = std::thread::spawn(move || {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        all
    });
    let bytes: Vec<u8> = (0..3 * CAPACITY).map(|i| (i % 251) as u8).collect();
    for chunk in bytes.chunks(64 * 1024) {
        sink.push(chunk).await;
    }
    assert_eq!(sink.finish(LONG).await, 0);
    drop(sink);
    assert!(reading.join().unwrap() == bytes);
}

#[tokio::test]
async fn a_reader_who_stops_loses_output_is_named_once_and_may_catch_up() {
    let gate = gate(Afterwards::EndWithReader);
    gate.sink.push(b"first").await;
    gate.begun.recv().unwrap();
    gate.sink.push(&vec![b'x'; CAPACITY]).await;
    let before = std::time::Instant::now();
    gate.sink.push(b"lost").await;
    assert!((PATIENCE..20 * PATIENCE).contains(&before.elapsed()));
    // Whoever is lost upon isn't kept waiting again.
    let before = std::time::Instant::now();
    for _ in 0..100 {
        gate.sink.push(b"lost").await;
    }
    assert!(before.elapsed() < PATIENCE);
    assert_eq!(gate.troubles.recv().unwrap(), "TooSlow");
    for _ in 0..=CAPACITY / PIECE {
        gate.answers.send(Ok(())).unwrap();
        if gate.begun.recv().is_err() {
            break;
        }
        if gate.sink.0.shared.state().queue.len() <= CAPACITY / 2 {
            break;
        }
    }
    gate.sink.push(b"heard again").await;
    for _ in 0..=CAPACITY / PIECE / 2 + 1 {
        gate.answers.send(Ok(())).unwrap();
    }
    assert_eq!(gate.sink.finish(LONG).await, 4 * 101);
    let taken = gate.taken.lock().unwrap();
    assert_eq!(taken.len(), 5 + CAPACITY + 11);
    assert!(taken.ends_with(b"xheard again"));
    assert!(gate.troubles.try_recv().is_err());
}

#[test]
fn only_the_first_loss_is_told() {
    let mut state = State::default();
    assert!(state.give_up_on(b"lost"));
    assert!(!state.give_up_on(b"lost"));
}

#[tokio::test]
async fn a_slow_reader_is_waited_for_only_so_long_in_all() {
    let gate = gate(Afterwards::EndWithReader);
    gate.sink.push(b"first").await;
    gate.begun.recv().unwrap();
    gate.sink.push(&vec![b'x'; CAPACITY]).await;
    let push = gate.sink.push(b"lost");
    let mut push = std::pin::pin!(push);
    // Something gets on all the time, though never much.
    let before = std::time::Instant::now();
    while timeout(PATIENCE / 5, push.as_mut()).await.is_err() {
        assert!(before.elapsed() < 20 * PATIENCE);
        gate.sink.0.shared.moved(1, false);
    }
    assert!(before.elapsed() >= PATIENCE);
    assert_eq!(gate.troubles.recv().unwrap(), "TooSlow");
}

#[tokio::test]
async fn nobody_is_kept_waiting_who_is_in_a_hurry() {
    let gate = gate(Afterwards::EndWithReader);
    gate.sink.push(b"first").await;
    gate.begun.recv().unwrap();
    gate.sink.push(&vec![b'x'; CAPACITY]).await;
    let before = std::time::Instant::now();
    tokio::join!(gate.sink.push(b"lost"), async { gate.sink.hurry() });
    gate.sink.push(b"lost").await;
    assert!(before.elapsed() < PATIENCE);
    assert_eq!(gate.troubles.recv().unwrap(), "TooSlow");
}

#[test]
fn what_is_written_gives_patience_back() {
    let mut state = State::default();
    state.have_waited(PATIENCE);
    assert_eq!(state.patience, Duration::ZERO);
    (0..CAPACITY / PIECE / 2).for_each(|_| state.have_written(PIECE));
    let half = PATIENCE / 2;
    assert!((half - half / 100..=half).contains(&state.patience));
    (0..CAPACITY / PIECE).for_each(|_| state.have_written(PIECE));
    assert_eq!(state.patience, PATIENCE, "and no more than there was");
}

#[tokio::test]
async fn a_full_disk_is_named_once_and_tried_again() {
    let gate = gate(Afterwards::TryAgain);
    for text in ["a", "b", "c"] {
        gate.sink.push(text.as_bytes()).await;
        gate.begun.recv().unwrap();
        let answer = match text {
            "c" => Ok(()),
            _ => Err(io::ErrorKind::StorageFull.into()),
        };
        gate.answers.send(answer).unwrap();
    }
    assert_eq!(gate.sink.finish(LONG).await, 2);
    assert_eq!(*gate.taken.lock().unwrap(), b"c");
    assert_eq!(gate.troubles.recv().unwrap(), "Failed(Kind(StorageFull))");
    assert!(gate.troubles.try_recv().is_err());
}

#[tokio::test]
async fn an_interruption_and_a_descriptor_that_does_not_block_lose_nothing() {
    let gate = gate(Afterwards::TryAgain);
    let kinds = [io::ErrorKind::Interrupted, io::ErrorKind::WouldBlock];
    for kind in kinds {
        gate.answers.send(Err(kind.into())).unwrap();
    }
    gate.answers.send(Ok(())).unwrap();
    gate.sink.push(b"text").await;
    assert_eq!(gate.sink.finish(LONG).await, 0);
    assert_eq!(*gate.taken.lock().unwrap(), b"text");
    assert!(gate.troubles.try_recv().is_err());
}

#[tokio::test]
async fn a_reader_who_has_gone_keeps_nobody_waiting() {
    let (sink, reader, troubles) = piped();
    drop(reader);
    sink.push(b"text").await;
    assert!(troubles.recv().unwrap().contains("BrokenPipe"));
    while !sink.0.shared.state().is_dead {
        tokio::task::yield_now().await;
    }
    let before = std::time::Instant::now();
    for _ in 0..3 {
        sink.push(&vec![b'x'; CAPACITY]).await;
    }
    assert!(before.elapsed() < PATIENCE);
    assert_eq!(sink.finish(LONG).await, 4 + 3 * CAPACITY as u64);
    assert!(troubles.try_recv().is_err());
}

#[tokio::test]
async fn a_write_that_hangs_is_given_up_at_the_end() {
    let gate = gate(Afterwards::TryAgain);
    gate.sink.push(b"text").await;
    gate.begun.recv().unwrap();
    gate.sink.push(b"more").await;
    assert_eq!(gate.sink.finish(Duration::from_millis(10)).await, 8);
    gate.sink.push(b"late").await;
    assert_eq!(gate.sink.finish(Duration::ZERO).await, 12);
}

#[tokio::test]
async fn the_last_clone_takes_the_thread_with_it_once_all_is_written() {
    let (sink, mut reader, _) = piped();
    let clone = sink.clone();
    sink.push(b"one ").await;
    drop(sink);
    clone.push(b"two").await;
    drop(clone);
    // It ends only when the writing end is closed, with the thread.
    let mut all = String::new();
    reader.read_to_string(&mut all).unwrap();
    assert_eq!(all, "one two");
}

#[tokio::test]
async fn a_pipe_that_somebody_made_non_blocking_stays_so_and_gets_everything() {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    let (mut reader, writer) = io::pipe().unwrap();
    fcntl_setfl(&writer, fcntl_getfl(&writer).unwrap() | OFlags::NONBLOCK).unwrap();
    let sink = Sink::stream(&writer, |_| {}).unwrap();
    let bytes: Vec<u8> = (0..CAPACITY / 2).map(|i| (i % 251) as u8).collect();
    // It fits into the queue, and not into the pipe.
    sink.push(&bytes).await;
    let reading = std::thread::spawn(move || {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        all
    });
    assert_eq!(sink.finish(LONG).await, 0);
    assert!(fcntl_getfl(&writer).unwrap().contains(OFlags::NONBLOCK));
    drop((sink, writer));
    assert!(reading.join().unwrap() == bytes);
}
