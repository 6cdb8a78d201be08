//! What the hub does with what a plugin sends by itself.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{
    Hub,
    pods::{Applied, Source},
    registry::{Mark, Phase, SessionNumber},
    watch::Change,
};
use crate::{
    code::{CloseCode, Code, reason},
    connection::{BoxFuture, CancelSignal, Connection, LogSink, Peer},
    wire::{
        EventAck, LogsEnd, NodeStatus, PodEvent, PodEventType, PodState, Request, Response, Status,
        StreamLogs,
    },
};

/// One session's side of the hub. Frames of a fenced session change nothing.
#[derive(Debug)]
pub(crate) struct Link {
    /// Weak: a connection that outlives the hub must not keep it.
    pub(crate) hub: Weak<Hub>,
    pub(crate) plugin: String,
    pub(crate) number: SessionNumber,
    /// Of the outbox in Register; 0 without `events`.
    pub(crate) epoch: u64,
    /// Something new was applied and is to be acknowledged.
    pub(crate) to_ack: Notify,
}

impl Link {
    /// Applies a state, tells watchers, and says what it did.
    pub(crate) fn apply(&self, hub: &Hub, state: PodState) -> Applied {
        let uid = state.pod.as_ref().map(|pod| pod.uid.clone()).unwrap_or_default();
        let before = hub.watched_view(&uid);
        let source = Source {
            plugin: &self.plugin,
            epoch: self.epoch,
            now: Instant::now(),
        };
        let applied = hub.change_pods(|pods| pods.apply(source, state));
        match applied {
            Applied::Added => hub.publish_pod(&uid, Change::Added),
            Applied::Changed => hub.publish_pod(&uid, Change::Modified),
            Applied::Removed => hub.publish_gone(before),
            Applied::Lost => {
                hub.metrics.pods_lost.inc();
                tracing::warn!(plugin = %self.plugin, uid = %uid, "pod is lost: its plugin does not have it any more");
                hub.publish_pod(&uid, Change::Modified);
            }
            Applied::Unchanged | Applied::Suspected | Applied::Refused => {}
        }
        applied
    }

    /// Acknowledges what was applied, as often as the connection takes it: many events, one ack. Ends with the connection.
    pub(crate) async fn acknowledge(&self, connection: &Connection) {
        loop {
            self.to_ack.notified().await;
            let Some(hub) = self.hub.upgrade() else { return };
            let Some(mark) = hub.registry.mark(&self.plugin, self.number) else {
                return;
            };
            if !connection.send_ack(EventAck {
                epoch: mark.epoch,
                seq: mark.seq,
            }) {
                return;
            }
        }
    }

    /// The hub, unless this session is fenced.
    fn present(&self) -> Option<Arc<Hub>> {
        self.hub
            .upgrade()
            .filter(|hub| hub.registry.is_present(&self.plugin, self.number))
    }
}

impl Peer for Link {
    fn request(&self, _: Request, _: CancelSignal) -> BoxFuture<Response> {
        let status =
            Status::new(Code::Unimplemented, reason::NO_SUCH_OP, "the hub serves no calls").not_started();
        Box::pin(async {
            Response {
                status: Some(status),
                result: None,
            }
        })
    }

    fn stream_logs(&self, _: StreamLogs, _: LogSink) -> BoxFuture<Result<LogsEnd, Status>> {
        Box::pin(async {
            Err(Status::new(Code::Unimplemented, reason::NO_SUCH_OP, "the hub has no logs").not_started())
        })
    }

    fn pod_event(&self, event: PodEvent) {
        let Some(hub) = self.present() else { return };
        if event.epoch == 0 || event.epoch != self.epoch {
            // Not acknowledged: its number means nothing in the epoch that was registered.
            hub.metrics.event("wrong_epoch");
            return;
        }
        let gone = event.r#type() == PodEventType::Deleted;
        let applied = match event.state {
            Some(mut state) => {
                state.seq = event.seq;
                let uid = state.pod.as_ref().map(|pod| pod.uid.clone()).unwrap_or_default();
                let applied = self.apply(&hub, state);
                if gone && applied != Applied::Refused {
                    hub.drop_deleted(&uid);
                }
                applied
            }
            None => Applied::Refused,
        };
        hub.metrics.event(match applied {
            Applied::Refused => "refused",
            Applied::Unchanged => "unchanged",
            _ => "applied",
        });
        // Also what was refused is acknowledged, so that it never stalls the outbox.
        let mark = Mark {
            epoch: event.epoch,
            seq: event.seq,
        };
        if hub.registry.applied(&self.plugin, self.number, mark).is_some() {
            self.to_ack.notify_one();
        }
    }

    fn event_ack(&self, _: EventAck) {}

    fn node_status(&self, status: NodeStatus) {
        let Some(hub) = self.hub.upgrade() else { return };
        if hub.registry.node_status(&self.plugin, self.number, status) {
            hub.publish_plugin(&self.plugin, Change::Modified);
        }
    }

    fn going_away(&self, code: CloseCode, reason: &str, _: Duration) {
        let Some(hub) = self.present() else { return };
        let reason: String = reason.chars().take(256).collect();
        tracing::info!(plugin = %self.plugin, code = code.0, reason = ?reason, "plugin is going away");
        if hub.registry.set_phase(&self.plugin, self.number, Phase::Draining) {
            hub.publish_plugin(&self.plugin, Change::Modified);
        }
    }
}
