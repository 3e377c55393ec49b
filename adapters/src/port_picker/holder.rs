//! Who holds a port, as far as this user may know.

use std::net::SocketAddr;

/// The process that listens on `addr`'s port, as `name (pid N)`; none where the system doesn't tell.
#[cfg(not(target_os = "linux"))]
pub(super) fn of_port(_addr: SocketAddr) -> Option<String> {
    None
}

/// The process that listens on `addr`'s port, as `name (pid N)`.
///
/// The socket's inode stands in `/proc/net/tcp{,6}` for everybody to read (proc_pid_net(5)); which process has that socket
/// open is only told of one's own processes.
#[cfg(target_os = "linux")]
pub(super) fn of_port(addr: SocketAddr) -> Option<String> {
    use std::fs;

    let sockets: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, addr.port()))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let holds = |pid: u32| {
        fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|fd| fs::read_link(fd.path()).ok())
            .any(|target| {
                sockets
                    .iter()
                    .any(|socket| target.as_os_str() == socket.as_str())
            })
    };
    let pid = fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .find(|&pid| holds(pid))?;
    let command = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(format!("{} (pid {pid})", command.trim_end()))
}

/// Whether connections have `port` as their own, alive or left behind by a server that is gone.
#[cfg(target_os = "linux")]
pub(super) fn has_connections(port: u16) -> bool {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .any(|table| rows(&table, port).any(|row| row[3] != "0A"))
}

/// The inodes of the sockets that listen on `port`.
#[cfg(target_os = "linux")]
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    rows(table, port)
        .filter(|row| row[3] == "0A")
        .map(|row| row[9].to_owned())
        .collect()
}

/// The rows whose own port is `port`. Columns: slot, local, remote, state (0A is LISTEN), …, inode.
#[cfg(target_os = "linux")]
fn rows(table: &str, port: u16) -> impl Iterator<Item = Vec<&str>> {
    let wanted = format!(":{port:04X}");
    table
        .lines()
        .skip(1)
        .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>())
        .filter(move |row| row.len() > 9 && row[1].ends_with(&wanted))
}
