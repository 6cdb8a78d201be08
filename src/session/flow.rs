//! Chunks and credit on the streams that carry bytes.

use std::time::Instant;

use super::{
    Event, Session,
    credit::cost,
    streams::{IncomingState, Kind, OutgoingState},
};
use crate::{
    code::{Code, reason},
    limits,
    wire::{Data, LogChunk, Status, StreamId, frame::Body},
};

/// How many bytes one stream may have queued for writing, whatever its credit: keeps memory flat.
const MAX_QUEUED: usize = 256 << 10;

/// What became of a chunk.
#[derive(Debug, PartialEq)]
pub enum Offer<T> {
    /// It will be written.
    Taken,
    /// No credit or no room now; it is given back. [`Event::Writable`] follows when trying again is worth it.
    Full(T),
    /// The stream has ended or was cancelled.
    Gone,
}

impl Session {
    /// Offers a chunk of a log that the peer reads.
    pub fn send_chunk(&mut self, id: StreamId, chunk: LogChunk) -> Offer<LogChunk> {
        let len = chunk.data.len();
        let Some(stream) = self.streams.incoming.get_mut(&id) else {
            return Offer::Gone;
        };
        if stream.state != IncomingState::Running || stream.kind != Kind::Logs || len > limits::MAX_LOG_CHUNK
        {
            return Offer::Gone;
        }
        if stream.queued_bytes >= MAX_QUEUED || !stream.send.spend(cost(len)) {
            stream.blocked = true;
            return Offer::Full(chunk);
        }
        stream.begun = true;
        stream.deadline = None;
        stream.queued_bytes += len + limits::CHUNK_OVERHEAD as usize;
        stream.queue.push_back(Body::LogChunk(chunk));
        self.schedule.bytes_ready(id);
        Offer::Taken
    }

    /// Offers body bytes of a call, in either direction.
    pub fn send_data(&mut self, id: StreamId, data: Data) -> Offer<Data> {
        let len = data.data.len();
        if len > limits::MAX_LOG_CHUNK {
            return Offer::Gone;
        }
        if let Some(stream) = self.streams.incoming.get_mut(&id) {
            if stream.state != IncomingState::Running {
                return Offer::Gone;
            }
            if stream.queued_bytes >= MAX_QUEUED || !stream.send.spend(cost(len)) {
                stream.blocked = true;
                return Offer::Full(data);
            }
            stream.queued_bytes += len + limits::CHUNK_OVERHEAD as usize;
            stream.queue.push_back(Body::Data(data));
        } else if let Some(stream) = self.streams.outgoing.get_mut(&id) {
            if stream.state == OutgoingState::Cancelling {
                return Offer::Gone;
            }
            if !stream.send.spend(cost(len)) {
                return Offer::Full(data);
            }
            stream.queue.push_back(Body::Data(data));
        } else {
            return Offer::Gone;
        }
        self.schedule.bytes_ready(id);
        Offer::Taken
    }

    /// The reader of a stream took chunks of this cost (each its bytes plus 64).
    pub fn consumed(&mut self, id: StreamId, cost: u64) {
        let recv = match self.streams.outgoing.get_mut(&id) {
            Some(stream) if stream.state == OutgoingState::Cancelling => None,
            Some(stream) => stream.recv.as_mut(),
            None => self
                .streams
                .incoming
                .get_mut(&id)
                .and_then(|stream| stream.recv.as_mut()),
        };
        if let Some(grant) = recv.and_then(|window| window.consume(cost)) {
            self.schedule.credit(id, grant);
        }
    }

    pub(super) fn handle_credit(&mut self, id: StreamId, bytes: u64) {
        if let Some(stream) = self.streams.incoming.get_mut(&id) {
            stream.send.grant(bytes);
            if stream.blocked && stream.queued_bytes < MAX_QUEUED {
                stream.blocked = false;
                self.events.push_back(Event::Writable(id));
            }
        } else if let Some(stream) = self.streams.outgoing.get_mut(&id) {
            stream.send.grant(bytes);
            self.events.push_back(Event::Writable(id));
        } else {
            self.stats.ignored += 1;
        }
    }

    /// Queued bytes of a stream have left.
    pub(super) fn bytes_left(&mut self, id: StreamId, len: usize) {
        if let Some(stream) = self.streams.incoming.get_mut(&id) {
            stream.queued_bytes = stream
                .queued_bytes
                .saturating_sub(len + limits::CHUNK_OVERHEAD as usize);
            if stream.blocked
                && stream.queued_bytes < MAX_QUEUED
                && stream.send.affords(cost(limits::LOG_CHUNK))
            {
                stream.blocked = false;
                self.events.push_back(Event::Writable(id));
            }
        }
    }

    /// A chunk or data of `cost` came on a known stream; `event` wraps it.
    pub(super) fn handle_bytes(
        &mut self,
        id: StreamId,
        len: usize,
        cost: u64,
        now: Instant,
        event: impl FnOnce(StreamId) -> Event,
    ) {
        if let Some(stream) = self.streams.outgoing.get_mut(&id) {
            if stream.state == OutgoingState::Cancelling {
                return;
            }
            if stream.kind == Kind::Logs {
                stream.deadline = None;
            }
            if len <= limits::MAX_LOG_CHUNK && stream.recv.as_mut().is_none_or(|window| window.receive(cost))
            {
                return self.events.push_back(event(id));
            }
            self.stats.flow_violations += 1;
            let text = "the peer sent more than its credit";
            self.end_outgoing(id, Status::new(Code::Internal, reason::FLOW_VIOLATION, text), now);
        } else if let Some(stream) = self.streams.incoming.get_mut(&id) {
            if stream.state != IncomingState::Running {
                return;
            }
            if len <= limits::MAX_LOG_CHUNK && stream.recv.as_mut().is_some_and(|window| window.receive(cost))
            {
                return self.events.push_back(event(id));
            }
            self.stats.flow_violations += 1;
            let text = "more was sent than the credit allows";
            self.expire_incoming(id, Status::new(Code::Internal, reason::FLOW_VIOLATION, text));
        } else {
            self.stats.ignored += 1;
        }
    }
}
