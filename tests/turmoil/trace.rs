//! What happened in simulated time, and what must not have.

use std::{cell::RefCell, time::Duration};

#[derive(Default)]
struct Record {
    lines: Vec<String>,
    wrong: Vec<String>,
}

thread_local! {
    static RECORD: RefCell<Record> = RefCell::default();
}

/// What a run gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) trace: String,
    pub(crate) wrong: Vec<String>,
}

/// Begins the record of this thread afresh.
pub(crate) fn begin() {
    RECORD.take();
}

/// What was recorded since.
pub(crate) fn end() -> Outcome {
    let record = RECORD.take();
    Outcome {
        trace: record.lines.concat(),
        wrong: record.wrong,
    }
}

/// The time that has passed for all hosts alike.
pub(crate) fn now() -> Duration {
    turmoil::sim_elapsed().unwrap_or_default()
}

/// Notes what happened.
pub(crate) fn note(what: impl AsRef<str>) {
    note_at(now(), what.as_ref());
}

/// Notes what was done to the network from outside.
pub(crate) fn note_at(at: Duration, what: &str) {
    let line = format!("{:>9.3}s  {what}\n", at.as_secs_f64());
    RECORD.with_borrow_mut(|record| record.lines.push(line));
}

/// Notes what must not be.
pub(crate) fn violated(what: String) {
    note(format!("VIOLATED {what}"));
    RECORD.with_borrow_mut(|record| record.wrong.push(what));
}
