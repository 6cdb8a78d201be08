//! The simulator: hubs, plugins, kubelets and batch systems of the real code on one thread in virtual time, with
//! everything that goes wrong decided by a seed. See docs/RELIABILITY.md.
//!
//! `make sim N=1000000` runs as many schedules; `SIM_SEED=42 cargo test --test sim one_schedule -- --nocapture` replays
//! one and prints what happened.

#![allow(clippy::unwrap_used, clippy::collapsible_match)]

#[path = "sim/kubelet.rs"]
mod kubelet;
#[path = "sim/life.rs"]
mod life;
#[path = "sim/readers.rs"]
mod readers;
#[path = "sim/rng.rs"]
mod rng;
#[path = "sim/site.rs"]
mod site;
#[path = "sim/tap.rs"]
mod tap;
#[path = "sim/trace.rs"]
mod trace;
#[path = "sim/world.rs"]
mod world;

use towline::planted::Bug;

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A schedule takes milliseconds; one that is still the same after so many looks, two minutes, is in a loop, and nothing
/// else would tell its seed. Looks, not time: a run that was stopped for a while is not stuck.
const STUCK: u32 = 6_000;

/// Ends the process when a schedule never ends.
fn watch(doing: &[AtomicU64], over: &AtomicBool) {
    let mut looks = vec![(u64::MAX, 0); doing.len()];
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
        for (now, (seed, times)) in doing.iter().zip(&mut looks) {
            let now = now.load(Ordering::Relaxed);
            *times = if now == *seed { *times + 1 } else { 0 };
            *seed = now;
            if now != u64::MAX && *times >= STUCK {
                println!(
                    "seed {now} never ends\n  replay: SIM_LIVE=1 SIM_SEED={now} cargo test --test sim one_schedule -- --nocapture"
                );
                std::process::exit(101);
            }
        }
    }
}

/// A long run says where it is.
const PROGRESS: u64 = 20_000;

#[test]
fn no_schedule_breaks_an_invariant() {
    let count = number("SIM_N").unwrap_or(2_000);
    let first = number("SIM_FIRST").unwrap_or(1);
    let next = AtomicU64::new(first);
    let steps = AtomicU64::new(0);
    let failed: Mutex<Vec<(u64, Vec<String>)>> = Mutex::default();
    let doing: Vec<AtomicU64> = (0..threads()).map(|_| AtomicU64::new(0)).collect();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| watch(&doing, &over));
        let workers: Vec<_> = (doing.iter())
            .map(|doing| {
                let (next, steps, failed) = (&next, &steps, &failed);
                scope.spawn(move || {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        doing.store(seed, Ordering::Relaxed);
                        if seed >= first + count || failed.lock().unwrap().len() >= 10 {
                            return doing.store(u64::MAX, Ordering::Relaxed);
                        }
                        let outcome = world::run(seed);
                        steps.fetch_add(outcome.steps as u64, Ordering::Relaxed);
                        let done = seed + 1 - first;
                        if done.is_multiple_of(PROGRESS) {
                            println!(
                                "sim: {done} of {count} schedules, {} failed",
                                failed.lock().unwrap().len()
                            );
                        }
                        if !outcome.violations.is_empty() {
                            failed.lock().unwrap().push((seed, outcome.violations));
                        }
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
        over.store(true, Ordering::Relaxed);
    });
    let failed = failed.into_inner().unwrap();
    println!(
        "sim: {count} schedules, {} steps, {} failed",
        steps.into_inner(),
        failed.len()
    );
    let report: String = failed
        .iter()
        .map(|(seed, wrong)| {
            format!(
                "\nseed {seed}: {}\n  replay: SIM_SEED={seed} cargo test --test sim one_schedule -- --nocapture",
                wrong.join("; ")
            )
        })
        .collect();
    assert!(failed.is_empty(), "{report}");
}

/// The first seed that finds each planted bug. A change of the schedules moves them: `make sim-mutants` prints new ones.
const FOUND_BY: [(Bug, u64); 20] = [
    (Bug::AckBeyondApplied, 140),
    (Bug::OutboxForgetsInFlight, 140),
    (Bug::StaleStateApplied, 148),
    (Bug::NoFencing, 15),
    (Bug::CreatesNotJoined, 88),
    (Bug::DeleteNotKept, 4),
    (Bug::DeleteNotRecorded, 4),
    (Bug::CreateNotRecorded, 234),
    (Bug::GivenUpNotDeleted, 180),
    (Bug::LogResumedAtStart, 6),
    (Bug::CreditNotReturned, 3),
    (Bug::LogSlotLeaked, 3),
    (Bug::UnknownIsRefused, 2),
    (Bug::EarlyAck, 3178),
    (Bug::SendBeforeWelcome, 1),
    (Bug::EndBeforeChunks, 3),
    (Bug::OffsetOfOtherEpoch, 18),
    (Bug::CreateAfterDelete, 12),
    (Bug::EventBeforeDurable, 14776),
    (Bug::SubmitNotRecorded, 35),
];

#[test]
fn every_planted_bug_is_found() {
    let most = number("SIM_MUTANTS").unwrap_or(0);
    let next = AtomicU64::new(0);
    let missed: Mutex<Vec<Bug>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..threads() {
            scope.spawn(|| {
                while let Some(&bug) = Bug::ALL.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    match find(bug, most) {
                        Some((seed, first)) => println!("    (Bug::{bug:?}, {seed}), // {first}"),
                        None => missed.lock().unwrap().push(bug),
                    }
                }
            });
        }
    });
    let missed = missed.into_inner().unwrap();
    assert!(missed.is_empty(), "not found: {missed:?}");
}

/// The seed that is known to find a bug, or else the first that does.
fn find(bug: Bug, most: u64) -> Option<(u64, String)> {
    let known = FOUND_BY
        .iter()
        .find(|(other, _)| *other == bug)
        .map(|(_, seed)| *seed);
    known.into_iter().chain(1..=most).find_map(|seed| {
        let outcome = world::run_with(seed, Some(bug));
        Some((seed, outcome.violations.into_iter().next()?))
    })
}

#[test]
fn one_schedule() {
    let seed = number("SIM_SEED").unwrap_or(1);
    let outcome = world::run(seed);
    println!("{}", outcome.trace);
    assert!(
        outcome.violations.is_empty(),
        "seed {seed}: {}",
        outcome.violations.join("; ")
    );
}

#[test]
fn the_same_seed_gives_the_same_schedule() {
    for seed in 1..=20 {
        let (first, second) = (world::run(seed), world::run(seed));
        let differs = first
            .trace
            .lines()
            .zip(second.trace.lines())
            .find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.digest, second.digest, "seed {seed}");
    }
}
