//! `towline completion`

use clap::CommandFactory as _;

use crate::cli::{
    args::{Args, CompletionArgs},
    exit::Exit,
    output::Out,
};

pub(super) fn run(args: &CompletionArgs) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "towline", &mut script);
    Out.bytes(&script)?;
    Ok(Exit::Ok)
}
