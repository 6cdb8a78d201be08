//! What the handler pushed and the runtime has not delivered: the outbox and the latest node status. With a journal,
//! nothing leaves before it is durable.

use std::{
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::SystemTime,
};

use tokio::sync::Notify;

use super::{
    journal::{Entry, Journal, Kept, Mark, random_epoch},
    outbox::{Outbox, Resumed},
};
use crate::{
    planted::{self, Bug},
    wire::{self, EventAck, NodeStatus, PodEvent, PodEventType, PodState},
};

/// Shared by [`super::Events`], the runtime and the calls. Holds at most one event a pod.
///
/// Its lock is taken before the journal's: what the journal says happened in the order of the outbox.
#[derive(Debug)]
pub(super) struct Feed {
    waiting: Mutex<Waiting>,
    changed: Notify,
    journal: OnceLock<Journal>,
}

#[derive(Debug)]
struct Waiting {
    outbox: Outbox,
    /// A node status that was pushed and not sent.
    node: Option<NodeStatus>,
    /// The latest that the handler said, sent or not.
    said: Option<NodeStatus>,
    /// Why the node was told to be not ready, though the handler may say otherwise.
    overruled: Option<String>,
}

impl Feed {
    pub(super) fn new(outbox: Outbox) -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                outbox,
                node: None,
                said: None,
                overruled: None,
            }),
            changed: Notify::new(),
            journal: OnceLock::new(),
        }
    }

    /// Goes on where the journal's outbox stood. What was pushed before comes after it.
    pub(super) fn keep_in(&self, journal: Journal) {
        let mut waiting = self.lock();
        let kept = Outbox::restore(journal.outbox());
        let early = std::mem::replace(&mut waiting.outbox, kept).snapshot().events;
        if self.journal.set(journal).is_ok() {
            for event in early {
                self.put(&mut waiting, event);
            }
        }
    }

    pub(super) fn push(&self, kind: PodEventType, state: PodState) {
        let event = PodEvent {
            r#type: kind.into(),
            state: Some(state),
            at: Some(SystemTime::now().into()),
            ..PodEvent::default()
        };
        if self.put(&mut self.lock(), event) {
            self.wake();
        }
    }

    /// The next event to send, as the window and the journal allow.
    pub(super) fn take(&self) -> Option<PodEvent> {
        let mut waiting = self.lock();
        let durable = if planted::is(Bug::EventBeforeDurable) {
            u64::MAX
        } else {
            self.durable_seq(&waiting.outbox)
        };
        waiting.outbox.take(durable)
    }

    /// For a hub that polls: kept events would only pile up. The new epoch says that some are missing.
    pub(super) fn discard(&self) {
        let mut waiting = self.lock();
        if !waiting.outbox.is_empty() {
            let epoch = random_epoch();
            waiting.outbox = Outbox::new(epoch);
            if let Some(journal) = self.journal.get() {
                journal.record(Entry::Epoch(epoch));
            }
        }
    }

    /// While nobody takes events they pile up, one a pod: past so many a hub that comes reads all states instead.
    pub(super) fn bound(&self, most: usize) {
        if self.lock().outbox.len() > most {
            self.discard();
        }
    }

    pub(super) fn ack(&self, ack: EventAck) {
        let mut waiting = self.lock();
        self.acked(&mut waiting, |outbox| outbox.ack(ack));
        // The window may be open again.
        if waiting.outbox.has_pending() {
            drop(waiting);
            self.wake();
        }
    }

    /// The connection is lost.
    pub(super) fn lost(&self) {
        self.lock().outbox.lost();
    }

    /// Fits the outbox to what a new hub connection has applied. One that is behind has begun a new epoch.
    pub(super) fn resume(&self, applied: EventAck, max_unacked: u32) -> Resumed {
        let mut waiting = self.lock();
        let resumed = self.acked(&mut waiting, |outbox| outbox.resume(applied, max_unacked));
        if resumed == Resumed::Behind {
            let epoch = random_epoch();
            waiting.outbox.renew(epoch);
            if let Some(journal) = self.journal.get() {
                let events = waiting.outbox.snapshot().events;
                let kept = events.iter().filter_map(Kept::new).map(Entry::Event);
                journal.record_all(std::iter::once(Entry::Epoch(epoch)).chain(kept));
            }
        }
        resumed
    }

    /// The number as of which states that are read from now on are true. It is durable, so no other event will
    /// ever take it.
    pub(super) fn as_of(&self) -> u64 {
        let mut waiting = self.lock();
        let seq = waiting.outbox.seq().min(self.durable_seq(&waiting.outbox));
        waiting.outbox.shown(seq);
        seq
    }

    /// How Register describes the outbox, and whether it is empty.
    pub(super) fn describe(&self) -> (wire::Outbox, bool) {
        let waiting = self.lock();
        (waiting.outbox.describe(), waiting.outbox.is_empty())
    }

    pub(super) fn push_node(&self, status: NodeStatus) {
        let mut waiting = self.lock();
        waiting.said = Some(status.clone());
        waiting.node = Some(status);
        drop(waiting);
        self.wake();
    }

    /// What is pushed from here on is newer than what Register will say.
    pub(super) fn ask_node(&self) {
        self.lock().node = None;
    }

    /// What Register says of the node, from what the handler answered.
    pub(super) fn register_node(&self, status: NodeStatus) -> NodeStatus {
        let mut waiting = self.lock();
        if waiting.node.is_none() {
            waiting.said = Some(status.clone());
        }
        waiting.overruled = self.broken();
        overrule(status, waiting.overruled.as_deref())
    }

    /// What is true of the node, whatever the handler says.
    pub(super) fn overruled(&self, status: NodeStatus) -> NodeStatus {
        overrule(status, self.broken().as_deref())
    }

    /// The node status to send, when the handler or the journal has news.
    pub(super) fn take_node(&self) -> Option<NodeStatus> {
        let mut waiting = self.lock();
        let broken = self.broken();
        if broken != waiting.overruled {
            waiting.overruled = broken;
            waiting.node = waiting.said.clone();
        }
        let status = waiting.node.take()?;
        Some(overrule(status, waiting.overruled.as_deref()))
    }

    /// Makes [`Feed::changed`] return, now or at its next call.
    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }

    /// Waits until there may be something to send. One waiter; cancel safe.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// False when there is nothing to send: the event names no pod, or says what was told last.
    fn put(&self, waiting: &mut Waiting, event: PodEvent) -> bool {
        let journal = self.journal.get();
        if let (Some(journal), Some(state)) = (journal, &event.state)
            && let Some(pod) = &state.pod
            && journal.told(&pod.uid) == Some(Mark::of(state))
        {
            return false;
        }
        if !waiting.outbox.push(event) {
            tracing::warn!("an event without a pod uid was dropped");
            return false;
        }
        if let Some(journal) = journal
            && let Some(kept) = waiting.outbox.newest().and_then(Kept::new)
        {
            journal.record(Entry::Event(kept));
        }
        true
    }

    fn acked<T>(&self, waiting: &mut Waiting, change: impl FnOnce(&mut Outbox) -> T) -> T {
        let before = waiting.outbox.describe().acked_seq;
        let outcome = change(&mut waiting.outbox);
        let after = waiting.outbox.describe().acked_seq;
        if let Some(journal) = self.journal.get()
            && after > before
        {
            journal.record_ack(after);
        }
        outcome
    }

    fn durable_seq(&self, outbox: &Outbox) -> u64 {
        match self.journal.get() {
            Some(journal) => journal.durable_seq(outbox.epoch()),
            None => u64::MAX,
        }
    }

    fn broken(&self) -> Option<String> {
        Some(self.journal.get()?.broken()?.to_string())
    }

    /// Never held over an await.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // What is kept is whole after every statement, so a panic elsewhere does not spoil it.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A plugin that cannot keep what it promises takes no pods, whatever its handler says.
fn overrule(status: NodeStatus, broken: Option<&str>) -> NodeStatus {
    match broken {
        Some(reason) => NodeStatus {
            ready: false,
            reason: reason.to_owned(),
            ..status
        },
        None => status,
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::wire::PodRef;

    #[test]
    fn an_ack_wakes_who_sends_only_where_something_waits_for_the_window() {
        let feed = Feed::new(Outbox::new(random_epoch()));
        feed.resume(EventAck::default(), 1);
        for uid in ["a", "b"] {
            let state = PodState::absent(PodRef::new(uid, "default", "a"));
            feed.push(PodEventType::Deleted, state);
        }
        let epoch = feed.describe().0.epoch;
        let woken = || feed.changed().now_or_never().is_some();
        let take = || feed.take().map(|event| event.seq);
        assert!(woken());
        assert_eq!((take(), take()), (Some(1), None));
        feed.ack(EventAck { epoch, seq: 1 });
        assert!(woken());
        assert_eq!(take(), Some(2));
        feed.ack(EventAck { epoch, seq: 2 });
        assert!(!woken());
    }

    #[test]
    fn events_that_nobody_takes_are_let_go_of_past_their_bound_and_the_epoch_says_so() {
        let feed = Feed::new(Outbox::new(random_epoch()));
        let push = |uid: &str| {
            let state = PodState::absent(PodRef::new(uid, "default", "a"));
            feed.push(PodEventType::Deleted, state);
        };
        ["a", "b", "c", "c"].into_iter().for_each(push);
        let (before, _) = feed.describe();
        feed.bound(3);
        assert_eq!(feed.describe(), (before, false));
        push("d");
        feed.bound(3);
        let (after, empty) = feed.describe();
        assert!(empty && after.epoch != before.epoch);
    }
}
