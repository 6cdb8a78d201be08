//! What one side of a link allows and expects.

use std::{sync::Arc, time::Duration};

use super::{Rate, Squeezed};
use crate::{limits, wire::Limits};

/// Bounds and timers of one side. The defaults are those of [`crate::limits`].
#[derive(Debug, Clone)]
pub struct Config {
    /// Largest message taken, after inflation, in bytes.
    pub max_message: usize,
    /// Calls that the peer may have open.
    pub max_calls: u32,
    /// Log streams that the peer may have open.
    pub max_log_streams: u32,
    /// Events that the peer may have sent without an acknowledgement.
    pub max_unacked_events: u32,
    /// How long the handshake may take.
    pub register_timeout: Duration,
    /// How often the hub pings.
    pub ping_interval: Duration,
    /// How often the dialling side pings of its own accord, beside answering the hub; none: never.
    pub dial_ping_interval: Option<Duration>,
    /// How long a silence may last after a ping.
    pub ping_timeout: Duration,
    /// How long a call may go unanswered before a ping.
    pub call_probe: Duration,
    /// How long a silence may last. The dialling side takes Welcome.idle_ms instead.
    pub idle: Duration,
    /// How long the transport may take no byte.
    pub write_stall: Duration,
    /// How fast the peer may start things (calls, cancels, events, pings) before it is read no faster; none:
    /// it is trusted.
    pub peer_frames: Option<Rate>,
    /// How often the peer's transport may ping before the link is closed; none: it is trusted.
    pub socket_pings: Option<Rate>,
    /// Packets of this many bytes and more are compressed, where the feature `zstd` is in force.
    pub compress_from: usize,
    /// At which level of zstd: one of [`limits::COMPRESS_LEVELS`].
    pub compress_level: i32,
    /// Where compressed packets are counted, beside those of other links; none: nowhere.
    pub squeezed: Option<Arc<Squeezed>>,
}

/// Of a side that trusts its peer: no rates.
impl Default for Config {
    fn default() -> Self {
        Self {
            max_message: limits::MAX_MESSAGE,
            max_calls: limits::MAX_CALLS,
            max_log_streams: limits::MAX_LOG_STREAMS,
            max_unacked_events: limits::MAX_UNACKED_EVENTS,
            register_timeout: limits::REGISTER_TIMEOUT,
            ping_interval: limits::PING_INTERVAL,
            dial_ping_interval: None,
            ping_timeout: limits::PING_TIMEOUT,
            call_probe: limits::CALL_PROBE,
            idle: limits::IDLE_TIMEOUT,
            write_stall: limits::WRITE_STALL,
            peer_frames: None,
            socket_pings: None,
            compress_from: limits::COMPRESS_FROM,
            compress_level: limits::COMPRESS_LEVEL,
            squeezed: None,
        }
    }
}

impl Config {
    /// Of the accepting side: it lets in peers that may be broken or hostile, so their rates are bounded.
    pub fn accepting() -> Self {
        Self {
            peer_frames: Some(Rate {
                per_second: limits::PEER_FRAMES_PER_SECOND,
                burst: limits::PEER_FRAMES_BURST,
            }),
            socket_pings: Some(Rate {
                per_second: limits::SOCKET_PINGS_PER_SECOND,
                burst: limits::SOCKET_PINGS_BURST,
            }),
            ..Self::default()
        }
    }

    /// Of the dialling side: it chose its hub and trusts it. A hub may open as many calls as `max_calls` allows,
    /// over and over.
    pub fn dialling() -> Self {
        Self::default()
    }

    /// What this side declares in Register or Welcome.
    pub fn limits(&self) -> Limits {
        Limits {
            max_message_bytes: self.max_message as u64,
            max_calls: self.max_calls,
            max_log_streams: self.max_log_streams,
            max_unacked_events: self.max_unacked_events,
        }
    }
}

impl Limits {
    /// The same with 0 replaced by the default.
    pub fn or_defaults(self) -> Self {
        let or = |value: u32, default: u32| if value == 0 { default } else { value };
        Self {
            max_message_bytes: match self.max_message_bytes {
                0 => limits::MAX_MESSAGE as u64,
                bytes => bytes,
            },
            max_calls: or(self.max_calls, limits::MAX_CALLS),
            max_log_streams: or(self.max_log_streams, limits::MAX_LOG_STREAMS),
            max_unacked_events: or(self.max_unacked_events, limits::MAX_UNACKED_EVENTS),
        }
    }
}
