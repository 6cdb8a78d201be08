//! The hub against a plugin that does what a test says, over a transport in memory and under paused time.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

#[path = "hub/fake.rs"]
mod fake;

#[path = "hub/creates.rs"]
mod creates;
#[path = "hub/deletes.rs"]
mod deletes;
#[path = "hub/links.rs"]
mod links;
#[path = "hub/logs.rs"]
mod logs;
#[path = "hub/pull.rs"]
mod pull;
#[path = "hub/puller.rs"]
mod puller;
#[path = "hub/states.rs"]
mod states;
