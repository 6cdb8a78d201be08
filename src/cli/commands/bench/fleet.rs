//! `towline bench fleet`

use std::time::Duration;

use anyhow::Context as _;

use super::{print, progress};
use crate::{
    bench::{
        Report,
        fleet::{self, Fleet, FleetRow},
    },
    cli::{
        args::FleetArgs,
        exit::{Exit, Failure},
        output::Table,
        stop,
    },
};

/// Without a word about it.
const PLUGINS: usize = 1_000;
/// With `--quick`.
const QUICK: usize = 500;

pub(super) async fn run(args: FleetArgs) -> anyhow::Result<Exit> {
    let plugins = args.plugins.unwrap_or(if args.quick { QUICK } else { PLUGINS });
    if !(1..=fleet::MOST).contains(&plugins) {
        return Err(Failure::Usage(format!(
            "--plugins {plugins}: must be 1 to {}; a hub remembers no more names",
            fleet::MOST
        ))
        .into());
    }
    let program = std::env::current_exe().context("this program's own file")?;
    let mut asked = Fleet::new(program, plugins);
    asked.tls = args.tls;
    if args.quick {
        asked.events = 4;
        asked.requests = 5_000;
        asked.patience = Duration::from_secs(60);
    }
    let stop = stop::on_signals()?;
    let mut report: Report<FleetRow> = Report::new("fleet");
    // The children go with the future.
    report.rows = tokio::select! {
        rows = fleet::run(&asked, &progress) => rows?,
        () = stop.cancelled() => return Err(Failure::Failed("stopped by a signal".to_owned()).into()),
    };
    print(&report, args.output, table)
}

fn table(report: &Report<FleetRow>) -> String {
    let mut table = Table::new(&["MEASURE", "PEER", "VALUE", "UNIT", "GOAL"]);
    for row in &report.rows {
        table.row(vec![
            row.measure.clone(),
            row.peer.clone(),
            match row.value {
                large if large >= 1_000.0 => format!("{large:.0}"),
                value => format!("{value:.2}"),
            },
            row.unit.clone(),
            row.goal
                .map_or_else(|| "-".to_owned(), |goal| format!("<= {goal:.0}")),
        ]);
    }
    table.render()
}
