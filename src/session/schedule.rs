//! What is written next: three lanes, and packets made of them.
//!
//! ```text
//! handshake > control (goaway, pong, ping, ack, cancel, credit) > calls and events > bytes, round-robin
//! ```
//! Priority is between streams, never within one: what ends a byte stream leaves through the byte lane, behind
//! its chunks. The control lane is bounded by merging: the latest pong and ack, one sum of credit and one cancel
//! a stream.

use std::collections::{BTreeMap, HashSet, VecDeque};

use bytes::{Bytes, BytesMut};

use super::{
    Session, State,
    streams::{IncomingState, Kind, OutgoingState},
};
use crate::{
    limits,
    wire::{
        CancelStream, Credit, EventAck, GoAway, NodeStatus, Ping, PodEvent, Pong, Response, StreamId,
        codec::{compress_packet, encode_frame, encoded_len},
        frame::Body,
    },
};

/// Refused calls that may wait to be written: a peer that opens more without reading is cut off.
const MAX_REFUSALS: usize = 1_024;
/// Below this a packet is not worth compressing.
const COMPRESS_FROM: usize = 1_024;

#[derive(Debug, Default)]
pub(crate) struct Schedule {
    handshake: VecDeque<Body>,
    go_away: Option<GoAway>,
    pong: Option<u64>,
    ping: Option<u64>,
    ack: Option<EventAck>,
    cancels: VecDeque<StreamId>,
    credits: BTreeMap<StreamId, u64>,
    node: Option<NodeStatus>,
    calls: VecDeque<Item>,
    refusals: usize,
    /// Streams with something in their own queue, each once.
    ready: VecDeque<StreamId>,
    is_ready: HashSet<StreamId>,
    pub(crate) compress: bool,
}

/// One frame of the middle lane.
#[derive(Debug)]
enum Item {
    /// Opens a call of ours.
    Open(StreamId, Body),
    /// The answer that stands alone in the queue of an incoming call.
    Answer(StreamId),
    /// The answer to a call that was never let in.
    Refusal(StreamId, Response),
    Event(PodEvent),
}

impl Schedule {
    pub(crate) fn handshake(&mut self, body: Body) {
        self.handshake.push_back(body);
    }

    pub(crate) fn go_away(&mut self, go_away: GoAway) {
        self.go_away = Some(go_away);
    }

    pub(crate) fn pong(&mut self, id: u64) {
        self.pong = Some(id);
    }

    pub(crate) fn ping(&mut self, id: u64) {
        self.ping = Some(id);
    }

    pub(crate) fn credit(&mut self, id: StreamId, bytes: u64) {
        *self.credits.entry(id).or_default() += bytes;
    }

    pub(crate) fn cancel(&mut self, id: StreamId) {
        self.credits.remove(&id);
        self.cancels.push_back(id);
    }

    pub(crate) fn call(&mut self, id: StreamId, body: Body) {
        self.calls.push_back(Item::Open(id, body));
    }

    /// An opening frame that will not be written.
    pub(crate) fn forget_call(&mut self, id: StreamId) {
        self.calls
            .retain(|item| !matches!(item, Item::Open(open, _) if *open == id));
    }

    /// Control frames of a stream that has ended.
    pub(crate) fn forget_control(&mut self, id: StreamId) {
        self.credits.remove(&id);
        self.cancels.retain(|cancel| *cancel != id);
    }

    /// The answer of an incoming call was put at the end of its queue.
    pub(crate) fn answer(&mut self, id: StreamId, kind: Kind, alone: bool) {
        if kind == Kind::Call && alone && !self.is_ready.contains(&id) {
            self.calls.push_back(Item::Answer(id));
        } else {
            self.bytes_ready(id);
        }
    }

    /// False when too many wait.
    #[must_use]
    pub(crate) fn refusal(&mut self, id: StreamId, response: Response) -> bool {
        self.refusals += 1;
        self.calls.push_back(Item::Refusal(id, response));
        self.refusals <= MAX_REFUSALS
    }

    pub(crate) fn bytes_ready(&mut self, id: StreamId) {
        if self.is_ready.insert(id) {
            self.ready.push_back(id);
        }
    }

    pub(crate) fn clear_streams(&mut self) {
        let handshake = std::mem::take(&mut self.handshake);
        let go_away = self.go_away.take();
        *self = Self {
            handshake,
            go_away,
            compress: self.compress,
            ..Self::default()
        };
    }

    fn control(&mut self) -> Option<(StreamId, Body)> {
        if let Some(body) = self.handshake.pop_front() {
            return Some((StreamId::LINK, body));
        }
        if let Some(go_away) = self.go_away.take() {
            return Some((StreamId::LINK, Body::GoAway(go_away)));
        }
        if let Some(id) = self.pong.take() {
            return Some((StreamId::LINK, Body::Pong(Pong { id })));
        }
        if let Some(id) = self.ping.take() {
            return Some((StreamId::LINK, Body::Ping(Ping { id })));
        }
        if let Some(ack) = self.ack.take() {
            return Some((StreamId::LINK, Body::EventAck(ack)));
        }
        if let Some(id) = self.cancels.pop_front() {
            return Some((id, Body::CancelStream(CancelStream::default())));
        }
        let (id, bytes) = self.credits.pop_first()?;
        Some((id, Body::Credit(Credit { bytes })))
    }
}

impl Session {
    /// Pushes an event of this plugin. The caller bounds how many are unacknowledged.
    pub fn send_event(&mut self, event: PodEvent) {
        if self.may_send() {
            self.schedule.calls.push_back(Item::Event(event));
        }
    }

    /// Acknowledges events; the latest acknowledgement replaces one that has not left.
    pub fn send_ack(&mut self, ack: EventAck) {
        if self.may_send() {
            self.schedule.ack = Some(ack);
        }
    }

    /// Tells the state of this plugin's node; the latest replaces one that has not left.
    pub fn send_node_status(&mut self, status: NodeStatus) {
        if self.may_send() {
            self.schedule.node = Some(status);
        }
    }

    fn may_send(&self) -> bool {
        matches!(self.state, State::Open | State::Draining)
    }

    /// Whether [`Session::poll_packet`] would give something.
    pub fn has_output(&self) -> bool {
        let s = &self.schedule;
        !s.handshake.is_empty()
            || s.go_away.is_some()
            || s.pong.is_some()
            || s.ping.is_some()
            || s.ack.is_some()
            || !s.cancels.is_empty()
            || !s.credits.is_empty()
            || s.node.is_some()
            || !s.calls.is_empty()
            || !s.ready.is_empty()
    }

    /// The next message to write: frames joined up to about 64 KiB, never above what the peer takes.
    pub fn poll_packet(&mut self) -> Option<Bytes> {
        let max = usize::try_from(self.peer_limits.max_message_bytes).unwrap_or(usize::MAX);
        let target = limits::PACKET_TARGET.min(max);
        let mut out = BytesMut::new();
        let mut plain_only = false;
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
            plain_only |= matches!(&body, Body::Request(request) if request.sensitive);
            encode_frame(&mut out, id, body);
            frames += 1;
        }
        if out.is_empty() {
            return None;
        }
        self.stats.frames_out += frames as u64;
        self.stats.packets_out += 1;
        self.check_drained();
        if self.schedule.compress
            && !plain_only
            && out.len() >= COMPRESS_FROM
            && let Some(squeezed) = compress_packet(&out)
        {
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
    #[allow(clippy::result_large_err, reason = "the item goes back to the queue it came from, once a packet at most")]
    fn call_frame(&mut self, item: Item, room: usize) -> Result<Option<(StreamId, Body)>, Item> {
        match item {
            Item::Open(id, body) => {
                if encoded_len(id, &body) > room {
                    return Err(Item::Open(id, body));
                }
                if let Some(stream) = self.streams.outgoing.get_mut(&id) {
                    stream.state = OutgoingState::Sent;
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
                if encoded_len(StreamId::LINK, &body) > room
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
        let queue = match self.streams.incoming.get_mut(&id) {
            Some(stream) => Some(&mut stream.queue),
            None => self.streams.outgoing.get_mut(&id).map(|stream| &mut stream.queue),
        };
        if queue
            .as_ref()
            .and_then(|q| q.front())
            .is_some_and(|body| encoded_len(id, body) > room)
        {
            return Err(TooBig);
        }
        self.schedule.is_ready.remove(&id);
        let Some((body, more)) = queue.and_then(|q| q.pop_front().map(|body| (body, !q.is_empty()))) else {
            return Ok(None);
        };
        if more {
            self.schedule.bytes_ready(id);
        }
        match &body {
            Body::LogChunk(chunk) => self.bytes_left(id, chunk.data.len()),
            Body::Data(data) => self.bytes_left(id, data.data.len()),
            Body::Response(_) => self.answered(id),
            _ => {}
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
