//! What the hub does with what a plugin sends by itself.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{
    Hub, Way,
    pods::{Applied, Source},
    registry::{Mark, Phase, SessionNumber},
    watch::Change,
};
use crate::{
    code::{CloseCode, Code, reason},
    connection::{BoxFuture, CancelSignal, Connection, LogSink, Peer},
    planted::{self, Bug},
    wire::{
        EventAck, LogsEnd, NodeStatus, PodEvent, PodEventType, PodState, Request, Response, Status,
        StreamLogs,
    },
};

/// How long events stay without an acknowledgement after they could not be kept.
const UNKEPT_AGAIN: Duration = Duration::from_secs(1);

/// One session's side of the hub. Frames of a fenced session change nothing.
#[derive(Debug)]
pub(crate) struct Link {
    /// Weak: a connection that outlives the hub must not keep it.
    pub(crate) hub: Weak<Hub>,
    pub(crate) plugin: String,
    pub(crate) number: SessionNumber,
    pub(crate) way: Way,
    /// Of the outbox in Register; 0 without `events`.
    pub(crate) epoch: u64,
    /// All its pods were told over this session.
    pub(crate) in_sync: AtomicBool,
    /// Something new was applied and is to be acknowledged.
    pub(crate) to_ack: Notify,
}

impl Link {
    /// Applies a state that came over this link, and says what it did. `asked`: when the plugin was asked for it, if it
    /// was.
    pub(crate) fn apply(&self, hub: &Hub, asked: Option<Instant>, state: PodState) -> Applied {
        let source = Source {
            plugin: &self.plugin,
            epoch: self.epoch,
            session: self.number,
            way: self.way,
            in_sync: self.in_sync.load(Ordering::Relaxed),
            asked,
            now: Instant::now(),
        };
        hub.apply_state(source, state)
    }

    /// Acknowledges what was applied, as often as the connection takes it: many events, one ack. Ends with the connection.
    pub(crate) async fn acknowledge(&self, connection: &Connection) {
        loop {
            self.to_ack.notified().await;
            let Some(hub) = self.hub.upgrade() else { return };
            let Some(mark) = hub.registry.mark(&self.plugin, self.number) else {
                return;
            };
            // What is acknowledged is forgotten by the plugin: it must be on the disk here. Boxed: a link at rest keeps no
            // room for that wait.
            if !planted::is(Bug::EarlyAck)
                && let Err(unkept) = Box::pin(hub.store.committed()).await
            {
                tracing::warn!(plugin = %self.plugin, error = %unkept, "events are not acknowledged");
                drop(hub);
                Box::pin(tokio::time::sleep(UNKEPT_AGAIN)).await;
                self.to_ack.notify_one();
                continue;
            }
            hub.registry.kept(&self.plugin, mark);
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
        Box::pin(std::future::ready(Response::failed(status)))
    }

    fn stream_logs(&self, _: StreamLogs, _: LogSink) -> BoxFuture<Result<LogsEnd, Status>> {
        Box::pin(async {
            Err(Status::new(Code::Unimplemented, reason::NO_SUCH_OP, "the hub has no logs").not_started())
        })
    }

    fn pod_event(&self, event: PodEvent) {
        let Some(hub) = self.hub.upgrade() else { return };
        // None: this session is fenced.
        let Some(known) = hub.registry.mark(&self.plugin, self.number) else {
            return;
        };
        if event.epoch == 0 || event.epoch != self.epoch {
            // Not acknowledged: its number means nothing in the epoch that was registered.
            hub.metrics.event("wrong_epoch");
            return;
        }
        let gone = event.r#type() == PodEventType::Deleted;
        let mark = Mark {
            epoch: event.epoch,
            seq: event.seq,
        };
        // A plugin that forgot the acknowledgement sends it again; its pod may have gone since.
        if known.covers(mark) && !gone {
            hub.metrics.event("repeated");
            self.to_ack.notify_one();
            return;
        }
        let applied = match event.state {
            // Pushed before the delete, and overtaken by its answer: the plugin keeps it on its disk first.
            Some(state) if !gone && hub.has_deleted(&state) => Applied::Unchanged,
            Some(mut state) => {
                state.seq = event.seq;
                let uid = state.pod.as_ref().filter(|_| gone).map(|pod| pod.uid.clone());
                let applied = self.apply(&hub, None, state);
                if let Some(uid) = uid
                    && applied != Applied::Refused
                {
                    hub.pod_gone(&uid);
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
        if applied == Applied::Suspected {
            // The second look comes soon.
            hub.registry.read_now(&self.plugin);
        }
        // Also what was refused is acknowledged, so that it never stalls the outbox.
        if hub.registry.applied(&self.plugin, self.number, mark).is_some() {
            hub.mark_changed(&self.plugin);
            self.to_ack.notify_one();
        }
    }

    fn event_ack(&self, _: EventAck) {}

    fn node_status(&self, status: NodeStatus) {
        let Some(hub) = self.hub.upgrade() else { return };
        if hub.registry.node_status(&self.plugin, self.number, status) {
            hub.plugin_changed(&self.plugin);
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        hub::{
            HubConfig,
            placement::{Wish, place},
        },
        wire::{Outbox, PodRef, Presence, Register},
    };

    fn attach(hub: &Arc<Hub>, instance: &str) -> Link {
        let register = Register {
            plugin: "p".into(),
            instance: instance.into(),
            outbox: Some(Outbox {
                epoch: 7,
                ..Outbox::default()
            }),
            ..Register::default()
        };
        let attached = hub.registry.attach(register, "test".into(), Way::Link).unwrap();
        Link {
            hub: Arc::downgrade(hub),
            plugin: "p".into(),
            number: attached.number,
            way: Way::Link,
            epoch: 7,
            in_sync: AtomicBool::new(true),
            to_ack: Notify::new(),
        }
    }

    #[tokio::test]
    async fn only_a_pod_that_is_free_to_go_anywhere_has_all_plugins_looked_at() {
        let hub = Hub::new(HubConfig::default()).unwrap();
        for (name, node) in [("a", "pool"), ("b", "pool"), ("c", "")] {
            let register = Register {
                plugin: name.into(),
                labels: [("node".to_owned(), node.to_owned())].into(),
                ..Register::default()
            };
            hub.registry.attach(register, "test".into(), Way::Link).unwrap();
        }
        let seen = |scope, annotation, node_name| {
            let wish = Wish {
                scope,
                annotation,
                node_name,
            };
            let candidates = hub.candidates(wish);
            (candidates.len(), place(wish, &candidates).ok())
        };
        let some = |name: &str| Some(name.to_owned());
        assert_eq!(seen(Some("b"), None, Some("a")), (0, some("b")));
        assert_eq!(seen(None, Some("b"), Some("a")), (0, some("b")));
        assert_eq!(seen(None, Some(""), Some("c")), (1, some("c")));
        assert_eq!(seen(None, None, Some("pool")), (3, some("a")));
        assert_eq!(seen(None, None, None), (3, None));
    }

    fn event(epoch: u64, seq: u64) -> PodEvent {
        let state = PodState {
            pod: Some(PodRef::new(
                "11111111-2222-3333-4444-555555555555",
                "default",
                "demo",
            )),
            presence: Presence::Present.into(),
            ..PodState::default()
        };
        PodEvent {
            epoch,
            seq,
            state: Some(state),
            ..PodEvent::default()
        }
    }

    fn mark(hub: &Hub, link: &Link) -> Mark {
        hub.registry.mark("p", link.number).unwrap()
    }

    #[tokio::test]
    async fn frames_of_a_fenced_session_change_nothing() {
        let hub = Hub::new(HubConfig::default()).unwrap();
        let old = attach(&hub, "one");
        let new = attach(&hub, "two");
        old.pod_event(event(7, 1));
        old.node_status(NodeStatus {
            ready: false,
            reason: "old".into(),
            ..NodeStatus::default()
        });
        old.going_away(CloseCode::DRAIN, "old", Duration::ZERO);
        assert!(!hub.registry.detach("p", old.number, "old"));
        assert!(hub.pods().is_empty());
        assert_eq!(mark(&hub, &new), Mark::default());
        let view = hub.plugins().remove(0);
        assert!(view.connected && view.ready, "{}", view.reason);

        new.pod_event(event(7, 2));
        assert_eq!(hub.pods().len(), 1);
        assert_eq!(mark(&hub, &new), Mark { epoch: 7, seq: 2 });
    }

    #[tokio::test]
    async fn an_event_of_an_epoch_that_was_not_registered_is_not_acknowledged() {
        let hub = Hub::new(HubConfig::default()).unwrap();
        let link = attach(&hub, "one");
        link.pod_event(event(8, 1));
        assert!(hub.pods().is_empty());
        assert_eq!(mark(&hub, &link), Mark::default());
    }

    #[tokio::test]
    async fn an_event_that_comes_again_does_not_bring_back_a_pod_that_has_gone() {
        let hub = Hub::new(HubConfig::default()).unwrap();
        let link = attach(&hub, "one");
        let first = event(7, 1);
        let uid = first.state.clone().unwrap().pod.unwrap().uid;
        link.pod_event(first.clone());
        assert_eq!(hub.pods().len(), 1);
        hub.delete_confirmed("p", Way::Link, &uid, false);
        assert!(hub.pods().is_empty());
        link.pod_event(first);
        assert!(hub.pods().is_empty());
        assert_eq!(mark(&hub, &link), Mark { epoch: 7, seq: 1 });
    }

    #[tokio::test]
    async fn an_event_that_a_deletes_answer_has_overtaken_does_not_bring_its_pod_back() {
        let hub = Hub::new(HubConfig::default()).unwrap();
        let link = attach(&hub, "one");
        link.pod_event(event(7, 1));
        let uid = event(7, 1).state.unwrap().pod.unwrap().uid;
        let _deleting = hub.calls.enter_delete(&uid);
        hub.delete_confirmed("p", Way::Link, &uid, false);
        assert!(hub.pods().is_empty());
        link.pod_event(event(7, 2));
        assert!(hub.pods().is_empty());
        // It is acknowledged: sent again, it would say nothing new.
        assert_eq!(mark(&hub, &link), Mark { epoch: 7, seq: 2 });
    }

    #[tokio::test]
    async fn an_event_that_is_refused_is_acknowledged() {
        let hub = Hub::new(HubConfig::default()).unwrap();
        let link = attach(&hub, "one");
        let mut foreign = event(7, 3);
        foreign.state = None;
        link.pod_event(foreign);
        assert_eq!(mark(&hub, &link), Mark { epoch: 7, seq: 3 });
    }
}
