//! What the hub, a plugin and the demo take.

use std::path::PathBuf;

use clap::Subcommand;

/// `towline demo`
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// End when the pod has finished; exit 0 only if it succeeded
    #[arg(long)]
    pub once: bool,
}

/// Compression of the link, the same three flags at both of its ends. The words are the plugin's, which has one link; the
/// hub's replace them where it has many.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct CompressionArgs {
    /// Compress the link: on, off, or auto: unless the hub is on this machine [default: auto]
    /// [env: TOWLINE_COMPRESSION]
    #[arg(id = "compression", long = "compression", value_name = "WHEN")]
    pub when: Option<String>,
    /// Compress it at this level of zstd, 1 to 9: more is smaller and slower [default: 1]
    /// [env: TOWLINE_COMPRESSION_LEVEL]
    #[arg(id = "compression_level", long = "compression-level", value_name = "LEVEL")]
    pub level: Option<String>,
    /// Compress packets of this many bytes and more [default: 1024] [env: TOWLINE_COMPRESSION_THRESHOLD]
    #[arg(
        id = "compression_threshold",
        long = "compression-threshold",
        value_name = "BYTES"
    )]
    pub threshold: Option<String>,
}

const HUB_COMPRESSION: &str = "Compress the links of plugins that offer it: on, off, or auto: unless they come from this \
    machine [default: auto] [env: TOWLINE_COMPRESSION]";
const HUB_COMPRESSION_LEVEL: &str = "Compress them at this level of zstd, 1 to 9: more is smaller and slower [default: 1] \
    [env: TOWLINE_COMPRESSION_LEVEL]";

/// `towline hub`
#[derive(Debug, Clone, Default, clap::Args)]
#[command(mut_arg("compression", |arg| arg.help(HUB_COMPRESSION)))]
#[command(mut_arg("compression_level", |arg| arg.help(HUB_COMPRESSION_LEVEL)))]
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
    /// Serve the plugins' link over gRPC here too; HOST:PORT or unix:///PATH, may be repeated [env: TOWLINE_GRPC_LISTEN]
    #[arg(long, value_name = "ADDRESS")]
    pub grpc_listen: Vec<String>,
    /// File with the bearer token that link and REST require [env: TOWLINE_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Certificate chain (PEM); with it all TCP listeners speak TLS [env: TOWLINE_TLS_CERT]
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Private key (PEM) of --tls-cert [env: TOWLINE_TLS_KEY]
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Directory in which placements, states, creates and deletes survive a restart [default: none: a restart forgets]
    /// [env: TOWLINE_HUB_STATE_DIR]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// File with the key that seals the pods' secrets in --state-dir, 64 hexadecimal digits [default: DIR/key, made when
    /// missing] [env: TOWLINE_STATE_KEY_FILE]
    #[arg(long, value_name = "FILE")]
    pub state_key_file: Option<PathBuf>,
    /// Further name by which the hub may be called where it listens on loopback without a token; may be repeated
    /// [env: TOWLINE_ALLOWED_HOSTS, separated by commas]
    #[arg(long = "allowed-host", value_name = "NAME")]
    pub allowed_hosts: Vec<String>,
    /// Allow to listen off loopback without a token [env: TOWLINE_INSECURE]
    #[arg(long)]
    pub insecure: bool,
    /// Server that a create's jobscriptURL may name, such as https://scripts.example.org; may be repeated [default: none]
    /// [env: TOWLINE_JOBSCRIPT_ORIGINS, separated by commas]
    // This is help before it is documentation: an address in angle brackets is read as a name to fill in.
    #[allow(rustdoc::bare_urls)]
    #[arg(long = "jobscript-origin", value_name = "ORIGIN")]
    pub jobscript_origins: Vec<String>,
    /// Template (minijinja) of the job script of a create without jobscriptURL [env: TOWLINE_JOBSCRIPT_TEMPLATE]
    #[arg(long, value_name = "FILE")]
    pub jobscript_template: Option<PathBuf>,
    /// InterLinkConfig.yaml of interLink's API server: address, port, TLS, plugin and job scripts come from it unless they are
    /// set otherwise [env: TOWLINE_INTERLINK_CONFIG, INTERLINKCONFIGPATH]
    #[arg(long, value_name = "FILE")]
    pub interlink_config: Option<PathBuf>,
    /// Name here of the plugin that --interlink-config names (SidecarURL) [default: default] [env: TOWLINE_SIDECAR_NAME]
    #[arg(long, value_name = "NAME")]
    pub sidecar_name: Option<String>,
    /// A plugin that this hub calls over REST while it has no link: http://HOST:PORT, https://HOST or unix:///PATH; may be
    /// repeated [env: TOWLINE_PLUGIN_URLS, separated by commas]
    #[arg(long = "plugin-url", value_name = "NAME=URL")]
    pub plugin_urls: Vec<String>,
    /// Compression of the link.
    #[command(flatten)]
    pub compression: CompressionArgs,
    /// File with settings (YAML) [env: TOWLINE_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `towline plugin`
#[derive(Debug, Clone, Default, clap::Args)]
pub struct PluginArgs {
    /// The hub's link: ws://, wss://, http:// or https://, without a path /ws is meant; or unix:///PATH; over gRPC
    /// grpc://HOST:PORT or grpcs://HOST:PORT, as the hub has it on --grpc-listen
    /// [default: ws://127.0.0.1:3000/ws] [env: TOWLINE_HUB, else INTERLINK_WS_URL]
    #[arg(long, value_name = "URL")]
    pub hub: Option<String>,
    /// This plugin's name; the hub routes by it [env: TOWLINE_NAME]
    #[arg(long)]
    pub name: Option<String>,
    /// What runs the pods: process (on this machine), or rest (an interLink plugin with REST, see --upstream)
    /// [default: process] [env: TOWLINE_BACKEND]
    #[arg(long, value_name = "BACKEND")]
    pub backend: Option<String>,
    /// With --backend rest: the plugin, http://HOST:PORT, https://HOST or unix:///PATH [env: TOWLINE_UPSTREAM]
    #[arg(long, value_name = "URL")]
    pub upstream: Option<String>,
    /// Kind of the plugin in one word, such as slurm [default: the backend] [env: TOWLINE_TYPE]
    #[arg(long = "type", value_name = "WORD")]
    pub kind: Option<String>,
    /// With --backend rest: ask the plugin for status this often, in one call for all pods [default: 2s; 10.5s with --type
    /// slurm] [env: TOWLINE_STATUS_INTERVAL]
    #[arg(long, value_name = "DURATION")]
    pub status_interval: Option<String>,
    /// With --backend rest: how the plugin is pinged: status (GET /status with []), none (never so), or auto: status, until
    /// it turns out that the plugin does not bear it [default: auto] [env: TOWLINE_UPSTREAM_PING]
    #[arg(long, value_name = "HOW")]
    pub upstream_ping: Option<String>,
    /// With --backend rest: the plugin follows logs itself, so pass them through instead of reading again and again
    /// [env: TOWLINE_UPSTREAM_FOLLOW]
    #[arg(long)]
    pub upstream_follow: bool,
    /// With --backend rest: send a create as a list of one, for plugins older than interLink 0.5
    /// [env: TOWLINE_LEGACY_LIST]
    #[arg(long)]
    pub legacy_list: bool,
    /// With --backend rest: others create pods at the plugin too, such as a hub that calls it over HTTP; a pod that is not
    /// known here is looked for there [env: TOWLINE_UPSTREAM_SHARED]
    #[arg(long)]
    pub upstream_shared: bool,
    /// With --backend rest: CA certificates (PEM) to trust in an https upstream instead of the system's
    /// [env: TOWLINE_UPSTREAM_CA_FILE]
    #[arg(long, value_name = "FILE")]
    pub upstream_ca_file: Option<PathBuf>,
    /// Where pods and their logs are kept [default: $XDG_STATE_HOME/towline/NAME] [env: TOWLINE_STATE_DIR]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// File with the bearer token [env: TOWLINE_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// CA certificates (PEM) to trust instead of the system's [env: TOWLINE_CA_FILE]
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Compression of the link.
    #[command(flatten)]
    pub compression: CompressionArgs,
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
    /// How the plugin is reached: ws (it dials the hub's link), http (it serves interLink's REST on --listen for a classic
    /// API server, and dials nobody), or auto: both, so REST goes on while there is no link [default: ws]
    /// [env: TOWLINE_TRANSPORT, else INTERLINK_TRANSPORT]
    #[arg(long, value_name = "WAY")]
    pub transport: Option<String>,
    /// With --transport http or auto: address of the REST; HOST:PORT or unix:///PATH [default: 127.0.0.1:4000]
    /// [env: TOWLINE_PLUGIN_LISTEN]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// File with the bearer token that the REST requires; classic API servers send none [env: TOWLINE_LISTEN_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    pub listen_token_file: Option<PathBuf>,
    /// Allow the REST to listen off loopback without a token [env: TOWLINE_PLUGIN_INSECURE]
    #[arg(long)]
    pub insecure: bool,
    /// First delay between two dials [default: 1s] [env: TOWLINE_RECONNECT_MIN]
    #[arg(long, value_name = "DURATION")]
    pub reconnect_min: Option<String>,
    /// Largest delay between two dials [default: 20s] [env: TOWLINE_RECONNECT_MAX]
    #[arg(long, value_name = "DURATION")]
    pub reconnect_max: Option<String>,
    /// Ping the hub this often, beside answering its own pings: a hub that has gone without a word is noticed sooner
    /// [default: never] [env: TOWLINE_PING_INTERVAL]
    #[arg(long, value_name = "DURATION")]
    pub ping_interval: Option<String>,
    /// Form of the link's messages: proto, or json for people who watch the link [default: proto] [env: TOWLINE_CODEC]
    #[arg(long, value_name = "FORM")]
    pub codec: Option<String>,
    /// File with settings (YAML) [env: TOWLINE_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
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
    /// InterLinkConfig.yaml of interLink's API server, as `towline hub` takes it [env: TOWLINE_INTERLINK_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub interlink_config: Option<PathBuf>,
    /// One role with its flags; both without.
    #[command(subcommand)]
    pub role: Option<ConfigRole>,
}

/// The role whose settings are meant.
#[derive(Debug, Subcommand)]
pub enum ConfigRole {
    /// The settings of `towline hub`, with the same flags
    Hub(Box<HubArgs>),
    /// The settings of `towline plugin`, with the same flags
    Plugin(Box<PluginArgs>),
}
