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
//! | `record`, `store` | every change of what is kept, and where it survives a restart |
//! | `recover` | what becomes of what an earlier life has left |
//! | `calls`, `flight` | what is under way: one operation a uid, its result for all who ask |
//! | `create`, `attempt`, `retry`, `delete` | how a create or delete gets through, once |
//! | `call` | one unary call |
//! | `exchange` | a request to a plugin's own HTTP endpoints, streamed |
//! | `logs` | how a log is read over lost links, streamed or pulled |
//! | `link`, `peer`, `sync` | the life of one link, what it sends by itself, how the table stays true |
//! | `rest` | interLink's six calls, as the HTTP edge makes them |
//! | `way` | link or HTTP: which one a plugin is reached by, and who looks on |
//! | `view`, `watch`, `metrics`, `squeeze`, `readiness` | what people and programs see |
//!
//! Locks are short and never held over an await; none is taken while another is held, but for that of the store's queue,
//! which is taken last: rows must not overtake each other.

mod attempt;
mod call;
mod calls;
mod config;
mod create;
mod delete;
mod exchange;
mod flight;
mod link;
mod logs;
mod metrics;
mod peer;
mod placement;
mod pods;
mod readiness;
mod record;
mod recover;
mod registry;
mod rest;
mod retry;
mod squeeze;
mod store;
mod sync;
mod view;
mod watch;
mod way;

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::{
    calls::CallTable,
    metrics::Metrics,
    placement::{Candidate, Wish},
    pods::PodTable,
    registry::{Registry, lock},
    store::Store,
};
use crate::{
    code::CloseCode,
    limits,
    transport::Transport,
    wire::{PodRef, Status, Subprotocol},
};

pub use config::{CallMeta, Compression, DeleteWhenOffline, HubConfig, Identity};
pub use exchange::{Exchange, Upload};
pub use logs::{LogPiece, LogQuery, LogViewer};
pub use placement::{ANNOTATION, NODE_LABEL};
pub use store::{MemoryFile, StateDir, StoreError};
pub use view::{Check, PluginView, PodView};
pub use watch::WatchEvent;
pub use way::{Onlooker, Way};

/// The hub. Shared as `Arc<Hub>`.
#[derive(Debug)]
pub struct Hub {
    config: HubConfig,
    registry: Registry,
    pods: Mutex<PodTable>,
    calls: CallTable,
    metrics: Metrics,
    changes: tokio::sync::broadcast::Sender<WatchEvent>,
    onlookers: Mutex<BTreeMap<String, Arc<dyn Onlooker>>>,
    /// One for each log stream that may be open in the whole hub.
    log_slots: Arc<Semaphore>,
    /// One for each request to plugins' own endpoints that may be under way in the whole hub.
    exchanges: Arc<Semaphore>,
    /// Cancelled when this hub begins to go away.
    draining: CancellationToken,
    store: Store,
    /// This life is over: what is recorded is left to the next.
    closed: CancellationToken,
}

impl Hub {
    /// A hub with nothing connected. It knows what its state directory holds, and goes on with that: call it inside a
    /// tokio runtime when there is one.
    ///
    /// # Errors
    /// Names the setting, its value and the bound; or what is wrong with the state directory.
    pub fn new(config: HubConfig) -> Result<Arc<Self>, String> {
        config.validate()?;
        let metrics = Metrics::default();
        let (store, recovered) =
            Store::open(&config.state_dir, metrics.store.clone()).map_err(|error| error.to_string())?;
        let log_slots = Arc::new(Semaphore::new(config.max_log_streams()));
        let hub = Arc::new(Self {
            config,
            registry: Registry::default(),
            pods: Mutex::default(),
            calls: CallTable::default(),
            metrics,
            changes: watch::channel(),
            onlookers: Mutex::default(),
            log_slots,
            exchanges: Arc::new(Semaphore::new(limits::HUB_EXCHANGES)),
            draining: CancellationToken::new(),
            store,
            closed: CancellationToken::new(),
        });
        hub.recover(recovered);
        Ok(hub)
    }

    /// Runs one accepted link to its end: handshake, sync, calls. Dropping the future ends the link.
    pub fn serve_link<T: Transport>(
        self: Arc<Self>,
        transport: T,
        identity: Identity,
    ) -> impl Future<Output = ()> + Send {
        link::serve(self, transport, identity, Subprotocol::Proto)
    }

    /// [`Hub::serve_link`] of a link on which this subprotocol was agreed.
    pub fn serve_link_as<T: Transport>(
        self: Arc<Self>,
        transport: T,
        identity: Identity,
        subprotocol: Subprotocol,
    ) -> impl Future<Output = ()> + Send {
        link::serve(self, transport, identity, subprotocol)
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
        self.plugin_forgotten(plugin);
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

    /// GoAway to all plugins; returns when all links ended or the grace is over.
    pub async fn drain(&self, grace: Duration) {
        // Creates that wait and are not recorded are answered now; those at a plugin have the grace.
        self.draining.cancel();
        // Creates that are recorded go on in the next life; their callers need not wait for the end of this one.
        for (_, flight) in self.calls.creates() {
            flight.promise();
        }
        let connections = self.registry.connections();
        for connection in &connections {
            connection.drain(
                CloseCode::DRAIN,
                "the hub is shutting down",
                grace,
                limits::BACKOFF_MIN,
            );
        }
        let links = futures::future::join_all(connections.iter().map(crate::connection::Connection::ended));
        let flights = self.calls.creates();
        let creates = futures::future::join_all(flights.iter().map(|(_, flight)| flight.kept_or_over()));
        let all = async { tokio::join!(links, creates) };
        if tokio::time::timeout(grace, all).await.is_err() {
            for connection in &connections {
                connection.close(CloseCode::DRAIN, "the hub is shutting down");
            }
        }
        if let Err(unkept) = self.store.committed().await {
            tracing::error!(error = %unkept, "the last changes could not be recorded");
        }
        self.closed.cancel();
    }

    fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    fn read_pods<R>(&self, read: impl FnOnce(&PodTable) -> R) -> R {
        read(&lock(&self.pods))
    }

    /// The plugins that [`placement::place`] chooses from: none, or one, where the wish leaves no choice. Thousands of
    /// plugins are not looked at for each pod.
    fn candidates(&self, wish: Wish<'_>) -> Vec<Candidate> {
        if wish.named().is_some() {
            return Vec::new();
        }
        let mut candidates = self.registry.candidates(wish.node_name);
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
                .filter(|entry| entry.deleting.is_some() || (entry.answered && !entry.is_terminal()));
            expected
                .filter(|entry| !seen.contains(&entry.pod.uid))
                .map(|entry| entry.pod.clone())
                .collect()
        })
    }

    /// Pods of a plugin that it is to be asked about by their names.
    fn unread(&self, plugin: &str) -> Vec<PodRef> {
        self.read_pods(|pods| {
            let unread = pods.of(plugin).filter(|entry| entry.answered && entry.unread);
            unread.map(|entry| entry.pod.clone()).collect()
        })
    }

    /// Whether a create of this pod has no answer of its plugin yet.
    fn is_in_hand(&self, uid: &str) -> bool {
        self.read_pods(|pods| pods.get(uid).is_some_and(|entry| !entry.answered))
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

    fn count_pending(&self) {
        let count = i64::try_from(self.calls.pending_count()).unwrap_or(i64::MAX);
        self.metrics.deletes_pending.set(count);
    }

    fn count_plugins(&self) {
        let count = i64::try_from(self.registry.connected_count()).unwrap_or(i64::MAX);
        self.metrics.plugins_connected.set(count);
    }
}
