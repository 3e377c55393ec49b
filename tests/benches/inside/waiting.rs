//! How soon somebody who waits knows that a server is there, or gone, against the system's own ways of waiting.

use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use daymark::Place;
use daymark_tests::owner::Owner;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::runtime::Builder;

use super::figures::{Contender, Report, Target, on_disk, rounds};
use super::list;
use super::looking::read_and_try;

/// Long enough for a thread to be asleep that is about to wait.
const ASLEEP: Duration = Duration::from_millis(4);

/// Tells when it begins to wait, then when it knows.
type Waiter = fn(&Path, u32, &Sender<Instant>);

pub(super) fn measure(report: &mut Report) {
    let birth = |waiter: Waiter| move || see_a_birth(waiter);
    report.compare(
        "a record is put in place → a waiting reader has it, µs",
        rounds(200),
        vec![
            Contender::new("inotify(7), then read and try the lock", birth(by_inotify)),
            Contender::new("daymark::Watch", birth(by_watching)).target(Target::Times(2.0)),
        ],
    );
    report.compare(
        "the same, by looking every 50 ms, µs",
        rounds(30),
        vec![Contender::new("polling", birth(by_polling))],
    );
    let death = |waiter: Waiter| move || see_a_death(waiter);
    report.compare(
        "kill -9 → a waiting reader knows, µs",
        rounds(100),
        vec![
            Contender::new("blocking flock(2)", death(by_lock)),
            Contender::new("pidfd_open(2)", death(by_pidfd)),
            Contender::new("daymark::Watch", death(by_watching)).target(Target::Times(2.0)),
        ],
    );
}

fn see_a_birth(waiter: Waiter) -> Duration {
    let disk = on_disk();
    let dir = disk.path().to_owned();
    let (tell, told) = channel();
    let waiting = thread::spawn({
        let dir = dir.clone();
        move || waiter(&dir, 0, &tell)
    });
    told.recv().expect("it begins to wait");
    let temporary = dir.join(".server.json.new.tmp");
    list::write(&temporary, &list::record("bench", 9));
    let proof = File::open(&temporary).expect("the record");
    proof.lock().expect("it is new");
    thread::sleep(ASLEEP);
    let began = Instant::now();
    std::fs::rename(&temporary, dir.join("server.json")).expect("it is put in place");
    let known = told.recv().expect("it sees the record");
    waiting.join().expect("it is done");
    known - began
}

fn see_a_death(waiter: Waiter) -> Duration {
    let disk = on_disk();
    let dir = disk.path().join("state");
    let mut owner = Owner::start(env!("CARGO_BIN_EXE_owner"), &dir);
    owner.ready();
    let (tell, told) = channel();
    let pid = owner.pid();
    let waiting = thread::spawn(move || waiter(&dir, pid, &tell));
    told.recv().expect("it begins to wait");
    thread::sleep(ASLEEP);
    let began = Instant::now();
    owner.signal(rustix::process::Signal::KILL);
    let known = told.recv().expect("it hears of the death");
    waiting.join().expect("it is done");
    known - began
}

fn tell(whom: &Sender<Instant>) {
    whom.send(Instant::now()).expect("somebody measures");
}

/// Both ways: the next thing that differs from what is there now.
fn by_watching(dir: &Path, _: u32, told: &Sender<Instant>) {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut watch = Place::at(dir).expect("a place").watch();
        let before = watch.next().await.is_live();
        tell(told);
        while watch.next().await.is_live() == before {}
        tell(told);
    });
    runtime.shutdown_background();
}

fn by_inotify(dir: &Path, _: u32, told: &Sender<Instant>) {
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC).expect("inotify");
    inotify::add_watch(&watch, dir, inotify::WatchFlags::MOVED_TO).expect("a directory");
    tell(told);
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(&watch, &mut buffer);
    events.next().expect("an event");
    read_and_try(&dir.join("server.json"));
    tell(told);
}

fn by_polling(dir: &Path, _: u32, told: &Sender<Instant>) {
    tell(told);
    let path = dir.join("server.json");
    while !path.exists() {
        thread::sleep(Duration::from_millis(50));
    }
    read_and_try(&path);
    tell(told);
}

fn by_lock(dir: &Path, _: u32, told: &Sender<Instant>) {
    let record = File::open(dir.join("server.json")).expect("the record");
    tell(told);
    record.lock_shared().expect("it ends");
    tell(told);
}

fn by_pidfd(_: &Path, pid: u32, told: &Sender<Instant>) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let process = pidfd_open(pid.expect("a pid"), PidfdFlags::empty()).expect("it lives");
    tell(told);
    let mut ends = [PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN)];
    poll(&mut ends, None).expect("it ends");
    tell(told);
}
