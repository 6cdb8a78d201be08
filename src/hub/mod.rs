//! The accepting role: who is connected, which pod is where, and what is known of it.
//!
//! Knows connections and interLink's types; must not know HTTP, frames or sessions, nor anything of the plugin
//! role's code. Learn [`Hub`] (all that the HTTP edge calls) and `registry` (one present session a plugin).
//!
//! | file | question it answers |
//! |---|---|
//! | `registry` | who is connected, and which session of a name counts |
//! | `placement` | which plugin a new pod goes to (pure) |
//! | `pods` | what is known of each pod (pure) |
//! | `calls`, `create`, `delete` | how a call gets through, once |
//! | `logs`, `log_place` | how a log is read over lost links |
//! | `link`, `peer`, `sync` | the life of one link, what it sends by itself, how the table stays true |
//! | `view`, `watch`, `metrics` | what people and programs see |
//!
//! Locks are short and never held over an await; none is taken while another is held.

mod calls;
mod config;
mod create;
mod delete;
mod link;
mod log_place;
mod logs;
mod metrics;
mod peer;
mod placement;
mod pods;
mod registry;
mod rest;
mod store;
mod sync;
mod view;
mod watch;

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Semaphore, time::Instant};

use self::{
    calls::CallTable,
    metrics::Metrics,
    placement::Candidate,
    pods::{Applied, PodTable},
    registry::{Registry, lock},
};
use crate::{
    code::CloseCode,
    limits,
    transport::Transport,
    wire::{PodRef, Status},
};

pub use config::{CallMeta, DeleteWhenOffline, HubConfig, Identity};
pub use logs::{LogPiece, LogQuery, LogViewer};
pub use placement::{ANNOTATION, NODE_LABEL};
pub use store::{MemoryFile, StateDir, StoreError};
pub use view::{Check, PluginView, PodView};
pub use watch::WatchEvent;

/// The hub. Shared as `Arc<Hub>`.
#[derive(Debug)]
pub struct Hub {
    config: HubConfig,
    registry: Registry,
    pods: Mutex<PodTable>,
    calls: CallTable,
    metrics: Metrics,
    changes: tokio::sync::broadcast::Sender<WatchEvent>,
    /// One for each log stream that may be open in the whole hub.
    log_slots: Arc<Semaphore>,
    warned_pending: AtomicBool,
    draining: AtomicBool,
}

impl Hub {
    /// A hub with nothing connected.
    ///
    /// # Errors
    /// Names the setting, its value and the bound.
    pub fn new(config: HubConfig) -> Result<Arc<Self>, String> {
        config.validate()?;
        Ok(Arc::new(Self {
            config,
            registry: Registry::default(),
            pods: Mutex::default(),
            calls: CallTable::default(),
            metrics: Metrics::default(),
            changes: watch::channel(),
            log_slots: Arc::new(Semaphore::new(max_log_streams())),
            warned_pending: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        }))
    }

    /// Runs one accepted link to its end: handshake, sync, calls. Dropping the future ends the link.
    pub async fn serve_link<T: Transport>(self: Arc<Self>, transport: T, identity: Identity) {
        link::serve(self, transport, identity).await;
    }

    /// All plugins that are known, by name.
    pub fn plugins(&self) -> Vec<PluginView> {
        let names = self.registry.each(|name, _| name.to_owned());
        names.iter().filter_map(|name| self.plugin_view(name)).collect()
    }

    /// All pods that are known, by namespace and name.
    pub fn pods(&self) -> Vec<PodView> {
        let mut all: Vec<PodView> = self.read_pods(|pods| pods.iter().map(view::pod_view).collect());
        all.sort_unstable_by(|a, b| (&a.namespace, &a.name, &a.uid).cmp(&(&b.namespace, &b.name, &b.uid)));
        all
    }

    /// Newest pod of this namespace and name.
    pub fn find_pod(&self, namespace: &str, name: &str) -> Option<PodView> {
        self.read_pods(|pods| {
            let named = pods
                .iter()
                .filter(|entry| entry.pod.namespace == namespace && entry.pod.name == name);
            named.max_by_key(|entry| entry.created_at).map(view::pod_view)
        })
    }

    /// Forgets an offline plugin, its pods and the deletes kept for it.
    ///
    /// # Errors
    /// NOT_FOUND when it is not known, FAILED_PRECONDITION when it is connected.
    pub fn forget(&self, plugin: &str) -> Result<(), Status> {
        let view = self.plugin_view(plugin);
        self.registry.forget(plugin)?;
        self.calls.forget_plugin(plugin);
        self.count_pending();
        for entry in self.change_pods(|pods| pods.forget(plugin)) {
            self.publish_gone(Some(view::pod_view(&entry)));
        }
        self.publish_forgotten(view);
        Ok(())
    }

    /// All that is there as ADDED, then changes. A receiver that lags gets RecvError::Lagged: start again.
    pub fn watch(&self) -> (Vec<WatchEvent>, tokio::sync::broadcast::Receiver<WatchEvent>) {
        self.watch_all()
    }

    /// Prometheus/OpenMetrics text.
    pub fn metrics_text(&self) -> String {
        self.metrics.text()
    }

    /// Counts a refused request; `reason` is from a closed set.
    pub fn count_refused(&self, reason: &'static str) {
        self.metrics.refuse(reason);
    }

    /// The checks of `/readyz`. A hub without plugins is ready: plugins come through the same listener.
    pub fn checks(&self) -> Vec<Check> {
        let draining = self.is_draining();
        let plugins = self.registry.connected_count();
        let pods = self.read_pods(|pods| pods.iter().count());
        vec![
            Check {
                name: "serving",
                ok: !draining,
                detail: if draining {
                    "shutting down"
                } else {
                    "takes links and requests"
                }
                .into(),
            },
            Check {
                name: "plugins",
                ok: true,
                detail: format!("{plugins} connected"),
            },
            Check {
                name: "pods",
                ok: pods < pods::MAX_PODS,
                detail: format!("{pods} of at most {} known", pods::MAX_PODS),
            },
            Check {
                name: "logs",
                ok: self.log_slots.available_permits() > 0,
                detail: format!(
                    "{} of {} log streams free",
                    self.log_slots.available_permits(),
                    self.max_log_streams()
                ),
            },
        ]
    }

    /// GoAway to all plugins; returns when all links ended or the grace is over.
    pub async fn drain(&self, grace: Duration) {
        self.draining.store(true, Ordering::Relaxed);
        let connections = self.registry.connections();
        for connection in &connections {
            connection.drain(
                CloseCode::DRAIN,
                "the hub is shutting down",
                grace,
                limits::BACKOFF_MIN,
            );
        }
        let all = futures::future::join_all(connections.iter().map(crate::connection::Connection::ended));
        if tokio::time::timeout(grace, all).await.is_err() {
            for connection in &connections {
                connection.close(CloseCode::DRAIN, "the hub is shutting down");
            }
        }
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    fn max_log_streams(&self) -> usize {
        max_log_streams()
    }

    fn read_pods<R>(&self, read: impl FnOnce(&PodTable) -> R) -> R {
        read(&lock(&self.pods))
    }

    /// Changes the pod table, drops what is too old in it, and counts it.
    fn change_pods<R>(&self, change: impl FnOnce(&mut PodTable) -> R) -> R {
        let (result, pruned, count) = {
            let mut pods = lock(&self.pods);
            let result = change(&mut pods);
            let pruned = pods.prune(Instant::now());
            (result, pruned, pods.len())
        };
        self.metrics.pods.set(i64::try_from(count).unwrap_or(i64::MAX));
        for entry in pruned {
            self.publish_gone(Some(view::pod_view(&entry)));
        }
        result
    }

    fn candidates(&self) -> Vec<Candidate> {
        let mut candidates = self.registry.candidates();
        self.read_pods(|pods| {
            for candidate in &mut candidates {
                candidate.pods = pods.active(&candidate.name);
            }
        });
        candidates
    }

    /// Whether at least one plugin is known and every known one has told all its pods.
    fn all_in_sync(&self) -> bool {
        let names = self.registry.each(|name, _| name.to_owned());
        !names.is_empty() && names.iter().all(|name| self.registry.route(name).is_some())
    }

    /// Pods that a plugin should have and that a list did not tell.
    fn expected(&self, plugin: &str, seen: &HashSet<String>) -> Vec<PodRef> {
        self.read_pods(|pods| {
            let expected = pods
                .of(plugin)
                .filter(|entry| entry.deleting || (entry.answered && !entry.is_terminal()));
            expected
                .filter(|entry| !seen.contains(&entry.pod.uid))
                .map(|entry| entry.pod.clone())
                .collect()
        })
    }

    fn has_suspects(&self, plugin: &str) -> bool {
        self.read_pods(|pods| pods.of(plugin).any(pods::Entry::is_suspected))
    }

    /// The view of a pod before a change, if somebody watches.
    fn watched_view(&self, uid: &str) -> Option<PodView> {
        if self.changes.receiver_count() == 0 {
            None
        } else {
            self.pod_view(uid)
        }
    }

    /// A create did not come through: its pod is not there. What a plugin has told of it stays.
    fn drop_unanswered(&self, uid: &str) {
        let unanswered = |pods: &mut PodTable| {
            let known = pods.get(uid).is_some_and(|entry| !entry.answered);
            if known { pods.remove(uid) } else { None }
        };
        if let Some(entry) = self.change_pods(unanswered) {
            self.publish_gone(Some(view::pod_view(&entry)));
        }
    }

    /// The plugin says that a pod is deleted and gone.
    fn drop_deleted(&self, uid: &str) {
        let deleting = |pods: &mut PodTable| {
            let known = pods.get(uid).is_some_and(|entry| entry.deleting);
            if known { pods.remove(uid) } else { None }
        };
        if let Some(entry) = self.change_pods(deleting) {
            self.publish_gone(Some(view::pod_view(&entry)));
        }
    }

    /// Enters the pod of a create. False when the table is full.
    fn begin_pod(&self, new: &create::NewPod, plugin: &str) -> bool {
        match self.change_pods(|pods| pods.begin(new.pod.clone(), plugin, new.names.clone())) {
            Applied::Refused => false,
            Applied::Added => {
                self.publish_pod(&new.pod.uid, watch::Change::Added);
                true
            }
            _ => true,
        }
    }

    fn count_pending(&self) {
        let count = i64::try_from(self.calls.pending_count()).unwrap_or(i64::MAX);
        self.metrics.deletes_pending.set(count);
    }

    fn count_plugins(&self) {
        let count = i64::try_from(self.registry.connected_count()).unwrap_or(i64::MAX);
        self.metrics.plugins_connected.set(count);
    }
}

/// Each open log stream may have this much under way in the hub.
fn max_log_streams() -> usize {
    usize::try_from(limits::HUB_LOG_BUDGET / limits::LOG_CREDIT_FLOWING)
        .unwrap_or(usize::MAX)
        .min(Semaphore::MAX_PERMITS)
}
