//! The link over gRPC: the scenarios of the other carriers, and what only this one has.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

#[path = "connection/calls.rs"]
mod calls;
#[path = "transport/certificates.rs"]
mod certificates;
#[allow(unused_imports)] // for scenarios that are not run here
#[path = "hub/fake.rs"]
mod fake;
#[path = "fakes/mod.rs"]
mod fakes;
#[path = "cli/process.rs"]
mod process;
#[path = "cli/site.rs"]
mod site;

#[path = "grpc/closes.rs"]
mod closes;
#[path = "grpc/dials.rs"]
mod dials;
#[path = "grpc/served.rs"]
mod served;
#[path = "grpc/stock.rs"]
mod stock;
#[path = "grpc/strangers.rs"]
mod strangers;
#[path = "grpc/wire.rs"]
mod wire;

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
#[path = "hub/reads.rs"]
mod reads;
#[path = "hub/retries.rs"]
mod retries;
#[path = "hub/states.rs"]
mod states;
#[path = "hub/takeovers.rs"]
mod takeovers;

use fakes::carrier;

/// The form of the messages.
pub(crate) const FORM: towline::wire::Subprotocol = towline::wire::Subprotocol::Proto;

/// What carries the link.
pub(crate) const CARRIER: fakes::carrier::Carrier = fakes::carrier::Carrier::Grpc;

/// Whether hub and plugin as processes speak gRPC.
pub(crate) const OVER_GRPC: bool = true;
