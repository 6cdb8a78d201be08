//! Whether and when a container that has ended starts again. Pure: times are arguments.

use std::time::Duration;

use crate::interlink::RestartPolicy;

/// First delay of a container that keeps ending.
pub(crate) const BACKOFF_FIRST: Duration = Duration::from_secs(10);
/// Largest delay: the kubelet's.
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// A run this long makes the next delay the first one again.
pub(crate) const GOOD_RUN: Duration = Duration::from_secs(600);

/// Whether a run that ended with this exit code is followed by another one.
pub(crate) fn restarts(policy: RestartPolicy, exit_code: i32) -> bool {
    match policy {
        RestartPolicy::Always => true,
        RestartPolicy::OnFailure => exit_code != 0,
        RestartPolicy::Never => false,
    }
}

/// The delay before the next run of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    last: Option<Duration>,
}

impl Backoff {
    /// The delay after a run that lasted `ran`.
    pub(crate) fn after(&mut self, ran: Duration) -> Duration {
        let next = match self.last {
            Some(last) if ran < GOOD_RUN => (last * 2).min(BACKOFF_MAX),
            _ => BACKOFF_FIRST,
        };
        self.last = Some(next);
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_from_ten_seconds_to_five_minutes() {
        let mut backoff = Backoff::default();
        let seconds: Vec<u64> = (0..7)
            .map(|_| backoff.after(Duration::from_secs(1)).as_secs())
            .collect();
        assert_eq!(seconds, [10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn a_good_run_starts_the_delay_afresh() {
        let mut backoff = Backoff::default();
        backoff.after(Duration::ZERO);
        backoff.after(Duration::ZERO);
        assert_eq!(backoff.after(GOOD_RUN), BACKOFF_FIRST);
    }

    #[test]
    fn the_policy_decides_by_exit_code() {
        assert!(restarts(RestartPolicy::Always, 0));
        assert!(restarts(RestartPolicy::OnFailure, 1));
        assert!(!restarts(RestartPolicy::OnFailure, 0));
        assert!(!restarts(RestartPolicy::Never, 1));
    }
}
