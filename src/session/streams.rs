//! The table of streams: what is open, in either direction.

use std::time::Instant;

use super::{credit::RecvWindow, sending::Sending};
use crate::wire::{Side, StreamId, StreamMap};

/// What a stream carries; log streams have limits and rules of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Call,
    Logs,
}

/// A call that this side opened.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) kind: Kind,
    pub(crate) state: OutgoingState,
    /// Absent when chunks of the answer have come: of a log, or of a call with bodies.
    pub(crate) deadline: Option<Instant>,
    /// A body may travel with it.
    pub(crate) body: bool,
    /// When it was opened or last heard of, for the probe.
    pub(crate) since: Instant,
    pub(crate) send: Sending,
    /// None: nothing bounds what comes, for a peer that knows no credit.
    pub(crate) recv: Option<RecvWindow>,
    /// Carries secrets: no frame of it is compressed.
    pub(crate) sensitive: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutgoingState {
    /// The opening frame is not written.
    Queued,
    /// Written, not answered.
    Sent,
    /// Ended for its owner; the slot waits for the Response.
    Cancelling,
}

/// A call that the peer opened.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) kind: Kind,
    pub(crate) state: IncomingState,
    pub(crate) deadline: Option<Instant>,
    pub(crate) send: Sending,
    /// None: nothing may come (log streams).
    pub(crate) recv: Option<RecvWindow>,
    /// Carries secrets: no frame of it is compressed.
    pub(crate) sensitive: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IncomingState {
    /// The owner works on it.
    Running,
    /// The peer gave up; the owner was told.
    Cancelled,
    /// Its deadline passed: answered, but the owner still works.
    Expired,
    /// Answered; the Response is not written.
    Ending,
}

/// All streams of a session. Those that end together end in the order in which they were opened.
#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) outgoing: StreamMap<Outgoing>,
    pub(crate) incoming: StreamMap<Incoming>,
    /// The next id of this side.
    pub(crate) next: Option<StreamId>,
    /// The highest id that the peer opened; 0 before.
    pub(crate) last_peer: StreamId,
    /// No deadline of any stream is earlier. May be early, never late.
    pub(crate) next_deadline: Option<Instant>,
    /// No call of this side waits since earlier. May be early, never late.
    pub(crate) waiting_since: Option<Instant>,
    pub(crate) outgoing_logs: usize,
    pub(crate) incoming_logs: usize,
}

impl Streams {
    pub(crate) fn new(side: Side) -> Self {
        Self {
            outgoing: StreamMap::default(),
            incoming: StreamMap::default(),
            next: Some(StreamId::first(side)),
            last_peer: StreamId::LINK,
            next_deadline: None,
            waiting_since: None,
            outgoing_logs: 0,
            incoming_logs: 0,
        }
    }

    pub(crate) fn holds_room(&self) -> bool {
        self.outgoing.capacity() > 0 || self.incoming.capacity() > 0
    }

    pub(crate) fn rest(&mut self) {
        self.outgoing.shrink_to_fit();
        self.incoming.shrink_to_fit();
    }

    pub(crate) fn note_deadline(&mut self, at: Instant) {
        self.next_deadline = Some(self.next_deadline.map_or(at, |next| next.min(at)));
    }

    pub(crate) fn insert_outgoing(&mut self, id: StreamId, stream: Outgoing) {
        if let Some(at) = stream.deadline {
            self.note_deadline(at);
            self.waiting_since.get_or_insert(stream.since);
        }
        self.outgoing_logs += usize::from(stream.kind == Kind::Logs);
        self.outgoing.insert(id, stream);
    }

    pub(crate) fn remove_outgoing(&mut self, id: StreamId) -> Option<Outgoing> {
        let stream = self.outgoing.remove(&id)?;
        self.outgoing_logs -= usize::from(stream.kind == Kind::Logs);
        Some(stream)
    }

    pub(crate) fn insert_incoming(&mut self, id: StreamId, stream: Incoming) {
        if let Some(at) = stream.deadline {
            self.note_deadline(at);
        }
        self.incoming_logs += usize::from(stream.kind == Kind::Logs);
        self.incoming.insert(id, stream);
    }

    pub(crate) fn remove_incoming(&mut self, id: StreamId) -> Option<Incoming> {
        let stream = self.incoming.remove(&id)?;
        self.incoming_logs -= usize::from(stream.kind == Kind::Logs);
        Some(stream)
    }

    /// How many of this kind this side has open.
    pub(crate) fn outgoing_count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Logs => self.outgoing_logs,
            Kind::Call => self.outgoing.len() - self.outgoing_logs,
        }
    }

    /// How many calls with bodies this side has open, those included that were given up and not answered.
    pub(crate) fn outgoing_bodies(&self) -> usize {
        self.outgoing.values().filter(|stream| stream.body).count()
    }

    /// How many of this kind the peer has open.
    pub(crate) fn incoming_count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Logs => self.incoming_logs,
            Kind::Call => self.incoming.len() - self.incoming_logs,
        }
    }

    /// The call that was sent longest ago and not answered, with the latest deadline of all such calls: how
    /// long a silent peer that is still alive underneath may be busy. Looks at every call: for timeouts only.
    pub(crate) fn unanswered(&self) -> Option<Unanswered> {
        let waiting = || {
            self.outgoing
                .values()
                .filter(|s| s.state == OutgoingState::Sent)
                .filter_map(|s| s.deadline.map(|deadline| (s.since, deadline)))
        };
        let since = waiting().map(|(since, _)| since).min()?;
        let until = waiting().map(|(_, deadline)| deadline).max()?;
        Some(Unanswered { since, until })
    }
}

/// Calls that wait for an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unanswered {
    /// When the oldest was opened.
    pub(crate) since: Instant,
    /// The latest deadline.
    pub(crate) until: Instant,
}
