//! Settings of a hub, and what comes with each call and link.

use std::{net::SocketAddr, time::Duration};

pub use crate::connection::Compression;
use crate::limits;

/// Settings of a hub, validated by [`Hub::new`](super::Hub::new).
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// How long a create waits for an absent plugin.
    pub create_hold: Duration,
    /// How long ping stays good after a plugin was lost.
    pub ping_grace: Duration,
    /// How long a log viewer stays open without its plugin.
    pub log_hold: Duration,
    /// Log bytes that the hub holds for all readers, at least [`limits::LOG_CREDIT_FLOWING`]: one stream. The next reader
    /// pays: RESOURCE_EXHAUSTED.
    pub log_budget: u64,
    /// How often all states are read though events come, +/-20 %.
    pub anti_entropy: Duration,
    /// What a delete for an absent plugin does.
    pub delete_when_offline: DeleteWhenOffline,
    /// Whether a plugin that offers it has its link compressed. Frames that carry secrets never are.
    pub compression: Compression,
    /// Level of zstd of the packets that the hub sends: one of [`limits::COMPRESS_LEVELS`].
    pub compression_level: i32,
    /// Packets of this many bytes and more are compressed: one of [`limits::COMPRESS_FROM_RANGE`].
    pub compression_threshold: usize,
    /// Whether requests to plugins' own HTTP endpoints are passed on (feature `http`).
    pub http_passthrough: bool,
    /// Plugins that are reached by HTTP alone: a link of such a name is refused.
    pub http_only: Vec<String>,
    /// Where placements, states, creates in hand and deletes that wait survive a restart.
    pub state_dir: super::StateDir,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            create_hold: limits::CREATE_HOLD,
            ping_grace: limits::PING_GRACE,
            log_hold: limits::LOG_HOLD,
            log_budget: limits::HUB_LOG_BUDGET,
            anti_entropy: limits::ANTI_ENTROPY,
            delete_when_offline: DeleteWhenOffline::Durable,
            compression: Compression::Auto,
            compression_level: limits::COMPRESS_LEVEL,
            compression_threshold: limits::COMPRESS_FROM,
            http_passthrough: true,
            http_only: Vec::new(),
            state_dir: super::StateDir::None,
        }
    }
}

impl HubConfig {
    /// Each open log stream may have its credit under way in the hub.
    pub(super) fn max_log_streams(&self) -> usize {
        usize::try_from(self.log_budget / limits::LOG_CREDIT_FLOWING)
            .unwrap_or(usize::MAX)
            .min(tokio::sync::Semaphore::MAX_PERMITS)
    }

    pub(super) fn validate(&self) -> Result<(), String> {
        const HOUR: Duration = Duration::from_secs(3600);
        if self.log_budget < limits::LOG_CREDIT_FLOWING {
            return Err(format!(
                "log_budget is {} bytes; at least {}, for one log",
                self.log_budget,
                limits::LOG_CREDIT_FLOWING
            ));
        }
        let (levels, sizes) = (limits::COMPRESS_LEVELS, limits::COMPRESS_FROM_RANGE);
        if !levels.contains(&self.compression_level) {
            return Err(format!(
                "compression_level is {}; {} to {}",
                self.compression_level,
                levels.start(),
                levels.end()
            ));
        }
        if !sizes.contains(&self.compression_threshold) {
            return Err(format!(
                "compression_threshold is {}; {} to {} bytes",
                self.compression_threshold,
                sizes.start(),
                sizes.end()
            ));
        }
        let bounds = [
            ("create_hold", self.create_hold, limits::CREATE_TIMEOUT),
            ("ping_grace", self.ping_grace, HOUR),
            ("log_hold", self.log_hold, HOUR),
            ("anti_entropy", self.anti_entropy, 24 * HOUR),
        ];
        if let Some((name, value, most)) = bounds.iter().find(|(_, value, most)| value > most) {
            return Err(format!("{name} is {value:?}; at most {most:?}"));
        }
        // Plugins would do nothing but list their pods.
        if self.anti_entropy < limits::ANTI_ENTROPY_MIN {
            return Err(format!(
                "anti_entropy is {:?}; at least {:?}",
                self.anti_entropy,
                limits::ANTI_ENTROPY_MIN
            ));
        }
        Ok(())
    }
}

/// What a delete for an absent plugin does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteWhenOffline {
    /// Keep it, answer success, replay it when the plugin is back.
    Durable,
    /// Refuse with UNAVAILABLE.
    Refuse,
}

/// Call metadata of one REST call.
#[derive(Debug, Clone, Default)]
pub struct CallMeta {
    /// InterLink-Http-Session; never empty.
    pub session: String,
    /// W3C traceparent, if the caller sent one.
    pub traceparent: Option<String>,
}

/// Who dialled, from `auth` before the upgrade.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Which plugin names it may use; None = any.
    pub plugin: Option<String>,
    /// Peer address for people.
    pub remote: String,
    /// Whether the plugin dialled, or this hub calls it.
    pub way: super::Way,
}

impl Identity {
    /// Whether what is sent to it does not leave this machine: its address is that of loopback, or none of TCP (a Unix
    /// socket, memory).
    pub(super) fn is_local(&self) -> bool {
        self.way == super::Way::Http
            || (self.remote.parse::<SocketAddr>())
                .map_or(true, |address| address.ip().to_canonical().is_loopback())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::hub::Way;

    #[test]
    fn what_cannot_be_right_is_refused_by_name() {
        let config = HubConfig {
            create_hold: Duration::from_secs(200),
            ..HubConfig::default()
        };
        assert!(config.validate().unwrap_err().starts_with("create_hold is 200s"));
        assert!(HubConfig::default().validate().is_ok());
        let config = HubConfig {
            log_budget: 1_000,
            ..HubConfig::default()
        };
        assert!(
            config
                .validate()
                .unwrap_err()
                .starts_with("log_budget is 1000 bytes")
        );
    }

    #[test]
    fn a_level_and_a_threshold_of_compression_have_bounds() {
        let refused = |compression_level, compression_threshold| {
            let config = HubConfig {
                compression_level,
                compression_threshold,
                ..HubConfig::default()
            };
            config.validate().unwrap_err()
        };
        assert_eq!(refused(10, 1_024), "compression_level is 10; 1 to 9");
        assert_eq!(refused(0, 1_024), "compression_level is 0; 1 to 9");
        assert_eq!(refused(1, 63), "compression_threshold is 63; 64 to 1048576 bytes");
    }

    #[test]
    fn a_peer_is_local_on_loopback_over_a_unix_socket_and_in_this_process() {
        let is_local = |remote: &str, way| {
            Identity {
                plugin: None,
                remote: remote.to_owned(),
                way,
            }
            .is_local()
        };
        for local in [
            "127.0.0.1:40000",
            "127.9.9.9:1",
            "[::1]:40000",
            "[::ffff:127.0.0.1]:4",
            "unix:",
            "",
        ] {
            assert!(is_local(local, Way::Link), "{local}");
        }
        for elsewhere in ["192.0.2.1:40000", "[2001:db8::1]:40000", "[::ffff:192.0.2.1]:4"] {
            assert!(!is_local(elsewhere, Way::Link), "{elsewhere}");
        }
        assert!(is_local("192.0.2.1:40000", Way::Http), "a bridge in this process");
    }

    #[test]
    fn states_are_read_neither_all_the_time_nor_never() {
        for (anti_entropy, word) in [
            (Duration::ZERO, "anti_entropy is 0ns; at least 1s"),
            (
                Duration::from_secs(100_000),
                "anti_entropy is 100000s; at most 86400s",
            ),
        ] {
            let config = HubConfig {
                anti_entropy,
                ..HubConfig::default()
            };
            assert_eq!(config.validate().unwrap_err(), word);
        }
    }
}
