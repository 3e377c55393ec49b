//! The client's half: what is believed, who is connected to, and who is signalled. Never a stranger.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::future::poll_fn;
use std::net::TcpListener;
use std::num::NonZeroU16;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::pin::pin;
use std::process::{Child, Command};
use std::task::Poll;
use std::time::Duration;

use daymark::{ConnectError, Place, Presence, StopOptions, StopServerError, Stopped, WaitError};
use daymark_adapters::state_store::{Look, RECORD};
use daymark_adapters::{identity, record_json};
use daymark_core::clock::Timestamp;
use daymark_core::record::{Endpoint, HeldBy, InstanceId, Origin, ServerRecord};
use daymark_tests::client::PATIENCE;
use daymark_tests::files::Ground;
use daymark_tests::owner::Owner;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const OWNER: &str = env!("CARGO_BIN_EXE_owner");

/// A record that somebody may have written, of this machine unless the test says otherwise.
fn record(pid: u32) -> ServerRecord {
    ServerRecord {
        endpoint: Endpoint::v4(NonZeroU16::new(4711).expect("not zero")),
        pid,
        started_at: Timestamp::from_unix_micros(0),
        name: None,
        instance_id: Some(InstanceId::from_bits(7)),
        held_by: HeldBy::Owner,
        restarts: None,
        origin: identity::origin().clone(),
        app: None,
        token: None,
    }
}

/// Puts a record where an owner would, and gives its file.
fn put(ground: &Ground, record: &ServerRecord) -> File {
    std::fs::create_dir_all(ground.dir()).expect("make the directory");
    let private = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(ground.dir(), private).expect("make it private");
    let temporary = ground.dir().join("new");
    std::fs::write(&temporary, record_json::write(record)).expect("write the record");
    let file = File::open(&temporary).expect("open the record");
    std::fs::rename(&temporary, ground.dir().join(RECORD)).expect("put it in place");
    file
}

/// Puts a record there, and vouches for it as long as the file is kept.
fn put_locked(ground: &Ground, record: &ServerRecord) -> File {
    let file = put(ground, record);
    file.try_lock().expect("nobody else has it");
    file
}

/// A process that has nothing to do with any of this.
struct Bystander(Child);

impl Bystander {
    fn new() -> Self {
        let child = Command::new("sleep").arg("600").spawn();
        Self(child.expect("sleep runs"))
    }

    fn is_alive(&mut self) -> bool {
        self.0.try_wait().expect("it can be waited for").is_none()
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_live_server_is_connected_to_and_proven() {
    let ground = Ground::new();
    let mut owner = Owner::start(OWNER, &ground.dir());
    let (url, _) = owner.ready();

    let mut connection = ground.place().connect().await.expect("a connection");

    assert_eq!(connection.record.endpoint.url(), url);
    let host = connection.record.endpoint.addr();
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    connection
        .stream
        .write_all(request.as_bytes())
        .await
        .expect("ask");
    let mut answer = String::new();
    connection
        .stream
        .read_to_string(&mut answer)
        .await
        .expect("hear");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    owner.stop();
}

#[tokio::test]
async fn whoever_took_a_dead_servers_port_is_not_connected_to() {
    let ground = Ground::new();
    let mut owner = Owner::start(OWNER, &ground.dir());
    owner.ready();
    let addr = ground
        .place()
        .look()
        .record
        .expect("a record")
        .endpoint
        .addr();
    owner.kill();
    let stranger = TcpListener::bind(addr).expect("the port is free again");
    stranger.set_nonblocking(true).expect("a plain socket");

    let refused = ground.place().connect().await;

    assert!(
        matches!(&refused, Err(ConnectError::NotLive(s)) if s.presence == Presence::Stale),
        "{refused:?}"
    );
    assert!(stranger.accept().is_err(), "nobody has knocked");
}

#[tokio::test]
async fn a_writer_that_does_not_hold_the_socket_proves_nothing_about_who_answers() {
    let ground = Ground::new();
    let mut of_a_child = record(std::process::id());
    of_a_child.held_by = HeldBy::Child;
    let _proof = put_locked(&ground, &of_a_child);
    let refused = ground.place().connect().await;
    assert!(
        matches!(refused, Err(ConnectError::NotOwner(_))),
        "{refused:?}"
    );
}

#[test]
fn a_second_look_fails_when_the_writer_is_gone() {
    let ground = Ground::new();
    let proof = put_locked(&ground, &record(1));
    let look = Look::at(&ground.dir());
    assert!(look.still_holds());
    proof.unlock().expect("unlock");
    assert!(!look.still_holds());
}

#[test]
fn a_second_look_fails_when_another_record_is_in_place() {
    let ground = Ground::new();
    let _first = put_locked(&ground, &record(1));
    let look = Look::at(&ground.dir());
    let _second = put_locked(&ground, &record(1));
    assert!(!look.still_holds(), "the same words, and another writer");
    assert!(Look::at(&ground.dir()).still_holds());
}

#[test]
fn a_live_server_of_another_machine_or_network_is_unreachable() {
    let ground = Ground::new();
    for elsewhere in [
        Origin {
            boot_id: Some("another boot".into()),
            ..identity::origin().clone()
        },
        Origin {
            net_ns: Some(1),
            ..identity::origin().clone()
        },
    ] {
        let mut there = record(1);
        there.origin = elsewhere;
        let _proof = put_locked(&ground, &there);
        assert_eq!(ground.presence(), Presence::Unreachable);
    }
}

/// Between the end of its proof and its removal a record says nothing about its owner, but the lock file does.
#[test]
fn a_record_that_its_living_owner_is_about_to_remove_is_not_stale() {
    let ground = Ground::new();
    put(&ground, &record(std::process::id()));
    let lock = File::create(ground.lock()).expect("make the lock file");
    lock.try_lock().expect("nobody else has it");
    let said = |pid: u32, phase: &str| {
        let word = format!("{pid} {:032x} {phase} 4711\n", 7);
        std::fs::write(ground.lock(), word).expect("leave word");
        Place::at(ground.dir()).expect("a place").look().presence
    };
    let own = std::process::id();
    assert_eq!(said(own, "serving"), Presence::Stopping);
    assert_eq!(said(own, "stopping"), Presence::Stopping);
    assert_eq!(said(own, "starting"), Presence::Starting);
    // That is the word of somebody before. No process has such a number (/proc/sys/kernel/pid_max in proc(5)).
    assert_eq!(said(i32::MAX.cast_unsigned(), "serving"), Presence::Stale);
    lock.unlock().expect("it was locked");
    assert_eq!(said(own, "serving"), Presence::Stale);
}

#[tokio::test]
async fn the_pid_in_a_dead_servers_record_is_never_signalled() {
    let ground = Ground::new();
    let mut bystander = Bystander::new();
    put(&ground, &record(bystander.0.id()));

    let stopped = ground.place().stop(StopOptions::default()).await;

    assert!(matches!(stopped, Ok(Stopped::WasNotRunning)), "{stopped:?}");
    assert!(bystander.is_alive());
}

#[tokio::test]
async fn a_pid_of_another_namespace_is_never_signalled() {
    let ground = Ground::new();
    let mut bystander = Bystander::new();
    let mut there = record(bystander.0.id());
    there.origin.pid_ns = Some(1);
    let _proof = put_locked(&ground, &there);

    let refused = ground.place().stop(StopOptions::default()).await;

    assert!(
        matches!(&refused, Err(StopServerError::NotProven { reason, .. }) if reason.contains("pid namespace")),
        "{refused:?}"
    );
    assert!(bystander.is_alive());
}

#[tokio::test]
async fn a_record_of_the_three_original_fields_is_found_and_never_acted_on() {
    let ground = Ground::new();
    let mut bystander = Bystander::new();
    put(&ground, &record(1));
    let text = format!(
        r#"{{"port":4711,"pid":{},"started_at":"2026-01-01T00:00:00+00:00"}}"#,
        bystander.0.id()
    );
    std::fs::write(ground.record(), text).expect("write the record");

    let sighting = ground.place().look();
    assert_eq!(sighting.presence, Presence::Unproven);
    let found = sighting.record.expect("it can be read");
    assert_eq!(found.endpoint.url(), "http://127.0.0.1:4711/");
    let refused = ground.place().connect().await;
    assert!(
        matches!(refused, Err(ConnectError::NotLive(_))),
        "{refused:?}"
    );
    let refused = ground.place().stop(StopOptions::default()).await;
    assert!(
        matches!(refused, Err(StopServerError::NotProven { .. })),
        "{refused:?}"
    );
    assert!(bystander.is_alive());
}

#[tokio::test]
async fn a_stop_from_outside_returns_when_the_place_could_be_had() {
    let ground = Ground::new();
    let mut owner = Owner::start(OWNER, &ground.dir());
    owner.ready();
    let stopped = ground.place().stop(StopOptions::default()).await;
    assert!(matches!(stopped, Ok(Stopped::Stopped(_))), "{stopped:?}");
    assert_eq!(ground.presence(), Presence::Absent);
    let mut next = Owner::start(OWNER, &ground.dir());
    next.ready();
    next.stop();
}

#[tokio::test]
async fn waits_end_with_what_they_waited_for() {
    let ground = Ground::new();
    let place = ground.place();
    let long = Duration::from_secs(60);
    // Neither the directory nor its parents' names are there when this begins.
    let ready = tokio::spawn(async move { place.wait_ready(long).await });
    let mut owner = Owner::start(OWNER, &ground.dir());
    owner.ready();
    assert!(ready.await.expect("no panic").expect("ready").is_live());

    let place = ground.place();
    let down = tokio::spawn(async move { place.wait_down(long).await });
    owner.kill();
    let down = down.await.expect("no panic").expect("down");
    assert_eq!(down.presence, Presence::Stale);
}

#[tokio::test]
async fn waits_that_are_given_up_leave_one_thread_for_each_server() {
    let ground = Ground::new();
    let mut owner = Owner::start(OWNER, &ground.dir());
    owner.ready();
    let of_this = || {
        let fds = std::fs::read_dir("/proc/self/fd").expect("proc_pid_fd(5)");
        let links = fds
            .flatten()
            .filter_map(|fd| std::fs::read_link(fd.path()).ok());
        links.filter(|to| to.starts_with(ground.dir())).count()
    };
    for _ in 0..20 {
        let place = ground.place();
        assert!(place.wait_down(Duration::from_millis(1)).await.is_err());
    }
    assert!(of_this() <= 4, "{} descriptors", of_this());
    owner.stop();
}

/// As long as somebody has a directory open, its own end is no event.
#[tokio::test]
async fn a_directory_that_is_removed_and_made_again_is_watched_again() {
    let ground = Ground::new();
    drop(put(&ground, &record(1)));
    std::fs::remove_file(ground.record()).expect("remove the record");
    let mut watch = ground.place().watch();
    assert_eq!(watch.next().await.presence, Presence::Absent);
    let mut next = pin!(watch.next());
    let asleep = poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx).is_pending())).await;
    assert!(asleep, "nothing has changed");
    let _open = File::open(ground.dir()).expect("the directory");
    std::fs::remove_dir(ground.dir()).expect("it is empty");
    let _proof = put_locked(&ground, &record(std::process::id()));
    let seen = tokio::time::timeout(PATIENCE, next).await;
    assert!(seen.expect("it is told").is_live());
}

/// Counts how often a thread woke up while nothing happened: once a second of a poll would show.
#[test]
fn waits_sleep_until_something_happens() {
    let nowhere = Ground::new();
    let empty = Ground::new();
    drop(put(&empty, &record(1)));
    std::fs::remove_file(empty.record()).expect("remove the record");
    let living = Ground::new();
    let mut owner = Owner::start(OWNER, &living.dir());
    owner.ready();

    let sleepers = [
        Sleeper::new(nowhere.place(), false),
        Sleeper::new(empty.place(), false),
        Sleeper::new(living.place(), true),
    ];
    std::thread::sleep(Duration::from_millis(300));
    let before = sleepers.each_ref().map(Sleeper::wake_ups);
    std::thread::sleep(Duration::from_millis(1_500));
    let after = sleepers.each_ref().map(Sleeper::wake_ups);
    assert_eq!(before, after, "nobody woke up for nothing");
    owner.stop();
}

/// A thread that waits for a server to come, or to go.
struct Sleeper(PathBuf);

impl Sleeper {
    fn new(place: Place, down: bool) -> Self {
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let me = std::fs::read_link("/proc/thread-self").expect("proc_pid_self(5)");
            tell.send(me).expect("the test waits for it");
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().build().expect("a runtime");
            let long = Duration::from_secs(600);
            let _ = runtime.block_on(async {
                match down {
                    true => place.wait_down(long).await,
                    false => place.wait_ready(long).await,
                }
            });
        });
        Self(PathBuf::from("/proc").join(told.recv().expect("it runs")))
    }

    fn wake_ups(&self) -> String {
        let status = std::fs::read_to_string(self.0.join("status")).expect("it still waits");
        let line = status
            .lines()
            .find(|line| line.starts_with("voluntary_ctxt_switches"));
        line.expect("proc_pid_status(5)").to_owned()
    }
}

#[tokio::test]
async fn a_wait_that_takes_too_long_says_what_is_there() {
    let ground = Ground::new();
    let late = ground.place().wait_ready(Duration::from_millis(1)).await;
    let Err(WaitError::TimedOut { last, .. }) = late else {
        panic!("{late:?}");
    };
    assert_eq!(last.presence, Presence::Absent);
}
