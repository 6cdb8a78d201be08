//! The table of streams: what is open, in either direction.

use std::{collections::VecDeque, time::Instant};

use super::credit::{RecvWindow, SendCredit, cost};
use crate::{
    limits,
    planted::{self, Bug},
    wire::{Codec, LogChunk, Side, StreamId, StreamMap, frame::Body},
};

/// How many bytes one stream may have queued for writing, whatever its credit: keeps memory flat.
const MAX_QUEUED: usize = 256 << 10;

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

/// What this side sends on a stream: chunks, and at last the Response of a call of the peer.
#[derive(Debug, Default)]
pub(crate) struct Sending {
    credit: SendCredit,
    chunks: VecDeque<Queued>,
    /// The data of the last of them, while more joins it; empty otherwise.
    joined: Vec<u8>,
    /// Leaves when no chunk is left. Of its own, so that a call without chunks needs no queue.
    answer: Option<Queued>,
    /// Whether the schedule knows that something is in the queue.
    pub(crate) listed: bool,
    pub(crate) queued_bytes: usize,
    /// Whether the owner found no room and wants to hear of some.
    blocked: bool,
}

impl Sending {
    pub(crate) fn new(credit: SendCredit) -> Self {
        Self {
            credit,
            ..Self::default()
        }
    }

    /// Takes room and credit for a chunk of `len` bytes; false, and the owner is told later, when they are not there.
    #[must_use]
    pub(crate) fn claim(&mut self, len: usize) -> bool {
        if self.queued_bytes >= MAX_QUEUED || !self.credit.spend(cost(len)) {
            self.blocked = true;
            return false;
        }
        self.queued_bytes += len + limits::CHUNK_OVERHEAD as usize;
        true
    }

    /// More credit came. True when the owner wants to hear of it.
    #[must_use]
    pub(crate) fn grant(&mut self, bytes: u64) -> bool {
        self.credit.grant(bytes);
        bytes > 0 && self.queued_bytes < MAX_QUEUED && std::mem::take(&mut self.blocked)
    }

    /// A chunk of `len` bytes was written. True when the owner wants to hear of it.
    #[must_use]
    pub(crate) fn left(&mut self, len: usize) -> bool {
        self.queued_bytes = (self.queued_bytes).saturating_sub(len + limits::CHUNK_OVERHEAD as usize);
        self.queued_bytes < MAX_QUEUED
            && self.credit.affords(cost(limits::LOG_CHUNK))
            && std::mem::take(&mut self.blocked)
    }

    /// A chunk for which there was room.
    pub(crate) fn push(&mut self, chunk: Queued) {
        debug_assert!(
            self.joined.is_empty(),
            "what was joined belongs to the last chunk"
        );
        self.chunks.push_back(chunk);
    }

    /// Puts a small chunk of a log at the end of the one before it, which waits to be written and ends where this one
    /// begins: a reader gets the same bytes at the same positions, for the price of one frame. False when it does not
    /// follow; none when it would, and there is no credit or room for it (as [`Sending::claim`]).
    pub(crate) fn join(&mut self, chunk: &LogChunk) -> Option<bool> {
        let Some(Queued {
            body: Body::LogChunk(last),
            ..
        }) = self.chunks.back_mut()
        else {
            return Some(false);
        };
        let (Some(from), Some(at)) = (last.at, chunk.at) else {
            return Some(false);
        };
        let so_far = last.data.len().max(self.joined.len());
        let len = chunk.data.len();
        let follows = at.epoch == from.epoch
            && at.offset == last.next_offset
            && chunk.gap_bytes == 0
            && !chunk.reset
            && len > 0
            && so_far > 0
            && so_far + len <= limits::LOG_CHUNK;
        if !follows {
            return Some(false);
        }
        // The overhead of the chunk is paid for already.
        if self.queued_bytes >= MAX_QUEUED || !self.credit.spend(len as u64) {
            self.blocked = true;
            return None;
        }
        self.queued_bytes += len;
        if self.joined.is_empty() {
            self.joined = Vec::with_capacity(limits::LOG_CHUNK);
            self.joined.extend_from_slice(&std::mem::take(&mut last.data));
        }
        self.joined.extend_from_slice(&chunk.data);
        last.next_offset = chunk.next_offset;
        Some(true)
    }

    /// The last chunk gets what has joined it.
    pub(crate) fn settle(&mut self, codec: &dyn Codec, id: StreamId) {
        if self.joined.is_empty() {
            return;
        }
        if let Some(mut last) = self.chunks.pop_back() {
            if let Body::LogChunk(chunk) = &mut last.body {
                chunk.data = std::mem::take(&mut self.joined).into();
            }
            self.chunks.push_back(Queued::of(codec, id, last.body));
        }
    }

    /// What the call of the peer ends with.
    pub(crate) fn end(&mut self, answer: Queued) {
        self.answer = Some(answer);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.answer.is_none()
    }

    pub(crate) fn chunks_left(&self) -> usize {
        self.chunks.len()
    }

    pub(crate) fn has_answer_only(&self) -> bool {
        self.chunks.is_empty() && self.answer.is_some()
    }

    /// The size of the next frame.
    pub(crate) fn next_size(&self) -> Option<usize> {
        self.chunks.front().or(self.answer.as_ref()).map(|next| next.size)
    }

    /// Takes the next frame.
    pub(crate) fn next(&mut self) -> Option<Queued> {
        if planted::is(Bug::EndBeforeChunks) && self.answer.is_some() {
            return self.answer.take();
        }
        self.chunks.pop_front().or_else(|| self.answer.take())
    }

    /// What waits will not be written.
    pub(crate) fn clear(&mut self) {
        self.chunks.clear();
        self.joined = Vec::new();
        self.queued_bytes = 0;
    }
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

/// A body that waits to be written, with the bytes that its frame will take.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) body: Body,
    pub(crate) size: usize,
}

impl Queued {
    /// Of a body that every form can carry. Its size matters only where it may stand beside others.
    pub(crate) fn of(codec: &dyn Codec, id: StreamId, body: Body) -> Self {
        let size = match codec.joins() {
            true => codec.size(id, &body).unwrap_or_default(),
            false => 0,
        };
        Self { body, size }
    }
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
