//! Which advice follows which error.

use std::path::PathBuf;
use std::sync::Arc;

use daymark_core::state_store::WithdrawError;

use super::*;

fn started(error: impl Into<StartError>) -> Failure {
    start(&error.into(), "api", "api")
}

fn unwritable(kind: ErrorKind) -> PublishError {
    PublishError::Io {
        action: "write",
        path: PathBuf::from("/s/server.json"),
        source: Arc::new(kind.into()),
    }
}

#[test]
fn what_is_wrong_with_a_file_system_has_its_own_advice() {
    for (kind, advice) in [
        (ErrorKind::ReadOnlyFilesystem, "read-only"),
        (ErrorKind::StorageFull, "make room"),
        (ErrorKind::QuotaExceeded, "quota"),
        (ErrorKind::PermissionDenied, "yours to write"),
        (ErrorKind::Other, "name another directory"),
    ] {
        let failure = started(unwritable(kind));
        assert_eq!(failure.exit, Exit::Failed);
        assert!(
            failure
                .sentence
                .starts_with("cannot write /s/server.json: ")
        );
        assert!(failure.hint.contains(advice), "{failure:?}");
    }
    let failure = started(AcquireError::NoLocks {
        path: PathBuf::from("/s"),
        source: Arc::new(ErrorKind::Unsupported.into()),
    });
    assert!(
        failure.sentence.contains("has no file locks"),
        "{failure:?}"
    );
    assert!(failure.hint.contains("local disk"), "{failure:?}");
}

#[test]
fn an_owner_that_never_got_ready_counts_as_running() {
    let failure = started(AcquireError::Busy(None));
    assert_eq!(failure.exit, Exit::AlreadyRunning);
    assert!(failure.hint.contains("daymark stop api"), "{failure:?}");
}

#[test]
fn a_start_that_takes_too_long_has_timed_out() {
    let failure = started(StartError::TimedOut {
        after: Duration::from_secs(10),
        trouble: None,
    });
    assert_eq!(failure.exit, Exit::TimedOut);
    assert_eq!(failure.sentence, "api was not ready within 10 s");
}

#[test]
fn what_a_stop_has_left_makes_it_a_failure() {
    let mut report = StopReport::default();
    assert!(unclean(&report).is_none());
    report.left.push(Leftover::Record(WithdrawError {
        action: "remove",
        path: PathBuf::from("/s/server.json"),
        source: Arc::new(ErrorKind::ReadOnlyFilesystem.into()),
    }));
    let failure = unclean(&report).unwrap();
    assert_eq!(failure.exit, Exit::Failed);
    assert!(
        failure.sentence.contains("cannot remove /s/server.json"),
        "{failure:?}"
    );
}
