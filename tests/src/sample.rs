//! Records and plans, where any will do.

use std::num::NonZeroU16;
use std::time::Duration;

use daymark_core::Plan;
use daymark_core::clock::Timestamp;
use daymark_core::port_picker::PortPreference;
use daymark_core::record::{AppInfo, Endpoint, HeldBy, InstanceId, Name, Origin, ServerRecord};

/// A point in time.
pub const NOW: Timestamp = Timestamp::from_unix_micros(1_795_328_700_123_456);

/// The record of the run `instance`, at `port`.
///
/// # Panics
///
/// If the port is 0.
#[must_use]
pub fn record(instance: u128, port: u16) -> ServerRecord {
    let plan = plan(instance);
    ServerRecord {
        endpoint: Endpoint::v4(NonZeroU16::new(port).expect("a port")),
        pid: plan.pid,
        started_at: NOW,
        name: Some(plan.name),
        instance_id: Some(plan.instance_id),
        held_by: plan.held_by,
        restarts: None,
        origin: plan.origin,
        app: Some(plan.app),
        token: None,
    }
}

/// The plan of the run `instance`.
///
/// # Panics
///
/// Never.
#[must_use]
pub fn plan(instance: u128) -> Plan {
    Plan {
        name: "sample".parse::<Name>().expect("a name"),
        instance_id: InstanceId::from_bits(instance),
        pid: std::process::id(),
        origin: Origin::default(),
        app: AppInfo {
            name: "sample".to_owned(),
            version: "1".to_owned(),
            dir: None,
        },
        token: None,
        held_by: HeldBy::Owner,
        restarts: None,
        port: PortPreference::Any,
        sticky: false,
        own_timeout: Duration::from_secs(10),
        start_timeout: Duration::from_secs(10),
        drain: Duration::from_secs(5),
        look_every: Duration::from_secs(60),
    }
}
