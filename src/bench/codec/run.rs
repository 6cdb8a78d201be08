//! The contests of `towline bench codec`.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use anyhow::ensure;

use super::{
    Form, Protobuf, Sample, Text, TypedJson,
    logs::{Kind, Squeezed},
    row::{CodecRow, of},
    samples,
};
use crate::bench::{
    Amount, Contender, Contest, Plan, Row, Turn,
    report::{self, Reference},
};

/// A form beside protobuf.
pub const RATIO: Reference = ("ratio_to_protobuf", Protobuf::NAME);

/// What is compressed.
#[derive(Debug, Clone)]
pub struct Sizes {
    /// Bytes of log in a message.
    pub messages: Vec<usize>,
    /// Levels of zstd.
    pub levels: Vec<i32>,
}

impl Sizes {
    /// Of the full run.
    pub fn full() -> Self {
        Self {
            messages: [1, 4, 16, 64].map(|kib| kib << 10).to_vec(),
            levels: vec![1, 3, 6],
        }
    }

    /// Of the quick one.
    pub fn quick() -> Self {
        Self {
            messages: [4, 64].map(|kib| kib << 10).to_vec(),
            levels: vec![1, 3],
        }
    }
}

/// A turn is pure work: it needs no more time than this to be measured well.
const TURN: Duration = Duration::from_millis(60);

/// Runs all contests whose load or peer `wanted` names.
///
/// # Errors
/// A frame that is not read as it was written.
pub async fn run(
    plan: Plan,
    sizes: &Sizes,
    wanted: &(dyn Fn(&str) -> bool + Sync),
    progress: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<Vec<CodecRow>> {
    let plan = Plan {
        turn: plan.turn.min(TURN),
        ..plan
    };
    let mut rows = Vec::new();
    for sample in samples()? {
        if wanted(sample.name) {
            rows.extend(frame(&sample, Op::Encode, plan, progress).await?);
            rows.extend(frame(&sample, Op::Decode, plan, progress).await?);
        }
    }
    for kind in Kind::ALL {
        for size in &sizes.messages {
            let load = format!("{} {} KiB", kind.name(), size >> 10);
            if wanted(&load) {
                rows.extend(log(&load, kind, *size, &sizes.levels, plan, progress).await?);
            }
        }
    }
    Ok(rows)
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Op {
    Encode,
    Decode,
}

async fn frame(
    sample: &Sample,
    op: Op,
    plan: Plan,
    progress: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<Vec<CodecRow>> {
    let word = if op == Op::Encode { "encode" } else { "decode" };
    let load = format!("{}: {word}", sample.name);
    let sizes = Mutex::new(BTreeMap::new());
    let mut contest = Contest::new(&load)
        .with(contender(Protobuf::new(sample)?, op, &sizes))
        .with(contender(Text::new(sample)?, op, &sizes))
        .with(contender(TypedJson::new(sample)?, op, &sizes));
    let rounds = contest.run(plan, progress).await?;
    drop(contest);
    let sizes = sizes.into_inner().unwrap_or_default();
    let rows = report::rows(&load, &rounds, &[RATIO]);
    let row = |row: Row| CodecRow {
        load: sample.name.to_owned(),
        op: word.to_owned(),
        bytes: sizes.get(row.peer.as_str()).copied().unwrap_or_default() as f64,
        ..of(row, sample.payload as f64)
    };
    Ok(rows.into_iter().map(row).collect())
}

fn contender<'a, F: Form + Send + 'a>(
    mut form: F,
    op: Op,
    sizes: &'a Mutex<BTreeMap<&'static str, usize>>,
) -> Contender<'a> {
    let size = form.write();
    if let Ok(mut sizes) = sizes.lock() {
        sizes.insert(F::NAME, size);
    }
    Contender::new(F::NAME, move |amount| {
        let turn = turn(&mut form, op, amount);
        async move { turn }
    })
}

fn turn(form: &mut impl Form, op: Op, amount: Amount) -> anyhow::Result<Turn> {
    form.check()?;
    for _ in 0..amount {
        let good = match op {
            Op::Encode => std::hint::black_box(form.write()) > 0,
            Op::Decode => std::hint::black_box(form.read()),
        };
        ensure!(good, "a frame was not written or not read");
    }
    Ok(done(amount))
}

fn done(units: Amount) -> Turn {
    Turn {
        units,
        ..Turn::default()
    }
}

/// The names of the contenders at one level.
fn names(level: i32) -> Option<(&'static str, &'static str)> {
    Some(match level {
        1 => ("zstd 1 compress", "zstd 1 inflate"),
        3 => ("zstd 3 compress", "zstd 3 inflate"),
        6 => ("zstd 6 compress", "zstd 6 inflate"),
        9 => ("zstd 9 compress", "zstd 9 inflate"),
        _ => return None,
    })
}

async fn log(
    load: &str,
    kind: Kind,
    size: usize,
    levels: &[i32],
    plan: Plan,
    progress: &(dyn Fn(&str) + Sync),
) -> anyhow::Result<Vec<CodecRow>> {
    let mut contest = Contest::new(load);
    let mut sizes = Vec::new();
    for (compress, inflate, level) in levels
        .iter()
        .filter_map(|&level| names(level).map(|(compress, inflate)| (compress, inflate, level)))
    {
        let mut packets = Squeezed::new(kind, size, level)?;
        sizes.push((level, packets.sizes()));
        contest = contest.with(Contender::new(compress, move |amount| {
            let all: usize = (0..amount)
                .map(|_| std::hint::black_box(packets.compress()))
                .sum();
            async move {
                ensure!(all > 0, "nothing was compressed");
                Ok(done(amount))
            }
        }));
        let mut packets = Squeezed::new(kind, size, level)?;
        contest = contest.with(Contender::new(inflate, move |amount| {
            let good = (0..amount).all(|_| std::hint::black_box(packets.inflate()));
            async move {
                ensure!(good, "a packet was not inflated");
                Ok(done(amount))
            }
        }));
    }
    let rounds = contest.run(plan, progress).await?;
    let rows = report::rows(load, &rounds, &[]);
    let pairs = rows.chunks_exact(2).zip(sizes);
    Ok(pairs
        .flat_map(|(pair, (level, (plain, sent)))| {
            let count = plain as f64 / size as f64;
            let saved = (plain as f64 - sent as f64) / count.floor();
            let spent: f64 = pair.iter().map(|row| row.cpu_us).sum();
            let pays = (saved > 0.0).then(|| saved / spent);
            let row = |(row, op): (&Row, &str)| CodecRow {
                load: load.to_owned(),
                peer: format!("zstd {level}"),
                op: op.to_owned(),
                bytes: sent as f64 / count.floor(),
                compression_ratio: Some(plain as f64 / sent as f64),
                pays_below_mb_per_s: pays,
                ..of(row.clone(), size as f64)
            };
            pair.iter()
                .zip(["compress", "inflate"])
                .map(row)
                .collect::<Vec<_>>()
        })
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::wire::{StreamId, encode_frame, frame::Body};

    const TINY: Plan = Plan {
        rounds: 1,
        turn: Duration::from_micros(1),
    };

    #[test]
    fn the_protobuf_of_the_bench_is_what_the_link_writes() {
        for sample in samples().unwrap() {
            let mut out = Vec::new();
            let stream = if matches!(sample.body, Body::PodEvent(_)) {
                StreamId::LINK
            } else {
                StreamId(2)
            };
            encode_frame(&mut out, stream, sample.body.clone());
            let mut form = Protobuf::new(&sample).unwrap();
            assert_eq!(form.write(), out.len(), "{}", sample.name);
            assert_eq!(form.written(), out.as_slice(), "{}", sample.name);
        }
    }

    #[tokio::test]
    async fn every_frame_is_written_and_read_in_every_form() {
        let sizes = Sizes {
            messages: vec![1 << 10],
            levels: vec![1, 6],
        };
        let rows = run(TINY, &sizes, &|_| true, &|_| ()).await.unwrap();
        let of = |op: &'static str| rows.iter().filter(move |row| row.op == op);
        assert_eq!((of("encode").count(), of("decode").count()), (7 * 3, 7 * 3));
        assert_eq!((of("compress").count(), of("inflate").count()), (4 * 2, 4 * 2));
        for row in &rows {
            assert!(row.bytes > 0.0 && row.cpu_ns >= 0.0, "{row:?}");
        }
        let size = |load: &str, peer: &str| {
            of("encode")
                .find(|row| row.load == load && row.peer == peer)
                .map(|row| row.bytes)
                .unwrap()
        };
        assert!(size("pod event", "protobuf") < size("pod event", "JSON envelope"));
        let random = of("compress").find(|row| row.load.starts_with("random")).unwrap();
        assert_eq!(random.pays_below_mb_per_s, None);
        assert!(
            of("compress")
                .find(|row| row.load.starts_with("text"))
                .unwrap()
                .compression_ratio
                .unwrap()
                > 1.2
        );
    }

    #[tokio::test]
    async fn only_what_is_asked_for_is_measured() {
        let rows = run(TINY, &Sizes::quick(), &|load| load == "pod event", &|_| ())
            .await
            .unwrap();
        assert!(!rows.is_empty() && rows.iter().all(|row| row.load == "pod event"));
    }
}
