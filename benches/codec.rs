//! The frames of `towline bench codec` under criterion: `cargo bench --features bench --bench codec`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use towline::bench::codec::{
    Form, Protobuf, Sample, Text, TypedJson,
    logs::{Kind, Squeezed},
    samples,
};

fn form<F: Form>(criterion: &mut Criterion, sample: &Sample) {
    let mut form = F::new(sample).unwrap();
    let mut group = criterion.benchmark_group(sample.name);
    group.throughput(Throughput::Bytes(sample.payload));
    group.bench_function(BenchmarkId::new("encode", F::NAME), |bencher| {
        bencher.iter(|| form.write());
    });
    group.bench_function(BenchmarkId::new("decode", F::NAME), |bencher| {
        bencher.iter(|| form.read());
    });
    group.finish();
}

fn frames(criterion: &mut Criterion) {
    for sample in samples().unwrap() {
        form::<Protobuf>(criterion, &sample);
        form::<Text>(criterion, &sample);
        form::<TypedJson>(criterion, &sample);
    }
}

fn compression(criterion: &mut Criterion) {
    for kind in Kind::ALL {
        let mut group = criterion.benchmark_group(kind.name());
        for size in [4 << 10, 64 << 10] {
            group.throughput(Throughput::Bytes(size as u64));
            for level in [1, 3] {
                let mut packets = Squeezed::new(kind, size, level).unwrap();
                let name = format!("zstd {level}, {} KiB", size >> 10);
                group.bench_function(BenchmarkId::new("compress", &name), |bencher| {
                    bencher.iter(|| packets.compress());
                });
                group.bench_function(BenchmarkId::new("inflate", &name), |bencher| {
                    bencher.iter(|| packets.inflate());
                });
            }
        }
        group.finish();
    }
}

criterion_group! {
    name = codec;
    config = Criterion::default()
        .without_plots()
        .measurement_time(Duration::from_secs(1))
        .warm_up_time(Duration::from_millis(300));
    targets = frames, compression
}
criterion_main!(codec);
