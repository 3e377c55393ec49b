//! Real processes, killed and started at the worst moments.
//!
//! By default a sample. All of it (1,000 kills, 1,000 rounds of starters, 50 watched starts), in about five minutes:
//!
//! ```text
//! DAYMARK_TEST_FULL=1 cargo test --release -p daymark-tests --test crash
//! ```
#![cfg(unix)]

use std::path::Path;
use std::time::{Duration, Instant};

use daymark::Presence;
use daymark_adapters::state_store::Look;
use daymark_core::presence::{LockSeen, Observation};
use daymark_tests::files::Ground;
use daymark_tests::onlookers::Onlookers;
use daymark_tests::owner::{Owner, Said, exit};
use daymark_tests::scale::{random, rounds};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const OWNER: &str = env!("CARGO_BIN_EXE_owner");

#[test]
fn a_kill_at_any_moment_leaves_nothing_that_anybody_believes() {
    let mut random = random();
    let ground = Ground::new();
    let (starting, stopping) = typical_durations(&ground.dir());
    let readers = Onlookers::of(&ground.dir());
    let mut found_stale = 0;

    for _ in 0..rounds(40, 1_000) {
        let mut owner = Owner::start(OWNER, &ground.dir());
        match random.u8(..3) {
            0 => pause(&mut random, starting.mul_f32(1.5)),
            1 => {
                owner.ready();
                pause(&mut random, starting);
            }
            _ => {
                owner.ready();
                owner.ask_to_stop();
                pause(&mut random, stopping.mul_f32(1.5));
            }
        }
        owner.kill();
        let dead = readers.nobody_lives();
        ground.assert_survivable();
        found_stale += usize::from(ground.presence() == Presence::Stale);
        readers.look_once_more();
        drop(dead);

        let mut next = Owner::start(OWNER, &ground.dir());
        next.ready();
        next.stop();
        ground.assert_left_clean();
    }
    let looks = readers.end();
    assert!(looks > 0 && found_stale > 0, "the kills hit serving owners");
    println!("{found_stale} records outlived their owner; {looks} looks");
}

#[test]
fn of_sixteen_simultaneous_starters_exactly_one_wins_and_all_others_name_it() {
    for round in 0..rounds(20, 1_000) {
        let ground = Ground::new();
        let mut owners: Vec<Owner> = (0..16).map(|_| Owner::load(OWNER, &ground.dir())).collect();
        owners.iter_mut().for_each(Owner::go);

        let said: Vec<Said> = owners
            .iter_mut()
            .map(|owner| owner.hear().expect("an answer"))
            .collect();
        let winners: Vec<usize> = (0..16)
            .filter(|&i| matches!(said[i], Said::Ready(..)))
            .collect();
        let [winner] = *winners.as_slice() else {
            panic!("round {round}: {} won: {said:?}", winners.len());
        };
        let Said::Ready(url, instance) = said[winner].clone() else {
            unreachable!("it was chosen for that");
        };
        let winner = owners.remove(winner);
        for (mut loser, said) in owners.into_iter().zip(
            said.into_iter()
                .filter(|said| !matches!(said, Said::Ready(..))),
        ) {
            assert_eq!(said, Said::Already(url.clone(), instance.clone()));
            assert_eq!(loser.wait().code(), Some(exit::ALREADY_RUNNING));
        }
        assert_eq!(ground.presence(), Presence::Live);
        runtime().block_on(async {
            let connection = ground.place().connect().await.expect("the winner answers");
            assert_eq!(answer_of(connection.stream).await, "hello\n");
        });
        winner.stop();
        ground.assert_left_clean();
    }
}

#[test]
fn whoever_connects_the_moment_a_record_appears_is_never_refused() {
    let runtime = runtime();
    for _ in 0..rounds(10, 50) {
        let ground = Ground::new();
        let mut owner = Owner::load(OWNER, &ground.dir());
        let mut watch = ground.place().watch();
        runtime.block_on(async {
            assert_eq!(watch.next().await.presence, Presence::Absent);
            owner.go();
            let record = loop {
                let sighting = watch.next().await;
                if sighting.is_live() {
                    break sighting.record.expect("a live server has a record");
                }
            };
            let stream = tokio::net::TcpStream::connect(record.endpoint.addr())
                .await
                .expect("it listens since before the record");
            assert_eq!(answer_of(stream).await, "hello\n");
        });
        owner.ready();
        owner.stop();
    }
}

#[test]
fn a_record_is_vouched_for_from_the_moment_it_appears() {
    for _ in 0..rounds(10, 50) {
        let ground = Ground::new();
        let mut owner = Owner::start(OWNER, &ground.dir());
        let seen = loop {
            match Look::at(&ground.dir()).observation() {
                Observation::NoRecord(_) => {}
                Observation::Record(_, lock) => break lock.clone(),
                other => panic!("never to be seen: {other:?}"),
            }
        };
        assert_eq!(seen, LockSeen::Held);
        owner.ready();
        owner.stop();
    }
}

/// A dying process ends its locks and sockets from the highest descriptor down. The other way round, its record would be
/// believed for a moment in which nobody listens.
#[cfg(target_os = "linux")]
#[test]
fn the_proof_of_life_is_numbered_above_the_listener() {
    use std::fs::File;

    use daymark::{LifecycleEvent, Server};

    let ground = Ground::new();
    // What is closed once the port is bound leaves its low numbers to the record.
    let low: Vec<File> = (0..100)
        .map(|_| File::open("/dev/null").expect("a file"))
        .collect();
    let server = Server::builder("numbers")
        .state_dir(ground.dir())
        .start_with(move |_| {
            drop(low);
            axum::Router::new()
        })
        .expect("a start");
    let mut events = server.subscribe();
    let socket = listening_socket(server.port());
    let listener = descriptors(|target| target == Path::new(&socket));
    assert_eq!(listener.len(), 1);
    for _ in 0..3 {
        let proof = descriptors(|target| target == ground.record());
        assert_eq!(proof.len(), 1);
        assert!(proof > listener, "{proof:?}, {listener:?}");
        std::fs::remove_file(ground.record()).expect("remove the record");
        let republished = |event| matches!(event, Some(LifecycleEvent::Republished));
        while !republished(events.blocking_next()) {}
    }
}

/// The numbers of our descriptors that lead to something (proc_pid_fd(5)).
#[cfg(target_os = "linux")]
fn descriptors(wanted: impl Fn(&Path) -> bool) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc/self/fd").expect("it is there");
    entries
        .map(|entry| entry.expect("an entry"))
        // Other tests close theirs meanwhile.
        .filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|target| wanted(&target)))
        .map(|entry| entry.file_name().to_str().and_then(|n| n.parse().ok()))
        .map(|number| number.expect("a number"))
        .collect()
}

/// `socket:[INODE]`, by the table of sockets (proc_pid_net(5)).
#[cfg(target_os = "linux")]
fn listening_socket(port: u16) -> String {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the table of sockets");
    let local = format!(":{port:04X}");
    let mut rows = table
        .lines()
        .map(|row| row.split_ascii_whitespace().collect::<Vec<_>>());
    let row = rows.find(|row| row[1].ends_with(&local) && row[3] == "0A");
    format!("socket:[{}]", row.expect("it listens")[9])
}

#[test]
fn a_watch_tells_of_a_kill() {
    let ground = Ground::new();
    let mut owner = Owner::start(OWNER, &ground.dir());
    owner.ready();
    let mut watch = ground.place().watch();
    runtime().block_on(async {
        assert_eq!(watch.next().await.presence, Presence::Live);
        owner.kill();
        assert_eq!(watch.next().await.presence, Presence::Stale);
    });
}

/// How long a start and a stop take here.
fn typical_durations(dir: &Path) -> (Duration, Duration) {
    let begun = Instant::now();
    let mut owner = Owner::start(OWNER, dir);
    owner.ready();
    let started = begun.elapsed();
    let begun = Instant::now();
    owner.stop();
    (started.max(MOMENT), begun.elapsed().max(MOMENT))
}

const MOMENT: Duration = Duration::from_millis(1);

/// A random time up to `longest`. Nothing waits for it: it is the random moment that a kill comes at.
fn pause(random: &mut fastrand::Rng, longest: Duration) {
    std::thread::sleep(longest.mul_f32(random.f32()));
}

async fn answer_of(mut stream: tokio::net::TcpStream) -> String {
    let addr = stream.peer_addr().expect("it is connected");
    let request = format!("GET / HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("send a request");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("read the answer");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
    body.to_owned()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}
