//! A hub that reaches a plugin by its link and by HTTP: the hub as a process, a REST plugin, and a link that can be cut.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

#[allow(dead_code)] // shared with the tests of the bridge
#[path = "rest_bridge/kubelet.rs"]
mod kubelet;
#[path = "dual_hub/site.rs"]
mod site;
#[allow(dead_code)] // shared with the tests of the bridge
#[path = "rest_bridge/upstream.rs"]
mod upstream;

#[path = "dual_hub/both.rs"]
mod both;
#[path = "dual_hub/http.rs"]
mod http;
#[path = "dual_hub/known.rs"]
mod known;
#[path = "dual_hub/settings.rs"]
mod settings;
