//! One question about one TCP socket: sock_diag(7).
//!
//! `/proc/net/tcp` tells the same of all sockets of the network namespace, and has to walk the kernel's whole table for that,
//! which takes milliseconds. Here the kernel looks one up by its two addresses.

use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::io::Errno;
use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};

/// `SOCK_DIAG_BY_FAMILY` of linux/sock_diag.h.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST` of linux/netlink.h. Without `NLM_F_DUMP` the addresses are those of one socket.
const REQUEST: u16 = 1;
/// `NLMSG_ERROR` of linux/netlink.h.
const ERROR: u16 = 2;
/// `IPPROTO_TCP`.
const TCP: u8 = 6;

/// A `nlmsghdr` (netlink(7)).
const HEADER: usize = 16;
/// A `nlmsghdr` and an `inet_diag_req_v2` (sock_diag(7)).
const QUESTION: usize = HEADER + 8 + ADDRESSES;
/// An `inet_diag_sockid`.
const ADDRESSES: usize = 48;
/// Where an `inet_diag_msg` has its `id`, and its `idiag_uid`, which `idiag_inode` follows.
const ID: usize = HEADER + 4;
const UID: usize = ID + ADDRESSES + 12;

/// Who made the socket that has `local` for its own end and `remote` for the other, and its inode; none if there is no such
/// socket. The inode is 0 as long as nobody has accepted it.
///
/// # Errors
///
/// What keeps the kernel from telling. Some are built without it.
pub fn owner_of(local: SocketAddr, remote: SocketAddr) -> io::Result<Option<(u32, u64)>> {
    let netlink = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(SOCK_DIAG),
    )?;
    let id = addresses(local, remote);
    let kernel = SocketAddrNetlink::new(0, 0);
    sendto(&netlink, &question(local, id), SendFlags::empty(), &kernel)?;
    let mut answer = [0; 1024];
    // The kernel has answered before it has taken the question.
    let (read, _) = recv(&netlink, &mut answer, RecvFlags::DONTWAIT)?;
    understand(answer.get(..read).unwrap_or_default(), id)
}

/// An `inet_diag_sockid`, up to the cookie.
type Id = [u8; 40];

fn addresses(local: SocketAddr, remote: SocketAddr) -> Id {
    let mut id = [0; 40];
    id[..2].copy_from_slice(&local.port().to_be_bytes());
    id[2..4].copy_from_slice(&remote.port().to_be_bytes());
    for (at, addr) in [(4, local), (20, remote)] {
        match addr.ip() {
            IpAddr::V4(ip) => id[at..at + 4].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => id[at..at + 16].copy_from_slice(&ip.octets()),
        }
    }
    id
}

fn question(local: SocketAddr, id: Id) -> [u8; QUESTION] {
    let family = match local {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let mut question = [0; QUESTION];
    question[..4].copy_from_slice(&(QUESTION as u32).to_ne_bytes());
    question[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
    question[6..8].copy_from_slice(&REQUEST.to_ne_bytes());
    question[HEADER] = family.as_raw() as u8;
    question[HEADER + 1] = TCP;
    // In whatever state.
    question[HEADER + 4..HEADER + 8].fill(0xff);
    question[HEADER + 8..HEADER + 8 + id.len()].copy_from_slice(&id);
    // `INET_DIAG_NOCOOKIE`.
    question[HEADER + 8 + id.len()..].fill(0xff);
    question
}

fn understand(answer: &[u8], id: Id) -> io::Result<Option<(u32, u64)>> {
    let strange = || io::Error::from(io::ErrorKind::InvalidData);
    let four = |at: usize| {
        answer
            .get(at..at + 4)
            .and_then(|bytes| bytes.try_into().ok())
    };
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok());
    match kind.map(u16::from_ne_bytes) {
        Some(BY_FAMILY) => {
            // Where there is no such connection, the kernel tells of the one that listens there.
            let told = answer.get(ID..ID + 36).ok_or_else(strange)?;
            let uid = four(UID).map(u32::from_ne_bytes).ok_or_else(strange)?;
            let inode = four(UID + 4).map(u32::from_ne_bytes).ok_or_else(strange)?;
            Ok((told == &id[..36]).then_some((uid, inode.into())))
        }
        Some(ERROR) => {
            let code = four(HEADER).map(i32::from_ne_bytes).ok_or_else(strange)?;
            Err(Errno::from_raw_os_error(-code).into())
        }
        _ => Err(strange()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_that_was_accepted_is_its_server_s_and_no_other_is_there() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(any) else {
                // No IPv6 here.
                continue;
            };
            let server = listener.local_addr().unwrap();
            let client = TcpStream::connect(server).unwrap();
            let me = rustix::process::geteuid().as_raw();
            let client = client.local_addr().unwrap();
            let unaccepted = owner_of(server, client).unwrap();
            assert_eq!(unaccepted.map(|(_, inode)| inode), Some(0));
            let accepted = listener.accept().unwrap();
            let (uid, inode) = owner_of(server, client).unwrap().unwrap();
            assert_eq!(uid, me);
            assert_ne!(inode, 0);
            drop(accepted);
            let mut nobody = client;
            nobody.set_port(1);
            assert_eq!(owner_of(server, nobody).unwrap(), None, "that one listens");
        }
    }

    #[test]
    fn an_answer_that_cannot_be_understood_is_an_error() {
        let id = [0; 40];
        for answer in [&[][..], &[0; 16], &[0xff; 64]] {
            assert!(understand(answer, id).is_err());
        }
    }
}
