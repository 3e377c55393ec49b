//! Tries what servers and readers rely on where the state is: private directories, locks, records, being woken.
//!
//! It is done by the very code that servers use, in a directory of its own, which is gone afterwards. Its name begins with a
//! dot, so it is nobody's state directory.

use std::num::NonZeroU16;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use daymark_adapters::clock::SystemClock;
use daymark_adapters::identity;
use daymark_adapters::state_store::{DirWatch, FileStore, Look};
use daymark_core::clock::Clock as _;
use daymark_core::presence::{LockSeen, Observation};
use daymark_core::record::{Endpoint, HeldBy, InstanceId, ServerRecord};
use daymark_core::state_store::{AcquireError, Lease, StateStore as _};

use super::Check;
use crate::cli::explain;

/// How long the system may take to tell of a change.
const PROMPT: Duration = Duration::from_secs(2);

/// Tries it where `dir` is, or will be.
pub(super) async fn examine(dir: &Path) -> Vec<Check> {
    // Not where a link leads that stands in for the state directory: nothing would ever be kept there.
    let is_there = |there: &&Path| match *there == dir {
        true => there.symlink_metadata().is_ok_and(|found| found.is_dir()),
        false => there.is_dir(),
    };
    let existing = dir.ancestors().find(is_there);
    let instance = identity::new_instance_id();
    let (Some(existing), Ok(instance)) = (existing, instance) else {
        let hint = "see whether /dev/urandom is there";
        return vec![Check::bad(
            "store",
            "the system has no random numbers",
            hint,
        )];
    };
    let probe = existing.join(format!(".doctor-{instance}"));
    let store = match FileStore::new(&probe) {
        Ok(store) => store,
        Err(error) => return vec![Check::failed("store", explain::no_directories(&error))],
    };
    let checks = match store.acquire().await {
        Err(error) => vec![Check::failed("locks", explain::acquire(&error, "NAME"))],
        Ok(lease) => {
            let woken = DirWatch::on(&probe);
            let checks = vec![
                locks(&store, existing).await,
                record(&lease, &probe, instance).await,
                watch(woken, existing).await,
            ];
            // Whatever comes of it: the lease goes next, and then the directory.
            drop(lease.withdraw().await);
            drop(lease.release().await);
            checks
        }
    };
    if probe.exists() && store.prune().is_err() {
        // It can be removed only if the locks work that the check is about.
        let _ = std::fs::remove_dir_all(&probe);
    }
    checks
}

/// Nobody else can own what is owned.
async fn locks(store: &FileStore, existing: &Path) -> Check {
    const NAME: &str = "locks";
    let path = existing.display();
    match store.acquire().await {
        Err(AcquireError::Busy(_)) => Check::ok(NAME, format!("file locks work in {path}")),
        _ => Check::bad(
            NAME,
            format!("file locks keep nobody out in {path}"),
            "name a directory on a local disk: --state-dir DIR",
        ),
    }
}

/// What is published can be read, and is seen to be vouched for.
async fn record(lease: &Arc<dyn Lease>, probe: &Path, instance: InstanceId) -> Check {
    const NAME: &str = "record";
    let record = ServerRecord {
        endpoint: Endpoint::v4(NonZeroU16::MIN),
        pid: std::process::id(),
        started_at: SystemClock.now(),
        name: None,
        instance_id: Some(instance),
        held_by: HeldBy::Owner,
        restarts: None,
        origin: identity::origin().clone(),
        app: None,
        token: None,
    };
    if let Err(error) = lease.publish(&record, None).await {
        return Check::failed(NAME, explain::start(&error.into(), "doctor", "NAME"));
    }
    match Look::at(probe).observation() {
        Observation::Record(seen, LockSeen::Held) if **seen == record => {
            Check::ok(NAME, "records can be published and proven")
        }
        _ => Check::bad(
            NAME,
            "a record that was published cannot be proven",
            "name a directory on a local disk: --state-dir DIR",
        ),
    }
}

async fn watch<E: std::error::Error>(woken: Result<DirWatch, E>, existing: &Path) -> Check {
    const NAME: &str = "watch";
    let watch = match woken {
        Ok(watch) => watch,
        Err(error) => {
            return Check::bad(
                NAME,
                format!("directories cannot be watched: {}", explain::chain(&error)),
                "raise fs.inotify.max_user_instances and fs.inotify.max_user_watches (sysctl)",
            );
        }
    };
    match tokio::time::timeout(PROMPT, watch.changed()).await {
        Ok(()) => Check::ok(NAME, "changes of state are told of"),
        Err(_) => Check::bad(
            NAME,
            format!("changes in {} are not told of", existing.display()),
            "name a directory on a local disk: --state-dir DIR",
        ),
    }
}
