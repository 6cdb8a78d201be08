//! What is written next: three lanes. Packets are made of them in packet.rs.
//!
//! ```text
//! handshake > control (goaway, pong, ping, ack, cancel, credit) > calls and events > bytes, round-robin
//! ```
//! Priority is between streams, never within one: what ends a byte stream leaves through the byte lane, behind
//! its chunks. The control lane is bounded by merging: the latest pong and ack, one sum of credit and one cancel
//! a stream.

use std::collections::{BTreeMap, VecDeque};

use super::{
    Session, State,
    sending::{Queued, Sending},
    streams::Kind,
};
use crate::wire::{
    CancelStream, Credit, EventAck, GoAway, NodeStatus, Ping, PodEvent, Pong, Response, StreamId, frame::Body,
};

/// Refused calls that may wait to be written: a peer that opens more without reading is cut off.
const MAX_REFUSALS: usize = 1_024;

#[derive(Debug, Default)]
pub(crate) struct Schedule {
    handshake: VecDeque<Body>,
    go_away: Option<GoAway>,
    pong: Option<u64>,
    ping: Option<u64>,
    ack: Option<EventAck>,
    cancels: VecDeque<StreamId>,
    pub(crate) credits: BTreeMap<StreamId, u64>,
    pub(crate) node: Option<Box<NodeStatus>>,
    pub(crate) calls: VecDeque<Item>,
    pub(crate) refusals: usize,
    /// Streams with something in their own queue, each once.
    pub(crate) ready: VecDeque<StreamId>,
    pub(crate) compress: bool,
    /// Whether the packet in the making holds a frame that must not be compressed.
    pub(crate) plain_only: bool,
}

/// One frame of the middle lane.
#[derive(Debug)]
pub(crate) enum Item {
    /// Opens a call of ours.
    Open(StreamId, Queued),
    /// The answer that stands alone in the queue of an incoming call.
    Answer(StreamId),
    /// The answer to a call that was never let in.
    Refusal(StreamId, Box<Response>),
    Event(Queued),
}

impl Schedule {
    /// Of a session at rest: room for one, as frames are large, and one of them is mostly all that waits.
    pub(crate) fn new() -> Self {
        Self {
            handshake: VecDeque::with_capacity(1),
            calls: VecDeque::with_capacity(1),
            ..Self::default()
        }
    }

    pub(crate) fn holds_room(&self) -> bool {
        self.handshake.capacity() > 0
            || self.cancels.capacity() > 0
            || self.calls.capacity() > 0
            || self.ready.capacity() > 0
    }

    pub(crate) fn rest(&mut self) {
        self.handshake.shrink_to_fit();
        self.cancels.shrink_to_fit();
        self.calls.shrink_to_fit();
        self.ready.shrink_to_fit();
    }

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

    pub(crate) fn call(&mut self, id: StreamId, opening: Queued) {
        self.calls.push_back(Item::Open(id, opening));
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
    pub(crate) fn answer(&mut self, id: StreamId, kind: Kind, send: &mut Sending) {
        if kind == Kind::Call && send.has_answer_only() && !send.listed {
            self.calls.push_back(Item::Answer(id));
        } else {
            self.bytes_ready(id, send);
        }
    }

    /// False when too many wait.
    #[must_use]
    pub(crate) fn refusal(&mut self, id: StreamId, response: Response) -> bool {
        self.refusals += 1;
        self.calls.push_back(Item::Refusal(id, response.into()));
        self.refusals <= MAX_REFUSALS
    }

    pub(crate) fn bytes_ready(&mut self, id: StreamId, send: &mut Sending) {
        if !std::mem::replace(&mut send.listed, true) {
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

    pub(crate) fn control(&mut self) -> Option<(StreamId, Body)> {
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
            let event = Queued::of(&*self.codec, StreamId::LINK, Body::PodEvent(event.into()));
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
            self.schedule.node = Some(status.into());
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
}
