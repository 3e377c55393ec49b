//! A stop ends in time, whatever clients and handlers do, and cuts off no one who could have been answered.

use std::sync::Arc;
use std::time::Duration;

use daymark::{Events, LifecycleEvent, Presence, Server, StopReport};
use daymark_adapters::state_store::Look;
use daymark_core::GRACE;
use daymark_tests::client::{Client, is_refused};
use daymark_tests::files::Ground;
use daymark_tests::stage::{LARGE, Stage};

/// So many of each kind.
const CROWD: usize = 100;

/// A deadline that a stop with nothing to wait for doesn't come near.
const FAR: Duration = Duration::from_secs(30);

/// A deadline that has to be kept.
const NEAR: Duration = Duration::from_millis(300);

/// Nowhere near [`FAR`].
const AT_ONCE: Duration = Duration::from_secs(5);

struct Play {
    server: Server,
    stage: Stage,
    ground: Ground,
}

impl Play {
    fn start() -> Self {
        let ground = Ground::new();
        let (stage, app) = Stage::new();
        let server = Server::builder("stop-test")
            .state_dir(ground.dir())
            .threads(2)
            .start_with(app)
            .expect("a start");
        Self {
            server,
            stage,
            ground,
        }
    }

    fn connect(&self) -> Client {
        Client::connect(self.server.addr())
    }

    /// Connections with a request for `path` that has reached its handler.
    fn crowd(&self, path: &str) -> Vec<Client> {
        let crowd = Client::crowd(self.server.addr(), CROWD, path);
        self.stage.wait_until_begun(CROWD);
        crowd
    }

    /// Waits until the server has accepted so many connections and answers no request.
    fn wait_until_quiet(&self, connections: u64) {
        let is_quiet = || {
            let stats = self.server.stats();
            stats.connections == connections && stats.requests == 0
        };
        while !is_quiet() {
            std::thread::yield_now();
        }
    }

    fn stop(&self, drain: Duration) -> Arc<StopReport> {
        let report = self.server.stop(drain).expect("nothing is left");
        self.ground.assert_left_clean();
        assert!(is_refused(self.server.addr()));
        report
    }

    /// Stops, and returns when requests are being drained.
    fn begin_to_drain(&self) {
        let events = self.server.subscribe();
        self.server.handle().request_stop(Some(FAR));
        wait_until_draining(events);
    }
}

fn wait_until_draining(mut events: Events) {
    while let Some(event) = events.blocking_next() {
        if matches!(event, LifecycleEvent::Draining(_)) {
            return;
        }
    }
    panic!("it never drained");
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

#[track_caller]
fn assert_counts(report: &StopReport, drained: usize, aborted: usize) {
    let counted = (report.drained, report.aborted);
    assert_eq!(counted, (drained as u64, aborted as u64), "{report:?}");
}

#[track_caller]
fn assert_kept_deadline(report: &StopReport) {
    assert!(report.took >= NEAR, "cut off too early: {report:?}");
    assert!(report.took < NEAR + 2 * GRACE, "too late: {report:?}");
}

#[test]
fn idle_keep_alives_are_cut_at_once() {
    let play = Play::start();
    let mut crowd: Vec<Client> = (0..CROWD).map(|_| play.connect()).collect();
    for client in &mut crowd {
        assert_eq!(client.get("/").body, b"hello\n");
    }
    play.wait_until_quiet(CROWD as u64);

    let report = play.stop(FAR);

    assert_counts(&report, 0, 0);
    assert!(report.took < AT_ONCE, "{report:?}");
    assert!(crowd.iter_mut().all(|client| client.read_to_end() == 0));
}

#[test]
fn half_sent_heads_are_cut_at_once() {
    let play = Play::start();
    let mut crowd: Vec<Client> = (0..CROWD).map(|_| play.connect()).collect();
    for client in &mut crowd {
        client.send("GET / HTTP/1.1\r\nhost: loc");
    }
    play.wait_until_quiet(CROWD as u64);

    let report = play.stop(FAR);

    assert_counts(&report, 0, 0);
    assert!(report.took < AT_ONCE, "{report:?}");
    assert!(crowd.iter_mut().all(|client| client.read_to_end() == 0));
}

#[test]
fn silent_connections_are_cut_at_once() {
    let play = Play::start();
    let mut crowd: Vec<Client> = (0..CROWD).map(|_| play.connect()).collect();
    play.wait_until_quiet(CROWD as u64);

    let report = play.stop(FAR);

    assert_counts(&report, 0, 0);
    assert!(report.took < AT_ONCE, "{report:?}");
    assert!(crowd.iter_mut().all(|client| client.read_to_end() == 0));
}

#[test]
fn endless_streams_are_cut_at_the_deadline() {
    let play = Play::start();
    let mut crowd = play.crowd("/endless");
    let report = play.stop(NEAR);
    assert_counts(&report, 0, CROWD);
    assert_kept_deadline(&report);
    assert!(crowd.iter_mut().all(|client| client.read_to_end() > 0));
}

#[test]
fn streams_that_heed_the_stop_signal_are_drained() {
    let play = Play::start();
    let mut crowd = play.crowd("/heeding");
    let report = play.stop(FAR);
    assert_counts(&report, CROWD, 0);
    assert!(report.took < AT_ONCE, "{report:?}");
    for client in &mut crowd {
        client.read_to_end();
    }
}

#[test]
fn upgraded_connections_are_cut_at_the_deadline() {
    let play = Play::start();
    let mut crowd: Vec<Client> = (0..CROWD).map(|_| play.connect()).collect();
    for client in &mut crowd {
        client.ask_with("/upgrade", "connection: upgrade\r\nupgrade: silence\r\n");
        assert_eq!(client.head().0, 101);
    }
    play.stage.wait_until_begun(CROWD);

    let report = play.stop(NEAR);

    assert_counts(&report, 0, CROWD);
    assert_kept_deadline(&report);
    assert!(crowd.iter_mut().all(|client| client.read_to_end() == 0));
}

#[test]
fn hanging_handlers_are_cut_at_the_deadline() {
    let play = Play::start();
    let mut crowd = play.crowd("/hang");
    let report = play.stop(NEAR);
    assert_counts(&report, 0, CROWD);
    assert_kept_deadline(&report);
    assert!(crowd.iter_mut().all(|client| client.read_to_end() == 0));
}

#[test]
fn handlers_that_block_every_thread_do_not_hold_up_a_stop() {
    let play = Play::start();
    let _crowd = Client::crowd(play.server.addr(), CROWD, "/block");
    play.stage.wait_until_begun(2);
    let report = play.stop(NEAR);
    assert_counts(&report, 0, 2);
    assert_kept_deadline(&report);
}

#[test]
fn zero_cuts_everything_off_at_once() {
    let play = Play::start();
    let _crowd = play.crowd("/hang");
    let report = play.stop(Duration::ZERO);
    assert_counts(&report, 0, CROWD);
    assert!(report.took < AT_ONCE, "{report:?}");
}

#[test]
fn a_second_request_to_stop_brings_the_deadline_forward() {
    let play = Play::start();
    let _crowd = play.crowd("/hang");
    play.begin_to_drain();
    let report = play.stop(NEAR);
    assert_counts(&report, 0, CROWD);
    assert!(report.took < AT_ONCE, "{report:?}");
}

#[test]
fn requests_in_flight_are_finished_while_new_connections_are_refused() {
    let play = Play::start();
    let mut crowd = play.crowd("/gate");
    play.begin_to_drain();

    // The word of an owner is a hint: /proc/locks skips lines while locks of others come and go.
    while play.ground.presence() != Presence::Stopping {}
    assert!(!play.server.is_running());
    // The listener closes when the accept loop has seen the drain begin.
    while !is_refused(play.server.addr()) {}
    play.stage.open_gate();

    let report = play.stop(FAR);
    assert_counts(&report, CROWD, 0);
    for client in &mut crowd {
        assert_eq!(client.answer().body, b"through\n");
    }
}

/// Some of these connections nobody has accepted yet when the stop begins, some nobody has read from.
#[cfg(target_os = "linux")]
#[test]
fn requests_that_were_sent_before_the_stop_are_answered() {
    let play = Play::start();
    let mut crowd: Vec<_> = (0..CROWD).map(|_| play.connect()).collect();
    for client in &mut crowd {
        client.ask("/");
    }
    while !has_arrived(play.server.port()) {}
    play.stop(FAR);
    for client in &mut crowd {
        assert_eq!(client.answer().status, 200);
    }
}

/// Whether all that clients have written to this port has reached the other end of their connections: a write returns
/// before that. Columns of `/proc/net/tcp` (proc_pid_net(5)): slot, local, remote, state, unacknowledged:unread, …
#[cfg(target_os = "linux")]
fn has_arrived(port: u16) -> bool {
    let remote = format!("0100007F:{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").expect("proc_pid_net(5)");
    table
        .lines()
        .map(|row| row.split_ascii_whitespace().collect::<Vec<_>>())
        .filter(|row| row.len() > 4 && row[2] == remote)
        .all(|row| row[4].starts_with("00000000:"))
}

#[test]
fn a_slow_reader_gets_all_of_a_large_answer() {
    for path in ["/large", "/large-in-parts"] {
        let play = Play::start();
        let mut client = play.connect();
        client.ask(path);
        let (status, length) = client.head();
        assert_eq!((status, length), (200, Some(LARGE)));

        play.begin_to_drain();
        assert_eq!(client.read_to_end(), LARGE, "{path}");

        assert_counts(&play.stop(FAR), 1, 0);
    }
}

#[test]
fn a_large_answer_that_is_cut_off_at_the_deadline_counts_as_aborted() {
    for path in ["/large", "/large-in-parts"] {
        let play = Play::start();
        let mut client = play.connect();
        client.ask(path);
        client.head();

        let report = play.stop(NEAR);

        assert_counts(&report, 0, 1);
        assert_kept_deadline(&report);
        assert!(client.read_to_end() < LARGE);
    }
}

#[test]
fn the_record_is_withdrawn_before_the_listener_closes() {
    for _ in 0..20 {
        let play = Play::start();
        let (addr, dir) = (play.server.addr(), play.ground.dir());
        let watcher = std::thread::spawn(move || {
            loop {
                let look = Look::at(&dir);
                if is_refused(addr) {
                    return look.still_holds();
                }
            }
        });
        play.stop(FAR);
        let believed = watcher.join().expect("it only looks");
        assert!(!believed, "nobody listens, and the record is believed");
    }
}

#[test]
fn a_handler_that_panics_answers_500_and_harms_nobody() {
    let play = Play::start();
    let mut neighbours = play.crowd("/gate");
    let mut client = play.connect();
    assert_eq!(client.get("/panic").status, 500);
    assert_eq!(client.get("/").body, b"hello\n", "on the same connection");
    play.stage.open_gate();
    for client in &mut neighbours {
        assert_eq!(client.answer().body, b"through\n");
    }
    play.wait_until_quiet(CROWD as u64 + 1);
    assert_counts(&play.stop(FAR), 0, 0);
}

#[test]
fn every_stop_gets_the_same_report() {
    let play = Play::start();
    let first = play.stop(FAR);
    assert!(Arc::ptr_eq(&first, &play.stop(Duration::ZERO)));
    assert!(Arc::ptr_eq(&first, &play.server.wait().expect("a report")));
}

#[test]
fn dropping_a_server_stops_it() {
    let play = Play::start();
    let addr = play.server.addr();
    drop(play.server);
    assert!(is_refused(addr));
    play.ground.assert_left_clean();
}

#[test]
fn a_stop_goes_on_when_nobody_waits_for_it() {
    let play = Play::start();
    let _crowd = play.crowd("/gate");
    let events = play.server.subscribe();
    wait(async {
        let stop = play.server.stop_async(FAR);
        let given_up = tokio::time::timeout(Duration::ZERO, stop).await;
        assert!(given_up.is_err(), "the gate is closed");
    });
    wait_until_draining(events);
    play.stage.open_gate();
    let report = play.server.wait().expect("a report");
    assert_counts(&report, CROWD, 0);
    play.ground.assert_left_clean();
}
