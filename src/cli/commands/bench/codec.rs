//! `towline bench codec`

use super::{plan, print, progress};
use crate::{
    bench::{
        Report,
        codec::{self, CodecRow, RATIO, Sizes},
    },
    cli::{args::BenchArgs, exit::Exit, output::Table},
};

pub(super) async fn run(args: BenchArgs) -> anyhow::Result<Exit> {
    let sizes = if args.quick { Sizes::quick() } else { Sizes::full() };
    let wanted =
        |load: &str| args.only.is_empty() || args.only.iter().any(|text| load.contains(text.as_str()));
    let mut report: Report<CodecRow> = Report::new("codec");
    report.rows = codec::run(plan(&args), &sizes, &wanted, &progress).await?;
    print(&report, args.output, table)
}

fn table(report: &Report<CodecRow>) -> String {
    let (frames, logs): (Vec<_>, Vec<_>) = report
        .rows
        .iter()
        .partition(|row| row.compression_ratio.is_none());
    let mut text = String::new();
    if !frames.is_empty() {
        let mut table = Table::new(&[
            "FRAME",
            "FORM",
            "OP",
            "BYTES",
            "CPU NS",
            "LOW-HIGH",
            "MB/S",
            "TO PROTOBUF",
        ]);
        for row in frames {
            let ratio = row.ratios.get(RATIO.0);
            table.row(vec![
                row.load.clone(),
                row.peer.clone(),
                row.op.clone(),
                format!("{:.0}", row.bytes),
                format!("{:.0}", row.cpu_ns),
                format!("{:.0}-{:.0}", row.cpu_ns_spread[0], row.cpu_ns_spread[1]),
                format!("{:.0}", row.mb_per_s),
                ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")),
            ]);
        }
        text.push_str(&table.render());
    }
    if !logs.is_empty() {
        if !text.is_empty() {
            text.push('\n');
        }
        let mut table = Table::new(&[
            "LOG",
            "LEVEL",
            "OP",
            "BYTES",
            "RATIO",
            "CPU NS/BYTE",
            "MB/S",
            "PAYS BELOW",
        ]);
        for row in logs {
            let pays = row.pays_below_mb_per_s;
            table.row(vec![
                row.load.clone(),
                row.peer.clone(),
                row.op.clone(),
                format!("{:.0}", row.bytes),
                format!("{:.2}", row.compression_ratio.unwrap_or_default()),
                format!("{:.2}", row.cpu_ns_per_byte),
                format!("{:.0}", row.mb_per_s),
                pays.map_or_else(|| "never".to_owned(), |rate| format!("{rate:.0} MB/s")),
            ]);
        }
        text.push_str(&table.render());
    }
    text
}
