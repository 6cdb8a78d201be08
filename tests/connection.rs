//! A connection over messages in memory; `tests/grpc.rs` runs the same calls over gRPC.
#![cfg(feature = "net")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "connection/calls.rs"]
mod calls;
#[path = "fakes/carrier.rs"]
mod carrier;
#[path = "connection/raw.rs"]
mod raw;
#[path = "connection/threads.rs"]
mod threads;

/// What carries the link.
const CARRIER: carrier::Carrier = carrier::Carrier::Memory;
