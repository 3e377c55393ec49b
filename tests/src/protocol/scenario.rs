//! Who takes part, and how often what may go wrong. Everything within that is explored.

use super::Rule;

/// What a starter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Serves in its own process.
    Serves,
    /// Holds the port for a child that listens.
    Runs,
    /// Only clears the place, under its ownership, and goes.
    Prunes,
}

/// One exploration.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it is called.
    pub name: &'static str,
    /// Those who start.
    pub starters: &'static [Kind],
    /// Whether somebody connects.
    pub reader: bool,
    /// Whether somebody calls `daymark stop`.
    pub stopper: bool,
    /// Whether the starters live in another pid namespace than the stopper.
    pub is_elsewhere: bool,
    /// Whether who takes freed ports is another user.
    pub strangers_are_foreign: bool,
    /// What may happen, and how often.
    pub left: Left,
    /// The rule that nobody keeps.
    pub broken: Option<Rule>,
}

/// What may still happen, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Left {
    /// A process starts.
    pub starts: u8,
    /// One is asked to stop by its user.
    pub stops: u8,
    /// One is killed.
    pub kills: u8,
    /// Everybody is killed at once; then one more start must succeed.
    pub massacres: u8,
    /// The same by a power cut.
    pub power_cuts: u8,
    /// Somebody removes the lock file, the record, or the whole directory.
    pub removals: u8,
    /// Somebody else takes a free port.
    pub hijacks: u8,
    /// Somebody else gets a free pid.
    pub bystanders: u8,
    /// A starter forks.
    pub forks: u8,
    /// A child shuts down the listening socket that it was passed.
    pub shutdowns: u8,
    /// The disk fails, or hangs.
    pub disk_errors: u8,
}

impl Scenario {
    /// The scenario in which that rule is broken.
    #[must_use]
    pub fn without(&self, rule: Rule) -> Self {
        Self {
            broken: Some(rule),
            ..self.clone()
        }
    }
}
