//! How long to wait before the next dial. Pure: the random seed and every duration are arguments.

use std::time::Duration;

use crate::{code::Reconnect, limits};

/// A hub's wish for a later return is honoured up to this long, so that a mistake there does not end a plugin.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// The delays of one plugin.
#[derive(Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    /// The next ordinary delay, before jitter.
    next: Duration,
    /// The next delay after a takeover.
    superseded: Duration,
    random: fastrand::Rng,
}

impl Backoff {
    /// Starts at `min`, grows to `max`; the jitter comes from `seed`.
    pub(super) fn new(min: Duration, max: Duration, seed: u64) -> Self {
        Self {
            min,
            max,
            next: min,
            superseded: limits::SUPERSEDED_MIN,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// The delay after a link that was good for `lived` (zero: it never was), ended in a way that asks for
    /// `reconnect`, with the hub's wish `retry_after` (zero: none).
    pub(super) fn delay(&mut self, lived: Duration, reconnect: Reconnect, retry_after: Duration) -> Duration {
        if lived >= limits::BACKOFF_RESET {
            self.next = self.min;
        }
        // Two processes of one name throw each other out after each delay, so a life as long as the longest
        // delay proves nothing.
        if lived >= 2 * limits::SUPERSEDED_MAX {
            self.superseded = limits::SUPERSEDED_MIN;
        }
        let delay = match reconnect {
            Reconnect::Backoff => {
                let delay = self.next;
                self.next = delay.mul_f64(limits::BACKOFF_FACTOR).min(self.max);
                delay.mul_f64(1.0 + limits::BACKOFF_JITTER * (2.0 * self.random.f64() - 1.0))
            }
            Reconnect::Superseded => {
                let delay = self.superseded;
                self.superseded = (2 * delay).min(limits::SUPERSEDED_MAX);
                self.later(delay)
            }
            Reconnect::Slow => self.later(limits::SLOW_RETRY),
        };
        if retry_after > delay {
            self.later(retry_after.min(MAX_RETRY_AFTER))
        } else {
            delay
        }
    }

    /// Jitter that never comes sooner than asked.
    fn later(&mut self, delay: Duration) -> Duration {
        delay.mul_f64(1.0 + limits::BACKOFF_JITTER * self.random.f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff(seed: u64) -> Backoff {
        Backoff::new(limits::BACKOFF_MIN, limits::BACKOFF_MAX, seed)
    }

    fn within(delay: Duration, seconds: f64, below: f64, above: f64) {
        let delay = delay.as_secs_f64();
        assert!(
            (seconds * below..=seconds * above).contains(&delay),
            "{delay} is not about {seconds}"
        );
    }

    #[test]
    fn ordinary_delays_grow_to_the_cap_with_jitter_either_way() {
        for seed in 0..50 {
            let mut backoff = backoff(seed);
            for expected in [
                1.0, 1.6, 2.56, 4.096, 6.5536, 10.48576, 16.777216, 20.0, 20.0, 20.0,
            ] {
                let delay = backoff.delay(Duration::ZERO, Reconnect::Backoff, Duration::ZERO);
                within(delay, expected, 0.8, 1.2);
            }
        }
    }

    #[test]
    fn only_a_minute_of_good_life_starts_the_delays_afresh() {
        let mut backoff = backoff(1);
        for _ in 0..20 {
            backoff.delay(Duration::from_secs(59), Reconnect::Backoff, Duration::ZERO);
        }
        within(
            backoff.delay(Duration::from_secs(59), Reconnect::Backoff, Duration::ZERO),
            20.0,
            0.8,
            1.2,
        );
        within(
            backoff.delay(Duration::from_secs(60), Reconnect::Backoff, Duration::ZERO),
            1.0,
            0.8,
            1.2,
        );
    }

    #[test]
    fn a_wish_for_later_is_honoured_and_bounded() {
        let mut backoff = backoff(2);
        let asked = backoff.delay(Duration::ZERO, Reconnect::Backoff, Duration::from_secs(45));
        within(asked, 45.0, 1.0, 1.2);
        let absurd = backoff.delay(Duration::ZERO, Reconnect::Backoff, Duration::MAX);
        within(absurd, 3600.0, 1.0, 1.2);
    }

    #[test]
    fn takeovers_double_though_each_link_lives_as_long_as_the_other_waited() {
        let mut backoff = backoff(3);
        let mut lived = Duration::ZERO;
        for expected in [60.0, 120.0, 240.0, 480.0, 600.0, 600.0] {
            let delay = backoff.delay(lived, Reconnect::Superseded, Duration::ZERO);
            within(delay, expected, 1.0, 1.2);
            lived = delay;
        }
        within(
            backoff.delay(Duration::from_secs(1200), Reconnect::Superseded, Duration::ZERO),
            60.0,
            1.0,
            1.2,
        );
    }

    #[test]
    fn what_trying_cannot_mend_is_tried_no_faster_than_every_five_minutes() {
        let delay = backoff(4).delay(Duration::ZERO, Reconnect::Slow, Duration::ZERO);
        within(delay, 300.0, 1.0, 1.2);
    }
}
