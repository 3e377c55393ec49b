//! What went wrong is said in words that need no source code.

use super::*;
use crate::clock::Timestamp;
use crate::presence::Phase;
use crate::record::{Endpoint, HeldBy, Origin};

const PORT: NonZeroU16 = NonZeroU16::new(4711).unwrap();

fn source() -> Arc<io::Error> {
    Arc::new(io::Error::other("no luck"))
}

fn said(error: impl Into<StartError>) -> String {
    error.into().to_string()
}

fn record() -> Box<ServerRecord> {
    Box::new(ServerRecord {
        endpoint: Endpoint::v4(PORT),
        pid: 2,
        started_at: Timestamp::from_unix_micros(0),
        name: None,
        instance_id: None,
        held_by: HeldBy::Owner,
        restarts: None,
        origin: Origin::default(),
        app: None,
        token: None,
    })
}

#[test]
fn a_start_that_failed_says_what_is_in_the_way() {
    let path = || "/there".into();
    let action = "open";
    let running = AcquireError::AlreadyRunning(record());
    let taken = |holder| PickError::PortTaken { port: PORT, holder };
    for (said, words) in [
        (said(running), "already running at http://127.0.0.1:4711/"),
        (said(AcquireError::Busy(None)), "another process owns it"),
        (
            said(AcquireError::Busy(Some(Phase::Starting))),
            "another process owns it, and is starting",
        ),
        (
            said(AcquireError::Busy(Some(Phase::Stopping))),
            "another process owns it, and is stopping",
        ),
        (
            said(AcquireError::NoLocks {
                path: path(),
                source: source(),
            }),
            "the file system of /there has no file locks",
        ),
        (
            said(AcquireError::Io {
                action,
                path: path(),
                source: source(),
            }),
            "cannot open /there",
        ),
        (said(taken(None)), "port 4711 is taken"),
        (
            said(taken(Some("pid 1".to_owned()))),
            "port 4711 is taken by pid 1",
        ),
        (
            said(PickError::Orphans { pids: vec![3, 5] }),
            "processes of a supervisor that is dead cannot be ended: 3, 5",
        ),
        (
            said(ServeError::Ended(ServerEnd::because("it was shot"))),
            "the server ended before it was ready: it was shot",
        ),
        (
            said(ServeError::NotReady(Trouble::with("it sleeps"))),
            "the server does not answer: it sleeps",
        ),
        (
            said(PublishError::Io {
                action,
                path: path(),
                source: source(),
            }),
            "cannot open /there",
        ),
        (
            said(StartError::TimedOut {
                after: Duration::from_secs(3),
                trouble: None,
            }),
            "not ready within 3s",
        ),
        (
            said(StartError::TimedOut {
                after: Duration::from_secs(3),
                trouble: Some(Trouble::with("it sleeps")),
            }),
            "not ready within 3s: it sleeps",
        ),
    ] {
        assert_eq!(said, words);
    }
}

#[test]
fn only_who_is_running_already_is_named() {
    let running = StartError::Acquire(AcquireError::AlreadyRunning(record()));
    assert_eq!(running.already_running(), Some(&*record()));
    assert_eq!(StartError::Stopped.already_running(), None);
}

#[test]
fn an_unclean_stop_says_what_is_left() {
    let mut report = StopReport::default();
    report.left.push(Leftover::Processes(2));
    let error = StopError::Unclean(Arc::new(report));
    let words = "stopped, but 2 processes of the server could not be ended";
    assert_eq!(error.to_string(), words);
}
