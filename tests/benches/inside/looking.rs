//! Looking at a server and connecting to it, against reading its record and connecting to whatever that says.

use std::fs::{File, TryLockError};
use std::hint::black_box;
use std::io::Read as _;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use daymark::{Place, Server};
use serde_json::Value;
use tokio::runtime::Builder;

use super::figures::{Contender, Report, Target, on_disk, rounds};
use super::requests::answer;

/// Looks take a few microseconds, and a clock some of one.
const AT_A_TIME: u32 = 100;

pub(super) fn measure(report: &mut Report) {
    let disk = on_disk();
    let dir = disk.path().join("state");
    let server = Server::builder("bench")
        .state_dir(&dir)
        .app(tower::service_fn(answer))
        .start()
        .expect("it starts");
    let place = Place::at(&dir).expect("a place");
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let record = dir.join("server.json");
    let each = |work: &dyn Fn()| {
        let began = Instant::now();
        (0..AT_A_TIME).for_each(|_| work());
        began.elapsed() / AT_A_TIME
    };
    report.compare(
        "discover a live server, µs",
        rounds(200),
        vec![
            Contender::new("open, read, parse, try the lock", || {
                each(&|| {
                    black_box(read_and_try(&record));
                })
            }),
            Contender::new("open, read, parse", || {
                each(&|| {
                    black_box(read(&record));
                })
            }),
            Contender::new("daymark::Place::look", || {
                each(&|| assert!(place.look().is_live()))
            })
            .target(Target::Times(1.5)),
        ],
    );
    let connect = || {
        let began = Instant::now();
        let connection = runtime
            .block_on(place.connect())
            .expect("it is proven to be the one");
        let took = began.elapsed();
        drop(connection);
        took
    };
    report.compare(
        "discover and connect, µs",
        rounds(500),
        vec![
            Contender::new("the same reads, then connect", || {
                let began = Instant::now();
                let port = read_and_try(&record);
                let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
                let took = began.elapsed();
                drop(stream);
                took
            }),
            Contender::new("daymark::Place::connect", connect).target(Target::Times(1.5)),
        ],
    );
    report.note(
        "Connecting proves more than the floor does: that the socket at the other end is this user's, and that the record's \
         writer was alive after the connect, too.",
    );
    server.stop(Duration::ZERO).expect("it stops");
}

/// The port of a record, by the least that a reader can do.
pub(super) fn read(path: &Path) -> (File, u16) {
    let mut file = File::open(path).expect("the record");
    let mut bytes = Vec::with_capacity(1024);
    file.read_to_end(&mut bytes).expect("the record");
    let value: Value = serde_json::from_slice(&bytes).expect("a record");
    let port = value["port"].as_u64().expect("a port");
    (file, port as u16)
}

/// The same, and whether its writer is alive.
pub(super) fn read_and_try(path: &Path) -> u16 {
    let (file, port) = read(path);
    let tried = file.try_lock_shared();
    assert!(matches!(tried, Err(TryLockError::WouldBlock)), "it is live");
    port
}
