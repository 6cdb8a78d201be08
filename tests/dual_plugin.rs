//! A plugin that is reached by interLink's REST, by the link, or by both: over real sockets, asked as interLink's API server
//! and the virtual kubelet ask.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

#[allow(dead_code)] // shared with the tests of the bridge
#[path = "rest_bridge/kubelet.rs"]
mod kubelet;
#[allow(dead_code)] // shared with the tests of the command line
#[path = "cli/process.rs"]
mod process;
#[allow(dead_code)] // shared with the tests of the bridge
#[path = "rest_bridge/site.rs"]
mod site;
#[allow(dead_code)]
#[path = "rest_bridge/upstream.rs"]
mod upstream;

#[path = "dual_plugin/client.rs"]
mod client;
#[path = "dual_plugin/fake.rs"]
mod fake;

#[path = "dual_plugin/auto.rs"]
mod auto;
#[path = "dual_plugin/both.rs"]
mod both;
#[path = "dual_plugin/circle.rs"]
mod circle;
#[path = "dual_plugin/codec.rs"]
mod codec;
#[path = "dual_plugin/http.rs"]
mod http;
#[path = "dual_plugin/samples.rs"]
mod samples;
