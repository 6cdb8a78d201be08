//! The accepting role: who is connected, which pod is where, and what is known of it.
//!
//! Knows connections and interLink's types; knows nothing of HTTP. Learn [`Hub`] and `registry`.
#![allow(clippy::todo, unused_variables, missing_docs)]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde::Serialize;

use crate::{
    transport::Transport,
    wire::{LogOptions, LogPosition, PodRef, Status},
};

/// Settings of a hub, validated by [`Hub::new`].
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// How long a create waits for an absent plugin.
    pub create_hold: Duration,
    /// How long ping stays good after a plugin was lost.
    pub ping_grace: Duration,
    /// How long a log viewer stays open without its plugin.
    pub log_hold: Duration,
    /// What a delete for an absent plugin does.
    pub delete_when_offline: DeleteWhenOffline,
}

impl Default for HubConfig {
    fn default() -> Self {
        use crate::limits;
        Self {
            create_hold: limits::CREATE_HOLD,
            ping_grace: limits::PING_GRACE,
            log_hold: limits::LOG_HOLD,
            delete_when_offline: DeleteWhenOffline::Durable,
        }
    }
}

/// What a delete for an absent plugin does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteWhenOffline {
    /// Keep it, answer success, replay it when the plugin is back.
    Durable,
    /// Refuse with UNAVAILABLE.
    Refuse,
}

/// Call metadata of one REST call.
#[derive(Debug, Clone, Default)]
pub struct CallMeta {
    /// InterLink-Http-Session; never empty.
    pub session: String,
    /// W3C traceparent, if the caller sent one.
    pub traceparent: Option<String>,
}

/// The hub. Shared as `Arc<Hub>`.
#[derive(Debug)]
pub struct Hub {}

/// One plugin as the API shows it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct PluginView {
    pub name: String,
    /// process, slurm, ...
    pub r#type: String,
    pub software: String,
    pub instance: String,
    /// online | offline
    pub connected: bool,
    pub ready: bool,
    /// Why not ready or not connected; empty when fine.
    pub reason: String,
    pub remote: String,
    /// RFC 3339.
    pub since: Option<String>,
    /// RFC 3339; None for "never".
    pub last_seen: Option<String>,
    pub pods: usize,
    pub reconnects: u64,
    pub features: Vec<String>,
    pub labels: std::collections::BTreeMap<String, String>,
    /// resources and taints in interLink's PingResponse shape
    pub node: serde_json::Value,
}

/// One pod as the API shows it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct PodView {
    pub uid: String,
    pub namespace: String,
    pub name: String,
    pub plugin: String,
    pub job_id: String,
    /// Pending | Running | Succeeded | Failed | Unknown
    pub phase: String,
    /// One line for people, for example a waiting reason.
    pub reason: String,
    /// Containers that are ready / all.
    pub ready: String,
    pub restarts: u32,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339 of the last state.
    pub observed_at: Option<String>,
    /// v1.ContainerStatus each.
    pub containers: serde_json::Value,
    pub init_containers: serde_json::Value,
}

/// One change, for `/api/v1/events`.
#[derive(Debug, Clone, Serialize)]
pub struct WatchEvent {
    /// ADDED | MODIFIED | DELETED
    pub r#type: &'static str,
    /// plugin | pod
    pub kind: &'static str,
    /// PluginView or PodView.
    pub object: serde_json::Value,
}

/// What to read of a log.
#[derive(Debug, Clone)]
pub struct LogQuery {
    pub pod: PodRef,
    pub container: String,
    pub options: LogOptions,
    pub start: Option<LogPosition>,
    pub meta: CallMeta,
}

/// An open log. Dropping it cancels the stream at the plugin.
#[derive(Debug)]
pub struct LogViewer {}

/// A piece of a log.
#[derive(Debug, Clone)]
pub struct LogPiece {
    pub at: LogPosition,
    pub next_offset: u64,
    pub data: Bytes,
    pub gap_bytes: u64,
}

impl LogViewer {
    /// The next piece; `None` at the good end (LogsEnd in `end()`); an error when it cannot be finished (the HTTP
    /// body is then aborted). Cancel safe. Survives loss of the link for `log_hold`.
    pub async fn next(&mut self) -> Option<Result<LogPiece, Status>> {
        todo!()
    }
    /// How it ended, once `next` gave None.
    pub fn end(&self) -> Option<crate::wire::LogsEnd> {
        todo!()
    }
}

/// One check of `/readyz`.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    pub name: &'static str,
    pub ok: bool,
    pub detail: String,
}

/// Who dialled, from `auth` before the upgrade.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Which plugin names it may use; None = any.
    pub plugin: Option<String>,
    /// Peer address for people.
    pub remote: String,
}

impl Hub {
    /// A hub with nothing connected.
    ///
    /// # Errors
    /// Names the setting, its value and the bound.
    pub fn new(config: HubConfig) -> Result<Arc<Self>, String> {
        todo!()
    }
    /// Runs one accepted link to its end: handshake, sync, calls.
    pub async fn serve_link<T: Transport>(self: Arc<Self>, transport: T, identity: Identity) {
        todo!()
    }

    // interLink's six calls. `scope` is the plugin of /nodes/{plugin}/..., None on the bare path.
    // Status is mapped to HTTP by `http` (table in PROTOCOL.md).
    pub async fn create(
        self: &Arc<Self>,
        scope: Option<&str>,
        body: crate::interlink::PodCreateRequests,
        meta: CallMeta,
    ) -> Result<crate::interlink::CreateStruct, Status> {
        todo!()
    }
    pub async fn delete(
        self: &Arc<Self>,
        scope: Option<&str>,
        pod: crate::interlink::Pod,
        grace_seconds: Option<u64>,
        meta: CallMeta,
    ) -> Result<(), Status> {
        todo!()
    }
    /// Exactly the asked pods that are known, in order, completed against the asked pods' own specs.
    pub async fn status(
        &self,
        scope: Option<&str>,
        pods: &[crate::interlink::Pod],
    ) -> Result<Vec<crate::interlink::PodStatus>, Status> {
        todo!()
    }
    /// Returns when the plugin acknowledged the open.
    pub async fn logs(self: &Arc<Self>, scope: Option<&str>, query: LogQuery) -> Result<LogViewer, Status> {
        todo!()
    }
    pub fn ping(&self, scope: Option<&str>) -> Result<crate::interlink::PingResponse, Status> {
        todo!()
    }
    pub fn update_cache(&self, uid: &str) {
        todo!()
    }

    // The hub's own API.
    pub fn plugins(&self) -> Vec<PluginView> {
        todo!()
    }
    pub fn pods(&self) -> Vec<PodView> {
        todo!()
    }
    /// Newest pod of this namespace and name.
    pub fn find_pod(&self, namespace: &str, name: &str) -> Option<PodView> {
        todo!()
    }
    /// Forgets an offline plugin and its pods. Err text when it is connected or not known.
    pub fn forget(&self, plugin: &str) -> Result<(), Status> {
        todo!()
    }
    /// All that is there as ADDED, then changes. A receiver that lags gets RecvError::Lagged: start again.
    pub fn watch(&self) -> (Vec<WatchEvent>, tokio::sync::broadcast::Receiver<WatchEvent>) {
        todo!()
    }
    /// Prometheus/OpenMetrics text.
    pub fn metrics_text(&self) -> String {
        todo!()
    }
    /// Count a refused request (reason from a closed set), for /metrics.
    pub fn count_refused(&self, reason: &'static str) {
        todo!()
    }
    pub fn checks(&self) -> Vec<Check> {
        todo!()
    }
    /// GoAway to all plugins; returns when all links ended or the grace is over.
    pub async fn drain(&self, grace: Duration) {
        todo!()
    }
}
