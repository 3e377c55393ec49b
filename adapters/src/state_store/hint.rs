//! The line in `server.lock`: what its holder is doing. A hint for people and for the next owner; nothing rests on it.

use std::num::NonZeroU16;

use daymark_core::presence::Phase;
use daymark_core::record::InstanceId;

use super::directory::OpenFile;

/// What an owner leaves word of: `PID INSTANCE PHASE PORT`, with `-` for what isn't known yet.
///
/// The port outlives the owner, for it is what a *sticky* port goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hint {
    pub(super) pid: u32,
    pub(super) instance: Option<InstanceId>,
    pub(super) phase: Phase,
    pub(super) port: Option<NonZeroU16>,
}

/// Longer than any line that is written.
const LONGEST: usize = 128;

impl Hint {
    /// The line as it stands; none if it isn't one.
    pub(super) fn read(file: &impl OpenFile) -> Option<Self> {
        let line = String::from_utf8(file.read(LONGEST).ok()?).ok()?;
        let mut words = line.lines().next()?.split(' ');
        let hint = Self {
            pid: words.next()?.parse().ok()?,
            instance: words.next()?.parse().ok(),
            phase: match words.next()? {
                "starting" => Phase::Starting,
                "serving" => Phase::Serving,
                "stopping" => Phase::Stopping,
                _ => return None,
            },
            port: words.next()?.parse().ok(),
        };
        words.next().is_none().then_some(hint)
    }

    /// Writes the line over the old one. That it fails must not matter.
    pub(super) fn write(&self, file: &impl OpenFile) {
        let word = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let line = format!(
            "{} {} {} {}\n",
            self.pid,
            word(self.instance.map(|id| id.to_string())),
            match self.phase {
                Phase::Starting => "starting",
                Phase::Serving => "serving",
                Phase::Stopping => "stopping",
            },
            word(self.port.map(|port| port.to_string())),
        );
        // A shorter line over a longer one leaves a second, which is not read.
        let _ = file.write(line.as_bytes());
    }
}
