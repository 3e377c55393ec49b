//! What several targets need: records of every shape, and a place to put them.

use std::num::NonZeroU16;

use arbitrary::{Arbitrary, Result, Unstructured};
use daymark_core::clock::Timestamp;
use daymark_core::record::{
    AppInfo, Endpoint, HeldBy, InstanceId, Name, Origin, ServerRecord, Token,
};
use tempfile::TempDir;

/// Any record that a server may publish.
#[derive(Debug)]
pub struct AnyRecord(pub ServerRecord);

/// The years 0000 to 9999, which is what RFC 3339 can write, in microseconds.
const WRITABLE: std::ops::RangeInclusive<i64> = -62_167_219_200_000_000..=253_402_300_799_999_999;

impl<'a> Arbitrary<'a> for AnyRecord {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let port: NonZeroU16 = u.arbitrary()?;
        let endpoint = match u.arbitrary()? {
            true => Endpoint::v6(port),
            false => Endpoint::v4(port),
        };
        Ok(Self(ServerRecord {
            endpoint,
            pid: u.int_in_range(1..=i32::MAX as u32)?,
            started_at: Timestamp::from_unix_micros(u.int_in_range(WRITABLE)?),
            name: Name::made_from(u.arbitrary()?),
            instance_id: Option::<u128>::arbitrary(u)?.map(InstanceId::from_bits),
            held_by: match u.arbitrary()? {
                true => HeldBy::Owner,
                false => HeldBy::Child,
            },
            origin: Origin {
                boot_id: u.arbitrary()?,
                pid_ns: u.arbitrary()?,
                net_ns: u.arbitrary()?,
            },
            app: match u.arbitrary()? {
                true => Some(AppInfo {
                    name: u.arbitrary()?,
                    version: u.arbitrary()?,
                    dir: u.arbitrary()?,
                }),
                false => None,
            },
            token: any_token(u)?,
            restarts: u.arbitrary()?,
        }))
    }
}

fn any_token(u: &mut Unstructured<'_>) -> Result<Option<Token>> {
    let text: &str = u.arbitrary()?;
    Ok(text.parse().ok())
}

/// A directory for files that needn't outlive a power cut: in memory where that is to be had.
///
/// # Panics
///
/// When there is no place at all.
#[must_use]
pub fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a directory for temporary files")
}
