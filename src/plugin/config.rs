//! Settings of a plugin, checked once.

mod check;

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

pub use self::check::ConfigError;
pub(super) use self::check::{TOKEN_BOUND, is_label, is_token};
pub use crate::connection::Compression;
use crate::{
    limits,
    transport::{Endpoint, TlsConfig},
    wire::Subprotocol,
};

/// Settings of a plugin. [`PluginConfig::new`] fills in the defaults; [`super::Plugin::new`] checks them.
#[derive(Clone)]
pub struct PluginConfig {
    /// The hub's link endpoint: `ws://host:port/ws`, `wss://host/ws` or `unix:///path`. Without a path, `/ws` is
    /// meant. Over gRPC: `grpc://host:port`, `grpcs://host:port` or `grpc+unix:///path`.
    pub hub: String,
    /// Name of the plugin at the hub: an RFC 1123 label.
    pub name: String,
    /// Kind of the plugin in one word, for example `slurm`.
    pub kind: String,
    /// Name and version of the software, for people.
    pub software: String,
    /// New for every process of the plugin; a UUID (version 7) by default.
    pub instance: String,
    /// Labels for placement, for example `node=cluster1`.
    pub labels: BTreeMap<String, String>,
    /// Bearer token for the hub. Not together with `token_file`.
    pub token: Option<String>,
    /// File with the bearer token, read again for every dial.
    pub token_file: Option<PathBuf>,
    /// Whom to trust on `wss://`, and what to show.
    pub tls: TlsConfig,
    /// Form of the messages. JSON is for people who watch the link, and for comparison: it has no compression, and costs
    /// more. A [`super::Dialer`] of one's own must agree on it with the hub.
    pub codec: Subprotocol,
    /// Whether packets may be compressed (feature `zstd`).
    pub compression: Compression,
    /// Level of zstd of the packets that this side sends: one of [`limits::COMPRESS_LEVELS`].
    pub compression_level: i32,
    /// Packets of this many bytes and more are compressed: one of [`limits::COMPRESS_FROM_RANGE`].
    pub compression_threshold: usize,
    /// Where to write down what a restart must not lose: events that the hub has not acknowledged, and which pods
    /// were submitted. A directory of this plugin alone, on a local disk; made when it is missing. Without one
    /// both are kept in memory.
    pub state_dir: Option<PathBuf>,
    /// Changes when the records of pods were lost (see `Register.jobs_epoch`). 0, the default: that of `state_dir`, or
    /// without one a random number. A handler that keeps its own records over restarts sets its own; when it changes,
    /// the jobs in `state_dir` are forgotten.
    pub jobs_epoch: u64,
    /// How often this side pings the hub of its own accord, beside answering the hub's pings (every 20 s by default): a
    /// hub that has gone without a word is noticed 10 s after such a ping, and not only after the hub's idle limit (60 s).
    /// None, the default: never.
    pub ping_interval: Option<Duration>,
    /// What serves while there is no link, in words. With it, each kind of trouble is logged once when it begins and once
    /// when it has ended, together with this; without it, every failed dial.
    pub meanwhile: Option<String>,
    /// First delay between two dials.
    pub reconnect_min: Duration,
    /// Largest delay between two dials, before jitter.
    pub reconnect_max: Duration,
    /// How long connecting may take, the TLS and WebSocket handshakes included.
    pub dial_timeout: Duration,
    /// How long [`super::Handler::node`] may take before the plugin registers as not ready.
    pub node_timeout: Duration,
    /// How long a shutdown lets open calls finish.
    pub drain_grace: Duration,
}

impl PluginConfig {
    /// The defaults, for the plugin `name` at the hub `hub`.
    pub fn new(hub: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            hub: hub.into(),
            name: name.into(),
            kind: "custom".to_owned(),
            software: concat!("towline/", env!("CARGO_PKG_VERSION")).to_owned(),
            instance: uuid::Uuid::now_v7().to_string(),
            labels: BTreeMap::new(),
            token: None,
            token_file: None,
            tls: TlsConfig::default(),
            codec: Subprotocol::Proto,
            compression: Compression::Auto,
            compression_level: limits::COMPRESS_LEVEL,
            compression_threshold: limits::COMPRESS_FROM,
            state_dir: None,
            jobs_epoch: 0,
            ping_interval: None,
            meanwhile: None,
            reconnect_min: limits::BACKOFF_MIN,
            reconnect_max: limits::BACKOFF_MAX,
            dial_timeout: Duration::from_secs(15),
            node_timeout: Duration::from_secs(5),
            drain_grace: limits::DRAIN_GRACE,
        }
    }

    /// Whether the plugin offers the feature `zstd`.
    pub(super) fn offers_compression(&self) -> bool {
        self.compression
            .is_wanted(Endpoint::parse_hub(&self.hub).map_or(true, |hub| hub.is_local()))
    }
}

/// The token is left out.
impl fmt::Debug for PluginConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginConfig")
            .field("hub", &self.hub)
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("software", &self.software)
            .field("instance", &self.instance)
            .field("labels", &self.labels)
            .field("token", &self.token.as_ref().map(|_| "(not shown)"))
            .field("token_file", &self.token_file)
            .field("tls", &self.tls)
            .field("codec", &self.codec)
            .field("compression", &self.compression)
            .field("compression_level", &self.compression_level)
            .field("compression_threshold", &self.compression_threshold)
            .field("state_dir", &self.state_dir)
            .field("jobs_epoch", &self.jobs_epoch)
            .field("ping_interval", &self.ping_interval)
            .field("meanwhile", &self.meanwhile)
            .field("reconnect_min", &self.reconnect_min)
            .field("reconnect_max", &self.reconnect_max)
            .field("dial_timeout", &self.dial_timeout)
            .field("node_timeout", &self.node_timeout)
            .field("drain_grace", &self.drain_grace)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compression_is_offered_to_a_hub_elsewhere_unless_told_otherwise() {
        let offers = |hub: &str, compression| {
            let mut config = PluginConfig::new(hub, "a");
            config.compression = compression;
            config.offers_compression()
        };
        for local in [
            "ws://127.0.0.1:3000/ws",
            "wss://localhost/ws",
            "ws://[::1]:3000",
            "unix:///run/hub.sock",
        ] {
            assert!(!offers(local, Compression::Auto), "{local}");
            assert!(offers(local, Compression::On), "{local}");
        }
        assert!(offers("wss://hub.example.org/ws", Compression::Auto));
        assert!(!offers("wss://hub.example.org/ws", Compression::Off));
    }

    #[test]
    fn every_process_is_an_instance_of_its_own() {
        let config = || PluginConfig::new("ws://hub", "a");
        assert_ne!(config().instance, config().instance);
    }
}
