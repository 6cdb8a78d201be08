//! Reports as files hold them, made into the parts of docs/BENCHMARKS.md and its charts. Pure: texts in, texts out.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

use super::{
    Report, Row,
    chart::{self, Chart},
    goals,
    table::{Figures, three_digits},
    tables,
};

/// What one report becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Its marker in the document: the bench.
    pub name: String,
    /// What stands between the markers.
    pub text: String,
    /// Charts: the file's name, and what it holds.
    pub charts: Vec<(String, String)>,
}

/// Why a report or a document cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Not a report.
    #[error("it is not a report of `towline bench ... -o json`: {0}")]
    NotAReport(#[from] serde_json::Error),
    /// Its name would lead out of the folder, or out of the markers.
    #[error("its bench is named {0:?}: a word of small letters is expected")]
    BadName(String),
    /// The document has no place for it.
    #[error("{0} is not there, once and before {1}: it says where the tables of this bench go")]
    NoMarker(String, String),
}

/// A row of a bench of whatever kind, its fields in their order.
#[derive(Debug)]
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// Makes a section of a report's text.
///
/// # Errors
/// When it is no report.
pub fn section(json: &str) -> Result<Section, DocumentError> {
    let report: Report<Box<RawValue>> = serde_json::from_str(json)?;
    let name = report.bench.clone();
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Err(DocumentError::BadName(name));
    }
    let known: Result<Vec<Row>, _> = (report.rows.iter())
        .map(|row| serde_json::from_str(row.get()))
        .collect();
    let note = format!(
        "{}, {} cores; {}",
        report.machine.cpu,
        report.machine.cores,
        versions(&report, &["towline", "tonic"])
    );
    let (mut text, mut charts) = (format!("{}\n", place(&report)), Vec::new());
    match known {
        Ok(rows) if !rows.is_empty() => {
            for (file, chart, bars) in drawn(&name, &note, &rows) {
                text += &format!("\n![{}](bench/{file})\n", chart.title);
                charts.push((file, chart::svg(chart, &bars)));
            }
            for table in tables::tables(&rows) {
                text += &format!("\n{}", table.markdown());
            }
            if let Some(goals) = goals::goals(&rows) {
                text += &format!("\nGoals beside results:\n\n{}", goals.markdown());
            }
        }
        _ => {
            let rows = (report.rows.iter())
                .map(|row| serde_json::from_str(row.get()))
                .collect::<Result<Vec<Fields>, _>>()?;
            text += &format!("\n{}", plain(&rows).markdown());
        }
    }
    Ok(Section { name, text, charts })
}

/// Where and with what it was measured, in a line.
fn place<R>(report: &Report<R>) -> String {
    let machine = &report.machine;
    let versions = versions(report, &["towline", "tonic", "hyper", "tokio"]);
    let unoptimised = if machine.optimised {
        ""
    } else {
        "; WITHOUT OPTIMISATION"
    };
    format!(
        "{}, {} cores, {} MiB, Linux {}, load {} at the start; {versions}{unoptimised}",
        machine.cpu, machine.cores, machine.memory_mib, machine.kernel, machine.load
    )
}

fn versions<R>(report: &Report<R>, names: &[&str]) -> String {
    let version = |name: &&str| {
        let version = report.versions.get(*name).map_or("?", String::as_str);
        format!("{name} {version}")
    };
    names.iter().map(version).collect::<Vec<_>>().join(", ")
}

fn drawn<'a>(name: &str, note: &'a str, rows: &[Row]) -> Vec<(String, Chart<'a>, Vec<chart::Bar>)> {
    let mut drawn = Vec::new();
    for (bytes, kind, title, axis) in [
        (
            false,
            "requests",
            "CPU time of a request: client, server and kernel",
            "microseconds a request; shorter is better",
        ),
        (
            true,
            "bytes",
            "CPU time of a byte of log: client, server and kernel",
            "nanoseconds a byte; shorter is better",
        ),
    ] {
        let bars = chart::bars(rows, bytes);
        if !bars.is_empty() {
            let chart = Chart { title, axis, note };
            drawn.push((format!("{name}-{kind}.svg"), chart, bars));
        }
    }
    drawn
}

/// Any rows as a table: a column for each field, words before figures.
fn plain(rows: &[Fields]) -> Figures {
    let mut columns: Vec<&str> = Vec::new();
    for (key, _) in rows.iter().flat_map(|row| &row.0) {
        if !columns.contains(&key.as_str()) {
            columns.push(key);
        }
    }
    let value = |row: &'_ Fields, key: &str| {
        let found = row.0.iter().find(|(name, _)| name == key);
        found.map_or(Value::Null, |(_, value)| value.clone())
    };
    let (figures, words): (Vec<&str>, Vec<&str>) = columns.into_iter().partition(|key| {
        let is_figure = |row| matches!(value(row, key), Value::Number(_) | Value::Null);
        rows.iter().all(is_figure)
    });
    let heads: Vec<&str> = words.iter().chain(&figures).copied().collect();
    let mut table = Figures::new(words.len(), &heads);
    for row in rows {
        table
            .rows
            .push(heads.iter().map(|key| shown(&value(row, key))).collect());
    }
    table.heads = heads.iter().map(|head| head.replace('_', " ")).collect();
    table
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(figure) if number.is_f64() => three_digits(figure),
            _ => number.to_string(),
        },
        Value::Array(parts) => parts.iter().map(shown).collect::<Vec<_>>().join("-"),
        other => other.to_string(),
    }
}

/// Puts a section between its markers.
///
/// # Errors
/// When the document has no such markers.
pub fn put(document: &str, section: &Section) -> Result<String, DocumentError> {
    let begin = format!("<!-- bench:{} -->", section.name);
    let end = format!("<!-- /bench:{} -->", section.name);
    let none = || DocumentError::NoMarker(begin.clone(), end.clone());
    let (before, rest) = document.split_once(&begin).ok_or_else(none)?;
    let (_, after) = rest.split_once(&end).ok_or_else(none)?;
    if rest.contains(&begin) {
        return Err(none());
    }
    Ok(format!("{before}{begin}\n{}{end}{after}", section.text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn report(bench: &str, rows: &str) -> String {
        let mut report = serde_json::to_value(Report::<Row>::new(bench)).unwrap();
        report["rows"] = serde_json::from_str(rows).unwrap();
        report.to_string()
    }

    const ROWS: &str = r#"[
        {"load":"unary c=1","peer":"towline","cpu_us":16.0,"cpu_us_spread":[15.0,17.0],"wall_per_s":60000.0,
         "p50_us":12.0,"p99_us":20.0,"p999_us":90.0,"ratio_to_tonic":0.4,"ratio_to_tonic_bidi":0.9},
        {"load":"logs 4 KiB","peer":"towline","cpu_us":1.6,"cpu_us_spread":[1.5,1.7],"cpu_ns_per_byte":0.4,
         "wall_per_s":600000.0,"ratio_to_tonic":0.45}
    ]"#;

    #[test]
    fn a_report_becomes_charts_tables_and_goals_between_its_markers() {
        let section = section(&report("link", ROWS)).unwrap();
        let names: Vec<&str> = section.charts.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["link-requests.svg", "link-bytes.svg"]);
        for part in [
            "](bench/link-bytes.svg)",
            "| unary c=1 | towline | 16.0 | 15.0-17.0 | 60.0k | 12.0 | 20.0 | 90.0 | 0.400x |",
            "| logs 4 KiB | towline | 0.400 | 0.375-0.425 | 600k | 2400 | 0.450x |",
            "| unary c=1 | tonic bidi | 0.850x | 0.900x | **no** |",
        ] {
            assert!(section.text.contains(part), "{part} in\n{}", section.text);
        }
        let document = "# A\n<!-- bench:link -->\nold\n<!-- /bench:link -->\nb\n";
        let once = put(document, &section).unwrap();
        assert!(
            once.starts_with("# A\n<!-- bench:link -->\n") && once.ends_with("<!-- /bench:link -->\nb\n")
        );
        assert!(!once.contains("old"));
        assert_eq!(put(&once, &section).unwrap(), once, "again changes nothing");
    }

    #[test]
    fn rows_of_another_kind_become_a_plain_table_in_the_order_of_their_fields() {
        let rows =
            r#"[{"measure":"connect","value":12.345,"note":"a|b","n":1000},{"measure":"idle","span":[1,2]}]"#;
        // The order is that of the text.
        let text = report("fleet", "[]").replace("\"rows\":[]", &format!("\"rows\":{rows}"));
        let section = section(&text).unwrap();
        assert_eq!(section.charts, []);
        let table = "| measure | note | span | value | n |\n| --- | --- | --- | ---: | ---: |\n\
                     | connect | a\\|b |  | 12.3 | 1000 |\n| idle |  | 1-2 |  |  |\n";
        assert!(section.text.ends_with(table), "{}", section.text);
    }

    #[test]
    fn what_is_no_report_or_has_no_place_is_refused_with_what_to_do() {
        let told = |json: &str| section(json).unwrap_err().to_string();
        assert!(told("{}").starts_with("it is not a report of `towline bench"));
        assert!(told(&report("../x", "[]")).contains("\"../x\""));
        let section = section(&report("link", ROWS)).unwrap();
        for document in [
            "no marker",
            "<!-- bench:link --> and no end",
            "<!-- /bench:link --><!-- bench:link -->",
            "<!-- bench:link --><!-- bench:link --><!-- /bench:link -->",
        ] {
            let error = put(document, &section).unwrap_err().to_string();
            assert!(error.starts_with("<!-- bench:link --> is not there"), "{error}");
        }
    }
}
