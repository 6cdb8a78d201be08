//! What is told of the node: what it has, and whether pods can be started.

use std::sync::{Arc, MutexGuard, PoisonError, Weak};

use super::{Shared, quantity};
use crate::wire::NodeStatus;

impl Shared {
    /// Looks at the machine and the state directory.
    async fn node(self: &Arc<Self>) -> NodeStatus {
        let shared = self.clone();
        let looked = tokio::task::spawn_blocking(move || shared.look_at_node()).await;
        looked.unwrap_or_else(|error| NodeStatus {
            reason: format!("the node could not be looked at: {error}"),
            ..NodeStatus::default()
        })
    }

    /// The same, for a hub to which it is told now.
    pub(super) async fn tell_node(self: &Arc<Self>) -> NodeStatus {
        let now = self.node().await;
        *self.told_node() = Some(now.clone());
        now
    }

    fn told_node(&self) -> MutexGuard<'_, Option<NodeStatus>> {
        self.told_node.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look_again(self: &Arc<Self>) {
        let now = self.node().await;
        let mut told = self.told_node();
        // None: no hub has asked, and the first will be told.
        if let (Some(before), Some(events)) = (told.as_mut(), self.events.get())
            && *before != now
        {
            tracing::info!(ready = now.ready, reason = now.reason, "the node has changed");
            before.clone_from(&now);
            events.node(now);
        }
    }

    fn look_at_node(&self) -> NodeStatus {
        let config = &self.config;
        let reason = if !config.program.is_file() {
            format!(
                "the supervisor program {} is missing; start the plugin again",
                config.program.display()
            )
        } else if let Err(error) = self.store.check() {
            format!(
                "the state directory {} cannot be written: {error}",
                config.state_dir.display()
            )
        } else {
            String::new()
        };
        let capacity = config.capacity();
        NodeStatus {
            ready: reason.is_empty(),
            reason,
            cpu: quantity::cpu(capacity.cpu_millis),
            memory: match capacity.memory {
                0 => String::new(),
                bytes => quantity::bytes(bytes),
            },
            pods: config.pods.to_string(),
            accelerators: None,
            taints: None,
        }
    }
}

/// Tells the node again whenever it has changed since it was told, until the backend is dropped.
pub(super) async fn watch(shared: Weak<Shared>) {
    loop {
        let interval = {
            let Some(shared) = shared.upgrade() else { return };
            shared.look_again().await;
            shared.config.node_interval
        };
        tokio::time::sleep(interval).await;
    }
}
