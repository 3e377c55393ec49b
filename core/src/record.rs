//! The record that a server publishes, and the small types it is made of. Each is valid by construction.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::str::FromStr;

use thiserror::Error;

use crate::clock::Timestamp;

/// What a server says of itself in `server.json`.
///
/// The fields that are `Option` are always there in what Daymark writes; a record from elsewhere may lack them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerRecord {
    /// Where it listens.
    pub endpoint: Endpoint,
    /// The process that wrote the record.
    pub pid: u32,
    /// When it was about to be published.
    pub started_at: Timestamp,
    /// What the server is called.
    pub name: Option<Name>,
    /// Which run of it this is.
    pub instance_id: Option<InstanceId>,
    /// Who holds the listening socket.
    pub held_by: HeldBy,
    /// How often the server was replaced in this run; none unless its owner can replace it.
    pub restarts: Option<u64>,
    /// Where the process lives.
    pub origin: Origin,
    /// The program.
    pub app: Option<AppInfo>,
    /// What a client must present, when the server asks for it.
    pub token: Option<Token>,
}

/// Who holds the listening socket that a record points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldBy {
    /// The process whose lock proves the record.
    Owner,
    /// Another process, whom that one looks after.
    Child,
}

/// The program behind a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppInfo {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The directory that the server belongs to: the one that is served, or where its command was started. It tells two
    /// projects apart that gave their servers the same name.
    pub dir: Option<String>,
}

/// Where a process lives: pids, addresses and locks mean something only within the same boot and namespaces.
///
/// Linux: `/proc/sys/kernel/random/boot_id` (random(4)) and the inode numbers of `/proc/self/ns/{pid,net}`
/// (namespaces(7)). Elsewhere all three are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The kernel's boot.
    pub boot_id: Option<String>,
    /// The pid namespace.
    pub pid_ns: Option<u64>,
    /// The network namespace.
    pub net_ns: Option<u64>,
}

/// A loopback address that was really bound: `127.0.0.1` or `::1`, and a port other than 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    v6: bool,
    port: NonZeroU16,
}

impl Endpoint {
    /// `127.0.0.1` and this port.
    #[must_use]
    pub const fn v4(port: NonZeroU16) -> Self {
        Self { v6: false, port }
    }

    /// `::1` and this port.
    #[must_use]
    pub const fn v6(port: NonZeroU16) -> Self {
        Self { v6: true, port }
    }

    /// The port.
    #[must_use]
    pub const fn port(self) -> NonZeroU16 {
        self.port
    }

    /// The address to connect to. Never a name: another user may own the other address family's port.
    #[must_use]
    pub const fn addr(self) -> SocketAddr {
        let ip = if self.v6 {
            IpAddr::V6(Ipv6Addr::LOCALHOST)
        } else {
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        };
        SocketAddr::new(ip, self.port.get())
    }

    /// `http://127.0.0.1:PORT/` or `http://[::1]:PORT/`.
    #[must_use]
    pub fn url(self) -> String {
        format!("http://{}/", self.addr())
    }

    /// Reads exactly the form that [`url`](Self::url) writes.
    #[must_use]
    pub fn from_url(url: &str) -> Option<Self> {
        let addr = url.strip_prefix("http://")?.strip_suffix('/')?;
        let (make, port): (fn(NonZeroU16) -> Self, _) = match addr.strip_prefix("127.0.0.1:") {
            Some(port) => (Self::v4, port),
            None => (Self::v6, addr.strip_prefix("[::1]:")?),
        };
        // A number may be read that is never written so.
        let is_exact = port.starts_with(|c: char| matches!(c, '1'..='9'));
        port.parse().ok().filter(|_| is_exact).map(make)
    }
}

impl TryFrom<SocketAddr> for Endpoint {
    type Error = NotLoopback;

    fn try_from(addr: SocketAddr) -> Result<Self, NotLoopback> {
        let port = NonZeroU16::new(addr.port()).ok_or(NotLoopback(addr))?;
        match addr.ip() {
            IpAddr::V4(Ipv4Addr::LOCALHOST) => Ok(Self::v4(port)),
            IpAddr::V6(Ipv6Addr::LOCALHOST) => Ok(Self::v6(port)),
            _ => Err(NotLoopback(addr)),
        }
    }
}

/// An address that isn't `127.0.0.1` or `::1` with a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0} is not 127.0.0.1 or ::1 with a port")]
pub struct NotLoopback(SocketAddr);

/// What a server is called: `[a-z0-9][a-z0-9._-]{0,63}`. It names a directory, so nothing else will do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

const NAME_MAX: usize = 64;

impl Name {
    /// The nearest valid name to `text`, where one is left: lower case, everything foreign as `-`.
    #[must_use]
    pub fn made_from(text: &str) -> Option<Self> {
        let mut name: String = text
            .chars()
            .map(|c| c.to_ascii_lowercase())
            .map(|c| if is_name_char(c) { c } else { '-' })
            .skip_while(|c| !c.is_ascii_alphanumeric())
            .take(NAME_MAX)
            .collect();
        name.truncate(name.trim_end_matches(['-', '.', '_']).len());
        name.parse().ok()
    }

    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const fn is_name_char(c: char) -> bool {
    matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-')
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if starts_well && text.len() <= NAME_MAX && text.chars().all(is_name_char) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName(text.chars().take(NAME_MAX + 1).collect()))
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that isn't a [`Name`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{0:?} is not a valid name (1 to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or a digit)"
)]
pub struct InvalidName(String);

/// One run of a server: 128 random bits, written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct InstanceId(u128);

impl InstanceId {
    /// The id with these bits. They should come from the system's random source.
    #[must_use]
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InstanceId({self})")
    }
}

impl FromStr for InstanceId {
    type Err = InvalidInstanceId;

    fn from_str(text: &str) -> Result<Self, InvalidInstanceId> {
        let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 32 || !text.bytes().all(hex) {
            return Err(InvalidInstanceId);
        }
        u128::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| InvalidInstanceId)
    }
}

/// A text that isn't an [`InstanceId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an instance id is 32 lower-case hexadecimal digits")]
pub struct InvalidInstanceId;

/// A secret that a client shows to the server: 16 to 128 of `A-Z a-z 0-9 - _`. Its `Debug` form doesn't tell it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The secret itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for Token {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let fits = (16..=128).contains(&text.len());
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if fits && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidToken)
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A text that isn't a [`Token`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a token is 16 to 128 letters, digits, '-' and '_'")]
pub struct InvalidToken;

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
