//! What the store counts, for `/metrics`.

use std::time::Duration;

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// Counts of one store. Clones count together; without a state directory all stay zero.
#[derive(Debug, Clone)]
pub(crate) struct Meter {
    commits: Counter,
    commit_duration: Histogram,
    failures: Counter,
    failing: Gauge,
    queued: Gauge,
    bytes: Gauge,
    compactions: Counter,
}

impl Meter {
    /// Enters the counts into the registry.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let meter = Self {
            commits: Counter::default(),
            commit_duration: Histogram::new([
                0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
            ]),
            failures: Counter::default(),
            failing: Gauge::default(),
            queued: Gauge::default(),
            bytes: Gauge::default(),
            compactions: Counter::default(),
        };
        registry.register(
            "store_commits",
            "Transactions written to the state directory",
            meter.commits.clone(),
        );
        registry.register(
            "store_commit_duration_seconds",
            "How long a transaction took, its fsync included, also a failed one",
            meter.commit_duration.clone(),
        );
        registry.register(
            "store_failures",
            "Transactions that could not be written",
            meter.failures.clone(),
        );
        registry.register(
            "store_failing",
            "1 while the last transaction could not be written",
            meter.failing.clone(),
        );
        registry.register(
            "store_rows_queued",
            "Rows that wait to be written",
            meter.queued.clone(),
        );
        registry.register("store_file_bytes", "Size of the state file", meter.bytes.clone());
        registry.register(
            "store_compactions",
            "How often the state file was made smaller",
            meter.compactions.clone(),
        );
        meter
    }

    pub(super) fn committed(&self, took: Duration, good: bool) {
        self.commit_duration.observe(took.as_secs_f64());
        if good {
            self.commits.inc();
        } else {
            self.failures.inc();
        }
        self.failing.set(i64::from(!good));
    }

    pub(super) fn queued(&self, rows: usize) {
        self.queued.set(i64::try_from(rows).unwrap_or(i64::MAX));
    }

    pub(super) fn size(&self, bytes: u64) {
        self.bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(super) fn compacted(&self) {
        self.compactions.inc();
    }
}

/// One that is nowhere to be seen.
#[cfg(test)]
impl Default for Meter {
    fn default() -> Self {
        Self::new(&mut Registry::default())
    }
}
