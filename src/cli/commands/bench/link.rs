//! `towline bench link`

use super::{plan, print, progress};
use crate::{
    bench::{
        link::{self, Selection},
        tables,
    },
    cli::{
        args::BenchArgs,
        exit::{Exit, Failure},
    },
};

pub(super) async fn run(args: BenchArgs) -> anyhow::Result<Exit> {
    let selection =
        Selection::new(args.quick, &args.only).map_err(|error| Failure::Usage(format!("--only: {error}")))?;
    let report = link::run(&selection, plan(&args), &progress).await?;
    print(&report, args.output, |report| tables::text(&report.rows))
}
