//! The HTTP edge over real sockets.
#![cfg(feature = "hub")]
#![allow(clippy::unwrap_used)]

#[path = "http/access.rs"]
mod access;
#[path = "http/bounds.rs"]
mod bounds;
#[path = "http/client.rs"]
mod client;
#[path = "http/edge.rs"]
mod edge;
#[path = "http/fake.rs"]
mod fake;
#[path = "http/readers.rs"]
mod readers;
#[path = "http/rest.rs"]
mod rest;
#[path = "http/sockets.rs"]
mod sockets;
