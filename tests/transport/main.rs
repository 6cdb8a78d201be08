//! The transport over real sockets: what arrives, what is refused, and what people are told.
#![cfg(feature = "net")]
#![allow(clippy::unwrap_used)]

mod certificates;
mod dial;
mod ends;
mod foreign;
#[cfg(feature = "cli")]
mod hub;
mod large;
mod listen;
mod tls;
mod websocket;
