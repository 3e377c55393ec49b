//! Waiting for servers to come and go, woken by the system.
//!
//! A birth is a change in the state directory. A death is the end of a lock, for which a thread waits in flock(2): a
//! process that is killed writes no file. Only what neither can tell is looked after by the clock.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use daymark_adapters::state_store::{DirWatch, Look};
use daymark_core::presence::Presence;
use thiserror::Error;
use tokio::sync::watch;

use super::{Place, PlaceError, Sighting};

/// How often to look while an owner is starting or stopping: what ends that may be a lock that nobody can wait for.
const WHILE_CHANGING: Duration = Duration::from_millis(200);

/// How often to look where the system can't tell of changes.
const WITHOUT_WATCH: Duration = Duration::from_millis(100);

/// Tells of a place, again and again, whenever what may be believed of it has changed.
#[derive(Debug)]
pub struct Watch {
    place: Place,
    last: Option<Sighting>,
    directory: Option<DirWatch>,
    death: Option<Death>,
}

/// The end of one record's proof, and the thread that sleeps until then. Such a sleep can't be called off, so there is one
/// for all who wait for the same end, however many come and go.
#[derive(Debug)]
struct Death {
    of: Sighting,
    /// Closes with the thread.
    told: watch::Receiver<()>,
}

/// The ends that threads wait for at present, by the record's directory and instance.
static WAITED_FOR: Mutex<BTreeMap<(PathBuf, String), watch::Receiver<()>>> =
    Mutex::new(BTreeMap::new());

impl Death {
    /// None if there can be no thread.
    fn of(sighting: &Sighting, look: Look) -> Option<Self> {
        let instance = sighting.record.as_ref().and_then(|r| r.instance_id);
        let key = (
            sighting.state_dir.clone(),
            instance.map(|id| id.to_string()).unwrap_or_default(),
        );
        let mut waited_for = WAITED_FOR.lock().unwrap_or_else(PoisonError::into_inner);
        waited_for.retain(|_, told| told.has_changed().is_ok());
        let told = match waited_for.get(&key) {
            Some(told) => told.clone(),
            None => {
                let (alive, told) = watch::channel(());
                let sleep = move || {
                    if look.wait_for_end().is_err() {
                        // It can't be waited for here: whoever asked looks now and then.
                        std::thread::sleep(WITHOUT_WATCH);
                    }
                    drop(alive);
                };
                let thread = std::thread::Builder::new().name("daymark-wait".to_owned());
                thread.spawn(sleep).ok()?;
                waited_for.insert(key, told.clone());
                told
            }
        };
        Some(Self {
            of: sighting.clone(),
            told,
        })
    }

    async fn wait(&mut self) {
        // Nobody ever sends: it ends with the sender.
        while self.told.changed().await.is_ok() {}
    }
}

/// Why a wait didn't end well.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The place can't be named.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// It took too long.
    #[error("timed out after {after:?}: it is {}", last.presence)]
    TimedOut {
        /// How long it was.
        after: Duration,
        /// What was there at the end.
        last: Box<Sighting>,
    },
}

impl Watch {
    /// What is there now, if it was never asked; else the next thing that differs from the last one.
    ///
    /// Dropping the future midway loses nothing. The thread that waits for a live server's death stays until that comes; there
    /// is one for each such server.
    pub async fn next(&mut self) -> Sighting {
        loop {
            self.watch_directory();
            let look = Look::at(self.place.state_dir());
            let now = self.place.interpret(&look);
            if self.last.as_ref() != Some(&now) {
                self.last = Some(now.clone());
                return now;
            }
            self.wait_for_death(look, &now);
            self.wait_for_change(now.presence).await;
        }
    }

    /// Watches the state directory, or as long as that isn't there, the nearest one above it that is. What was made while
    /// the watch was being set up calls for another look, until the watch is where it should be.
    fn watch_directory(&mut self) {
        let state_dir = self.place.state_dir().to_owned();
        while let Some(nearest) = state_dir.ancestors().find(|dir| dir.is_dir()) {
            if self.directory.as_ref().is_some_and(|w| w.is_on(nearest)) {
                return;
            }
            self.directory = DirWatch::on(nearest).ok();
            if self.directory.is_none() {
                return;
            }
        }
    }

    fn wait_for_death(&mut self, look: Look, now: &Sighting) {
        let lives = matches!(now.presence, Presence::Live | Presence::Unreachable);
        if !lives {
            self.death = None;
        } else if self.death.as_ref().is_none_or(|death| death.of != *now) {
            self.death = Death::of(now, look);
        }
    }

    async fn wait_for_change(&mut self, presence: Presence) {
        let changing = matches!(presence, Presence::Starting | Presence::Stopping);
        let lives = matches!(presence, Presence::Live | Presence::Unreachable);
        let every = match (&self.directory, &self.death) {
            (None, _) => Some(WITHOUT_WATCH),
            (_, None) if lives => Some(WITHOUT_WATCH),
            _ if changing => Some(WHILE_CHANGING),
            _ => None,
        };
        let directory = async {
            match &self.directory {
                Some(watch) => watch.changed().await,
                None => std::future::pending().await,
            }
        };
        let death = async {
            match &mut self.death {
                Some(death) => death.wait().await,
                None => std::future::pending().await,
            }
        };
        let tick = async {
            match every {
                Some(every) => tokio::time::sleep(every).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = directory => {}
            () = tick => {}
            () = death => self.death = None,
        }
    }
}

impl Place {
    /// Watches the place, from now on. Needs a tokio runtime with I/O and time enabled, and the same one for all its life.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch {
            place: self.clone(),
            last: None,
            directory: None,
            death: None,
        }
    }

    /// Waits until a server is live here. Needs a tokio runtime with I/O and time enabled.
    ///
    /// # Errors
    ///
    /// [`WaitError::TimedOut`] after `timeout`, with what was there then.
    pub async fn wait_ready(&self, timeout: Duration) -> Result<Sighting, WaitError> {
        self.wait_until(timeout, |presence| presence == Presence::Live)
            .await
    }

    /// Waits until no server is here, neither live nor on its way in or out. Needs a tokio runtime with I/O and time enabled.
    ///
    /// # Errors
    ///
    /// [`WaitError::TimedOut`] after `timeout`, with what was there then.
    pub async fn wait_down(&self, timeout: Duration) -> Result<Sighting, WaitError> {
        self.wait_until(timeout, |presence| {
            matches!(presence, Presence::Absent | Presence::Stale)
        })
        .await
    }

    async fn wait_until(
        &self,
        timeout: Duration,
        wanted: impl Fn(Presence) -> bool,
    ) -> Result<Sighting, WaitError> {
        let mut watch = self.watch();
        let found = tokio::time::timeout(timeout, async {
            loop {
                let sighting = watch.next().await;
                if wanted(sighting.presence) {
                    return sighting;
                }
            }
        })
        .await;
        found.map_err(|_| WaitError::TimedOut {
            after: timeout,
            last: Box::new(self.look()),
        })
    }
}
