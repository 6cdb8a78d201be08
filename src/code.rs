//! Why a call or a link ended. The numbers decide what the other side does next; docs/PROTOCOL.md prints
//! the same tables.

mod http;

use std::fmt;

/// How a call ended, in gRPC's numbering
/// (<https://grpc.github.io/grpc/core/md_doc_statuscodes.html>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i32)]
pub enum Code {
    /// It succeeded.
    Ok = 0,
    /// The caller gave up.
    Cancelled = 1,
    /// The outcome is not known.
    Unknown = 2,
    /// The request cannot be right.
    InvalidArgument = 3,
    /// Time ran out.
    DeadlineExceeded = 4,
    /// There is no such pod or log.
    NotFound = 5,
    /// The caller may not do this.
    PermissionDenied = 7,
    /// A limit was reached.
    ResourceExhausted = 8,
    /// The request is well formed, but cannot be done as things are.
    FailedPrecondition = 9,
    /// Another operation came in between.
    Aborted = 10,
    /// The log position does not exist any more.
    OutOfRange = 11,
    /// The peer does not know this operation.
    Unimplemented = 12,
    /// The peer failed.
    Internal = 13,
    /// The peer cannot be reached now.
    Unavailable = 14,
    /// Bytes were lost or damaged.
    DataLoss = 15,
    /// The caller did not say who it is.
    Unauthenticated = 16,
}

impl Code {
    /// The code of a number; a number that is not known is read as [`Code::Unknown`].
    pub fn from_number(number: i32) -> Self {
        match number {
            0 => Self::Ok,
            1 => Self::Cancelled,
            3 => Self::InvalidArgument,
            4 => Self::DeadlineExceeded,
            5 => Self::NotFound,
            7 => Self::PermissionDenied,
            8 => Self::ResourceExhausted,
            9 => Self::FailedPrecondition,
            10 => Self::Aborted,
            11 => Self::OutOfRange,
            12 => Self::Unimplemented,
            13 => Self::Internal,
            14 => Self::Unavailable,
            15 => Self::DataLoss,
            16 => Self::Unauthenticated,
            _ => Self::Unknown,
        }
    }

    /// The name as gRPC writes it, for metrics and texts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Cancelled => "CANCELLED",
            Self::Unknown => "UNKNOWN",
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::NotFound => "NOT_FOUND",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::Aborted => "ABORTED",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Internal => "INTERNAL",
            Self::Unavailable => "UNAVAILABLE",
            Self::DataLoss => "DATA_LOSS",
            Self::Unauthenticated => "UNAUTHENTICATED",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The words of `Status.reason`: what a program may branch on.
pub mod reason {
    /// The plugin is not connected.
    pub const PLUGIN_OFFLINE: &str = "PLUGIN_OFFLINE";
    /// The peer is going away and takes no new call.
    pub const DRAINING: &str = "DRAINING";
    /// The connection ended before the answer came.
    pub const SESSION_LOST: &str = "SESSION_LOST";
    /// Too many calls are open.
    pub const TOO_MANY_CALLS: &str = "TOO_MANY_CALLS";
    /// Too many log streams are open.
    pub const TOO_MANY_STREAMS: &str = "TOO_MANY_STREAMS";
    /// The message is over the peer's limit; never repeat it.
    pub const MESSAGE_TOO_LARGE: &str = "MESSAGE_TOO_LARGE";
    /// A quota of the site is used up.
    pub const QUOTA: &str = "QUOTA";
    /// The submit may or may not have been accepted.
    pub const SUBMIT_UNKNOWN: &str = "SUBMIT_UNKNOWN";
    /// The plugin is connected but cannot start pods.
    pub const NOT_READY: &str = "NOT_READY";
    /// The site refused the pod.
    pub const SUBMIT_REJECTED: &str = "SUBMIT_REJECTED";
    /// The pod cannot run on this plugin.
    pub const BAD_POD: &str = "BAD_POD";
    /// The pod is not known.
    pub const POD_NOT_FOUND: &str = "POD_NOT_FOUND";
    /// The container has no log.
    pub const NO_LOG: &str = "NO_LOG";
    /// The log position does not exist any more.
    pub const LOG_GONE: &str = "LOG_GONE";
    /// The operation is not known.
    pub const NO_SUCH_OP: &str = "NO_SUCH_OP";
    /// The operation is known but this plugin cannot do it.
    pub const NOT_SUPPORTED: &str = "NOT_SUPPORTED";
    /// The plugin failed.
    pub const PLUGIN_ERROR: &str = "PLUGIN_ERROR";
    /// The peer sent more than its credit.
    pub const FLOW_VIOLATION: &str = "FLOW_VIOLATION";
    /// Bytes were damaged.
    pub const CORRUPT: &str = "CORRUPT";
    /// A delete came while the create was under way.
    pub const DELETED: &str = "DELETED";
    /// What was asked for cannot be recorded: the state directory fails.
    pub const NOT_KEPT: &str = "NOT_KEPT";
    /// No plugin, or no single one, fits the pod.
    pub const NO_PLACEMENT: &str = "NO_PLACEMENT";
    /// The hub's API only: a watcher was too slow and has missed changes; it starts again.
    pub const LAGGED: &str = "LAGGED";
}

/// Why a connection was closed: a WebSocket close code (RFC 6455 section 7.4).
///
/// The range says how the dialling peer comes back: see [`CloseCode::reconnect`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CloseCode(pub u16);

/// How the dialling peer comes back after a close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconnect {
    /// With the usual backoff.
    Backoff,
    /// Another instance has the name: after 60 s, doubling to 10 min.
    Superseded,
    /// No sooner than 5 min: nothing will change by trying.
    Slow,
}

impl CloseCode {
    /// Both sides are done.
    pub const NORMAL: Self = Self(1000);
    /// A broken frame of WebSocket, or message of gRPC.
    pub const PROTOCOL: Self = Self(1002);
    /// A text message on a binary link, or the reverse.
    pub const UNSUPPORTED: Self = Self(1003);
    /// The end came without a close frame (never sent).
    pub const ABNORMAL: Self = Self(1006);
    /// A message that does not decode.
    pub const INVALID: Self = Self(1007);
    /// A message over the limit.
    pub const TOO_BIG: Self = Self(1009);
    /// The peer is going away; open calls were let finish.
    pub const DRAIN: Self = Self(4000);
    /// A newer connection of the same plugin took over.
    pub const SUPERSEDED: Self = Self(4001);
    /// Nothing was heard for too long.
    pub const IDLE: Self = Self(4002);
    /// The peer took no bytes for too long.
    pub const SLOW: Self = Self(4003);
    /// The credential is about to expire; dial again with a fresh one.
    pub const EXPIRING: Self = Self(4004);
    /// Too much to do; come back later.
    pub const OVERLOADED: Self = Self(4005);
    /// The credential is not good.
    pub const CREDENTIAL: Self = Self(4500);
    /// The versions do not fit.
    pub const VERSION: Self = Self(4502);
    /// This peer may not use this name.
    pub const FORBIDDEN: Self = Self(4503);
    /// The peer broke the protocol.
    pub const VIOLATION: Self = Self(4504);

    /// How to come back after this close.
    pub fn reconnect(self) -> Reconnect {
        match self.0 {
            4001 => Reconnect::Superseded,
            4500..=4999 => Reconnect::Slow,
            _ => Reconnect::Backoff,
        }
    }

    /// What it means, for people.
    pub fn meaning(self) -> &'static str {
        match self.0 {
            1000 => "done",
            1002 => "broken framing",
            1003 => "wrong kind of message",
            1006 => "connection lost",
            1007 => "message does not decode",
            1009 => "message too big",
            4000 => "draining",
            4001 => "superseded by a newer connection of the same name",
            4002 => "idle",
            4003 => "too slow",
            4004 => "credential expires soon",
            4005 => "overloaded",
            4500 => "credential refused",
            4502 => "versions do not fit",
            4503 => "forbidden",
            4504 => "protocol violation",
            _ => "unknown reason",
        }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0, self.meaning())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_round_trips_through_its_number() {
        for number in 0..=16 {
            let code = Code::from_number(number);
            if code != Code::Unknown {
                assert_eq!(code as i32, number);
            }
        }
        assert_eq!(Code::from_number(99), Code::Unknown);
    }

    #[test]
    fn the_range_of_a_close_code_decides_the_reconnect() {
        assert_eq!(CloseCode::DRAIN.reconnect(), Reconnect::Backoff);
        assert_eq!(CloseCode::ABNORMAL.reconnect(), Reconnect::Backoff);
        assert_eq!(CloseCode::SUPERSEDED.reconnect(), Reconnect::Superseded);
        assert_eq!(CloseCode::FORBIDDEN.reconnect(), Reconnect::Slow);
    }
}
