//! Who this process is: where it lives, and fresh random identities.

use std::io;
use std::sync::LazyLock;

use daymark_core::record::{InstanceId, Origin, Token};

/// Where this process lives. Read once: a process stays where it is.
///
/// Linux: `/proc/sys/kernel/random/boot_id` (random(4)) and `/proc/self/ns/*` (namespaces(7)). What can't be read is left
/// out, and then tells nothing apart.
#[must_use]
pub fn origin() -> &'static Origin {
    static ORIGIN: LazyLock<Origin> = LazyLock::new(read_origin);
    &ORIGIN
}

#[cfg(target_os = "linux")]
fn read_origin() -> Origin {
    let namespace = |name: &str| {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata(format!("/proc/self/ns/{name}"))
            .map(|ns| ns.ino())
            .ok()
    };
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    Origin {
        boot_id: boot_id.ok().map(|id| id.trim().to_owned()),
        pid_ns: namespace("pid"),
        net_ns: namespace("net"),
    }
}

#[cfg(not(target_os = "linux"))]
fn read_origin() -> Origin {
    Origin::default()
}

/// A new instance id, from the system's random source.
///
/// # Errors
///
/// When the system has no random source.
pub fn new_instance_id() -> io::Result<InstanceId> {
    random_bits().map(InstanceId::from_bits)
}

/// A new token of 256 random bits.
///
/// # Errors
///
/// When the system has no random source.
pub fn new_token() -> io::Result<Token> {
    let text = format!("{:032x}{:032x}", random_bits()?, random_bits()?);
    text.parse().map_err(io::Error::other)
}

fn random_bits() -> io::Result<u128> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(u128::from_ne_bytes(bytes))
}
