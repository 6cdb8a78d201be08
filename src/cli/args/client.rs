//! What the verbs take that ask a hub.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::cli::output::{Format, time};

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
    #[arg(long, value_name = "DURATION", value_parser = time::parse_duration)]
    pub since: Option<std::time::Duration>,
    /// Only what is newer than a time (RFC 3339)
    #[arg(long, value_name = "TIME", conflicts_with = "since", value_parser = time::check_rfc3339)]
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
