//! What calls of others take meanwhile. Printed, and judged only when asked to: time is no matter of `cargo test`.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{
    http::{Client, logs_body},
    site::{Site, pod},
};

/// How much slower the calls of others may become beside stalled readers.
const GOAL: f64 = 2.0;

/// Times of calls, sorted.
pub(crate) struct Times {
    /// GET /status: answered by the hub alone.
    status: Vec<Duration>,
    /// The last line of another pod's log: over the link and back.
    line: Vec<Duration>,
}

pub(crate) struct Round {
    pub(crate) alone: Times,
    pub(crate) beside_one: Times,
    pub(crate) beside_stalled: Times,
    pub(crate) beside_both: Times,
}

impl Times {
    /// Makes `calls` calls of each kind, and more while `goes_on`.
    pub(crate) fn take(site: &Site, calls: u64, goes_on: impl Fn() -> bool) -> Self {
        let mut client = Client::new(site);
        let pods = json!([pod("small", "echo a small log")]).to_string();
        let log = logs_body("small", &json!({"Tail": 1}));
        let (mut status, mut line) = (Vec::new(), Vec::new());
        while (status.len() as u64) < calls || goes_on() {
            let began = Instant::now();
            let (code, said) = client.ask("GET", "/status", &pods);
            status.push(began.elapsed());
            assert!(
                code == 200 && said.len() > 2,
                "{}",
                String::from_utf8_lossy(&said)
            );
            let began = Instant::now();
            let (code, said) = client.ask("GET", "/getLogs", &log);
            line.push(began.elapsed());
            assert_eq!((code, said.as_slice()), (200, &b"a small log\n"[..]));
        }
        status.sort_unstable();
        line.sort_unstable();
        Self { status, line }
    }
}

fn percentile(times: &[Duration], percent: usize) -> f64 {
    times[(times.len() * percent / 100).min(times.len() - 1)].as_secs_f64() * 1e3
}

/// The middle one of the rounds.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

type Phase = fn(&Round) -> &Times;
type Kind = fn(&Times) -> &Vec<Duration>;

/// Prints what was measured; judges it with `SLOW_JUDGE`.
pub(crate) fn report(rounds: &[Round], mib: u64) {
    let phases: [(&str, Phase); 4] = [
        ("alone", |round| &round.alone),
        ("one reads", |round| &round.beside_one),
        ("nine stalled", |round| &round.beside_stalled),
        ("nine stalled, one reads", |round| &round.beside_both),
    ];
    let kinds: [(&str, Kind); 2] = [
        ("GET /status", |times| &times.status),
        ("one line of a log", |times| &times.line),
    ];
    println!("{mib} MiB, medians of {} rounds, in ms:", rounds.len());
    for (what, kind) in kinds {
        let at = |phase: Phase, percent| {
            median(
                rounds
                    .iter()
                    .map(|round| percentile(kind(phase(round)), percent))
                    .collect(),
            )
        };
        for (name, phase) in phases {
            println!(
                "  {what:<18} {name:<24} p50 {:>8.3}  p99 {:>8.3}",
                at(phase, 50),
                at(phase, 99)
            );
        }
        for (name, with, without) in [
            ("nine stalled : alone", phases[2].1, phases[0].1),
            ("nine stalled, one reads : one reads", phases[3].1, phases[1].1),
            ("nine stalled, one reads : alone", phases[3].1, phases[0].1),
        ] {
            let ratio = at(with, 99) / at(without, 99);
            let verdict = match (std::env::var_os("SLOW_JUDGE"), ratio <= GOAL) {
                (None, _) => "",
                (Some(_), true) => "  PASS",
                (Some(_), false) => "  above goal",
            };
            println!("  {what:<18} p99, {name:<36} {ratio:>5.2}x{verdict}");
        }
    }
}
