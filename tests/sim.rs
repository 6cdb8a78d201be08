//! The simulator: hubs, plugins, kubelets and batch systems of the real code on one thread in virtual time, with
//! everything that goes wrong decided by a seed. See docs/RELIABILITY.md.
//!
//! `make sim N=1000000` runs as many schedules; `SIM_SEED=42 cargo test --test sim one_schedule -- --nocapture` replays
//! one and prints what happened.

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
#[path = "sim/trace.rs"]
mod trace;
#[path = "sim/world.rs"]
mod world;

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_schedule_breaks_an_invariant() {
    let count = number("SIM_N").unwrap_or(2_000);
    let first = number("SIM_FIRST").unwrap_or(1);
    let next = AtomicU64::new(first);
    let steps = AtomicU64::new(0);
    let failed: Mutex<Vec<(u64, Vec<String>)>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || failed.lock().unwrap().len() >= 10 {
                        return;
                    }
                    let outcome = world::run(seed);
                    steps.fetch_add(outcome.steps as u64, Ordering::Relaxed);
                    if !outcome.violations.is_empty() {
                        failed.lock().unwrap().push((seed, outcome.violations));
                    }
                }
            });
        }
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
        let differs = first.trace.lines().zip(second.trace.lines()).find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.digest, second.digest, "seed {seed}");
    }
}
