//! A plugin's own endpoints asked through the hub, over real sockets: client, hub, link, plugin, and what is behind it.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

#[path = "pass_through/client.rs"]
mod client;
#[path = "pass_through/site.rs"]
mod site;
#[path = "pass_through/upstream.rs"]
mod upstream;

#[path = "pass_through/bodies.rs"]
mod bodies;
#[path = "pass_through/clocks.rs"]
mod clocks;
#[path = "pass_through/fields.rs"]
mod fields;
#[path = "pass_through/own.rs"]
mod own;
#[path = "pass_through/paths.rs"]
mod paths;
#[path = "pass_through/refusals.rs"]
mod refusals;
