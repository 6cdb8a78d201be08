//! `towline bench hub`

use super::{plan, print, progress};
use crate::{
    bench::{hub, tables},
    cli::{
        args::BenchArgs,
        exit::{Exit, Failure},
    },
};

pub(super) async fn run(args: BenchArgs) -> anyhow::Result<Exit> {
    hub::check(args.quick, &args.only).map_err(|error| Failure::Usage(format!("--only: {error}")))?;
    let report = hub::run(args.quick, &args.only, plan(&args), &progress).await?;
    print(&report, args.output, |report| tables::text(&report.rows))
}

/// On a thread of its own, with a runtime of its own.
pub(super) fn path(load: String, peer: String, requests: u64) -> anyhow::Result<Exit> {
    let work = std::thread::spawn(move || hub::path::run(&load, &peer, requests));
    work.join().unwrap_or_else(|_| anyhow::bail!("it panicked"))?;
    Ok(Exit::Ok)
}
