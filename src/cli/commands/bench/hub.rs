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
