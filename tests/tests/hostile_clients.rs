//! Whatever clients do, or don't: memory is bounded, others are served, and a stop keeps its deadline.

use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use daymark::{Builder, Server};
use daymark_core::GRACE;
use daymark_tests::client::{Client, PATIENCE};
use daymark_tests::files::Ground;
use daymark_tests::owner::Owner;
use daymark_tests::raw::{Raw, answer_to};
use daymark_tests::stage::Stage;

/// So long that a test which had to wait for it would fail.
const NEVER: Duration = Duration::from_secs(3600);

/// Short, and still nothing that a test has to hit.
const SOON: Duration = Duration::from_millis(200);

/// How many places there are, where they are few.
const PLACES: u32 = 6;

const CROWD: usize = PLACES as usize;

struct Play {
    server: Server,
    stage: Stage,
    _ground: Ground,
}

impl Play {
    fn with(settings: impl FnOnce(Builder) -> Builder) -> Self {
        let ground = Ground::new();
        let (stage, app) = Stage::new();
        let builder = Server::builder("hostile-test")
            .state_dir(ground.dir())
            .threads(2);
        let server = settings(builder).start_with(app).expect("a start");
        Self {
            server,
            stage,
            _ground: ground,
        }
    }

    /// Few places, and all the time in the world.
    fn crowded() -> Self {
        Self::with(|builder| {
            builder
                .max_connections(PLACES)
                .header_timeout(NEVER)
                .body_timeout(NEVER)
                .send_timeout(NEVER)
        })
    }

    fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// As many as there are places, each of which has sent these bytes, in which HOST is the server.
    fn crowd(&self, bytes: &str) -> Vec<Raw> {
        crowd(self.addr(), CROWD, bytes)
    }

    #[track_caller]
    fn assert_serves(&self) {
        assert_eq!(Client::connect(self.addr()).get("/").body, b"hello\n");
    }

    fn wait_until(&self, is_so: impl Fn(&daymark::ServerStats) -> bool) {
        let begun = Instant::now();
        while !is_so(&self.server.stats()) {
            assert!(begun.elapsed() < PATIENCE, "{:?}", self.server.stats());
            std::thread::yield_now();
        }
    }
}

fn crowd(addr: SocketAddr, size: usize, bytes: &str) -> Vec<Raw> {
    let bytes = bytes.replace("HOST", &addr.to_string());
    let join = |_| {
        let mut raw = Raw::connect(addr);
        raw.send(&bytes);
        raw
    };
    (0..size).map(join).collect()
}

#[cfg(target_os = "linux")]
const KIB: usize = 1024;

const HALF_A_HEAD: &str = "GET / HTTP/1.1\r\nHost: HO";
const HALF_A_BODY: &str = "POST /body HTTP/1.1\r\nHost: HOST\r\nContent-Length: 1000000\r\n\r\nx";
const MUCH_TO_READ: &str = "GET /large HTTP/1.1\r\nHost: HOST\r\n\r\n";
const MANY_AT_ONCE: &str = "GET / HTTP/1.1\r\nHost: HOST\r\n\r\n";

#[test]
fn who_says_nothing_makes_room_for_who_asks() {
    let play = Play::crowded();
    let _silent = play.crowd("");
    play.wait_until(|stats| stats.connections == u64::from(PLACES));
    for _ in 0..3 * PLACES {
        play.assert_serves();
    }
    let _more: Vec<_> = (0..5).map(|_| play.crowd("")).collect();
    play.assert_serves();
}

#[test]
fn who_does_not_finish_a_head_makes_room_for_who_asks() {
    let play = Play::crowded();
    let mut half = play.crowd(HALF_A_HEAD);
    play.wait_until(|stats| stats.connections == u64::from(PLACES));
    play.assert_serves();
    assert!(half[0].is_closed(), "the one who came first has gone");
}

#[test]
fn who_is_idle_makes_room_and_who_is_busy_stays() {
    let play = Play::crowded();
    let mut idle = Client::connect(play.addr());
    assert_eq!(idle.get("/").status, 200);
    let mut busy = Client::crowd(play.addr(), CROWD - 1, "/gate");
    play.stage.wait_until_begun(CROWD - 1);

    play.assert_serves();

    assert_eq!(idle.read_to_end(), 0);
    play.stage.open_gate();
    for client in &mut busy {
        assert_eq!(client.answer().body, b"through\n");
    }
}

#[test]
fn where_all_are_busy_the_next_one_waits_and_is_served() {
    let play = Play::crowded();
    let mut busy = Client::crowd(play.addr(), CROWD, "/gate");
    play.stage.wait_until_begun(CROWD);
    let mut next = Client::connect(play.addr());
    next.ask("/");

    play.stage.open_gate();

    assert_eq!(next.answer().body, b"hello\n");
    for client in &mut busy {
        assert_eq!(client.answer().body, b"through\n");
    }
}

#[test]
fn who_trickles_a_body_makes_room_for_who_asks() {
    let play = Play::crowded();
    let _slow = play.crowd(HALF_A_BODY);
    play.wait_until(|stats| stats.requests == u64::from(PLACES));
    play.assert_serves();
}

#[test]
fn who_does_not_read_an_answer_makes_room_for_who_asks() {
    let play = Play::crowded();
    let _slow = play.crowd(MUCH_TO_READ);
    play.wait_until(|stats| stats.requests == u64::from(PLACES));
    play.assert_serves();
}

#[test]
fn a_head_that_does_not_end_is_cut_off_in_time() {
    let play = Play::with(|builder| builder.header_timeout(SOON));
    let after_another = format!("GET / HTTP/1.1\r\nHost: HOST\r\n\r\n{HALF_A_HEAD}");
    for bytes in ["", HALF_A_HEAD, &after_another] {
        play.crowd(bytes).remove(0).read_to_end();
    }
}

#[test]
fn a_body_that_trickles_is_cut_off_in_time() {
    let play = Play::with(|builder| builder.body_timeout(SOON));
    let mut raw = play.crowd(HALF_A_BODY).remove(0);
    let mut trickle = raw.another();
    let feeding = std::thread::spawn(move || {
        // Slower than a KiB in a second. It ends when the connection does.
        while trickle.takes("x") {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let said = raw.hear().expect("an answer");
    assert_eq!(said.status, 408);
    assert!(raw.is_closed());
    feeding.join().expect("it has ended");
    let quick = "x".repeat(1 << 20);
    let host = play.addr();
    let said = answer_to(
        host,
        format!(
            "POST /body HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n{quick}",
            quick.len()
        ),
    );
    assert_eq!((said.status, said.body), (200, quick.len().to_string()));
}

#[test]
fn who_reads_a_little_is_seen_to_read() {
    const PIECE: usize = 16 * 1024;
    let made = Arc::new(AtomicUsize::new(0));
    let count = made.clone();
    let answer = move || {
        let count = count.clone();
        async move {
            let pieces = std::iter::repeat_with(move || {
                count.fetch_add(1, Ordering::SeqCst);
                Ok::<_, Infallible>(Bytes::from_static(&[0; PIECE]))
            });
            Body::from_stream(futures_util::stream::iter(pieces))
        }
    };
    let ground = Ground::new();
    let server = Server::builder("hostile-test")
        .state_dir(ground.dir())
        .app(Router::new().route("/endless", get(answer)))
        .start()
        .expect("a start");
    let mut client = TcpStream::connect(server.addr()).expect("a connection");
    let host = server.addr();
    write!(client, "GET /endless HTTP/1.1\r\nHost: {host}\r\n\r\n").expect("a request");

    // Until nobody takes any more, as far as that can be told.
    let mut before = 0;
    while before == 0 || made.load(Ordering::SeqCst) != before {
        before = made.load(Ordering::SeqCst);
        std::thread::sleep(SOON);
    }
    let mut some = vec![0; 256 * 1024];
    client.read_exact(&mut some).expect("some of it");
    let began = Instant::now();
    while made.load(Ordering::SeqCst) == before {
        assert!(
            began.elapsed() < PATIENCE,
            "a quarter of a megabyte was read"
        );
        std::thread::yield_now();
    }
}

#[test]
fn an_answer_that_nobody_reads_is_given_up_in_time() {
    let play = Play::with(|builder| builder.send_timeout(SOON));
    let _slow = play.crowd(MUCH_TO_READ);
    play.wait_until(|stats| stats.total_requests == u64::from(PLACES));
    play.wait_until(|stats| stats.connections == 0);
}

#[test]
fn a_head_is_only_so_long() {
    let play = Play::with(|builder| builder);
    let host = play.addr();
    let with = |headers: &str| {
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n");
        answer_to(host, head).status
    };
    let filled = |size: usize| format!("X-Fill: {}\r\n", "x".repeat(size));
    assert_eq!(with(&filled(60 * 1024)), 200);
    assert_eq!(with(&filled(70 * 1024)), 431);
    let many = |count: usize| {
        (0..count)
            .map(|i| format!("X-{i}: x\r\n"))
            .collect::<String>()
    };
    assert_eq!(with(&many(90)), 200);
    assert_eq!(with(&many(110)), 431);
    let small = Play::with(|builder| builder.max_header_bytes(0));
    let host = small.addr();
    let long = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{}\r\n", filled(9 * 1024));
    assert_eq!(answer_to(host, long).status, 431);
    small.assert_serves();
}

#[test]
fn garbage_after_a_request_ends_its_connection_and_no_other() {
    let play = Play::with(|builder| builder);
    let host = play.addr();
    let good = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let mut neighbour = Client::connect(host);
    assert_eq!(neighbour.get("/").status, 200);
    for garbage in [
        "\0\0\0\0\r\n\r\n",
        "GET\r\n\r\n",
        "x y z\r\n\r\n",
        "\x16\x03\x01\x02\r\n\r\n",
    ] {
        let mut raw = Raw::connect(host);
        raw.send(format!("{good}{garbage}{good}"));
        assert_eq!(raw.hear().expect("an answer").status, 200);
        assert_eq!(raw.hear().expect("an answer").status, 400, "{garbage:?}");
        assert!(raw.is_closed());
    }
    assert_eq!(neighbour.get("/").status, 200);
}

#[test]
fn a_stop_keeps_its_deadline_whoever_is_there() {
    const DEADLINE: Duration = Duration::from_millis(300);
    let play = Play::with(|builder| {
        builder
            .header_timeout(NEVER)
            .body_timeout(NEVER)
            .send_timeout(NEVER)
    });
    let all = ["", HALF_A_HEAD, HALF_A_BODY, MUCH_TO_READ].map(|bytes| play.crowd(bytes));
    let flood = MANY_AT_ONCE.repeat(100);
    let _flood = play.crowd(&flood);
    play.wait_until(|stats| stats.total_requests >= 2 * u64::from(PLACES));

    let report = play.server.stop(DEADLINE).expect("nothing is left");

    assert!(report.took < DEADLINE + 2 * GRACE, "{report:?}");
    for mut client in all.into_iter().flatten() {
        client.read_to_end();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn memory_grows_by_no_more_than_the_limits_say() {
    /// Nobody has said anything: a first buffer, and a task.
    const SILENT: usize = 32 * KIB;
    /// A head as long as may be, twice while its buffer grows.
    const HEAD: usize = SILENT + 2 * 64 * KIB;
    /// As much again to be sent.
    const UNREAD: usize = HEAD + 2 * 64 * KIB;
    const WHATEVER: usize = 24 * 1024 * KIB;
    let ground = Ground::new();
    let mut owner = Owner::start(env!("CARGO_BIN_EXE_owner"), &ground.dir());
    let (url, _) = owner.ready();
    let addr = &url["http://".len()..url.len() - 1];
    let addr: SocketAddr = addr.parse().expect("an address");
    assert_eq!(Client::connect(addr).get("/").status, 200);
    let before = peak_memory(owner.pid());

    let fill = |size: usize| format!("GET / HTTP/1.1\r\nX-Fill: {}", "x".repeat(size));
    let silent = crowd(addr, 100, "");
    let long = crowd(addr, 100, &fill(60 * KIB));
    // Where there is no limit of ours, a head may be 400 KiB long.
    let too_long = crowd(addr, 400, &fill(390 * KIB));
    wait_until_all_is_read(addr);
    let unread = crowd(addr, 20, &MANY_AT_ONCE.repeat(10_000));
    assert_eq!(Client::connect(addr).get("/").body, b"hello\n");

    let grown = peak_memory(owner.pid()) - before;
    let heads = long.len() + too_long.len();
    let most = silent.len() * SILENT + heads * HEAD + unread.len() * UNREAD + WHATEVER;
    assert!(grown < most, "{} KiB of {}", grown / KIB, most / KIB);
    owner.stop();
}

/// Waits until the kernel keeps nothing any more for the sockets at this address: the fifth column of `/proc/net/tcp`,
/// after the colon (proc_pid_net(5)).
#[cfg(target_os = "linux")]
fn wait_until_all_is_read(addr: SocketAddr) {
    let own = format!(":{:04X}", addr.port());
    let is_unread = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        columns[1].ends_with(&own) && !columns[4].ends_with(":00000000")
    };
    let begun = Instant::now();
    loop {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("a table");
        if !table.lines().skip(1).any(is_unread) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "it isn't read");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The most memory that a process ever had, in bytes (proc_pid_status(5)).
#[cfg(target_os = "linux")]
fn peak_memory(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.trim().parse::<usize>().ok())
        .expect("a size")
        * KIB
}
