//! What `towline bench` takes.

use clap::{Subcommand, ValueEnum};

/// What is measured.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Calls and log streams over one connection, beside tonic, HTTP, the JSON path and the machine's limit
    Link(BenchArgs),
}

/// What every bench takes.
#[derive(Debug, Clone, clap::Args)]
pub struct BenchArgs {
    /// Fewer peers and loads, in less than a minute
    #[arg(long)]
    pub quick: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
    pub output: BenchFormat,
    /// Turns of each peer that count [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub rounds: Option<u16>,
    /// Only loads and peers whose name has this in it; may be given more than once
    #[arg(long, value_name = "TEXT")]
    pub only: Vec<String>,
}

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BenchFormat {
    /// Columns.
    Table,
    /// One JSON object.
    Json,
}
