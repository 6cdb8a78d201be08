//! What the API shows of plugins and pods.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use serde::Serialize;
use serde_json::{Value, json};

use super::{Hub, pods::Entry, registry::Plugin};
use crate::{
    interlink::{ContainerStatus, Phase, PingResponse, format_time, phase},
    wire::{ContainerState, Timestamp, container_state::State},
};

/// One plugin as the API shows it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct PluginView {
    /// Its name at this hub.
    pub name: String,
    /// process, slurm, ...
    pub r#type: String,
    /// Name and version of its software.
    pub software: String,
    /// Of its process; changes when it is started again.
    pub instance: String,
    /// Whether it has a link now.
    pub connected: bool,
    /// Whether it can start pods.
    pub ready: bool,
    /// Why not ready or not connected; empty when fine.
    pub reason: String,
    /// Peer address of its last link, or the plugin's own when the hub calls it.
    pub remote: String,
    /// How the hub reaches it: link | http; empty when it does not.
    pub way: String,
    /// When its present link came up, RFC 3339; none when not connected.
    pub since: Option<String>,
    /// RFC 3339; None for "never".
    pub last_seen: Option<String>,
    /// Pods that are not over.
    pub pods: usize,
    /// Links after the first one.
    pub reconnects: u64,
    /// Features that it offered.
    pub features: Vec<String>,
    /// Labels for placement.
    pub labels: BTreeMap<String, String>,
    /// Resources and taints in interLink's PingResponse shape.
    pub node: Value,
}

/// One pod as the API shows it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct PodView {
    /// Kubernetes uid.
    pub uid: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The plugin that has it.
    pub plugin: String,
    /// The plugin's name for the work.
    pub job_id: String,
    /// Pending | Running | Succeeded | Failed | Unknown
    pub phase: String,
    /// One line for people, for example a waiting reason.
    pub reason: String,
    /// Containers that are ready / all.
    pub ready: String,
    /// Restarts of all main containers.
    pub restarts: u32,
    /// When the hub first heard of it, RFC 3339.
    pub created_at: String,
    /// RFC 3339 of the last state.
    pub observed_at: Option<String>,
    /// When its delete was asked for, RFC 3339: it goes when the plugin has confirmed that.
    pub deletion_requested_at: Option<String>,
    /// v1.ContainerStatus each.
    pub containers: Value,
    /// v1.ContainerStatus each.
    pub init_containers: Value,
}

/// One check of `/readyz`.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// Whether it is good.
    pub ok: bool,
    /// One line for people.
    pub detail: String,
}

impl Hub {
    /// One plugin.
    pub(crate) fn plugin_view(&self, name: &str) -> Option<PluginView> {
        let pods = self.read_pods(|pods| pods.active(name));
        self.registry.with(name, |plugin| plugin_view(name, plugin, pods))
    }

    /// One pod.
    pub(crate) fn pod_view(&self, uid: &str) -> Option<PodView> {
        self.read_pods(|pods| pods.get(uid).map(pod_view))
    }
}

/// One plugin with its number of pods.
pub(crate) fn plugin_view(name: &str, plugin: &Plugin, pods: usize) -> PluginView {
    let register = &plugin.register;
    let connected = plugin.is_connected();
    let last_seen = if connected {
        SystemTime::now()
    } else {
        plugin.last_seen
    };
    PluginView {
        name: name.to_owned(),
        r#type: register.r#type.clone(),
        software: register.software.clone(),
        instance: register.instance.clone(),
        connected,
        ready: plugin.is_ready(),
        reason: plugin.reason(),
        remote: plugin.remote.clone(),
        way: if connected { plugin.way.name() } else { "" }.to_owned(),
        since: connected.then(|| rfc3339(plugin.since)),
        last_seen: Some(rfc3339(last_seen)),
        pods,
        reconnects: plugin.reconnects,
        features: register.features.clone(),
        labels: register.labels.clone().into_iter().collect(),
        node: serde_json::to_value(PingResponse::from(&plugin.node)).unwrap_or_default(),
    }
}

/// One pod of the table.
pub(crate) fn pod_view(entry: &Entry) -> PodView {
    let state = entry.state.as_ref();
    let mains = state.map(|state| state.containers.as_slice()).unwrap_or_default();
    let inits = state
        .map(|state| state.init_containers.as_slice())
        .unwrap_or_default();
    let all = if mains.is_empty() {
        entry.spec_len()
    } else {
        mains.len()
    };
    PodView {
        uid: entry.pod.uid.clone(),
        namespace: entry.pod.namespace.clone(),
        name: entry.pod.name.clone(),
        plugin: entry.plugin.clone(),
        job_id: entry.job_id.clone(),
        phase: state.map_or(Phase::Pending, phase).name().to_owned(),
        reason: reason(entry, mains, inits),
        ready: format!(
            "{}/{all}",
            mains.iter().filter(|container| container.ready).count()
        ),
        restarts: mains
            .iter()
            .fold(0, |sum, container| sum.saturating_add(container.restart_count)),
        created_at: rfc3339(entry.created_at),
        observed_at: entry.observed_at.map(rfc3339),
        deletion_requested_at: entry.delete_asked.map(rfc3339),
        containers: statuses(mains),
        init_containers: statuses(inits),
    }
}

/// RFC 3339 in UTC, whole seconds.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    format_time(&Timestamp { seconds, nanos: 0 })
}

fn statuses(containers: &[ContainerState]) -> Value {
    let all: Vec<ContainerStatus> = containers.iter().map(ContainerStatus::from).collect();
    serde_json::to_value(all).unwrap_or_else(|_| json!([]))
}

/// The first thing worth saying: what keeps a container from running, or how one failed.
fn reason(entry: &Entry, mains: &[ContainerState], inits: &[ContainerState]) -> String {
    if !entry.answered {
        return "waits for its plugin".into();
    }
    let told = inits
        .iter()
        .chain(mains)
        .find_map(|container| match &container.state {
            Some(State::Terminated(ended)) if ended.exit_code != 0 => {
                Some(words(&ended.reason, &ended.message, || {
                    format!("exit code {}", ended.exit_code)
                }))
            }
            Some(State::Waiting(waiting)) => Some(words(&waiting.reason, &waiting.message, String::new)),
            _ => None,
        });
    match told {
        Some(told) => told,
        None if entry.deleting.is_some() || entry.delete_asked.is_some() => "being deleted".into(),
        None => String::new(),
    }
}

fn words(reason: &str, message: &str, otherwise: impl Fn() -> String) -> String {
    match (reason, message) {
        ("", "") => otherwise(),
        ("", text) | (text, "") => text.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}
