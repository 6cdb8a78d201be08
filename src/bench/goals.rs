//! What the figures are to reach, beside what they are.

use super::{
    Row,
    table::{Figures, three_digits},
};

/// A ratio of ours that is to be this at most.
#[derive(Debug, Clone, Copy)]
struct Goal {
    load: &'static str,
    ratio: &'static str,
    most: f64,
}

const fn goal(load: &'static str, ratio: &'static str, most: f64) -> Goal {
    Goal { load, ratio, most }
}

const TONIC: &str = "ratio_to_tonic";
const BIDI: &str = "ratio_to_tonic_bidi";
const TUNED: &str = "ratio_to_tonic_tuned";
const JSON: &str = "ratio_to_json";
const DIRECT: &str = "ratio_to_direct";

const GOALS: [Goal; 29] = [
    goal("unary c=1", TONIC, 0.45),
    goal("unary c=16", TONIC, 1.0 / 10.0),
    goal("unary c=64", TONIC, 1.0 / 15.0),
    goal("unary c=256", TONIC, 1.0 / 20.0),
    goal("unary 16x4", TONIC, 1.0 / 5.0),
    goal("unary c=1", BIDI, 0.85),
    goal("unary c=16", BIDI, 1.0 / 1.5),
    goal("unary c=64", BIDI, 1.0 / 1.5),
    goal("unary c=256", BIDI, 1.0 / 1.5),
    goal("unary c=16", JSON, 1.0 / 1.7),
    goal("unary c=64", JSON, 1.0 / 1.7),
    goal("unary c=256", JSON, 1.0 / 1.7),
    goal("logs 256 B", TONIC, 1.0 / 1.7),
    goal("logs 4 KiB", TONIC, 1.0 / 2.0),
    goal("logs 64 KiB", TONIC, 1.0 / 1.6),
    goal("logs 256 B", TUNED, 1.0),
    goal("logs 4 KiB", TUNED, 1.0),
    goal("logs 64 KiB", TUNED, 1.0),
    goal("logs 256 B", JSON, 1.0 / 2.5),
    goal("logs 4 KiB", JSON, 1.0 / 2.5),
    goal("logs 64 KiB", JSON, 1.0 / 2.5),
    goal("status c=1", DIRECT, 1.3),
    goal("status c=16", DIRECT, 1.3),
    goal("create c=16", DIRECT, 1.6),
    goal("create c=64", DIRECT, 1.6),
    goal("delete c=16", DIRECT, 1.6),
    goal("delete c=64", DIRECT, 1.6),
    goal("getLogs 4 KiB", DIRECT, 1.0 / 0.6),
    goal("getLogs 32 KiB", DIRECT, 1.0 / 0.6),
];

/// A ratio's name for people: `tonic bidi` of `ratio_to_tonic_bidi`.
fn of_whom(ratio: &str) -> String {
    ratio.trim_start_matches("ratio_to_").replace('_', " ")
}

/// The goals that these rows tell of, each with what it came to; none when they tell of none.
pub fn goals(rows: &[Row]) -> Option<Figures> {
    let mut table = Figures::new(2, &["Load", "Ratio to", "Goal, at most", "Measured", "Reached"]);
    for goal in GOALS {
        let ours = rows
            .iter()
            .find(|row| row.load == goal.load && row.peer == "towline");
        if let Some(ratio) = ours.and_then(|row| row.ratios.get(goal.ratio)) {
            table.rows.push(vec![
                goal.load.to_owned(),
                of_whom(goal.ratio),
                format!("{}x", three_digits(goal.most)),
                format!("{}x", three_digits(*ratio)),
                if *ratio <= goal.most { "yes" } else { "**no**" }.to_owned(),
            ]);
        }
    }
    (!table.rows.is_empty()).then_some(table)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::bench::{hub, link};

    #[test]
    fn goals_stand_beside_what_was_measured() {
        let mut row = Row {
            load: "unary c=16".to_owned(),
            peer: "towline".to_owned(),
            cpu_us: 1.0,
            cpu_us_spread: [1.0, 1.0],
            cpu_ns_per_byte: None,
            wall_per_s: 1.0,
            p50_us: None,
            p99_us: None,
            p999_us: None,
            ratios: [(TONIC.to_owned(), 0.08), (BIDI.to_owned(), 0.7)].into(),
        };
        let table = goals(std::slice::from_ref(&row)).unwrap();
        assert_eq!(
            table.rows,
            [
                ["unary c=16", "tonic", "0.100x", "0.080x", "yes"],
                ["unary c=16", "tonic bidi", "0.667x", "0.700x", "**no**"],
            ]
        );
        row.peer = "tonic unary".to_owned();
        assert_eq!(goals(&[row]), None);
    }

    #[test]
    fn each_goal_is_of_a_load_that_there_is() {
        let of_link = link::Load::ALL.map(|load| load.to_string());
        let of_hub = hub::Load::ALL.map(|load| load.to_string());
        let loads = [&of_link[..], &of_hub].concat();
        assert!(GOALS.iter().all(|goal| loads.contains(&goal.load.to_owned())));
    }
}
