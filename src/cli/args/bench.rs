//! What `towline bench` takes.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

/// What is measured.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Calls and log streams over one connection, beside tonic, HTTP, the JSON path and the machine's limit
    Link(BenchArgs),
    /// The whole path from REST over hub and link to a plugin and back, beside a handler that answers directly
    Hub(BenchArgs),
    /// One load of bench hub on one thread, for a profiler (used by tools/bench-path)
    #[command(hide = true)]
    HubPath {
        /// As bench hub names it
        #[arg(long, value_name = "TEXT")]
        load: String,
        /// As bench hub names it
        #[arg(long, value_name = "TEXT")]
        peer: String,
        /// How many requests
        #[arg(long, value_name = "N", default_value_t = 1_000)]
        requests: u64,
    },
    /// Make the tables and charts of docs/BENCHMARKS.md from reports
    Report(ReportArgs),
    /// What a frame costs in protobuf and in JSON, and what compression costs and saves
    Codec(BenchArgs),
    /// Thousands of plugins at one hub: memory of each, connects, events, status, and all of them coming back at once
    Fleet(FleetArgs),
    /// The plugins of a fleet (used by bench fleet)
    #[command(hide = true)]
    FleetPlugins {
        /// The hub's link
        #[arg(long, value_name = "URL")]
        hub: String,
        /// CA certificates (PEM)
        #[arg(long, value_name = "FILE")]
        ca_file: Option<PathBuf>,
    },
    /// A server with idle streams over tonic (used by bench fleet)
    #[command(hide = true)]
    FleetTonicServer,
    /// Clients with idle streams over tonic (used by bench fleet)
    #[command(hide = true)]
    FleetTonicClients {
        /// The server
        #[arg(long, value_name = "URL")]
        to: String,
    },
}

/// What `towline bench report` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct ReportArgs {
    /// Reports: what a bench printed with -o json
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Folder of BENCHMARKS.md; charts go to bench/ in it
    #[arg(long, value_name = "DIR", default_value = "docs")]
    pub docs: PathBuf,
    /// Write nothing; fail when the documents do not say what the reports do
    #[arg(long)]
    pub check: bool,
}

/// `towline bench fleet`
#[derive(Debug, Clone, clap::Args)]
pub struct FleetArgs {
    /// How many plugins, at most 10,000 [default: 1000]
    #[arg(long, value_name = "N")]
    pub plugins: Option<usize>,
    /// Measure all of it over TLS too
    #[arg(long)]
    pub tls: bool,
    /// 500 plugins and fewer requests, in less than a minute
    #[arg(long)]
    pub quick: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
    pub output: BenchFormat,
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
    /// Only loads whose name has this in it, or else, of `bench link`, peers; may be given more than once
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
