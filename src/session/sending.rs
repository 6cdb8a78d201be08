//! What one stream has to write: chunks under credit, and the answer behind them.

use std::collections::VecDeque;

use super::credit::{SendCredit, cost};
use crate::{
    code::{Code, reason},
    limits,
    planted::{self, Bug},
    wire::{Codec, LogChunk, Response, Status, StreamId, frame::Body},
};

/// How many bytes one stream may have queued for writing, whatever its credit: keeps memory flat.
const MAX_QUEUED: usize = 256 << 10;

/// What this side sends on a stream: chunks, and at last the Response of a call of the peer.
#[derive(Debug, Default)]
pub(crate) struct Sending {
    credit: SendCredit,
    chunks: VecDeque<Queued>,
    /// The data of the last of them, while more joins it; empty otherwise.
    joined: Vec<u8>,
    /// Leaves when no chunk is left. Of its own, so that a call without chunks needs no queue.
    answer: Option<Answer>,
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
        self.spend(cost(len))
    }

    /// Takes room and credit for so many bytes, or notes that the owner waits for them.
    fn spend(&mut self, bytes: u64) -> bool {
        let spent = self.queued_bytes < MAX_QUEUED && self.credit.spend(bytes);
        match spent {
            true => self.queued_bytes += bytes as usize,
            false => self.blocked = true,
        }
        spent
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
        let (joined, len) = (self.joined.len(), chunk.data.len());
        let follows = self.last().is_some_and(|last| {
            let so_far = last.data.len().max(joined);
            let (Some(from), Some(at)) = (last.at, chunk.at) else {
                return false;
            };
            at.epoch == from.epoch
                && at.offset == last.next_offset
                && chunk.gap_bytes == 0
                && !chunk.reset
                && len > 0
                && so_far > 0
                && so_far + len <= limits::LOG_CHUNK
        });
        if !follows {
            return Some(false);
        }
        // The overhead of the chunk is paid for already.
        if !self.spend(len as u64) {
            return None;
        }
        let last = self.last()?;
        last.next_offset = chunk.next_offset;
        let first = std::mem::take(&mut last.data);
        if self.joined.is_empty() {
            self.joined = Vec::with_capacity(limits::LOG_CHUNK);
            self.joined.extend_from_slice(&first);
        }
        self.joined.extend_from_slice(&chunk.data);
        Some(true)
    }

    /// The chunk at the end, if it is one of a log.
    fn last(&mut self) -> Option<&mut LogChunk> {
        match &mut self.chunks.back_mut()?.body {
            Body::LogChunk(last) => Some(last),
            _ => None,
        }
    }

    /// The size of the next frame, which is whole from now on.
    pub(crate) fn peek(&mut self, codec: &dyn Codec, id: StreamId) -> Option<usize> {
        if self.chunks.len() == 1 {
            self.settle(codec, id);
        }
        match self.chunks.front() {
            Some(chunk) => Some(chunk.size),
            None => self.answer.as_ref().map(|answer| answer.size),
        }
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
    pub(crate) fn end(&mut self, answer: Answer) {
        self.answer = Some(answer);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.answer.is_none()
    }

    pub(crate) fn has_answer_only(&self) -> bool {
        self.chunks.is_empty() && self.answer.is_some()
    }

    /// Takes the next frame.
    pub(crate) fn next(&mut self) -> Option<Queued> {
        if planted::is(Bug::EndBeforeChunks) && self.answer.is_some() {
            return self.answer.take().map(Queued::from);
        }
        let chunk = self.chunks.pop_front();
        chunk.or_else(|| self.answer.take().map(Queued::from))
    }

    /// What waits will not be written.
    pub(crate) fn clear(&mut self) {
        self.chunks.clear();
        self.joined = Vec::new();
        self.queued_bytes = 0;
    }
}

/// The Response at the end, with the bytes that its frame will take: a fifth of the size of a [`Queued`], and every call
/// has room for one.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) response: Box<Response>,
    pub(crate) size: usize,
}

impl Answer {
    /// One of over `max` bytes, or that the form cannot carry, becomes a failure that says so.
    pub(crate) fn new(codec: &dyn Codec, id: StreamId, response: Box<Response>, max: u64) -> Self {
        let (response, size) = measured(codec, id, response);
        let status = match size {
            Ok(size) if size as u64 <= max => return Self { response, size },
            Ok(size) => {
                let text = format!("the answer has {size} bytes, and the peer takes {max}");
                Status::new(Code::ResourceExhausted, reason::MESSAGE_TOO_LARGE, text)
            }
            Err(status) => status,
        };
        Self::failed(codec, id, status)
    }

    /// A failure: every form can carry it, and every peer takes it.
    pub(crate) fn failed(codec: &dyn Codec, id: StreamId, status: Status) -> Self {
        let (response, size) = measured(codec, id, Response::failed(status).into());
        let size = size.unwrap_or_default();
        Self { response, size }
    }
}

fn measured(
    codec: &dyn Codec,
    id: StreamId,
    response: Box<Response>,
) -> (Box<Response>, Result<usize, Status>) {
    let body = Body::Response(response);
    let size = codec.size(id, &body);
    match body {
        Body::Response(response) => (response, size),
        _ => (Box::default(), size),
    }
}

impl From<Answer> for Queued {
    fn from(answer: Answer) -> Self {
        Self {
            body: Body::Response(answer.response),
            size: answer.size,
        }
    }
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
