//! Changes as they happen, for `/api/v1/events`.

use serde::Serialize;
use tokio::sync::broadcast;

use super::{
    Hub,
    pods::Entry,
    view::{self, PluginView, PodView},
};

/// Changes that a slow watcher may be behind before it has to start again.
const BACKLOG: usize = 1024;

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

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Added,
    Modified,
    Deleted,
}

impl Change {
    fn word(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// Where changes go.
pub(crate) fn channel() -> broadcast::Sender<WatchEvent> {
    broadcast::Sender::new(BACKLOG)
}

fn event(change: Change, kind: &'static str, object: &impl Serialize) -> WatchEvent {
    WatchEvent {
        r#type: change.word(),
        kind,
        object: serde_json::to_value(object).unwrap_or_default(),
    }
}

impl Hub {
    /// Everything as ADDED, and the changes from then on; a change may be told in both.
    pub(crate) fn watch_all(&self) -> (Vec<WatchEvent>, broadcast::Receiver<WatchEvent>) {
        // Subscribed first: a change between the two is told twice rather than never.
        let changes = self.changes.subscribe();
        let plugins = self.plugins();
        let pods = self.pods();
        let all = plugins
            .iter()
            .map(|plugin| event(Change::Added, "plugin", plugin))
            .chain(pods.iter().map(|pod| event(Change::Added, "pod", pod)))
            .collect();
        (all, changes)
    }

    /// Tells watchers of a pod that is in the table.
    pub(crate) fn publish_pod(&self, uid: &str, change: Change) {
        if self.changes.receiver_count() > 0
            && let Some(view) = self.pod_view(uid)
        {
            self.tell(change, "pod", &view);
        }
    }

    /// Tells watchers of a pod that has left the table.
    pub(crate) fn publish_gone(&self, view: Option<PodView>) {
        if let Some(view) = view {
            self.tell(Change::Deleted, "pod", &view);
        }
    }

    /// The same of one that was taken out of it.
    pub(crate) fn publish_removed(&self, entry: &Entry) {
        if self.changes.receiver_count() > 0 {
            self.tell(Change::Deleted, "pod", &view::pod_view(entry));
        }
    }

    /// Tells watchers of a plugin.
    pub(crate) fn publish_plugin(&self, name: &str, change: Change) {
        if self.changes.receiver_count() > 0
            && let Some(view) = self.plugin_view(name)
        {
            self.tell(change, "plugin", &view);
        }
    }

    /// Tells watchers of a plugin that was forgotten.
    pub(crate) fn publish_forgotten(&self, view: Option<PluginView>) {
        if let Some(view) = view {
            self.tell(Change::Deleted, "plugin", &view);
        }
    }

    fn tell(&self, change: Change, kind: &'static str, object: &impl Serialize) {
        if self.changes.receiver_count() > 0 {
            // Fails only when the last watcher has just gone.
            let _ = self.changes.send(event(change, kind, object));
        }
    }
}
