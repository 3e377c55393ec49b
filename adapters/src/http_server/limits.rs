//! How much of a server one client may take up.

use std::time::Duration;

/// What clients are held to. All of it is bounded, so that whatever they do a server's memory and its stop are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// How many connections at a time, as far as the process may have descriptors: 1,024. Where all places are taken, the
    /// next one gets the place of somebody who is idle, or of somebody who keeps the server waiting.
    pub max_connections: u32,
    /// How long a request's head may be, in bytes: 64 KiB, and never less than 8 KiB. More is answered with 431. It may have
    /// 100 headers. It is also how much is read from a connection, or kept to be sent on it, at a time.
    pub max_header_bytes: usize,
    /// How long a client may take to send a request's head, and to stay silent between requests: 30 s.
    pub header_timeout: Duration,
    /// For how long an app has to wait for a request's body, in all: 30 s. Each KiB that arrives gives a second of that back.
    pub body_timeout: Duration,
    /// How long a client may read nothing of an answer: 60 s.
    pub send_timeout: Duration,
}

/// What hyper needs to read a head.
const SMALLEST_BUFFER: usize = 8 * 1024;

/// Longer than any server runs, and short enough to be added to a point in time.
const FOREVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_header_bytes: 64 * 1024,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            send_timeout: Duration::from_secs(60),
        }
    }
}

impl Limits {
    /// Those nearest to these that can be kept.
    pub(super) fn in_range(self) -> Self {
        Self {
            max_connections: self.max_connections.clamp(1, descriptors_to_spare()),
            max_header_bytes: self.max_header_bytes.max(SMALLEST_BUFFER),
            header_timeout: self.header_timeout.min(FOREVER),
            body_timeout: self.body_timeout.min(FOREVER),
            send_timeout: self.send_timeout.min(FOREVER),
        }
    }
}

/// How many connections leave the process enough descriptors for everything else (getrlimit(2)).
#[cfg(unix)]
fn descriptors_to_spare() -> u32 {
    use rustix::process::{Resource, getrlimit};
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    u32::try_from(limit - limit / 4).unwrap_or(u32::MAX).max(1)
}

#[cfg(not(unix))]
const fn descriptors_to_spare() -> u32 {
    u32::MAX
}
