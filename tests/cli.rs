//! The binary as people and scripts meet it: help, exit codes, errors, hub and plugin by hand, the demo.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

#[path = "cli/demo.rs"]
mod demo;
#[path = "cli/kept.rs"]
mod kept;
#[path = "cli/process.rs"]
mod process;
#[path = "cli/site.rs"]
mod site;
#[path = "cli/usage.rs"]
mod usage;

/// Whether hub and plugin speak gRPC; `tests/grpc.rs` has it so.
pub(crate) const OVER_GRPC: bool = false;
