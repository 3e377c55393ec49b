//! Connecting to a server, and being sure that it is the one.
//!
//! Between a look and a connect a server may die and another program take its port. So there is a second look, at the very
//! same record: if its writer, who holds the listening socket, lives before and after, it lived in between.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

#[cfg(target_os = "linux")]
use daymark_adapters::proc_fs::{sock_diag, tcp_table};
use daymark_adapters::state_store::Look;
use daymark_core::record::{HeldBy, ServerRecord};
use thiserror::Error;
use tokio::net::TcpStream;

use super::{Place, PlaceError, Sighting};

/// A stream to a server that has been proven to be the record's writer.
#[derive(Debug)]
#[non_exhaustive]
pub struct Connection {
    /// The stream. Nothing was sent on it yet.
    pub stream: TcpStream,
    /// The record of the server at its other end. Its token, if there is one, may be sent now.
    pub record: ServerRecord,
}

/// Why there is no proven connection.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The place can't be named.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// No live server is there.
    #[error("not running: {}", .0.presence)]
    NotLive(Box<Sighting>),
    /// The record's writer doesn't hold the listening socket itself, so its life says nothing about who answers.
    #[error("its owner does not hold the listening socket, so nothing proves who answers")]
    NotOwner(Box<ServerRecord>),
    /// It is alive, and couldn't be connected to.
    #[error("cannot connect to {addr}")]
    Connect {
        /// The address.
        addr: SocketAddr,
        /// The system's own report.
        #[source]
        source: Arc<io::Error>,
    },
    /// It was gone, or another one in its place, before the second look.
    #[error("the server went away while connecting")]
    WentAway,
    /// The server didn't accept the connection, so it can't be seen whose it is.
    #[error("the server at {addr} does not accept connections at the moment")]
    NotAccepted {
        /// The address.
        addr: SocketAddr,
    },
    /// The socket at the other end belongs to another user.
    #[error("the socket at {addr} belongs to user {uid}")]
    ForeignSocket {
        /// The address.
        addr: SocketAddr,
        /// Whose it is.
        uid: u32,
    },
}

impl Place {
    /// Connects to the live server here, and proves that it is the one. Needs a tokio runtime with I/O and time enabled. A
    /// server whose queue is full may keep it waiting: it may be dropped at any time.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]; nothing was sent to anybody then.
    pub async fn connect(&self) -> Result<Connection, ConnectError> {
        let look = Look::at(self.state_dir());
        let sighting = self.interpret(&look);
        let record = match &sighting.record {
            Some(record) if sighting.is_live() => record.clone(),
            _ => return Err(ConnectError::NotLive(Box::new(sighting))),
        };
        if record.held_by != HeldBy::Owner {
            return Err(ConnectError::NotOwner(Box::new(record)));
        }
        let addr = record.endpoint.addr();
        let failed = |source| ConnectError::Connect {
            addr,
            source: Arc::new(source),
        };
        let stream = TcpStream::connect(addr).await.map_err(failed)?;
        // As for the server: else a small request waits for an acknowledgement.
        stream.set_nodelay(true).map_err(failed)?;
        if !look.still_holds() {
            return Err(ConnectError::WentAway);
        }
        #[cfg(target_os = "linux")]
        check_owner(&stream, addr).await?;
        Ok(Connection { stream, record })
    }
}

/// Makes sure that the server's end belongs to this user, by asking the kernel, or by its row in `/proc/net/tcp`
/// (proc_pid_net(5)). Where neither tells, the two looks have to do.
#[cfg(target_os = "linux")]
async fn check_owner(stream: &TcpStream, addr: SocketAddr) -> Result<(), ConnectError> {
    use std::time::Duration;
    /// A connection that nobody has accepted yet shows as root's, and without an inode. Mostly that is over in no time, sooner
    /// than a timer could tell.
    const AT_ONCE: u32 = 10;
    const TRIES: u32 = 60;
    const SHORTEST: Duration = Duration::from_millis(1);
    const LONGEST: Duration = Duration::from_millis(10);

    let me = rustix::process::geteuid().as_raw();
    let Ok(client) = stream.local_addr() else {
        return Err(ConnectError::WentAway);
    };
    let mut pause = SHORTEST;
    for tried in 0..TRIES {
        let owner = match sock_diag::owner_of(addr, client) {
            Ok(owner) => owner,
            Err(_) => match tokio::fs::read(table_of(addr)).await {
                Ok(table) => owner_in(&table, addr, client),
                Err(_) => return Ok(()),
            },
        };
        match owner {
            // Nobody's yet, whatever the user; to root it would look like its own.
            Some((_, 0)) if tried < AT_ONCE => tokio::task::yield_now().await,
            Some((_, 0)) => {
                tokio::time::sleep(pause).await;
                pause = LONGEST.min(pause * 2);
            }
            Some((uid, _)) if uid == me => return Ok(()),
            Some((uid, _)) => return Err(ConnectError::ForeignSocket { addr, uid }),
            None => return Err(ConnectError::WentAway),
        }
    }
    Err(ConnectError::NotAccepted { addr })
}

#[cfg(target_os = "linux")]
const fn table_of(addr: SocketAddr) -> &'static str {
    match addr {
        SocketAddr::V4(_) => tcp_table::V4,
        SocketAddr::V6(_) => tcp_table::V6,
    }
}

#[cfg(target_os = "linux")]
fn owner_in(table: &[u8], local: SocketAddr, remote: SocketAddr) -> Option<(u32, u64)> {
    let server = tcp_table::rows(table).find(|row| row.local == local && row.remote == remote);
    server.map(|row| (row.uid, row.inode))
}
