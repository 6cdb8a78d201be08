//! The committed bounds: a line a scenario, tabs between.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use crate::{Failure, RUSTC, scenarios::Scenario};

/// A bound lies this far above what was counted, in percent: other versions of glibc and of crates fit in, and a copy or
/// an allocation more on a short path does not.
const ABOVE: u64 = 10;

/// A count that differs less than this many thousandths from the accepted one leaves its line as it is.
const NOISE: u64 = 10;

const BUILT_WITH: &str = "# built with: ";

/// What one operation may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bound {
    /// Instructions when it was accepted.
    pub(crate) counted: u64,
    /// At most.
    pub(crate) bound: u64,
}

impl Bound {
    fn of(counted: u64) -> Self {
        let bound = (counted * (100 + ABOVE)).div_ceil(100);
        Self { counted, bound }
    }
}

/// All of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The compiler that they are of.
    pub(crate) rustc: String,
    pub(crate) rows: BTreeMap<String, Bound>,
}

impl Bounds {
    /// None at all when there is no file: each scenario then lacks its bound.
    pub(crate) fn read(file: &Path) -> Result<Self, Failure> {
        match fs::read_to_string(file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(format!("{}: {error}", file.display()).into()),
            Ok(text) => Self::parse(&text).map_err(|wrong| format!("{}: {wrong}", file.display()).into()),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut bounds = Self::default();
        for (number, line) in text.lines().enumerate() {
            if let Some(rustc) = line.strip_prefix(BUILT_WITH) {
                bounds.rustc = rustc.trim().to_owned();
            }
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fields: Vec<&str> = line.split('\t').collect();
            let row = match fields[..] {
                [name, counted, bound] => counted
                    .parse()
                    .ok()
                    .zip(bound.parse().ok())
                    .map(|row| (name, row)),
                _ => None,
            };
            let Some((name, (counted, bound))) = row else {
                return Err(format!(
                    "line {}: expected a scenario, instructions and a bound with tabs between; \
                     `make bench-guard-accept` writes the file",
                    number + 1
                ));
            };
            if bounds
                .rows
                .insert(name.to_owned(), Bound { counted, bound })
                .is_some()
            {
                return Err(format!("line {}: {name} has a bound already", number + 1));
            }
        }
        Ok(bounds)
    }

    /// With what was counted as the new bounds. `whole`: all scenarios were counted, so others are gone.
    pub(crate) fn accept(&self, scenarios: &[Scenario], counts: &[u64], whole: bool) -> Self {
        let mut rows = if whole { BTreeMap::new() } else { self.rows.clone() };
        for (scenario, count) in scenarios.iter().zip(counts) {
            let known = self.rows.get(scenario.name).copied();
            let same = known.filter(|known| known.counted.abs_diff(*count) * 1_000 < known.counted * NOISE);
            rows.insert(
                scenario.name.to_owned(),
                same.unwrap_or_else(|| Bound::of(*count)),
            );
        }
        let rustc = if whole {
            RUSTC.to_owned()
        } else {
            self.rustc.clone()
        };
        Self { rustc, rows }
    }

    pub(crate) fn write(&self, file: &Path) -> Result<(), Failure> {
        fs::write(file, self.text()).map_err(|error| format!("{}: {error}", file.display()).into())
    }

    fn text(&self) -> String {
        let mut text = String::from(
            "# Instructions an operation on x86_64, as callgrind counts them: scenario, counted, bound.\n\
             # Written by `make bench-guard-accept`; docs/BENCHMARKS.md says when that is right.\n",
        );
        let _ = writeln!(text, "{BUILT_WITH}{}", self.rustc);
        for (name, Bound { counted, bound }) in &self.rows {
            let _ = writeln!(text, "{name}\t{counted}\t{bound}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::scenarios;

    fn bounds(rows: &[(&str, u64)]) -> Bounds {
        Bounds {
            rustc: "rustc 1.2.3".to_owned(),
            rows: rows
                .iter()
                .map(|(name, count)| ((*name).to_owned(), Bound::of(*count)))
                .collect(),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let bounds = bounds(&[("one", 1_001), ("two", 22)]);
        assert_eq!(Bounds::parse(&bounds.text()).unwrap(), bounds);
        assert_eq!(
            bounds.rows["one"],
            Bound {
                counted: 1_001,
                bound: 1_102
            }
        );
    }

    #[test]
    fn a_line_that_says_nothing_is_refused_with_its_number() {
        for (text, says) in [
            ("# words\none\t12\n", "line 2"),
            ("one\t12\t13\ntwo\ttwelve\t13\n", "line 2"),
            ("one\t12\t13\none\t12\t13\n", "has a bound already"),
        ] {
            let wrong = Bounds::parse(text).unwrap_err();
            assert!(wrong.contains(says), "{wrong}");
        }
    }

    #[test]
    fn accepting_changes_what_has_changed_and_drops_what_is_gone() {
        let scenarios: Vec<Scenario> = scenarios::all().into_iter().take(2).collect();
        let (first, second) = (scenarios[0].name, scenarios[1].name);
        let before = bounds(&[(first, 10_000), (second, 10_000), ("gone", 5)]);
        let after = before.accept(&scenarios, &[10_050, 12_000], true);
        assert_eq!(after.rows[first].counted, 10_000, "half a percent is noise");
        assert_eq!(
            after.rows[second],
            Bound {
                counted: 12_000,
                bound: 13_200
            }
        );
        assert!(!after.rows.contains_key("gone") && after.rustc == RUSTC);
        let part = before.accept(&scenarios[..1], &[20_000], false);
        assert_eq!(part.rows.len(), 3, "the others were not looked at");
        assert_eq!(part.rustc, before.rustc);
    }
}
