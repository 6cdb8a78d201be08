//! The arguments as typed. Nothing is resolved here: an absent flag stays absent, so that `settings` can tell where
//! each value came from.

use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};

use super::{exit, output::Format};

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
    Hub(HubArgs),
    /// Dial a hub and run pods for it
    Plugin(PluginArgs),
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

/// `towline demo`
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// End when the pod has finished; exit 0 only if it succeeded
    #[arg(long)]
    pub once: bool,
}

/// `towline hub`
#[derive(Debug, Clone, Default, clap::Args)]
pub struct HubArgs {
    /// Address of the REST, the link, the API and metrics; HOST:PORT or unix:///PATH, may be repeated
    /// [default: 127.0.0.1:3000] [env: TOWLINE_LISTEN]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Vec<String>,
    /// Serve the plugins' link (/ws) here, not on --listen [env: TOWLINE_LINK_LISTEN]
    #[arg(long, value_name = "ADDRESS")]
    pub link_listen: Vec<String>,
    /// Serve API, health and metrics here, not on --listen [env: TOWLINE_ADMIN_LISTEN]
    #[arg(long, value_name = "ADDRESS")]
    pub admin_listen: Vec<String>,
    /// File with the bearer token that link and REST require [env: TOWLINE_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Certificate chain (PEM); with it all TCP listeners speak TLS [env: TOWLINE_TLS_CERT]
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Private key (PEM) of --tls-cert [env: TOWLINE_TLS_KEY]
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Allow to listen off loopback without a token [env: TOWLINE_INSECURE]
    #[arg(long)]
    pub insecure: bool,
    /// File with settings (YAML) [env: TOWLINE_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `towline plugin`
#[derive(Debug, Clone, Default, clap::Args)]
pub struct PluginArgs {
    /// The hub's link [default: ws://127.0.0.1:3000/ws] [env: TOWLINE_HUB]
    #[arg(long, value_name = "URL")]
    pub hub: Option<String>,
    /// This plugin's name; the hub routes by it [env: TOWLINE_NAME]
    #[arg(long)]
    pub name: Option<String>,
    /// What runs the pods [default: process] [env: TOWLINE_BACKEND]
    #[arg(long, value_name = "BACKEND")]
    pub backend: Option<String>,
    /// Where pods and their logs are kept [default: $XDG_STATE_HOME/towline/NAME] [env: TOWLINE_STATE_DIR]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// File with the bearer token [env: TOWLINE_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// CA certificates (PEM) to trust instead of the system's [env: TOWLINE_CA_FILE]
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Label for placement, such as node=slurm; may be repeated [env: TOWLINE_LABELS, separated by commas]
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<String>,
    /// Processors to announce, such as 4 or 3500m [default: this machine's] [env: TOWLINE_CPU]
    #[arg(long, value_name = "QUANTITY")]
    pub cpu: Option<String>,
    /// Memory to announce, such as 16Gi [default: this machine's] [env: TOWLINE_MEMORY]
    #[arg(long, value_name = "QUANTITY")]
    pub memory: Option<String>,
    /// Pods to announce [default: 110] [env: TOWLINE_PODS]
    #[arg(long, value_name = "COUNT")]
    pub pods: Option<String>,
    /// File with settings (YAML) [env: TOWLINE_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What every client verb takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ClientArgs {
    /// The hub: http://HOST:PORT, https://HOST:PORT or unix:///PATH [default: http://127.0.0.1:3000]
    /// [env: TOWLINE_HUB]
    #[arg(long, value_name = "URL", help_heading = "Hub")]
    pub hub: Option<String>,
    /// File with the bearer token [env: TOWLINE_TOKEN_FILE]
    #[arg(long, value_name = "FILE", help_heading = "Hub")]
    pub token_file: Option<PathBuf>,
    /// CA certificates (PEM) to trust instead of the system's [env: TOWLINE_CA_FILE]
    #[arg(long, value_name = "FILE", help_heading = "Hub")]
    pub ca_file: Option<PathBuf>,
    /// Namespace [default: default]
    #[arg(short, long, value_name = "NAMESPACE", help_heading = "Hub")]
    pub namespace: Option<String>,
}

/// What `get` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Plugins that the hub knows.
    #[value(alias = "plugin")]
    Plugins,
    /// Pods that the hub knows.
    #[value(alias = "pod", alias = "po")]
    Pods,
}

/// `towline get`
#[derive(Debug, clap::Args)]
pub struct GetArgs {
    /// What to list
    #[arg(value_enum)]
    pub kind: Kind,
    /// Only these
    pub names: Vec<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value = "table")]
    pub output: Format,
    /// Go on printing what changes
    #[arg(short, long)]
    pub watch: bool,
    /// Pods of all namespaces
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Where the hub is.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `towline create`
#[derive(Debug, clap::Args)]
pub struct CreateArgs {
    /// Kubernetes YAML or JSON with Pods and the ConfigMaps and Secrets they use; - for stdin; may be repeated
    #[arg(short, long = "filename", value_name = "FILE", required = true)]
    pub filename: Vec<PathBuf>,
    /// Where the hub is.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `towline delete`
#[derive(Debug, clap::Args)]
pub struct DeleteArgs {
    /// What to delete
    #[arg(value_enum)]
    pub kind: DeleteKind,
    /// Its name
    #[arg(required = true)]
    pub names: Vec<String>,
    /// Seconds between SIGTERM and SIGKILL [default: the pod's own]
    #[arg(long, value_name = "SECONDS")]
    pub grace_period: Option<u64>,
    /// Where the hub is.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// What can be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeleteKind {
    /// A pod.
    #[value(alias = "pods", alias = "po")]
    Pod,
}

/// `towline logs`
#[derive(Debug, clap::Args)]
pub struct LogsArgs {
    /// Name of the pod
    pub pod: String,
    /// Container [default: the only one, or the first]
    #[arg(short, long)]
    pub container: Option<String>,
    /// Go on printing while the container runs
    #[arg(short, long)]
    pub follow: bool,
    /// Only the last N lines; -1 for all
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub tail: Option<i64>,
    /// Only what is newer than a duration such as 5s, 2m, 3h
    #[arg(long, value_name = "DURATION", value_parser = super::output::time::parse_duration)]
    pub since: Option<std::time::Duration>,
    /// Only what is newer than a time (RFC 3339)
    #[arg(long, value_name = "TIME", conflicts_with = "since", value_parser = super::output::time::check_rfc3339)]
    pub since_time: Option<String>,
    /// Put the time before each line
    #[arg(long)]
    pub timestamps: bool,
    /// At most so many bytes
    #[arg(long, value_name = "N")]
    pub limit_bytes: Option<u64>,
    /// The log of the container's run before this one
    #[arg(short, long)]
    pub previous: bool,
    /// Where the hub is.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `towline status`
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// Name of the pod
    pub pod: String,
    /// Print the object instead
    #[arg(short, long, value_enum)]
    pub output: Option<ObjectFormat>,
    /// Where the hub is.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// A machine's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ObjectFormat {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
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

/// `towline config`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check the settings; exit 78 if one is wrong
    Check(ConfigArgs),
    /// Print each value and where it came from
    Print(ConfigArgs),
}

/// What `config` looks at.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ConfigArgs {
    /// File with settings (YAML) [env: TOWLINE_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One role with its flags; both without.
    #[command(subcommand)]
    pub role: Option<ConfigRole>,
}

/// The role whose settings are meant.
#[derive(Debug, Subcommand)]
pub enum ConfigRole {
    /// The settings of `towline hub`, with the same flags
    Hub(HubArgs),
    /// The settings of `towline plugin`, with the same flags
    Plugin(PluginArgs),
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
