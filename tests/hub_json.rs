//! The scenarios of `tests/hub.rs` over the JSON path: the same session, another form.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

#[allow(unused_imports)] // for scenarios that are not run here
#[path = "hub/fake.rs"]
mod fake;
#[path = "fakes/mod.rs"]
mod fakes;

#[path = "hub/creates.rs"]
mod creates;
#[path = "hub/deletes.rs"]
mod deletes;
#[path = "hub/json.rs"]
mod json;
#[path = "hub/logs.rs"]
mod logs;
#[path = "hub/pull.rs"]
mod pull;
#[path = "hub/puller.rs"]
mod puller;
#[path = "hub/reads.rs"]
mod reads;
#[path = "hub/retries.rs"]
mod retries;
#[path = "hub/states.rs"]
mod states;
#[path = "hub/takeovers.rs"]
mod takeovers;

/// The form of the messages.
pub(crate) const FORM: towline::wire::Subprotocol = towline::wire::Subprotocol::Json;
/// What carries the link.
pub(crate) const CARRIER: fakes::carrier::Carrier = fakes::carrier::Carrier::Memory;
