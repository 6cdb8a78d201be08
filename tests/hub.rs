//! The hub against a plugin that does what a test says, over a transport in memory and under paused time.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

#[path = "hub/fake.rs"]
mod fake;
#[path = "fakes/mod.rs"]
mod fakes;

#[path = "hub/creates.rs"]
mod creates;
#[path = "hub/deletes.rs"]
mod deletes;
#[path = "hub/links.rs"]
mod links;
#[path = "hub/logs.rs"]
mod logs;
#[path = "hub/many.rs"]
mod many;
#[path = "hub/places.rs"]
mod places;
#[path = "hub/pull.rs"]
mod pull;
#[path = "hub/puller.rs"]
mod puller;
#[path = "hub/reads.rs"]
mod reads;
#[path = "hub/recovered.rs"]
mod recovered;
#[path = "hub/relay.rs"]
mod relay;
#[path = "hub/restarts.rs"]
mod restarts;
#[path = "hub/retries.rs"]
mod retries;
#[path = "hub/states.rs"]
mod states;
#[path = "hub/takeovers.rs"]
mod takeovers;
#[path = "hub/ways.rs"]
mod ways;

/// The form of the messages; `tests/hub_json.rs` is the same over the other.
pub(crate) const FORM: towline::wire::Subprotocol = towline::wire::Subprotocol::Proto;
/// What carries the link.
pub(crate) const CARRIER: fakes::carrier::Carrier = fakes::carrier::Carrier::Memory;
