//! Whether a server that ended is started again, and when. Pure.

use std::time::Duration;

use crate::http_server::ServerEnd;

/// What to do when a server ends that nobody had asked to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RestartPolicy {
    /// The run ends with it.
    #[default]
    Never,
    /// It is started again unless its exit code was 0.
    OnFailure,
    /// It is started again.
    Always,
}

/// How many times in a row a server is started again that doesn't stay. With the pauses between, that is a good quarter of a
/// minute.
pub(crate) const ATTEMPTS: u32 = 8;

/// The pause before the first attempt. Each one after it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A server that was ready for so long has stayed, and what happened before it is forgotten.
const STEADY: Duration = Duration::from_secs(10);

/// Counts how often in a row a server didn't stay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Restarts {
    policy: RestartPolicy,
    in_a_row: u32,
}

impl Restarts {
    pub(crate) const fn new(policy: RestartPolicy) -> Self {
        Self {
            policy,
            in_a_row: 0,
        }
    }

    /// Whether a server that ends may be started again.
    pub(crate) fn are_possible(self) -> bool {
        self.policy != RestartPolicy::Never
    }

    /// How long to pause before the server is started again; none if it isn't. It has been ready for `up`.
    pub(crate) fn after(&mut self, end: &ServerEnd, up: Duration) -> Option<Duration> {
        if up >= STEADY {
            self.in_a_row = 0;
        }
        if !self.apply_to(end) || self.in_a_row == ATTEMPTS {
            return None;
        }
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(self.in_a_row));
        self.in_a_row += 1;
        Some(pause.min(LONGEST_PAUSE))
    }

    /// Whether it would be started again, but has not stayed as often as is tried.
    pub(crate) fn are_exhausted(self, end: &ServerEnd) -> bool {
        self.apply_to(end) && self.in_a_row == ATTEMPTS
    }

    fn apply_to(self, end: &ServerEnd) -> bool {
        match self.policy {
            RestartPolicy::Never => false,
            RestartPolicy::OnFailure => end.exit_code != Some(0),
            RestartPolicy::Always => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(code: u8) -> ServerEnd {
        ServerEnd {
            exit_code: Some(code),
            ..ServerEnd::because("it ended")
        }
    }

    #[test]
    fn the_policy_decides_which_ends_are_followed_by_a_start() {
        for (policy, after_success, after_failure) in [
            (RestartPolicy::Never, false, false),
            (RestartPolicy::OnFailure, false, true),
            (RestartPolicy::Always, true, true),
        ] {
            let follows =
                |end: &ServerEnd| Restarts::new(policy).after(end, Duration::ZERO).is_some();
            assert_eq!(follows(&exit(0)), after_success, "{policy:?}");
            assert_eq!(follows(&exit(1)), after_failure, "{policy:?}");
            let lost = ServerEnd::because("its guard was killed");
            assert_eq!(follows(&lost), after_failure, "{policy:?}");
        }
    }

    #[test]
    fn only_who_would_be_started_again_is_given_up() {
        let mut restarts = Restarts::new(RestartPolicy::OnFailure);
        assert!(restarts.are_possible());
        assert!(!Restarts::new(RestartPolicy::Never).are_possible());
        for _ in 0..ATTEMPTS {
            assert!(!restarts.are_exhausted(&exit(1)));
            restarts.after(&exit(1), Duration::ZERO);
        }
        assert!(restarts.are_exhausted(&exit(1)));
        assert!(!restarts.are_exhausted(&exit(0)), "it wouldn't be");
    }

    #[test]
    fn pauses_grow_and_end_unless_the_server_stays() {
        let mut restarts = Restarts::new(RestartPolicy::Always);
        let mut pause = |up| restarts.after(&exit(1), up).map(|pause| pause.as_millis());
        let short = STEADY - Duration::from_nanos(1);
        for expected in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
            assert_eq!(pause(short), Some(expected));
        }
        assert_eq!(pause(short), None);
        assert_eq!(pause(STEADY), Some(100));
    }
}
