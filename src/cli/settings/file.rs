//! The file of settings (YAML). One file serves both roles; an unknown key is an error with its line.

use std::{collections::BTreeMap, path::Path, path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer};

use crate::{
    cli::{exit::Failure, output::time::parse_duration},
    jobscript::BuildConfig,
};

/// The whole file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileSettings {
    /// Settings of `towline hub`.
    #[serde(default)]
    pub(crate) hub: HubSection,
    /// Settings of `towline plugin`.
    #[serde(default)]
    pub(crate) plugin: PluginSection,
}

/// Settings of `towline hub`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HubSection {
    pub(crate) listen: Option<OneOrMany>,
    pub(crate) link_listen: Option<OneOrMany>,
    pub(crate) admin_listen: Option<OneOrMany>,
    pub(crate) grpc_listen: Option<OneOrMany>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) tls_cert: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) state_key_file: Option<PathBuf>,
    pub(crate) allowed_hosts: Option<OneOrMany>,
    pub(crate) insecure: Option<bool>,
    pub(crate) create_hold: Option<Span>,
    pub(crate) ping_grace: Option<Span>,
    pub(crate) log_hold: Option<Span>,
    pub(crate) anti_entropy: Option<Span>,
    pub(crate) delete_when_offline: Option<WhenOffline>,
    pub(crate) compression: Option<String>,
    pub(crate) compression_level: Option<Quantity>,
    pub(crate) compression_threshold: Option<Quantity>,
    pub(crate) http_passthrough: Option<Switch>,
    pub(crate) forward_authorization: Option<bool>,
    pub(crate) passthrough_max_body: Option<Quantity>,
    pub(crate) interlink_config: Option<PathBuf>,
    pub(crate) sidecar_name: Option<String>,
    pub(crate) jobscript: JobScriptSection,
    pub(crate) plugins: Option<BTreeMap<String, WaySection>>,
}

/// Job scripts of a hub.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct JobScriptSection {
    pub(crate) allowed_origins: Option<OneOrMany>,
    pub(crate) template: Option<PathBuf>,
    pub(crate) timeout: Option<Span>,
    pub(crate) build_config: Option<BuildConfig>,
}

/// One plugin of `hub.plugins`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WaySection {
    pub(crate) url: Option<String>,
    pub(crate) transport: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) status_interval: Option<Span>,
    pub(crate) upstream_ping: Option<String>,
    pub(crate) upstream_follow: Option<bool>,
    pub(crate) legacy_list: Option<bool>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) labels: Option<BTreeMap<String, String>>,
    pub(crate) cpu: Option<Quantity>,
    pub(crate) memory: Option<Quantity>,
    pub(crate) pods: Option<Quantity>,
}

/// Settings of `towline plugin`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PluginSection {
    pub(crate) hub: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) backend: Option<String>,
    pub(crate) state_dir: Option<PathBuf>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) compression: Option<String>,
    pub(crate) compression_level: Option<Quantity>,
    pub(crate) compression_threshold: Option<Quantity>,
    pub(crate) labels: Option<BTreeMap<String, String>>,
    pub(crate) cpu: Option<Quantity>,
    pub(crate) memory: Option<Quantity>,
    pub(crate) pods: Option<Quantity>,
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) upstream: Option<String>,
    pub(crate) status_interval: Option<Span>,
    pub(crate) upstream_ping: Option<String>,
    pub(crate) upstream_follow: Option<bool>,
    pub(crate) legacy_list: Option<bool>,
    pub(crate) transport: Option<String>,
    pub(crate) listen: Option<String>,
    pub(crate) listen_token_file: Option<PathBuf>,
    pub(crate) insecure: Option<bool>,
    pub(crate) reconnect_min: Option<Span>,
    pub(crate) reconnect_max: Option<Span>,
    pub(crate) ping_interval: Option<Span>,
    pub(crate) codec: Option<String>,
    pub(crate) endpoints: Option<bool>,
    pub(crate) upstream_shared: Option<bool>,
    pub(crate) upstream_ca_file: Option<PathBuf>,
}

/// A quantity as text: YAML takes 4 and 3500m for different things.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum Quantity {
    /// 4
    Whole(u64),
    /// 1.5
    Number(f64),
    /// 3500m
    Text(String),
}

impl From<Quantity> for String {
    fn from(value: Quantity) -> Self {
        match value {
            Quantity::Whole(number) => number.to_string(),
            Quantity::Number(number) => number.to_string(),
            Quantity::Text(text) => text,
        }
    }
}

/// One text or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl From<OneOrMany> for Vec<String> {
    fn from(value: OneOrMany) -> Self {
        match value {
            OneOrMany::One(one) => vec![one],
            OneOrMany::Many(many) => many,
        }
    }
}

/// A duration such as 50s.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span(pub(crate) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// What a delete for an absent plugin does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WhenOffline {
    /// Keep it and answer success.
    Durable,
    /// Answer 503.
    Refuse,
}

/// On or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Switch {
    /// It is allowed.
    On,
    /// It is not.
    Off,
}

impl Switch {
    /// As it is written.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

impl FileSettings {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, is no YAML, or has a key or value that is not known: with the line.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::Config(format!("config file {}: {error}", path.display())))?;
        Self::parse(&text).map_err(|why| Failure::Config(format!("config file {}: {why}", path.display())))
    }

    /// Parses the text of a file. An empty one sets nothing.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let options = serde_saphyr::options! { with_snippet: false };
        let parsed: Option<Self> = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| error.without_snippet().to_string())?;
        Ok(parsed.unwrap_or_default())
    }
}
