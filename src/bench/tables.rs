//! The tables of rows: for the terminal and for docs/BENCHMARKS.md.

use super::{
    Row,
    table::{Figures, rate, three_digits},
};

/// The rows as tables: those about bytes, which are given a byte, after those that are given a request. The last column
/// is the ratio to tonic, or in a run without tonic the ratio that there is.
pub fn tables(rows: &[Row]) -> Vec<Figures> {
    let (bytes, requests): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.cpu_ns_per_byte.is_some());
    let mut tables = Vec::new();
    if !requests.is_empty() {
        let heads = ["CPU us/req", "/S", "P50 us", "P99 us", "P99.9 us"];
        tables.push(table(&heads, &requests, |row| {
            let us = |time: Option<f64>| time.map(three_digits).unwrap_or_default();
            vec![us(row.p50_us), us(row.p99_us), us(row.p999_us)]
        }));
    }
    if !bytes.is_empty() {
        tables.push(table(&["CPU ns/B", "/S", "MB/S"], &bytes, |row| {
            let chunk = row.cpu_us * 1e3 / row.cpu_ns_per_byte.unwrap_or(1.0);
            vec![three_digits(row.wall_per_s * chunk / 1e6)]
        }));
    }
    tables
}

fn table(figures: &[&str], rows: &[&Row], more: impl Fn(&Row) -> Vec<String>) -> Figures {
    let ratio = ratio_of(rows);
    let versus = ratio.map(|name| format!("vs {}", name.trim_start_matches(RATIO).replace('_', " ")));
    let (cpu, rest) = figures.split_at(1);
    let heads: Vec<&str> = ["LOAD", "PEER"]
        .iter()
        .chain(cpu)
        .chain(&["SPREAD"])
        .chain(rest)
        .copied()
        .chain(versus.as_deref())
        .collect();
    let mut table = Figures::new(2, &heads);
    let mut load = "";
    for row in rows {
        // The spread is known in microseconds a unit; a byte's is in proportion.
        let figure = row.cpu_ns_per_byte.unwrap_or(row.cpu_us);
        let scale = if row.cpu_us > 0.0 {
            figure / row.cpu_us
        } else {
            1.0
        };
        let [low, high] = row.cpu_us_spread.map(|end| three_digits(end * scale));
        let named = if load == row.load { "" } else { &row.load };
        let mut cells = vec![
            named.to_owned(),
            row.peer.clone(),
            three_digits(figure),
            format!("{low}-{high}"),
            rate(row.wall_per_s),
        ];
        cells.extend(more(row));
        if let Some(name) = ratio {
            let ratio = row.ratios.get(name);
            cells.push(
                ratio
                    .map(|ratio| format!("{}x", three_digits(*ratio)))
                    .unwrap_or_default(),
            );
        }
        load = &row.load;
        table.rows.push(cells);
    }
    table
}

/// What the names of ratios begin with.
const RATIO: &str = "ratio_to_";
/// The ratio that is shown where it is known.
const FIRST: &str = "ratio_to_tonic";

fn ratio_of<'a>(rows: &[&'a Row]) -> Option<&'a str> {
    let mut names = rows.iter().flat_map(|row| row.ratios.keys()).map(String::as_str);
    match names.clone().find(|name| *name == FIRST) {
        Some(first) => Some(first),
        None => names.next(),
    }
}

/// All of them for a terminal.
pub fn text(rows: &[Row]) -> String {
    let tables: Vec<String> = tables(rows).iter().map(Figures::text).collect();
    tables.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(load: &str, peer: &str, bytes: Option<f64>) -> Row {
        Row {
            load: load.to_owned(),
            peer: peer.to_owned(),
            cpu_us: 4.0,
            cpu_us_spread: [3.0, 5.0],
            cpu_ns_per_byte: bytes,
            wall_per_s: 500_000.0,
            p50_us: bytes.is_none().then_some(12.34),
            p99_us: bytes.is_none().then_some(56.7),
            p999_us: bytes.is_none().then_some(8_901.0),
            ratios: [("ratio_to_tonic".to_owned(), 0.5)].into(),
        }
    }

    #[test]
    fn the_last_column_is_the_ratio_that_there_is() {
        let mut direct = row("status c=1", "towline", None);
        direct.ratios = [("ratio_to_direct".to_owned(), 1.25)].into();
        let table = &tables(&[direct.clone()])[0];
        assert_eq!(table.heads.last().map(String::as_str), Some("vs direct"));
        assert_eq!(table.rows[0].last().map(String::as_str), Some("1.25x"));
        direct.ratios.clear();
        assert_eq!(
            tables(&[direct])[0].heads.last().map(String::as_str),
            Some("P99.9 us")
        );
    }

    #[test]
    fn calls_and_bytes_have_tables_of_their_own_that_fit_into_100_columns() {
        let rows = [
            row("unary c=1", "towline", None),
            row("unary c=1", "tonic unary", None),
            row("logs 4 KiB", "towline", Some(1.0)),
        ];
        let text = text(&rows);
        assert_eq!(
            text,
            "\
LOAD       PEER         CPU us/req     SPREAD    /S  P50 us  P99 us  P99.9 us  vs tonic
unary c=1  towline            4.00  3.00-5.00  500k    12.3    56.7      8901    0.500x
           tonic unary        4.00  3.00-5.00  500k    12.3    56.7      8901    0.500x

LOAD        PEER     CPU ns/B      SPREAD    /S  MB/S  vs tonic
logs 4 KiB  towline      1.00  0.750-1.25  500k  2000    0.500x
"
        );
        assert!(text.lines().all(|line| line.chars().count() <= 100));
    }
}
