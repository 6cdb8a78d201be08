//! The figures of one kind of link as they come in.

use std::time::Duration;

use super::{Fleet, FleetRow, child::Usage};

/// How much longer the bench waits than its child, which says more about what went wrong.
pub(super) const LONGER: Duration = Duration::from_secs(5);

/// What was measured so far.
pub(super) struct Rows<'a> {
    pub(super) fleet: &'a Fleet,
    pub(super) peer: &'static str,
    pub(super) rows: Vec<FleetRow>,
}

impl Rows<'_> {
    pub(super) fn add(&mut self, measure: &str, value: f64, unit: &str, goal: Option<f64>) {
        self.rows.push(FleetRow {
            measure: measure.to_owned(),
            peer: self.peer.to_owned(),
            value,
            unit: unit.to_owned(),
            plugins: self.fleet.plugins,
            goal,
        });
    }

    /// Of the connections between two looks at one side.
    pub(super) fn connected(
        &mut self,
        side: &str,
        count: usize,
        before: Usage,
        after: Usage,
        goal: Option<f64>,
    ) {
        let cpu = (after.cpu.saturating_sub(before.cpu)).as_secs_f64() * 1e3 / count as f64;
        self.add(&format!("connect, {side}"), cpu, "CPU ms", None);
        let grown = after.resident as f64 - before.resident as f64;
        let each = grown / 1024.0 / count as f64;
        self.add(&format!("idle, {side}"), each, "KiB resident", goal);
    }
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// So many connect first, so that what the first ones alone bring is not counted for all.
pub(super) fn first(plugins: usize) -> usize {
    (plugins / 10).clamp(1, 64).min(plugins - 1)
}
