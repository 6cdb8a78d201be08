//! How long each answer took.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Times of single calls, three significant digits, from a nanosecond to a minute (HdrHistogram).
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

/// The longest time that is told from longer ones.
const LONGEST: u64 = 60_000_000_000;

impl Default for Latencies {
    fn default() -> Self {
        // The bounds are constants that the crate accepts; with others there would be no histogram at all.
        #[allow(clippy::expect_used, reason = "constant bounds: 1 ns, 60 s, 3 digits")]
        Self(Histogram::new_with_bounds(1, LONGEST, 3).expect("good bounds"))
    }
}

impl Latencies {
    /// Adds one.
    pub fn record(&mut self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(LONGEST);
        self.0.saturating_record(nanos.clamp(1, LONGEST));
    }

    /// Adds those of another.
    pub fn merge(&mut self, other: &Self) {
        // Same bounds on both sides: nothing is out of range.
        let _ = self.0.add(&other.0);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time within which this share of the answers came, in microseconds; 0.99 for p99.
    pub fn quantile_us(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1e3
    }
}

/// Takes the time of calls made one after the other with one look at the clock each.
#[derive(Debug)]
pub struct Timed {
    last: Instant,
    /// What was taken so far.
    pub latencies: Latencies,
}

impl Default for Timed {
    fn default() -> Self {
        Self {
            last: Instant::now(),
            latencies: Latencies::default(),
        }
    }
}

impl Timed {
    /// A call has ended; the next one begins now.
    pub fn lap(&mut self) {
        let now = Instant::now();
        self.latencies.record(now - self.last);
        self.last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_thousandth_and_merge() {
        let mut low = Latencies::default();
        let mut high = Latencies::default();
        for micros in 1..=500 {
            low.record(Duration::from_micros(micros));
            high.record(Duration::from_micros(500 + micros));
        }
        low.merge(&high);
        assert_eq!(low.count(), 1_000);
        let near = |share: f64, expected: f64| {
            let got = low.quantile_us(share);
            assert!((got - expected).abs() <= expected / 500.0, "{share}: {got}");
        };
        near(0.5, 500.0);
        near(0.99, 990.0);
        near(0.999, 999.0);
        low.record(Duration::from_secs(3_600));
        assert!(low.quantile_us(1.0) >= 59e6);
    }
}
