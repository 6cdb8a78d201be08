//! The arguments as typed.
//!
//! Knows flags and their help; resolves nothing: an absent flag stays absent, so that `settings` can tell where each
//! value came from. Learn [`Args`] and [`Command`]; `roles` has what hub and plugin take, `client` the other verbs.

mod bench;
mod client;
mod roles;

pub(super) use bench::BenchCommand;
#[cfg(feature = "bench")]
pub(super) use bench::{BenchArgs, BenchFormat, FleetArgs, ReportArgs};
pub(super) use client::{
    ClientArgs, CreateArgs, DeleteArgs, DeleteKind, GetArgs, Kind, LogsArgs, ObjectFormat, StatusArgs,
};
pub(super) use roles::{
    CompressionArgs, ConfigArgs, ConfigCommand, ConfigRole, DemoArgs, HubArgs, PluginArgs,
};

use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};

use super::exit;

/// interLink's middle: a hub that speaks interLink's REST, and plugins that dial out to it.
#[derive(Debug, Parser)]
#[command(name = "towline", version, after_help = exit::HELP, max_term_width = 100, subcommand_required = true)]
pub struct Args {
    /// error, warn, info, debug or trace, or a filter such as `towline::hub=debug` [env: TOWLINE_LOG]
    #[arg(long, global = true, value_name = "LEVEL", help_heading = "Logging")]
    pub log_level: Option<String>,
    /// How log lines look on stderr
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "text",
        value_name = "FORMAT",
        help_heading = "Logging"
    )]
    pub log_format: LogFormat,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a hub and a plugin, run a sample pod, show its events and logs
    Demo(DemoArgs),
    /// Serve interLink's REST and accept plugins
    Hub(Box<HubArgs>),
    /// Dial a hub and run pods for it
    Plugin(Box<PluginArgs>),
    /// List plugins or pods
    Get(GetArgs),
    /// Create pods from Kubernetes YAML or JSON
    Create(CreateArgs),
    /// Delete a pod
    Delete(DeleteArgs),
    /// Print the log of a container
    Logs(LogsArgs),
    /// Show one pod in full
    Status(StatusArgs),
    /// Administer plugins
    #[command(subcommand)]
    Plugins(PluginsCommand),
    /// Measure what the link costs (of a binary built with --features bench)
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Print the version
    Version(VersionArgs),
    /// Check or print the settings of hub and plugin
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for a shell
    Completion(CompletionArgs),
    /// Run one container (used by the process backend)
    #[command(hide = true)]
    Supervise {
        /// Directory of the container
        dir: PathBuf,
    },
}

/// `towline plugins`
#[derive(Debug, Subcommand)]
pub enum PluginsCommand {
    /// Forget an offline plugin and its pods
    Forget {
        /// Name of the plugin
        name: String,
        /// Where the hub is.
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// `towline version`
#[derive(Debug, clap::Args)]
pub struct VersionArgs {
    /// Print as JSON or YAML
    #[arg(short, long, value_enum)]
    pub output: Option<ObjectFormat>,
}

/// `towline completion`
#[derive(Debug, clap::Args)]
pub struct CompletionArgs {
    /// The shell
    #[arg(value_enum, action = ArgAction::Set)]
    pub shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn logs_takes_kubectls_flags() {
        let line =
            "towline logs -f -c tick --tail=-1 --since 1h30m --timestamps --limit-bytes 9 -p -n ns demo";
        let Command::Logs(logs) = Args::try_parse_from(line.split(' ')).unwrap().command else {
            unreachable!()
        };
        assert_eq!(
            (logs.tail, logs.since.unwrap().as_secs(), logs.previous),
            (Some(-1), 5400, true)
        );
        assert_eq!(logs.client.namespace.as_deref(), Some("ns"));
    }

    #[test]
    fn config_takes_a_file_or_a_role() {
        assert!(Args::try_parse_from(["towline", "config", "check", "--config", "f"]).is_ok());
        assert!(Args::try_parse_from(["towline", "config", "print", "hub", "--listen", "[::1]:1"]).is_ok());
    }
}
