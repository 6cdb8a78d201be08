//! A token bucket whose time is an argument.

use std::time::{Duration, Instant};

/// So many a second in the long run, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: u32,
    /// At once, after a rest.
    pub burst: u32,
}

/// Counts against a [`Rate`]. Holds one instant: when it would be full again.
///
/// It may go into debt: what has arrived in one message is all counted and all handled, and what was too much is
/// waited off afterwards.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: Rate,
    full_at: Instant,
}

impl Bucket {
    pub(crate) fn new(rate: Rate, now: Instant) -> Self {
        // A rate of nothing would be a wait without end.
        let rate = Rate {
            per_second: rate.per_second.max(1),
            burst: rate.burst.max(1),
        };
        Self { rate, full_at: now }
    }

    /// How long this many take to come back.
    fn time(&self, count: u32) -> Duration {
        const SECOND: u64 = 1_000_000_000;
        Duration::from_nanos(u64::from(count) * SECOND / u64::from(self.rate.per_second))
    }

    /// Takes one; false when it was not there and is owed.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        self.full_at = self.full_at.max(now) + self.time(1);
        self.full_at <= now + self.time(self.rate.burst)
    }

    /// Puts some back; what does not fit is lost.
    pub(crate) fn give(&mut self, count: u32) {
        self.full_at = self.full_at.checked_sub(self.time(count)).unwrap_or(self.full_at);
    }

    /// When there is one to take; it may have passed.
    pub(crate) fn ready_at(&self) -> Instant {
        // Where the clock began too lately to move back that far, the bucket fills up first.
        let room = self.time(self.rate.burst - 1);
        self.full_at.checked_sub(room).unwrap_or(self.full_at)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_is_taken_at_once_and_more_only_as_time_passes() {
        let now = Instant::now() + Duration::from_secs(100);
        let rate = Rate {
            per_second: 10,
            burst: 5,
        };
        let mut bucket = Bucket::new(rate, now);
        assert!((0..5).all(|_| bucket.take(now)));
        assert!(!bucket.take(now), "the sixth is owed");
        assert_eq!(bucket.ready_at(), now + Duration::from_millis(200));
        assert!(bucket.take(now + Duration::from_millis(200)));
        let rested = now + Duration::from_secs(60);
        assert!((0..5).all(|_| bucket.take(rested)), "a rest fills it, no further");
        assert!(!bucket.take(rested));
        bucket.give(3);
        assert!((0..2).all(|_| bucket.take(rested)), "two, and one for the debt");
        assert!(!bucket.take(rested));
        bucket.give(100);
        assert!((0..5).all(|_| bucket.take(rested)), "full is full");
        assert!(!bucket.take(rested));
    }

    proptest! {
        /// Who takes only when one is ready never gets more than the burst and the rate over any time.
        #[test]
        fn the_rate_holds_over_any_time(steps in prop::collection::vec((0u64..400, 1u32..40), 1..60), per_second in 1u32..500, burst in 1u32..100) {
            let start = Instant::now() + Duration::from_secs(3600);
            let mut bucket = Bucket::new(Rate { per_second, burst }, start);
            let (mut now, mut taken) = (start, Vec::new());
            for (millis, wanted) in steps {
                now += Duration::from_millis(millis);
                for _ in 0..wanted {
                    if bucket.ready_at() <= now {
                        prop_assert!(bucket.take(now));
                        taken.push(now);
                    }
                }
            }
            for (first, from) in taken.iter().enumerate() {
                for (last, until) in taken.iter().enumerate().skip(first) {
                    let allowed = f64::from(burst) + (*until - *from).as_secs_f64() * f64::from(per_second);
                    prop_assert!((last - first + 1) as f64 <= allowed + 0.01);
                }
            }
        }
    }
}
