//! What the handler pushed and the runtime has not delivered: the outbox and the latest node status.

use std::{
    num::NonZeroU64,
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use tokio::sync::Notify;

use super::outbox::Outbox;
use crate::wire::{NodeStatus, PodEvent, PodEventType, PodState};

/// Shared by [`super::Events`], the runtime and the calls. Holds at most one event a pod.
#[derive(Debug)]
pub(super) struct Feed {
    kept: Mutex<Kept>,
    changed: Notify,
}

#[derive(Debug)]
pub(super) struct Kept {
    pub(super) outbox: Outbox,
    /// A node status that was pushed and not sent.
    pub(super) node: Option<NodeStatus>,
}

impl Feed {
    pub(super) fn new(outbox: Outbox) -> Self {
        Self {
            kept: Mutex::new(Kept { outbox, node: None }),
            changed: Notify::new(),
        }
    }

    /// Never held over an await.
    pub(super) fn lock(&self) -> MutexGuard<'_, Kept> {
        // What is kept is whole after every statement, so a panic elsewhere does not spoil it.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, kind: PodEventType, state: PodState) {
        let event = PodEvent {
            r#type: kind.into(),
            state: Some(state),
            at: Some(SystemTime::now().into()),
            ..PodEvent::default()
        };
        if self.lock().outbox.push(event) {
            self.wake();
        } else {
            tracing::warn!("an event without a pod uid was dropped");
        }
    }

    pub(super) fn push_node(&self, status: NodeStatus) {
        self.lock().node = Some(status);
        self.wake();
    }

    /// Makes [`Feed::changed`] return, now or at its next call.
    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }

    /// Waits until there may be something to send. One waiter; cancel safe.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// An epoch for an outbox that is not kept over restarts.
pub(super) fn random_epoch() -> NonZeroU64 {
    let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
    NonZeroU64::new(random).unwrap_or(NonZeroU64::MIN)
}
