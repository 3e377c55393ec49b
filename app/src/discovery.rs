//! Finding servers, being sure of them, and waiting: the client's half.
//!
//! What is believed comes from the record's lock alone. Whoever acts on it looks, acts, and looks again at the very same
//! record: see [`Place::connect`] and [`Place::stop`].

mod connect;
mod link;
mod process;
mod restart;
mod stop;
mod watch;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use daymark_adapters::clock::SystemClock;
use daymark_adapters::identity;
use daymark_adapters::state_store::Look;
use daymark_core::clock::Clock as _;
use daymark_core::presence::{self, Presence, Verdict};
use daymark_core::record::{InvalidName, Name, ServerRecord};
use thiserror::Error;

use crate::directories;

pub use connect::{ConnectError, Connection};
pub use link::LinkError;
pub use restart::RestartServerError;
pub use stop::{StopOptions, StopServerError, Stopped};
pub use watch::{WaitError, Watch};

/// A place where a server's state may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    name: Option<Name>,
    state_dir: PathBuf,
}

/// Why a place can't be named.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// The name isn't one.
    #[error(transparent)]
    InvalidName(#[from] InvalidName),
    /// The directories of this user can't be found or read.
    #[error("cannot find the state directory")]
    Directories(#[source] Arc<io::Error>),
}

impl From<io::Error> for PlaceError {
    fn from(source: io::Error) -> Self {
        Self::Directories(Arc::new(source))
    }
}

/// What was found at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sighting {
    /// The server's name, by its directory, else by its record.
    pub name: Option<Name>,
    /// The directory that was looked at.
    pub state_dir: PathBuf,
    /// What may be believed.
    pub presence: Presence,
    /// Why, where the presence alone doesn't say enough.
    pub reason: Option<String>,
    /// The record, where one could be read. Only that of a [live](Presence::Live) server should be acted on.
    pub record: Option<ServerRecord>,
}

impl Sighting {
    /// Whether a server is there that may be used.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.presence == Presence::Live
    }

    /// Its URL, if it is live.
    #[must_use]
    pub fn url(&self) -> Option<String> {
        let record = self.record.as_ref().filter(|_| self.is_live())?;
        Some(record.endpoint.url())
    }

    /// How long it has been there, if it is live: by the wall clock, so only for people to see.
    #[must_use]
    pub fn uptime(&self) -> Option<Duration> {
        let record = self.record.as_ref().filter(|_| self.is_live())?;
        Some(SystemClock.now().saturating_since(record.started_at))
    }
}

impl Place {
    /// The place of the server called `name`.
    ///
    /// # Errors
    ///
    /// [`PlaceError`] when that isn't a name, or there is no home directory.
    pub fn named(name: &str) -> Result<Self, PlaceError> {
        let name: Name = name.parse()?;
        Ok(Self {
            state_dir: directories::state_dir(&name)?,
            name: Some(name),
        })
    }

    /// The place with this state directory: the one that holds `server.json` itself.
    ///
    /// # Errors
    ///
    /// [`PlaceError::Directories`] when the path is relative and the working directory isn't known.
    pub fn at(state_dir: impl AsRef<Path>) -> Result<Self, PlaceError> {
        Ok(Self {
            name: None,
            state_dir: std::path::absolute(state_dir.as_ref())?,
        })
    }

    /// The places of all named servers, in order of their names.
    ///
    /// # Errors
    ///
    /// [`PlaceError::Directories`] when they can't be listed.
    pub fn all() -> Result<Vec<Self>, PlaceError> {
        let found = directories::named_in(&directories::state_root()?)?;
        Ok(found
            .into_iter()
            .map(|(name, state_dir)| Self {
                name: Some(name),
                state_dir,
            })
            .collect())
    }

    /// The name, if the place was named.
    #[must_use]
    pub const fn name(&self) -> Option<&Name> {
        self.name.as_ref()
    }

    /// The state directory.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// Looks, and changes nothing. Takes a few system calls and waits for nobody.
    #[must_use]
    pub fn look(&self) -> Sighting {
        self.interpret(&Look::at(&self.state_dir))
    }

    fn interpret(&self, look: &Look) -> Sighting {
        let Verdict { presence, reason } = presence::judge(look.observation(), identity::origin());
        let record = look.record().cloned();
        Sighting {
            name: self
                .name
                .clone()
                .or_else(|| record.as_ref().and_then(|r| r.name.clone())),
            state_dir: self.state_dir.clone(),
            presence,
            reason,
            record,
        }
    }
}

/// Looks for the server called `name`.
///
/// # Errors
///
/// [`PlaceError`] when that isn't a name, or there is no home directory. That nothing runs is no error.
pub fn discover(name: &str) -> Result<Sighting, PlaceError> {
    Ok(Place::named(name)?.look())
}

/// Looks at all named servers, in order of their names.
///
/// # Errors
///
/// [`PlaceError::Directories`] when they can't be listed.
pub fn list() -> Result<Vec<Sighting>, PlaceError> {
    let places = Place::all()?;
    let looks = Look::at_each(places.iter().map(Place::state_dir));
    let sightings = places.iter().zip(looks);
    Ok(sightings
        .map(|(place, look)| place.interpret(&look))
        .collect())
}

/// Waits until the server called `name` is live. Needs a tokio runtime with I/O and time enabled. See [`Place::wait_ready`].
///
/// # Errors
///
/// [`WaitError`].
pub async fn wait_ready(name: &str, timeout: Duration) -> Result<Sighting, WaitError> {
    Place::named(name)?.wait_ready(timeout).await
}

/// Waits until no server called `name` is there. Needs a tokio runtime with I/O and time enabled. See [`Place::wait_down`].
///
/// # Errors
///
/// [`WaitError`].
pub async fn wait_down(name: &str, timeout: Duration) -> Result<Sighting, WaitError> {
    Place::named(name)?.wait_down(timeout).await
}

/// Watches the server called `name`. See [`Place::watch`].
///
/// # Errors
///
/// [`PlaceError`] when that isn't a name, or there is no home directory.
pub fn watch(name: &str) -> Result<Watch, PlaceError> {
    Ok(Place::named(name)?.watch())
}

/// Connects to the server called `name`, and proves that it is the one. See [`Place::connect`].
///
/// # Errors
///
/// [`ConnectError`]; nothing was sent to anybody then.
pub async fn connect(name: &str) -> Result<Connection, ConnectError> {
    Place::named(name)?.connect().await
}
