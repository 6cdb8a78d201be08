//! `towline bench link`

use super::{plan, print, progress};
use crate::{
    bench::Report,
    cli::{args::BenchArgs, exit::Exit, output::Table},
};

pub(super) async fn run(args: BenchArgs) -> anyhow::Result<Exit> {
    let _ = (plan(&args), progress);
    let report: Report = Report::new("link");
    print(&report, args.output, |_| Table::new(&["LOAD", "PEER"]).render())
}
