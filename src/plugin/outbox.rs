//! The events that the hub has not acknowledged yet: at most one, the latest, for each pod.
//!
//! ```text
//!            push                take                 ack
//!   (none) ---------> PENDING ---------> IN_FLIGHT ---------> gone
//!                        ^                   |
//!                        +---- loss, push ---+      a push takes a new seq
//! ```
//!
//! Pure: no clock, no I/O. The journal keeps what [`Outbox::restore`] takes up again; an outbox that was not kept says
//! so by a new epoch.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    num::NonZeroU64,
};

use crate::{
    limits,
    planted::{self, Bug},
    wire::{self, EventAck, PodEvent},
};

/// What is kept of an outbox over a restart.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The epoch.
    pub epoch: NonZeroU64,
    /// The sequence number that the next event takes.
    pub next_seq: u64,
    /// The highest sequence number acknowledged.
    pub acked_seq: u64,
    /// The events kept, lowest sequence number first.
    pub events: Vec<PodEvent>,
}

/// What a Welcome meant for the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumed {
    /// The hub has applied part of this epoch; the rest is pending again.
    Same,
    /// The hub knows nothing of this epoch; everything kept is pending again.
    Fresh,
    /// The hub has applied events of this epoch that were never sent: this outbox is an old copy of itself. It
    /// must be renewed before it sends anything, as the hub would take new events for old ones.
    Behind,
}

/// Pod uid -> the latest event, with its place in the order.
#[derive(Debug)]
pub struct Outbox {
    epoch: NonZeroU64,
    next_seq: u64,
    acked_seq: u64,
    /// Highest number ever sent or shown in this epoch: nothing above can truly be acknowledged.
    sent_seq: u64,
    /// On this connection, everything up to here was sent. Between `acked_seq` and `sent_seq`.
    cursor: u64,
    /// Sent on this connection and not acknowledged, also those that were replaced since.
    in_flight: VecDeque<u64>,
    window: usize,
    by_seq: BTreeMap<u64, PodEvent>,
    by_uid: HashMap<String, u64>,
}

impl Outbox {
    /// An empty outbox of a new epoch.
    pub fn new(epoch: NonZeroU64) -> Self {
        Self {
            epoch,
            next_seq: 1,
            acked_seq: 0,
            sent_seq: 0,
            cursor: 0,
            in_flight: VecDeque::new(),
            window: limits::MAX_UNACKED_EVENTS as usize,
            by_seq: BTreeMap::new(),
            by_uid: HashMap::new(),
        }
    }

    /// Takes up a kept outbox. Everything in it counts as possibly sent, and is pending.
    pub fn restore(snapshot: Snapshot) -> Self {
        let mut outbox = Self::new(snapshot.epoch);
        outbox.next_seq = snapshot.next_seq.max(1);
        outbox.acked_seq = snapshot.acked_seq.min(outbox.next_seq - 1);
        outbox.sent_seq = outbox.next_seq - 1;
        outbox.cursor = outbox.acked_seq;
        for event in snapshot.events {
            let known = outbox.acked_seq < event.seq && event.seq < outbox.next_seq;
            if let (true, Some(uid)) = (known, uid(&event).map(str::to_owned)) {
                outbox.insert(uid, event);
            }
        }
        outbox
    }

    /// What must be kept to take this outbox up again.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            epoch: self.epoch,
            next_seq: self.next_seq,
            acked_seq: self.acked_seq,
            events: self.by_seq.values().cloned().collect(),
        }
    }

    /// Keeps the latest state of a pod; it replaces an older one and takes the next number. False when the event
    /// names no pod.
    pub fn push(&mut self, mut event: PodEvent) -> bool {
        let Some(uid) = uid(&event).map(str::to_owned) else {
            return false;
        };
        event.epoch = self.epoch.get();
        event.seq = self.next_seq;
        if let Some(state) = &mut event.state {
            state.seq = self.next_seq;
        }
        self.next_seq += 1;
        self.insert(uid, event);
        true
    }

    /// The next event to send, when one is pending and the window is open. It is in flight then. Events above
    /// `durable` are kept back: one that was sent and then forgotten would have its number given to another.
    pub fn take(&mut self, durable: u64) -> Option<PodEvent> {
        if self.in_flight.len() >= self.window {
            return None;
        }
        let (&seq, event) = self.by_seq.range(self.cursor + 1..).next()?;
        if seq > durable {
            return None;
        }
        self.cursor = seq;
        self.sent_seq = self.sent_seq.max(seq);
        self.in_flight.push_back(seq);
        Some(event.clone())
    }

    /// The hub is told states that are true as of this number: an ack of it is one of what was sent.
    pub fn shown(&mut self, seq: u64) {
        self.sent_seq = self.sent_seq.max(seq.min(self.next_seq - 1));
    }

    /// The event with the highest number.
    pub fn newest(&self) -> Option<&PodEvent> {
        self.by_seq.last_key_value().map(|(_, event)| event)
    }

    /// The hub has everything of this epoch up to and including `ack.seq`. An ack of another epoch is ignored, one
    /// beyond what was sent counts for what was sent.
    pub fn ack(&mut self, ack: EventAck) {
        if ack.epoch != self.epoch.get() {
            return;
        }
        let seq = ack.seq.min(self.sent_seq);
        if seq <= self.acked_seq {
            return;
        }
        self.acked_seq = seq;
        self.cursor = self.cursor.max(seq);
        while self.in_flight.front().is_some_and(|&sent| sent <= seq) {
            self.in_flight.pop_front();
        }
        while let Some(first) = self.by_seq.first_entry().filter(|first| *first.key() <= seq) {
            if let Some(uid) = uid(&first.remove()) {
                self.by_uid.remove(uid);
            }
        }
    }

    /// Whether something was not sent on this connection.
    pub fn has_pending(&self) -> bool {
        self.by_seq.range(self.cursor + 1..).next().is_some()
    }

    /// The connection is lost: what was in flight is pending again, under its own number.
    pub fn lost(&mut self) {
        self.in_flight.clear();
        if planted::is(Bug::OutboxForgetsInFlight) {
            return;
        }
        self.cursor = self.acked_seq;
    }

    /// A new connection is up: drops what the hub has applied, makes the rest pending, sets the window (0: default).
    pub fn resume(&mut self, applied: EventAck, max_unacked: u32) -> Resumed {
        self.lost();
        self.window = match max_unacked {
            0 => limits::MAX_UNACKED_EVENTS as usize,
            window => window as usize,
        };
        if applied.epoch != self.epoch.get() {
            return Resumed::Fresh;
        }
        if applied.seq > self.sent_seq {
            return Resumed::Behind;
        }
        self.ack(applied);
        Resumed::Same
    }

    /// Starts a new epoch; everything kept is pending, in its order.
    pub fn renew(&mut self, epoch: NonZeroU64) {
        let events = std::mem::take(&mut self.by_seq);
        let window = self.window;
        *self = Self::new(epoch);
        self.window = window;
        for event in events.into_values() {
            self.push(event);
        }
    }

    /// The highest number given so far: states read now are true as of it. 0 when none was given.
    pub fn seq(&self) -> u64 {
        self.next_seq - 1
    }

    /// The epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch.get()
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.by_seq.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.by_seq.is_empty()
    }

    /// How Register describes it.
    pub fn describe(&self) -> wire::Outbox {
        wire::Outbox {
            epoch: self.epoch.get(),
            oldest_seq: self.by_seq.keys().next().copied().unwrap_or(self.next_seq),
            next_seq: self.next_seq,
            acked_seq: self.acked_seq,
        }
    }

    fn insert(&mut self, uid: String, event: PodEvent) {
        let seq = event.seq;
        if let Some(older) = self.by_uid.insert(uid, seq) {
            self.by_seq.remove(&older);
        }
        self.by_seq.insert(seq, event);
    }
}

fn uid(event: &PodEvent) -> Option<&str> {
    let uid = event.state.as_ref()?.pod.as_ref()?.uid.as_str();
    (!uid.is_empty()).then_some(uid)
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
