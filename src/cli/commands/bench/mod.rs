//! `towline bench`: one file a bench. Figures go to stdout, progress to stderr.

mod codec;
mod fleet;
mod hub;
mod link;
mod report;

use std::io::{IsTerminal as _, Write as _, stderr};

use serde::Serialize;

use crate::{
    bench::{
        Plan, Report,
        fleet::{site, tonic},
    },
    cli::{
        args::{BenchArgs, BenchCommand, BenchFormat},
        exit::Exit,
        output::Out,
    },
};

pub(super) async fn run(command: BenchCommand) -> anyhow::Result<Exit> {
    if cfg!(debug_assertions) && !matches!(command, BenchCommand::Report(_)) {
        eprintln!(
            "warning: this binary was built without optimisation, so its figures say nothing: build with --release"
        );
    }
    match command {
        BenchCommand::Link(args) => link::run(args).await,
        BenchCommand::Hub(args) => hub::run(args).await,
        BenchCommand::HubPath { load, peer, requests } => hub::path(load, peer, requests),
        BenchCommand::Report(args) => report::run(&args),
        BenchCommand::Codec(args) => codec::run(args).await,
        BenchCommand::Fleet(args) => fleet::run(args).await,
        BenchCommand::FleetPlugins { hub, ca_file } => ended(site::run(hub, ca_file).await),
        BenchCommand::FleetTonicServer => ended(tonic::serve().await),
        BenchCommand::FleetTonicClients { to } => ended(tonic::hold(to).await),
    }
}

fn ended(result: anyhow::Result<()>) -> anyhow::Result<Exit> {
    result.map(|()| Exit::Ok)
}

/// How long and how often, as asked for.
fn plan(args: &BenchArgs) -> Plan {
    let plan = if args.quick { Plan::QUICK } else { Plan::FULL };
    Plan {
        rounds: args.rounds.map_or(plan.rounds, usize::from),
        ..plan
    }
}

/// Says on stderr what goes on: on a terminal in one line that changes.
fn progress(what: &str) {
    let mut out = stderr().lock();
    // Nobody to tell is no reason to stop.
    let _ = if out.is_terminal() {
        write!(out, "\r\x1b[K{what}").and_then(|()| out.flush())
    } else {
        writeln!(out, "{what}")
    };
}

/// The line that changes goes away.
fn progress_done() {
    let mut out = stderr().lock();
    if out.is_terminal() {
        let _ = write!(out, "\r\x1b[K").and_then(|()| out.flush());
    }
}

/// Prints a report as JSON, or as the text that `table` makes of it.
fn print<R: Serialize>(
    report: &Report<R>,
    format: BenchFormat,
    table: impl FnOnce(&Report<R>) -> String,
) -> anyhow::Result<Exit> {
    progress_done();
    match format {
        // Not by way of a Value: the fields stay in their order.
        BenchFormat::Json => Out.text(&serde_json::to_string_pretty(report)?)?,
        BenchFormat::Table => {
            let machine = &report.machine;
            eprintln!(
                "{}, {} cores, Linux {}, load {}",
                machine.cpu, machine.cores, machine.kernel, machine.load
            );
            Out.text(&table(report))?;
        }
    }
    Ok(Exit::Ok)
}
