//! Packets made of what is scheduled: frames joined, never above what the peer takes, compressed where that may be.

use bytes::{Bytes, BytesMut};

use super::{
    Event, Session,
    schedule::Item,
    streams::{IncomingState, OutgoingState},
};
use crate::{
    limits,
    wire::{Codec, StreamId, codec::compress_packet, frame::Body},
};

/// Below this a packet is not worth compressing.
const COMPRESS_FROM: usize = 1_024;

impl Session {
    /// The next message to write: frames joined up to about 64 KiB where the form allows it, never above what the peer
    /// takes.
    pub fn poll_packet(&mut self) -> Option<Bytes> {
        let max = usize::try_from(self.peer_limits.max_message_bytes).unwrap_or(usize::MAX);
        let target = limits::PACKET_TARGET.min(max);
        let mut out = BytesMut::new();
        self.schedule.plain_only = false;
        let mut frames = 0;
        while out.len() < target && frames < limits::MAX_FRAMES {
            let room = if out.is_empty() {
                usize::MAX
            } else {
                max.min(2 * target) - out.len().min(max)
            };
            let Some((id, body)) = self.next_frame(room) else {
                break;
            };
            self.codec.encode(&mut out, id, body);
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
            && out.len() >= COMPRESS_FROM
            && let Some(squeezed) = compress_packet(&out)
        {
            self.stats.packets_compressed += 1;
            return Some(squeezed);
        }
        Some(out.freeze())
    }

    /// Takes the next frame if it fits into `room` bytes.
    fn next_frame(&mut self, room: usize) -> Option<(StreamId, Body)> {
        // Control frames are a few bytes; the room always covers one more after the last check.
        if room < 1_024 {
            return None;
        }
        if let Some(frame) = self.schedule.control() {
            return Some(frame);
        }
        if let Some(status) = self.schedule.node.take() {
            return Some((StreamId::LINK, Body::NodeStatus(status)));
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
                Ok(Some(body)) => return Some((id, body)),
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
    #[allow(
        clippy::result_large_err,
        reason = "the item goes back to the queue it came from, once a packet at most"
    )]
    fn call_frame(&mut self, item: Item, room: usize) -> Result<Option<(StreamId, Body)>, Item> {
        match item {
            Item::Open(id, body) => {
                if !fits(&*self.codec, id, &body, room) {
                    return Err(Item::Open(id, body));
                }
                if let Some(stream) = self.streams.outgoing.get_mut(&id) {
                    stream.state = OutgoingState::Sent;
                    self.schedule.plain_only |= stream.sensitive;
                    return Ok(Some((id, body)));
                }
                Ok(None)
            }
            Item::Answer(id) => match self.byte_frame(id, room) {
                Ok(body) => Ok(body.map(|body| (id, body))),
                Err(TooBig) => Err(Item::Answer(id)),
            },
            Item::Refusal(id, response) => {
                self.schedule.refusals -= 1;
                Ok(Some((id, Body::Response(response))))
            }
            Item::Event(event) => {
                let body = Body::PodEvent(event);
                if !fits(&*self.codec, StreamId::LINK, &body, room)
                    && let Body::PodEvent(event) = body
                {
                    return Err(Item::Event(event));
                }
                Ok(Some((StreamId::LINK, body)))
            }
        }
    }

    /// One frame of a stream's own queue; the stream goes to the back of the lane when it has more.
    fn byte_frame(&mut self, id: StreamId, room: usize) -> Result<Option<Body>, TooBig> {
        let stream = match self.streams.incoming.get_mut(&id) {
            Some(stream) => Some((&mut stream.send, stream.sensitive)),
            None => (self.streams.outgoing.get_mut(&id)).map(|stream| (&mut stream.send, stream.sensitive)),
        };
        let front = stream.as_ref().and_then(|(send, _)| send.queue.front());
        if front.is_some_and(|body| !fits(&*self.codec, id, body, room)) {
            return Err(TooBig);
        }
        self.schedule.is_ready.remove(&id);
        let Some((send, sensitive)) = stream else {
            return Ok(None);
        };
        let Some(body) = send.queue.pop_front() else {
            return Ok(None);
        };
        self.schedule.plain_only |= sensitive;
        if !send.queue.is_empty() {
            self.schedule.bytes_ready(id);
        }
        let len = match &body {
            Body::LogChunk(chunk) => chunk.data.len(),
            Body::Data(data) => data.counts(),
            _ => {
                self.answered(id);
                return Ok(Some(body));
            }
        };
        if send.left(len) {
            self.events.push_back(Event::Writable(id));
        }
        Ok(Some(body))
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

/// Whether a frame fits beside others. The first one of a message always does: its size was looked at before.
fn fits(codec: &dyn Codec, id: StreamId, body: &Body, room: usize) -> bool {
    room == usize::MAX || codec.size(id, body).is_ok_and(|size| size <= room)
}
