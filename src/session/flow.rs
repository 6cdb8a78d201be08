//! Chunks and credit on the streams that carry bytes.

use std::time::Instant;

use super::{
    Event, Session,
    credit::{RecvWindow, cost},
    sending::Queued,
    streams::{IncomingState, Kind, OutgoingState},
};
use crate::{
    code::{Code, reason},
    limits,
    wire::{Data, LogChunk, Status, StreamId, frame::Body},
};

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
        match stream.send.join(&chunk) {
            Some(true) => return Offer::Taken,
            Some(false) => {}
            None => return Offer::Full(chunk),
        }
        if !stream.send.claim(len) {
            return Offer::Full(chunk);
        }
        stream.send.settle(&*self.codec, id);
        stream.deadline = None;
        let chunk = Queued::of(&*self.codec, id, Body::LogChunk(chunk));
        stream.send.push(chunk);
        self.schedule.bytes_ready(id, &mut stream.send);
        Offer::Taken
    }

    /// Offers body bytes of a call, in either direction.
    pub fn send_data(&mut self, id: StreamId, data: Data) -> Offer<Data> {
        let len = data.counts();
        if len > limits::MAX_LOG_CHUNK {
            return Offer::Gone;
        }
        let send = match self.streams.incoming.get_mut(&id) {
            Some(stream) if stream.kind == Kind::Call && stream.state == IncomingState::Running => {
                // The answer has begun: as of a log, only its caller knows how long it may go on.
                stream.deadline = None;
                Some(&mut stream.send)
            }
            Some(_) => None,
            None => (self.streams.outgoing.get_mut(&id))
                .filter(|stream| stream.kind == Kind::Call && stream.state != OutgoingState::Cancelling)
                .map(|stream| &mut stream.send),
        };
        let Some(send) = send else {
            return Offer::Gone;
        };
        if !send.claim(len) {
            return Offer::Full(data);
        }
        let data = Queued::of(&*self.codec, id, Body::Data(data));
        send.push(data);
        self.schedule.bytes_ready(id, send);
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
        let send = match self.streams.incoming.get_mut(&id) {
            Some(stream) => Some(&mut stream.send),
            None => self.streams.outgoing.get_mut(&id).map(|stream| &mut stream.send),
        };
        match send.map(|send| send.grant(bytes)) {
            Some(true) => self.events.push_back(Event::Writable(id)),
            Some(false) => {}
            None => self.stats.ignored += 1,
        }
    }

    /// A chunk (of a log) or data (of a call) came; `event` wraps it.
    pub(super) fn handle_bytes(
        &mut self,
        id: StreamId,
        kind: Kind,
        len: usize,
        now: Instant,
        event: impl FnOnce(StreamId) -> Event,
    ) {
        let fits = |of: Kind| of == kind && len <= limits::MAX_LOG_CHUNK;
        let cost = cost(len);
        if let Some(stream) = self.streams.outgoing.get_mut(&id) {
            if stream.state == OutgoingState::Cancelling {
                return;
            }
            // The answer has begun. Data on any other call is no answer: that one keeps its deadline.
            if stream.kind == Kind::Logs || stream.body {
                let first = stream.deadline.take().is_some();
                if first && kind == Kind::Logs && now < stream.since + limits::NEAR {
                    stream.recv.iter_mut().for_each(RecvWindow::keep);
                }
            }
            if fits(stream.kind) && stream.recv.as_mut().is_none_or(|window| window.receive(cost)) {
                return self.events.push_back(event(id));
            }
            self.stats.flow_violations += 1;
            let text = "the peer sent more than its credit";
            self.end_outgoing(id, Status::new(Code::Internal, reason::FLOW_VIOLATION, text), now);
        } else if let Some(stream) = self.streams.incoming.get_mut(&id) {
            if stream.state != IncomingState::Running {
                return;
            }
            if fits(stream.kind) && stream.recv.as_mut().is_some_and(|window| window.receive(cost)) {
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
