//! What the counts mean: a table for people, a sentence for each that is not as it should be.

use std::{fmt::Write as _, path::PathBuf};

use crate::{
    RUSTC,
    bounds::{Bound, Bounds},
    scenarios::Scenario,
};

/// Below this part of its bound, in percent, a scenario has become so much cheaper that the bound no longer guards it.
const SLACK: u64 = 80;

/// What another compiler than that of the bounds may add to a bound, in percent.
const OTHER_COMPILER: u64 = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Within(Bound),
    /// Within, and far below.
    Slack(Bound),
    Over(Bound),
    Unbounded,
}

#[derive(Debug)]
struct Row {
    name: &'static str,
    unit: &'static str,
    count: u64,
    verdict: Verdict,
}

/// All of a run.
#[derive(Debug)]
pub(crate) struct Judgement {
    rows: Vec<Row>,
    /// Bounds of scenarios that there are not.
    gone: Vec<String>,
    /// The compiler of the bounds, when it is not this one.
    other_compiler: Option<String>,
}

impl Judgement {
    /// `whole`: all scenarios were counted, so a bound of another one guards nothing.
    pub(crate) fn new(scenarios: &[Scenario], counts: &[u64], bounds: &Bounds, whole: bool) -> Self {
        let same_compiler = bounds.rustc == RUSTC;
        let rows = scenarios.iter().zip(counts).map(|(scenario, count)| Row {
            name: scenario.name,
            unit: scenario.unit,
            count: *count,
            verdict: verdict(*count, bounds.rows.get(scenario.name).copied(), same_compiler),
        });
        let gone = |name: &&String| whole && !scenarios.iter().any(|one| one.name == name.as_str());
        Self {
            rows: rows.collect(),
            gone: bounds.rows.keys().filter(gone).cloned().collect(),
            other_compiler: (!same_compiler && !bounds.rustc.is_empty()).then(|| bounds.rustc.clone()),
        }
    }

    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "{:<24} {:>13} {:<9} {:>9} {:>9}\n",
            "SCENARIO", "INSTRUCTIONS", "EACH", "BOUND", "OF BOUND"
        );
        for Row {
            name,
            unit,
            count,
            verdict,
        } in &self.rows
        {
            let _ = write!(text, "{name:<24} {count:>13} {unit:<9}");
            let _ = match verdict {
                Verdict::Unbounded => writeln!(text, " {:>9} {:>9}", "none", ""),
                Verdict::Within(Bound { bound, .. })
                | Verdict::Slack(Bound { bound, .. })
                | Verdict::Over(Bound { bound, .. }) => {
                    writeln!(text, " {bound:>9} {:>8}%", count * 100 / bound.max(&1))
                }
            };
        }
        text
    }

    /// What is not as it should be; `profile` tells where callgrind wrote that of a scenario.
    pub(crate) fn words(&self, profile: impl Fn(&str) -> PathBuf) -> String {
        let mut text = String::new();
        if let Some(other) = &self.other_compiler {
            let _ = writeln!(
                text,
                "The bounds are of {other}, this is {RUSTC}: each is taken {OTHER_COMPILER} % higher. \
                 With a compiler that is to stay: make bench-guard-accept."
            );
        }
        let mut over = false;
        for Row {
            name,
            unit,
            count,
            verdict,
        } in &self.rows
        {
            let _ = match verdict {
                Verdict::Within(_) => Ok(()),
                Verdict::Over(Bound { counted, bound }) => {
                    over = true;
                    writeln!(
                        text,
                        "OVER {name}: {count} instructions per {unit}, {} over its bound of {bound}; \
                         it had {counted} when that was accepted. Where they go:\n    \
                         callgrind_annotate --auto=no --inclusive=yes {}",
                        percent(*count, *bound),
                        profile(name).display()
                    )
                }
                Verdict::Slack(Bound { counted, bound }) => writeln!(
                    text,
                    "SLACK {name}: {count} instructions per {unit}, far below its bound of {bound} (it had {counted}). \
                     So that this stays: make bench-guard-accept"
                ),
                Verdict::Unbounded => writeln!(
                    text,
                    "UNBOUNDED {name}: no bound is in the file. make bench-guard-accept writes one"
                ),
            };
        }
        for name in &self.gone {
            let _ = writeln!(
                text,
                "GONE {name}: the file has a bound, and there is no such scenario. make bench-guard-accept removes it"
            );
        }
        if over {
            text.push_str(
                "If the cost is meant: make bench-guard-accept, and commit benches/guard/bounds.tsv with the reason.\n",
            );
        }
        text
    }

    /// Passed and failed.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let good = |row: &&Row| matches!(row.verdict, Verdict::Within(_) | Verdict::Slack(_));
        let passed = self.rows.iter().filter(good).count();
        (passed, self.rows.len() - passed + self.gone.len())
    }
}

fn verdict(count: u64, bound: Option<Bound>, same_compiler: bool) -> Verdict {
    let Some(bound) = bound else {
        return Verdict::Unbounded;
    };
    let most = match same_compiler {
        true => bound.bound,
        false => bound.bound * (100 + OTHER_COMPILER) / 100,
    };
    if count > most {
        Verdict::Over(bound)
    } else if count * 100 < bound.bound * SLACK {
        Verdict::Slack(bound)
    } else {
        Verdict::Within(bound)
    }
}

/// By how much a count is over its bound.
fn percent(count: u64, bound: u64) -> String {
    let tenths = (count - bound.min(count)) * 1_000 / bound.max(1);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::scenarios;

    const BOUND: Bound = Bound {
        counted: 1_000,
        bound: 1_100,
    };

    fn profile(name: &str) -> PathBuf {
        PathBuf::from(format!("/profiles/{name}.out"))
    }

    fn judged(rustc: &str, counts: [u64; 3]) -> Judgement {
        let scenarios: Vec<Scenario> = scenarios::all().into_iter().take(3).collect();
        let named = scenarios.iter().take(2).map(|one| one.name.to_owned());
        let rows = named
            .chain(["gone".to_owned()])
            .map(|name| (name, BOUND))
            .collect();
        let rustc = rustc.to_owned();
        Judgement::new(&scenarios, &counts, &Bounds { rustc, rows }, true)
    }

    #[test]
    fn a_bound_is_kept_or_not_and_a_missing_one_is_no_pass() {
        let judgement = judged(RUSTC, [1_100, 1_101, 5]);
        let verdicts: Vec<Verdict> = judgement.rows.iter().map(|row| row.verdict).collect();
        assert_eq!(
            verdicts,
            [Verdict::Within(BOUND), Verdict::Over(BOUND), Verdict::Unbounded]
        );
        assert_eq!(judgement.counts(), (1, 3), "one over, one unbounded, one gone");
    }

    #[test]
    fn the_words_name_scenario_cost_and_what_to_do() {
        let judgement = judged(RUSTC, [500, 1_375, 5]);
        let words = judgement.words(profile);
        let [first, second, third] = [0, 1, 2].map(|at| judgement.rows[at].name);
        for part in [
            format!("SLACK {first}: 500 "),
            format!("OVER {second}: 1375 "),
            "25.0 % over its bound of 1100; it had 1000".to_owned(),
            format!("callgrind_annotate --auto=no --inclusive=yes /profiles/{second}.out"),
            format!("UNBOUNDED {third}: "),
            "GONE gone: ".to_owned(),
            "make bench-guard-accept, and commit".to_owned(),
        ] {
            assert!(words.contains(&part), "{part:?} is not in:\n{words}");
        }
        let rows = judgement.table();
        assert_eq!(rows.lines().count(), 4, "{rows}");
        assert!(rows.contains("125%"), "{rows}");
    }

    #[test]
    fn another_compiler_is_named_and_given_more_room() {
        let same = judged(RUSTC, [1_200, 1_000, 5]);
        assert_eq!(same.rows[0].verdict, Verdict::Over(BOUND));
        assert!(!same.words(profile).contains("rustc"));
        let other = judged("rustc 1.2.3", [1_200, 1_220, 5]);
        assert_eq!(other.rows[0].verdict, Verdict::Within(BOUND));
        assert_eq!(
            other.rows[1].verdict,
            Verdict::Over(BOUND),
            "more room is not any room"
        );
        assert!(other.words(profile).contains("The bounds are of rustc 1.2.3"));
    }
}
