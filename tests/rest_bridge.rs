//! An unchanged REST plugin behind the bridge, asked as the virtual kubelet asks: hub's REST, hub, link, bridge, plugin.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

#[path = "rest_bridge/kubelet.rs"]
mod kubelet;
#[path = "rest_bridge/site.rs"]
mod site;
#[path = "rest_bridge/upstream.rs"]
mod upstream;

#[path = "rest_bridge/calls.rs"]
mod calls;
#[path = "rest_bridge/command.rs"]
mod command;
#[path = "rest_bridge/creates.rs"]
mod creates;
#[path = "rest_bridge/fastapi.rs"]
mod fastapi;
#[path = "rest_bridge/logs.rs"]
mod logs;
#[path = "rest_bridge/states.rs"]
mod states;
