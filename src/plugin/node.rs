//! Asking the handler about its node.

use std::{sync::Arc, time::Duration};

use super::{Handler, guard};
use crate::wire::NodeStatus;

/// What the handler says of its node; one that does not answer in time, or panics, is not ready.
pub(super) async fn ask<H: Handler>(handler: &Arc<H>, limit: Duration) -> NodeStatus {
    let handler = Arc::clone(handler);
    let asked = guard::guard("node", async move { Ok(handler.node().await) });
    let why = match tokio::time::timeout(limit, asked).await {
        Ok(Ok(status)) => return status,
        Ok(Err(status)) => status.message,
        Err(_) => format!("the plugin did not tell its node's status within {limit:?}"),
    };
    tracing::warn!(%why, "the node counts as not ready");
    NodeStatus {
        ready: false,
        reason: why,
        ..NodeStatus::default()
    }
}
