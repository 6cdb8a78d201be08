//! Packets made of what is scheduled: frames joined, never above what the peer takes, compressed where that may be.

use bytes::Bytes;

use super::{
    Event, Session,
    schedule::Item,
    sending::Queued,
    streams::{IncomingState, OutgoingState},
};
use crate::{
    limits,
    wire::{StreamId, codec::compress_packet, frame::Body},
};

impl Session {
    /// The next message to write: frames joined up to about 64 KiB where the form allows it, never above what the peer
    /// takes.
    pub fn poll_packet(&mut self) -> Option<Bytes> {
        let max = usize::try_from(self.peer_limits.max_message_bytes).unwrap_or(usize::MAX);
        let target = limits::PACKET_TARGET.min(max);
        let mut out = Vec::new();
        self.schedule.plain_only = false;
        let mut frames = 0;
        while out.len() < target && frames < limits::MAX_FRAMES {
            let room = if out.is_empty() {
                usize::MAX
            } else {
                max.min(2 * target) - out.len().min(max)
            };
            let Some((id, frame)) = self.next_frame(room) else {
                break;
            };
            if out.is_empty() && self.codec.joins() {
                out.reserve(self.expected(frame.size, target));
            }
            self.codec.encode_sized(&mut out, id, frame.body, frame.size);
            frames += 1;
            if !self.codec.joins() {
                break;
            }
        }
        if out.is_empty() {
            return None;
        }
        self.stats.frames_out += frames as u64;
        self.stats.packets_out += 1;
        self.check_drained();
        if self.schedule.compress
            && !self.schedule.plain_only
            && out.len() >= self.config.compress_from
            && let Some(squeezed) = compress_packet(&out, self.config.compress_level)
        {
            self.stats.packets_compressed += 1;
            if let Some(tally) = &self.config.squeezed {
                tally.sent.add(out.len() as u64, squeezed.len() as u64);
            }
            return Some(squeezed);
        }
        Some(out.into())
    }

    /// About how long the packet will be whose first frame has this size: one allocation instead of many.
    fn expected(&self, first: usize, target: usize) -> usize {
        let calls = (self.schedule.calls.len() + 1).saturating_mul(first);
        let bytes = self.schedule.ready.front().map_or(0, |id| {
            let stream = self.streams.incoming.get(id).map(|stream| &stream.send);
            let stream = stream.or_else(|| self.streams.outgoing.get(id).map(|stream| &stream.send));
            stream.map_or(0, |send| send.queued_bytes)
        });
        calls.saturating_add(bytes).min(2 * target)
    }

    /// Takes the next frame if it fits into `room` bytes.
    fn next_frame(&mut self, room: usize) -> Option<(StreamId, Queued)> {
        // Control frames are a few bytes; the room always covers one more after the last check.
        if room < 1_024 {
            return None;
        }
        if let Some((id, body)) = self.schedule.control() {
            return Some((id, Queued::of(&*self.codec, id, body)));
        }
        if let Some(status) = self.schedule.node.take() {
            let status = Queued::of(&*self.codec, StreamId::LINK, Body::NodeStatus(status));
            return Some((StreamId::LINK, status));
        }
        while let Some(item) = self.schedule.calls.pop_front() {
            match self.call_frame(item, room) {
                Ok(Some(frame)) => return Some(frame),
                Ok(None) => {}
                Err(item) => {
                    self.schedule.calls.push_front(item);
                    return None;
                }
            }
        }
        while let Some(id) = self.schedule.ready.pop_front() {
            match self.byte_frame(id, room) {
                Ok(Some(frame)) => return Some((id, frame)),
                Ok(None) => {}
                Err(TooBig) => {
                    self.schedule.ready.push_front(id);
                    return None;
                }
            }
        }
        None
    }

    /// A frame of the middle lane; none when its stream has gone; the item itself when it does not fit.
    fn call_frame(&mut self, item: Item, room: usize) -> Result<Option<(StreamId, Queued)>, Item> {
        match item {
            Item::Open(id, opening) => {
                if opening.size > room {
                    return Err(Item::Open(id, opening));
                }
                if let Some(stream) = self.streams.outgoing.get_mut(&id) {
                    stream.state = OutgoingState::Sent;
                    self.schedule.plain_only |= stream.sensitive;
                    return Ok(Some((id, opening)));
                }
                Ok(None)
            }
            Item::Answer(id) => match self.byte_frame(id, room) {
                Ok(frame) => Ok(frame.map(|frame| (id, frame))),
                Err(TooBig) => Err(Item::Answer(id)),
            },
            Item::Refusal(id, response) => {
                self.schedule.refusals -= 1;
                let refusal = Queued::of(&*self.codec, id, Body::Response(response));
                Ok(Some((id, refusal)))
            }
            Item::Event(event) if event.size > room => Err(Item::Event(event)),
            Item::Event(event) => Ok(Some((StreamId::LINK, event))),
        }
    }

    /// One frame of a stream's own queue; the stream goes to the back of the lane when it has more.
    fn byte_frame(&mut self, id: StreamId, room: usize) -> Result<Option<Queued>, TooBig> {
        let stream = match self.streams.incoming.get_mut(&id) {
            Some(stream) => Some((&mut stream.send, stream.sensitive)),
            None => (self.streams.outgoing.get_mut(&id)).map(|stream| (&mut stream.send, stream.sensitive)),
        };
        let Some((send, sensitive)) = stream else {
            return Ok(None);
        };
        if send.peek(&*self.codec, id).is_some_and(|size| size > room) {
            return Err(TooBig);
        }
        send.listed = false;
        let Some(frame) = send.next() else {
            return Ok(None);
        };
        self.schedule.plain_only |= sensitive;
        if !send.is_empty() {
            self.schedule.bytes_ready(id, send);
        }
        let len = match &frame.body {
            Body::LogChunk(chunk) => chunk.data.len(),
            Body::Data(data) => data.counts(),
            _ => {
                self.answered(id);
                return Ok(Some(frame));
            }
        };
        if send.left(len) {
            self.events.push_back(Event::Writable(id));
        }
        Ok(Some(frame))
    }

    /// The answer of an incoming call has left. An expired one keeps its slot until its owner has ended.
    fn answered(&mut self, id: StreamId) {
        if self
            .streams
            .incoming
            .get(&id)
            .is_some_and(|stream| stream.state == IncomingState::Ending)
        {
            self.streams.remove_incoming(id);
        }
        self.schedule.credits.remove(&id);
    }
}

struct TooBig;
