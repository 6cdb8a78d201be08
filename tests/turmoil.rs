//! The real drivers over simulated TCP: hub, plugins and a client on hosts of their own, with partitions, crashes, held
//! messages and jitter; one plugin has a WebSocket, the other gRPC. Each seed is run twice, and both runs must be the same to the millisecond.
//!
//! `TURMOIL_SEEDS=500` runs so many seeds of each scenario; a failure prints the line that replays it.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "turmoil/hosts.rs"]
mod hosts;
#[path = "turmoil/kubelet.rs"]
mod kubelet;
#[path = "turmoil/plug.rs"]
mod plug;
#[path = "turmoil/run.rs"]
mod run;
#[path = "turmoil/site.rs"]
mod site;
#[path = "turmoil/trace.rs"]
mod trace;

use std::time::Duration;

use towline::planted::{Bug, plant};

use run::{Fault, run, run_slowly};
use trace::Outcome;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Where two runs differ must be nowhere.
fn same(once: &Outcome, again: &Outcome, why: &str) {
    let differs = once
        .trace
        .lines()
        .zip(again.trace.lines())
        .find(|(one, other)| one != other);
    assert_eq!(differs, None, "{why}");
    assert_eq!(once, again, "{why}");
}

/// Runs a scenario with some seeds, each twice.
fn scenario(name: &str, faults: &'static [Fault]) {
    let (first, count) = match number("TURMOIL_SEED") {
        Some(seed) => (seed, 1),
        None => (1, number("TURMOIL_SEEDS").unwrap_or(1)),
    };
    for seed in first..first + count {
        let once = run(seed, faults);
        let replay = format!("replay: TURMOIL_SEED={seed} cargo test --test turmoil {name} -- --nocapture");
        if number("TURMOIL_SEED").is_some() {
            println!("{}", once.trace);
        }
        assert!(
            once.wrong.is_empty(),
            "seed {seed}: {}\n  {replay}",
            once.wrong.join("; ")
        );
        same(
            &once,
            &run(seed, faults),
            &format!("seed {seed} gives two runs\n  {replay}"),
        );
    }
}

#[test]
fn jitter_alone_costs_nothing() {
    scenario("jitter_alone_costs_nothing", &[]);
}

#[test]
fn a_partition_is_got_over() {
    scenario("a_partition_is_got_over", &[Fault::Partition]);
}

#[test]
fn a_partition_of_one_direction_is_got_over() {
    scenario("a_partition_of_one_direction_is_got_over", &[Fault::OneWay]);
}

#[test]
fn held_messages_arrive_late_and_once() {
    scenario("held_messages_arrive_late_and_once", &[Fault::Hold]);
}

#[test]
fn a_plugin_that_crashes_goes_on_where_it_was() {
    scenario(
        "a_plugin_that_crashes_goes_on_where_it_was",
        &[Fault::PluginCrash, Fault::PluginBounce],
    );
}

#[test]
fn a_hub_that_crashes_goes_on_where_it_was() {
    scenario("a_hub_that_crashes_goes_on_where_it_was", &[Fault::HubCrash]);
}

#[test]
fn everything_at_once_is_got_over() {
    scenario("everything_at_once_is_got_over", &Fault::ALL);
}

/// HTTP/2 forgets calls by a clock that no simulation sees (`limits::GRPC_RESET_KEPT`).
#[test]
fn a_slow_machine_sees_the_same() {
    let slowly = run_slowly(1, &[Fault::Partition], Duration::from_millis(1));
    same(
        &run(1, &[Fault::Partition]),
        &slowly,
        "a slow machine gives another run",
    );
}

/// A seed that shows each planted bug; a change of the schedules moves them: then this test prints new ones.
const SHOWN_BY: [(Bug, u64); 3] = [
    (Bug::DeleteNotKept, 2),
    (Bug::LogResumedAtStart, 1),
    (Bug::LogSlotLeaked, 3),
];

#[test]
fn what_must_not_be_is_seen() {
    for (bug, known) in SHOWN_BY {
        plant(Some(bug));
        let found = std::iter::once(known)
            .chain(1..=100)
            .find(|seed| !run(*seed, &Fault::ALL).wrong.is_empty());
        plant(None);
        println!("    (Bug::{bug:?}, {}),", found.unwrap_or_default());
        assert!(found.is_some(), "{bug:?} was not seen");
    }
}
