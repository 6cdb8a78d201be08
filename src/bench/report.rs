//! What a run came to: a row for each load and peer, as JSON and for tables.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Latencies, Machine, Round, Sample, versions};

/// A whole report: `{machine, versions, bench, rows}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report<R = Row> {
    /// Where it was made.
    pub machine: Machine,
    /// What it was made with.
    pub versions: BTreeMap<String, String>,
    /// Which bench: `link`, `hub`, `fleet`, `codec`.
    pub bench: String,
    /// The figures.
    pub rows: Vec<R>,
}

impl<R> Report<R> {
    /// An empty report of this machine.
    pub fn new(bench: &str) -> Self {
        Self {
            machine: Machine::here(),
            versions: versions(),
            bench: bench.to_owned(),
            rows: Vec::new(),
        }
    }
}

/// A load over a peer. A figure is the median of the rounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was carried.
    pub load: String,
    /// Who carried it.
    pub peer: String,
    /// CPU time a request, or a chunk, in microseconds: client, server and kernel.
    pub cpu_us: f64,
    /// The lowest and the highest round.
    pub cpu_us_spread: [f64; 2],
    /// CPU time a payload byte in nanoseconds, of loads that are about bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ns_per_byte: Option<f64>,
    /// Requests, or chunks, a second on the clock.
    pub wall_per_s: f64,
    /// Half of the answers came within this many microseconds; none where answers are not timed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_us: Option<f64>,
    /// 99 of 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_us: Option<f64>,
    /// 999 of 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p999_us: Option<f64>,
    /// CPU time as a ratio to that of other peers in the same rounds: `ratio_to_tonic` and the like.
    #[serde(flatten)]
    pub ratios: BTreeMap<String, f64>,
}

/// A peer that others are compared with: the name of the ratio, and the peer's.
pub type Reference = (&'static str, &'static str);

/// The rows of one contest. A ratio is the median of the ratios of the rounds: of turns that stood side by side.
pub fn rows(load: &str, rounds: &[Round], references: &[Reference]) -> Vec<Row> {
    rounds
        .iter()
        .map(|round| row(load, round, rounds, references))
        .collect()
}

fn row(load: &str, round: &Round, all: &[Round], references: &[Reference]) -> Row {
    let per_unit = of(round, Sample::cpu_us);
    let mut latencies = Latencies::default();
    for sample in &round.samples {
        latencies.merge(&sample.turn.latencies);
    }
    let quantile = |share| (latencies.count() > 0).then(|| latencies.quantile_us(share));
    let moved = round.samples.iter().any(|sample| sample.turn.bytes > 0);
    let per_byte = |sample: &Sample| sample.cpu.as_secs_f64() * 1e9 / sample.turn.bytes.max(1) as f64;
    let ratio = |name: &str| {
        let other = all.iter().find(|other| other.name == name)?;
        let sides = round.samples.iter().zip(&other.samples);
        Some(median(
            sides.map(|(one, two)| one.cpu_us() / two.cpu_us()).collect(),
        ))
    };
    Row {
        load: load.to_owned(),
        peer: round.name.to_owned(),
        cpu_us: median(per_unit.clone()),
        cpu_us_spread: [
            per_unit.iter().copied().fold(f64::INFINITY, f64::min),
            per_unit.iter().copied().fold(0.0, f64::max),
        ],
        cpu_ns_per_byte: moved.then(|| median(of(round, per_byte))),
        wall_per_s: median(of(round, |sample| {
            sample.turn.units as f64 / sample.wall.as_secs_f64()
        })),
        p50_us: quantile(0.5),
        p99_us: quantile(0.99),
        p999_us: quantile(0.999),
        ratios: references
            .iter()
            .filter_map(|(name, peer)| Some(((*name).to_owned(), ratio(peer)?)))
            .collect(),
    }
}

fn of(round: &Round, figure: impl Fn(&Sample) -> f64) -> Vec<f64> {
    round.samples.iter().map(figure).collect()
}

/// The middle one; the mean of the middle two when there is none; 0 of nothing.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => figures[odd / 2],
        even => f64::midpoint(figures[even / 2 - 1], figures[even / 2]),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;
    use crate::bench::Turn;

    fn round(name: &'static str, cpu_ms: [u64; 3]) -> Round {
        let sample = |ms| Sample {
            turn: Turn {
                units: 1_000,
                bytes: 1_000_000,
                ..Turn::default()
            },
            cpu: Duration::from_millis(ms),
            wall: Duration::from_secs(1),
        };
        Round {
            name,
            samples: cpu_ms.map(sample).to_vec(),
        }
    }

    #[test]
    fn a_ratio_is_of_turns_side_by_side_and_not_of_medians() {
        // The machine was slow in the second round, for both.
        let rounds = [round("tonic", [10, 40, 10]), round("towline", [5, 20, 6])];
        let rows = rows(
            "unary c=1",
            &rounds,
            &[("ratio_to_tonic", "tonic"), ("ratio_to_none", "none")],
        );
        assert_eq!(
            rows[1].ratios,
            BTreeMap::from([("ratio_to_tonic".to_owned(), 0.5)])
        );
        assert_eq!((rows[1].cpu_us, rows[1].cpu_us_spread), (6.0, [5.0, 20.0]));
        assert_eq!(rows[1].cpu_ns_per_byte, Some(6.0));
        assert_eq!((rows[1].wall_per_s, rows[1].p50_us), (1_000.0, None));
    }

    #[test]
    fn a_report_is_the_same_after_json() {
        let mut report = Report::new("link");
        report.rows = rows(
            "unary c=1",
            &[round("tonic", [10, 40, 10])],
            &[("ratio_to_tonic", "tonic")],
        );
        let text = serde_json::to_string(&report).unwrap();
        assert!(text.contains("\"ratio_to_tonic\":1.0"), "{text}");
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }
}
