//! What peer.proto is compiled to.
#![allow(missing_docs, unreachable_pub, clippy::all)]

include!(concat!(env!("OUT_DIR"), "/towline.bench.rs"));
