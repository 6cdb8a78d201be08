//! What interLink's REST says (interlink-hq/interLink 0.6): types, validation, and how a pod's state becomes
//! what the virtual kubelet can read. Pure.
#![allow(clippy::todo, unused_variables, missing_docs)]

use serde::{Deserialize, Serialize};

/// A v1.Pod, kept whole; see `pod.rs` for typed views.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pod {}
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PodCreateRequests {}
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct CreateStruct {
    #[serde(rename = "PodUID")]
    pub pod_uid: String,
    #[serde(rename = "PodJID")]
    pub pod_jid: String,
}
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PodStatus {}
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PingResponse {}
