//! A start gives a server that is there, or an error and nothing else.

use std::error::Error as _;
use std::future::Future as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use daymark::{LifecycleEvent, Presence, Server, StartError};
use daymark_adapters::state_store::{FileStore, LOCK};
use daymark_core::state_store::AcquireError;
use daymark_tests::client::{Client, PATIENCE, is_refused};
use daymark_tests::files::Ground;
use daymark_tests::scale::random;

/// More than a start takes.
const LONGER: Duration = Duration::from_millis(10);

fn start(ground: &Ground) -> Result<Server, StartError> {
    let router = Router::new().route("/", get(|| async { "hello\n" }));
    Server::builder("start-test")
        .state_dir(ground.dir())
        .app(router)
        .start()
}

#[test]
fn a_second_start_in_the_same_place_names_the_first() {
    let ground = Ground::new();
    let first = start(&ground).expect("a start");

    let error = start(&ground).expect_err("it is owned");

    assert_eq!(error.already_running(), Some(first.record()));
    assert_eq!(ground.presence(), Presence::Live);
    assert_eq!(Client::connect(first.addr()).get("/").body, b"hello\n");
}

#[test]
fn a_place_is_free_as_soon_as_a_stop_has_returned() {
    let ground = Ground::new();
    for _ in 0..20 {
        let server = start(&ground).expect("the last one is gone");
        server.stop(Duration::ZERO).expect("nothing is left");
    }
}

#[test]
fn a_port_that_is_taken_fails_the_start_and_leaves_nothing() {
    let ground = Ground::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port();

    let error = Server::builder("start-test")
        .state_dir(ground.dir())
        .port(daymark::Port::Exact(port))
        .app(Router::new())
        .start()
        .expect_err("the port is taken");

    assert!(matches!(error, StartError::Pick(_)), "{error}");
    ground.assert_left_clean();
}

#[test]
fn a_record_that_no_reader_would_take_fails_the_start_and_leaves_nothing() {
    let ground = Ground::new();

    let error = Server::builder("start-test")
        .state_dir(ground.dir())
        .about("x".repeat(16 * 1024), "1")
        .app(Router::new())
        .start()
        .expect_err("nobody would read it");

    assert!(matches!(error, StartError::Publish(_)), "{error}");
    ground.assert_left_clean();
}

#[test]
fn a_sticky_port_is_kept_across_runs() {
    let ground = Ground::new();
    let run = || {
        let server = Server::builder("start-test")
            .state_dir(ground.dir())
            .port(daymark::Port::Sticky)
            .app(Router::new())
            .start()
            .expect("a start");
        server.port()
    };
    let first = run();
    assert_eq!([run(), run()], [first, first]);
}

#[test]
fn a_start_that_is_dropped_midway_leaves_nothing_behind() {
    let mut random = random();
    for _ in 0..40 {
        let ground = Ground::new();
        let router = Router::new().route("/", get(|| async { "hello\n" }));
        let mut start = Box::pin(
            Server::builder("start-test")
                .state_dir(ground.dir())
                .app(router)
                .start_async(),
        );
        // Nobody asks again, so nobody is given the server: neither one that is still being started when the future is
        // dropped, nor one that waits to be taken.
        let unclaimed = start.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        std::thread::sleep(LONGER.mul_f32(random.f32()));
        drop(start);
        if let Poll::Ready(server) = unclaimed {
            drop(server.expect("a start"));
        }

        assert_eq!(ground.presence(), Presence::Absent);
        assert!(ground.names().iter().all(|name| name == LOCK));
        drop(self::start(&ground).expect("nothing is in the way"));
    }
}

#[test]
fn an_app_that_panics_while_it_is_made_fails_the_start_and_leaves_nothing() {
    let ground = Ground::new();
    let made: Result<Server, StartError> = Server::builder("start-test")
        .state_dir(ground.dir())
        .start_with(|_| -> Router { panic!("on purpose") });
    assert!(matches!(made, Err(StartError::Serve(_))), "{made:?}");
    ground.assert_left_clean();
}

#[test]
fn a_handler_may_drop_its_own_server() {
    let ground = Ground::new();
    let own = Arc::new(Mutex::new(None::<Server>));
    let taken = own.clone();
    let leave = move || {
        let own = taken.clone();
        async move {
            drop(own.lock().expect("nobody panicked").take());
            "gone\n"
        }
    };
    let server = Server::builder("start-test")
        .state_dir(ground.dir())
        .app(Router::new().route("/leave", get(leave)))
        .start()
        .expect("a start");
    let (addr, handle) = (server.addr(), server.handle());
    *own.lock().expect("nobody panicked") = Some(server);

    assert_eq!(Client::connect(addr).get("/leave").body, b"gone\n");

    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
        .block_on(async { tokio::time::timeout(PATIENCE, handle.wait_stopped()).await })
        .expect("it ends")
        .expect("a report");
    assert!(is_refused(addr));
    ground.assert_left_clean();
}

#[test]
fn a_place_that_is_pruned_all_the_time_can_be_started_in() {
    let ground = Ground::new();
    let over = Arc::new(AtomicBool::new(false));
    let store = FileStore::new(&ground.dir()).expect("a path");
    let pruner = std::thread::spawn({
        let over = over.clone();
        move || {
            let mut pruned = 0;
            while !over.load(Ordering::SeqCst) {
                match store.prune() {
                    Ok(removed) => pruned += usize::from(removed),
                    Err(AcquireError::Busy(_) | AcquireError::AlreadyRunning(_)) => {}
                    Err(error) => panic!("{error}: {:?}", error.source()),
                }
            }
            pruned
        }
    });
    for round in 0..100 {
        match start(&ground) {
            Ok(server) => drop(server),
            Err(error) => panic!("round {round}: {error}: {:?}", error.source()),
        }
    }
    over.store(true, Ordering::SeqCst);
    assert!(pruner.join().expect("it prunes") > 0);
}

#[test]
fn what_a_dead_owner_left_is_cleared_and_told_of() {
    let ground = Ground::new();
    drop(start(&ground).expect("a start"));
    let record = br#"{"port":41873,"pid":8123,"started_at":"2026-11-22T06:25:00Z"}"#;
    std::fs::write(ground.record(), record).expect("write a record");
    std::fs::write(ground.dir().join(".server.json.0.tmp"), "{").expect("write a file");

    let server = start(&ground).expect("a start");

    assert_eq!(ground.presence(), Presence::Live);
    assert_eq!(ground.names(), ["server.json", LOCK]);
    drop(server);
    ground.assert_left_clean();
}

#[test]
fn the_end_of_a_run_is_told_to_whoever_subscribed() {
    let ground = Ground::new();
    let server = start(&ground).expect("a start");
    let mut events = server.subscribe();
    server.stop(Duration::ZERO).expect("nothing is left");
    drop(server);
    let mut told = Vec::new();
    while let Some(event) = events.blocking_next() {
        told.push(event);
    }
    assert!(
        matches!(told.last(), Some(LifecycleEvent::Stopped(_))),
        "{told:?}"
    );
}
