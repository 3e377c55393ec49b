//! From nothing to a server that answers and is published, against the bare system calls that the protocol asks for, on the
//! same disk.

use std::fs::File;
use std::hint::black_box;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use daymark::{RequestBody, Server};
use http::{Request, Response};
use http_body_util::Full;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use self::figures::{Contender, compare};

mod figures;

const ROUNDS: usize = 200;

/// As long as a record is.
const LINE: [u8; 400] = [b'x'; 400];

fn main() {
    // Next to what is built: a disk, where temporary directories often aren't.
    let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let floor = disk.path().join("floor");
    let threads = disk.path().join("threads");
    let ours = disk.path().join("daymark");
    for dir in [&floor, &threads, &ours] {
        rustix::fs::mkdir(dir.as_path(), Mode::RWXU).expect("a state directory");
    }
    let contenders = vec![
        Contender::new("system calls", || {
            let began = Instant::now();
            let held = black_box(system_calls(&floor));
            let took = began.elapsed();
            clear(&floor);
            drop(held);
            took
        }),
        Contender::new("the same, threads and runtimes", || {
            let began = Instant::now();
            let held = black_box((runtimes(), system_calls(&threads)));
            let took = began.elapsed();
            clear(&threads);
            drop(held);
            took
        }),
        Contender::new("daymark", || {
            let builder = Server::builder("bench").state_dir(&ours);
            let began = Instant::now();
            let server = builder
                .app(tower::service_fn(answer::<RequestBody>))
                .start()
                .expect("it starts");
            let took = began.elapsed();
            server.stop(Duration::ZERO).expect("it stops");
            took
        }),
    ];
    compare("in-process start to ready", ROUNDS, contenders);
}

async fn answer<B>(_: Request<B>) -> Result<Response<Full<Bytes>>, std::convert::Infallible> {
    Ok(Response::new(Full::default()))
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

fn clear(dir: &Path) {
    std::fs::remove_file(dir.join("server.json")).expect("the record is removed");
}
