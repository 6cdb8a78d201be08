//! Bytes and frames: the generated messages of `proto/towline/v1`, the codec, and ids.
//!
//! Knows prost and zstd; knows no state, clock or socket. Learn [`Packet`] (one WebSocket message), [`StreamId`],
//! and [`Codec`], of which [`Binary`] is here and that of the JSON path in `envelope`. Pod, log and event messages are the domain types of the whole crate; Packet, Frame and the
//! oneofs stay below `connection`.

pub mod codec;
mod fields;
pub mod http;
mod ids;
mod status;
mod stored;
mod subprotocol;

/// The messages of `proto/towline/v1`, as prost generates them.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/towline.v1.rs"));
}

pub use codec::{Binary, Codec, CodecError, decode_packet, encode_frame};
pub(crate) use ids::StreamMap;
pub use ids::{Side, StreamId};
pub use prost_types::Timestamp;
pub use subprotocol::Subprotocol;
pub use v1::*;

/// WebSocket subprotocol of the binary link, major version 1.
pub const SUBPROTOCOL_PROTO: &str = "towline.v1.proto";
/// WebSocket subprotocol of the JSON path, major version 1.
pub const SUBPROTOCOL_JSON: &str = "towline.v1.json";

/// Keys of a call's metadata. Headers of these names travel with a call from leg to leg, as interLink has it.
pub mod metadata {
    /// Ties the legs of one call together.
    pub const SESSION: &str = "interlink-http-session";
    /// W3C Trace Context.
    pub const TRACEPARENT: &str = "traceparent";
    /// All of them.
    pub const ALL: [&str; 2] = [SESSION, TRACEPARENT];
}

/// Names of the features that `Register` offers and `Welcome` puts in force.
pub mod feature {
    /// Log streams and Data run under Credit.
    pub const FLOW_CONTROL: &str = "flow_control";
    /// The plugin pushes PodEvents and keeps an outbox.
    pub const EVENTS: &str = "events";
    /// Packets may be compressed.
    pub const ZSTD: &str = "zstd";
    /// HTTP pass-through.
    pub const HTTP: &str = "http";
    /// towline's own: H reaches P by another way too, and P looks for pods that came to it so before it says ABSENT.
    pub const SHARED: &str = "x-towline-shared";
}
