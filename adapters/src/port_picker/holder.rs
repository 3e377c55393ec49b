//! Who holds a port, as far as this user may know.

use std::net::SocketAddr;

#[cfg(target_os = "linux")]
use crate::proc_fs::{processes, tcp_table};

/// The process that listens on `addr`'s port, as `name (pid N)`; none where the system doesn't tell.
#[cfg(not(target_os = "linux"))]
pub(super) fn of_port(_addr: SocketAddr) -> Option<String> {
    None
}

/// The process that listens on `addr`'s port, as `name (pid N)`.
///
/// Which sockets there are is for everybody to read (proc_pid_net(5)); which process has one open is only told of one's own
/// processes.
#[cfg(target_os = "linux")]
pub(super) fn of_port(addr: SocketAddr) -> Option<String> {
    let listening = tcp_table::listening()?.into_iter();
    let sockets: Vec<u64> = listening
        .filter(|row| row.local.port() == addr.port())
        .map(|row| row.inode)
        .collect();
    let pid = processes::holder(&sockets)?;
    Some(format!("{} (pid {pid})", processes::name(pid)?))
}

/// Whether connections have `port` as their own, alive or left behind by a server that is gone.
#[cfg(target_os = "linux")]
pub(super) fn has_connections(port: u16) -> bool {
    let mut all = tcp_table::read().into_iter().flatten();
    all.any(|row| row.local.port() == port && !row.listens())
}
