//! Whatever stands in /proc, where programs choose their own names and environments: reading it never panics, and what is
//! made of it is what was written there.

#![no_main]

use std::net::SocketAddr;

use daymark_adapters::proc_fs::processes::{parse_stat, socket_inode, variable};
use daymark_adapters::proc_fs::tcp_table::{Row, rows};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let lines = bytes.split(|&b| b == b'\n').count();
    assert!(rows(bytes).count() <= lines);
    for row in rows(bytes) {
        assert!(rows(line(&row).as_bytes()).eq([row]), "{row:?}");
    }
    if let Some(stat) = parse_stat(bytes) {
        let raw = |pid: Option<_>| pid.map_or("0".to_owned(), |pid| format!("{pid}"));
        let line = format!("1 (x) S {} 0 {} 0", raw(stat.parent), raw(stat.session));
        assert_eq!(parse_stat(line.as_bytes()), Some(stat));
    }
    if let Some(inode) = socket_inode(bytes) {
        let link = format!("socket:[{inode}]");
        assert_eq!(socket_inode(link.as_bytes()), Some(inode));
    }
    if let Some(value) = variable(bytes, "NAME") {
        let entry = [b"NAME=", value].concat();
        assert!(bytes.split(|&b| b == 0).any(|other| other == entry));
    }
});

/// As the kernel writes it.
fn line(row: &Row) -> String {
    let Row {
        state, uid, inode, ..
    } = row;
    let (local, remote) = (address(row.local), address(row.remote));
    format!("0: {local} {remote} {state:02X} 0:0 00:0 0 {uid} 0 {inode} 1")
}

fn address(addr: SocketAddr) -> String {
    let octets = match addr {
        SocketAddr::V4(addr) => addr.ip().octets().to_vec(),
        SocketAddr::V6(addr) => addr.ip().octets().to_vec(),
    };
    let (words, _) = octets.as_chunks::<4>();
    let ip: String = words
        .iter()
        .map(|word| format!("{:08X}", u32::from_ne_bytes(*word)))
        .collect();
    format!("{ip}:{:04X}", addr.port())
}
