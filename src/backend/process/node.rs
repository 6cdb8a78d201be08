//! What is told of the node: what it has, and whether pods can be started.

use std::sync::{Arc, Weak};

use super::{Shared, quantity};
use crate::wire::NodeStatus;

impl Shared {
    /// Looks at the machine and the state directory.
    pub(super) async fn node(self: &Arc<Self>) -> NodeStatus {
        let shared = self.clone();
        let looked = tokio::task::spawn_blocking(move || shared.look_at_node()).await;
        looked.unwrap_or_else(|error| NodeStatus {
            reason: format!("the node could not be looked at: {error}"),
            ..NodeStatus::default()
        })
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

/// Tells the node again whenever it has changed, until the backend is dropped.
pub(super) async fn watch(shared: Weak<Shared>) {
    let mut told = None;
    loop {
        let interval = {
            let Some(shared) = shared.upgrade() else { return };
            let now = shared.node().await;
            if told.as_ref() != Some(&now) {
                if let (Some(_), Some(events)) = (&told, shared.events.get()) {
                    tracing::info!(ready = now.ready, reason = now.reason, "the node has changed");
                    events.node(now.clone());
                }
                told = Some(now);
            }
            shared.config.node_interval
        };
        tokio::time::sleep(interval).await;
    }
}
