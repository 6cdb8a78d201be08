//! Real pods through the process backend, driven over a link as the hub drives it.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

#[path = "process_backend/hub.rs"]
mod hub;

#[path = "process_backend/durable.rs"]
mod durable;
#[path = "process_backend/pods.rs"]
mod pods;
#[path = "process_backend/refusals.rs"]
mod refusals;
#[path = "process_backend/stopping.rs"]
mod stopping;
