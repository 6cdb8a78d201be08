//! `towline bench link` under criterion: the same loads and peers, one at a time, in CPU time of the whole process.
//!
//! `cargo bench --features bench --bench link`, with a filter behind `--` (`unary c=64/towline`). Ratios between peers are
//! what `towline bench link` gives, where they take turns; this is for the same peer before and after a change.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use criterion::{
    Criterion, Throughput, criterion_group, criterion_main,
    measurement::{Measurement, ValueFormatter, WallTime},
};
use tokio::runtime::{Builder, Runtime};
use towline::bench::{
    cost,
    link::Load,
    peers::{Answers, PEERS},
};

/// CPU time of this process, kernel's included.
struct CpuTime;

static FORM: WallTime = WallTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        cost::cpu().unwrap()
    }

    fn end(&self, began: Duration) -> Duration {
        cost::cpu().unwrap() - began
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        // Criterion takes no zero.
        (value.as_nanos() as f64).max(1.0)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        FORM.formatter()
    }
}

fn link(criterion: &mut Criterion<CpuTime>) {
    let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
    for load in Load::ALL {
        let mut group = criterion.benchmark_group(load.to_string());
        group.throughput(match load {
            Load::Calls { .. } => Throughput::Elements(1),
            Load::Logs { chunk } => Throughput::Bytes(chunk as u64),
        });
        let carries = |peer: &&towline::bench::peers::Peer| match load {
            Load::Calls { .. } => peer.calls.is_some(),
            Load::Logs { .. } => peer.logs.is_some(),
        };
        for peer in PEERS.iter().filter(carries) {
            group.bench_function(peer.name, |bencher| {
                let up = load.contender(peer, Answers::RIGHT);
                let mut contender = runtime.block_on(up).unwrap().unwrap();
                bencher.iter_custom(|turns| measured(&runtime, contender.turn(turns)));
            });
        }
        group.finish();
    }
}

fn measured<T>(runtime: &Runtime, turn: impl Future<Output = anyhow::Result<T>>) -> Duration {
    let before = cost::cpu().unwrap();
    runtime.block_on(turn).unwrap();
    cost::cpu().unwrap() - before
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .with_measurement(CpuTime)
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = link
}
criterion_main!(benches);
