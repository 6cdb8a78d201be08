//! What each setting must be.

use std::time::Duration;

use super::PluginConfig;
use crate::{limits, plugin::journal::OpenError, transport::Endpoint, wire::Subprotocol};

impl PluginConfig {
    /// Checks every setting.
    ///
    /// # Errors
    /// Names the first setting that cannot be right, its value and what it must be.
    pub fn check(&self) -> Result<(), ConfigError> {
        if check_hub(&self.hub)?.is_grpc() && self.codec != Subprotocol::Proto {
            let bound = "towline.v1.proto when the hub is dialled over gRPC, which carries packets alone";
            return Err(ConfigError::new("codec", self.codec.name(), bound));
        }
        if !is_label(&self.name) {
            let bound = "an RFC 1123 label: 1 to 63 of a-z, 0-9 and '-', not '-' at either end";
            return Err(ConfigError::new("name", &self.name, bound));
        }
        if !is_label(&self.kind) {
            return Err(ConfigError::new(
                "kind",
                &self.kind,
                "one word of a-z, 0-9 and '-', at most 63 long",
            ));
        }
        check_text("software", &self.software, 0)?;
        check_text("instance", &self.instance, 1)?;
        if self.labels.len() > limits::MAX_LABELS {
            let bound = format!("at most {} labels", limits::MAX_LABELS);
            return Err(ConfigError::new(
                "labels",
                &format!("{} labels", self.labels.len()),
                bound,
            ));
        }
        for (key, value) in &self.labels {
            check_text("labels (a key)", key, 1)?;
            check_text("labels (a value)", value, 0)?;
        }
        if self.token.is_some() && self.token_file.is_some() {
            return Err(ConfigError::new("token", "(set)", "unset when token_file is set"));
        }
        if self.token.as_deref().is_some_and(|token| !is_token(token)) {
            return Err(ConfigError::new("token", "(not shown)", TOKEN_BOUND));
        }
        let (levels, sizes) = (limits::COMPRESS_LEVELS, limits::COMPRESS_FROM_RANGE);
        if !levels.contains(&self.compression_level) {
            let bound = format!("{} to {}", levels.start(), levels.end());
            let level = self.compression_level.to_string();
            return Err(ConfigError::new("compression_level", &level, bound));
        }
        if !sizes.contains(&self.compression_threshold) {
            let bound = format!("{} to {} bytes", sizes.start(), sizes.end());
            let size = self.compression_threshold.to_string();
            return Err(ConfigError::new("compression_threshold", &size, bound));
        }
        let second = Duration::from_secs(1);
        check_range("reconnect_min", self.reconnect_min, second / 10, 600 * second)?;
        check_range(
            "reconnect_max",
            self.reconnect_max,
            self.reconnect_min,
            600 * second,
        )?;
        if let Some(interval) = self.ping_interval {
            check_range("ping_interval", interval, second, 600 * second)?;
        }
        check_range("dial_timeout", self.dial_timeout, second / 10, 600 * second)?;
        // The hub waits REGISTER_TIMEOUT for Register, and the node is asked before it.
        check_range(
            "node_timeout",
            self.node_timeout,
            second / 10,
            limits::REGISTER_TIMEOUT - second,
        )?;
        check_range("drain_grace", self.drain_grace, Duration::ZERO, 600 * second)
    }
}

/// A setting that cannot be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} is {value:?}: it must be {bound}")]
pub struct ConfigError {
    /// The setting.
    pub key: &'static str,
    /// Its value; a token is never shown.
    pub value: String,
    /// What it must be.
    pub bound: String,
}

impl ConfigError {
    /// What is wrong with the state directory.
    pub(in crate::plugin) fn state(error: &OpenError) -> Self {
        let (place, bound) = match error {
            OpenError::InUse { place, pid } => {
                let holder = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
                (
                    place,
                    format!("a directory of this plugin alone, and {holder} uses it"),
                )
            }
            OpenError::Version { place, found, known } => {
                let bound = format!(
                    "a journal of version {known}, and it is of version {found}: use the towline that wrote it, or move \
                     it away"
                );
                (place, bound)
            }
            OpenError::Unusable { place, source } => (
                place,
                format!("a directory that can be read and written: {source}"),
            ),
        };
        Self::new("state_dir", place, bound)
    }

    fn new(key: &'static str, value: &str, bound: impl Into<String>) -> Self {
        Self {
            key,
            value: value.to_owned(),
            bound: bound.into(),
        }
    }
}

/// What a token must be.
pub(in crate::plugin) const TOKEN_BOUND: &str = "1 to 8192 visible ASCII characters without spaces";

/// Whether this can be sent as a bearer token.
pub(in crate::plugin) fn is_token(token: &str) -> bool {
    (1..=8192).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether this is an RFC 1123 label.
pub(in crate::plugin) fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn check_hub(hub: &str) -> Result<Endpoint, ConfigError> {
    let bound = "the hub's link endpoint, like ws://127.0.0.1:3000/ws, wss://hub.example.org/ws or grpcs://hub.example.org";
    // The endpoint's own words never show a password.
    Endpoint::parse_hub(hub).map_err(|error| ConfigError::new("hub", &error.to_string(), bound))
}

fn check_text(key: &'static str, text: &str, min: usize) -> Result<(), ConfigError> {
    if (min..=253).contains(&text.len()) && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(ConfigError::new(
        key,
        text,
        format!("{min} to 253 bytes without control characters"),
    ))
}

fn check_range(key: &'static str, value: Duration, min: Duration, max: Duration) -> Result<(), ConfigError> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(ConfigError::new(
        key,
        &format!("{value:?}"),
        format!("between {min:?} and {max:?}"),
    ))
}
#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn error(change: impl FnOnce(&mut PluginConfig)) -> String {
        let mut config = PluginConfig::new("ws://127.0.0.1:3000/ws", "site-1");
        config.check().unwrap();
        change(&mut config);
        config.check().unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_right_is_named_with_its_value_and_bound() {
        let name = error(|config| config.name = "Site_1".to_owned());
        assert_eq!(
            name,
            "name is \"Site_1\": it must be an RFC 1123 label: 1 to 63 of a-z, 0-9 and '-', not '-' at either end"
        );
        let min = error(|config| config.reconnect_max = Duration::from_millis(500));
        assert_eq!(min, "reconnect_max is \"500ms\": it must be between 1s and 600s");
        let ping = error(|config| config.ping_interval = Some(Duration::ZERO));
        assert_eq!(ping, "ping_interval is \"0ns\": it must be between 1s and 600s");
        assert!(error(|config| config.hub = "127.0.0.1:3000".to_owned()).starts_with("hub is "));
        #[cfg(feature = "grpc")]
        {
            let json = error(|config| {
                config.hub = "grpc://127.0.0.1:3001".to_owned();
                config.codec = Subprotocol::Json;
            });
            assert!(
                json.starts_with("codec is \"towline.v1.json\": it must be towline.v1.proto"),
                "{json}"
            );
        }
        assert!(error(|config| config.kind = "two words".to_owned()).starts_with("kind is \"two words\""));
        assert!(
            error(|config| config.node_timeout = Duration::from_secs(60))
                .starts_with("node_timeout is \"60s\"")
        );
        let labels =
            error(|config| config.labels = (0..65).map(|i| (i.to_string(), String::new())).collect());
        assert_eq!(labels, "labels is \"65 labels\": it must be at most 64 labels");
        assert!(error(|config| config.instance = String::new()).starts_with("instance is \"\""));
    }

    #[test]
    fn a_level_and_a_threshold_of_compression_have_bounds() {
        for level in [0, 10, -1] {
            let text = error(|config| config.compression_level = level);
            assert_eq!(
                text,
                format!("compression_level is \"{level}\": it must be 1 to 9")
            );
        }
        for size in [0, 63, (1 << 20) + 1] {
            let text = error(|config| config.compression_threshold = size);
            assert_eq!(
                text,
                format!("compression_threshold is \"{size}\": it must be 64 to 1048576 bytes")
            );
        }
    }

    #[test]
    fn a_token_is_never_shown() {
        let both = error(|config| {
            config.token = Some("hunter2".to_owned());
            config.token_file = Some("/etc/token".into());
        });
        let bad = error(|config| config.token = Some("hunter2 ".to_owned()));
        let mut config = PluginConfig::new("ws://hub", "a");
        config.token = Some("hunter2".to_owned());
        for text in [both, bad, format!("{config:?}")] {
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}
