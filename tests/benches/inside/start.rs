//! From nothing to a server that answers and is published, against the bare system calls that the protocol asks for, on the
//! same disk.

use std::fs::File;
use std::hint::black_box;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use daymark::Server;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use super::figures::{Contender, Report, Target, on_disk, rounds};
use super::requests::answer;

/// As long as a record is.
const LINE: [u8; 400] = [b'x'; 400];

pub(super) fn measure(report: &mut Report) {
    let disk = on_disk();
    on("disk", disk.path(), report);
    let memory = tempfile::tempdir_in("/dev/shm");
    match &memory {
        Ok(memory) => on("tmpfs", memory.path(), report),
        Err(error) => report.note(format!("Not measured on tmpfs: {error}.")),
    }
}

fn on(what: &str, place: &Path, report: &mut Report) {
    let [floor, threads, ours, cleared, stale] =
        ["floor", "threads", "daymark", "cleared", "stale"].map(|name| {
            let dir = place.join(name);
            rustix::fs::mkdir(dir.as_path(), Mode::RWXU).expect("a state directory");
            dir
        });
    let bare = |dir: &Path, prepare: &dyn Fn() -> Box<dyn std::any::Any>| {
        let began = Instant::now();
        let held = black_box((prepare(), system_calls(dir)));
        let took = began.elapsed();
        std::fs::remove_file(dir.join("server.json")).expect("the record is removed");
        drop(held);
        took
    };
    let daymark = |dir: &Path| {
        let builder = Server::builder("bench").state_dir(dir);
        let began = Instant::now();
        let server = builder
            .app(tower::service_fn(answer::<daymark::RequestBody>))
            .start()
            .expect("it starts");
        let took = began.elapsed();
        server.stop(Duration::ZERO).expect("it stops");
        took
    };
    report.compare(
        &format!("in-process start → ready, {what}, µs"),
        rounds(300),
        vec![
            Contender::new("system calls", || bare(&floor, &|| Box::new(()))),
            Contender::new("the same, threads and runtimes", || {
                bare(&threads, &|| Box::new(runtimes()))
            }),
            Contender::new("daymark", || daymark(&ours)).target(Target::Plus(150.0)),
        ],
    );
    report.compare(
        &format!("start over what a dead owner left, {what}, µs"),
        rounds(300),
        vec![
            Contender::new("system calls", || {
                leave_behind(&cleared);
                bare(&cleared, &|| {
                    for left in ["server.json", ".server.json.old.tmp"] {
                        std::fs::remove_file(cleared.join(left)).expect("it is there");
                    }
                    Box::new(())
                })
            }),
            Contender::new("daymark", || {
                leave_behind(&stale);
                daymark(&stale)
            })
            .target(Target::Plus(150.0)),
        ],
    );
}

/// What a `kill -9` in the middle of a publish leaves.
fn leave_behind(dir: &Path) {
    let record = br#"{"schema":1,"port":9,"pid":9,"started_at":"2026-01-01T00:00:00Z","instance_id":"00000000000000000000000000000009"}"#;
    for name in ["server.json", ".server.json.old.tmp"] {
        std::fs::write(dir.join(name), record).expect("it can be written");
    }
}

/// What no implementation of the protocol can do without: open and check the directory, lock, bind, knock, write, publish.
fn system_calls(dir: &Path) -> (File, File, TcpListener) {
    let open = |name: &str, flags| {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::open(dir.join(name), flags, Mode::RUSR | Mode::WUSR)
    };
    let check = |file: &File, name: &str| {
        let at_path = rustix::fs::statat(CWD, dir.join(name), AtFlags::SYMLINK_NOFOLLOW);
        let held = rustix::fs::fstat(file).expect("an open file");
        assert_eq!(at_path.expect("it is there").st_ino, held.st_ino);
    };
    let opened = File::from(open("", OFlags::RDONLY | OFlags::DIRECTORY).expect("a directory"));
    check(&opened, "");
    let lock = File::from(open("server.lock", OFlags::RDWR | OFlags::CREATE).expect("a lock"));
    lock.try_lock().expect("it is free");
    check(&lock, "server.lock");
    assert!(
        open("server.json", OFlags::RDONLY).is_err(),
        "nothing is published"
    );

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let addr = listener.local_addr().expect("its address");
    let knock = TcpStream::connect(addr).expect("it listens");
    let accepted = listener.accept().expect("the knock");
    drop((knock, accepted));

    let temporary = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
    let mut record = File::from(open(".server.json.tmp", temporary).expect("a new file"));
    record.try_lock().expect("it is new");
    record.write_all(&LINE).expect("it is written");
    record.sync_all().expect("it is synced");
    let [from, to] = [".server.json.tmp", "server.json"].map(|name| dir.join(name));
    std::fs::rename(from, to).expect("it is put in place");
    (lock, record, listener)
}

/// The threads that a server of its own needs in a program: one for control, and the handlers'.
fn runtimes() -> (tokio::runtime::Runtime, std::thread::JoinHandle<()>) {
    let handlers = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let control = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (ready, is_ready) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        control.block_on(async { ready.send(()).expect("somebody waits") });
    });
    is_ready.recv().expect("it runs");
    (handlers, thread)
}
