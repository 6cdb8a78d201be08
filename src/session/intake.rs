//! How fast the peer may start things.
//!
//! What the peer starts by itself (calls, cancels, events, pings) and what fits nowhere takes a token a frame. Creates and
//! deletes of this side put some back: their pods' events are no flood.
//! When there is none left the owner stops reading: nothing is lost or closed, the peer's socket fills up. What
//! answers this side or runs under credit (Response, LogChunk, Data, Credit, Pong, EventAck, GoAway) takes none.
//! The transport's own pings have a bucket beside it, and a peer that overdraws that one is closed: no client
//! needs them, and each must be answered.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Config, Session, State, rate::Bucket};
use crate::{
    limits,
    wire::{Frame, frame::Body},
};

/// A pause lasts this much longer than the next token takes: fifty wakes a second under a flood, not thousands.
const PAUSE: Duration = Duration::from_millis(20);

/// The buckets of one link; none where the peer is trusted.
#[derive(Debug)]
pub(crate) struct Intake {
    frames: Option<Bucket>,
    socket_pings: Option<Bucket>,
    /// Nothing is read before.
    paused_until: Option<Instant>,
}

impl Intake {
    pub(crate) fn new(config: &Config, now: Instant) -> Self {
        Self {
            frames: config.peer_frames.map(|rate| Bucket::new(rate, now)),
            socket_pings: config.socket_pings.map(|rate| Bucket::new(rate, now)),
            paused_until: None,
        }
    }

    /// The peer is asked to start or end a pod: it will tell of that without having been asked again.
    pub(crate) fn asked(&mut self) {
        if let Some(bucket) = &mut self.frames {
            bucket.give(limits::PEER_FRAMES_A_CALL);
        }
    }

    pub(crate) fn paused_until(&self) -> Option<Instant> {
        self.paused_until
    }
}

/// Whether a frame is one that the peer starts, not one that calls and credit bound.
pub(crate) fn is_started_by_peer(body: Option<&Body>) -> bool {
    !matches!(
        body,
        Some(
            Body::Response(_)
                | Body::LogChunk(_)
                | Body::Data(_)
                | Body::Credit(_)
                | Body::Pong(_)
                | Body::EventAck(_)
                | Body::GoAway(_)
        )
    )
}

impl Session {
    /// Whether the owner may take the next message from the transport. False while the peer starts more than its
    /// rate; [`Session::poll_timeout`] then says when to ask again.
    pub fn may_read(&self, now: Instant) -> bool {
        self.intake.paused_until.is_none_or(|at| at <= now)
    }

    /// A frame that takes a token came.
    pub(super) fn count_started(&mut self, now: Instant) {
        self.stats.started_by_peer += 1;
        let Some(bucket) = &mut self.intake.frames else {
            return;
        };
        if !bucket.take(now) || bucket.ready_at() > now {
            self.stats.read_pauses += u64::from(self.intake.paused_until.is_none());
            self.intake.paused_until = Some(bucket.ready_at() + PAUSE);
        }
    }

    /// Reading begins again. What the peer said meanwhile has waited at this side: its silence counts from now.
    pub(super) fn end_pause(&mut self, now: Instant) {
        if self.intake.paused_until.is_some_and(|at| at <= now) {
            self.intake.paused_until = None;
            self.keepalive.listens(now);
        }
    }

    /// The transport got a ping of the peer's transport, which it answers by itself.
    pub fn handle_transport_ping(&mut self, now: Instant) {
        if self.state == State::Closed {
            return;
        }
        self.keepalive.heard_socket(now);
        let Some(bucket) = &mut self.intake.socket_pings else {
            return;
        };
        if !bucket.take(now) {
            self.violation(
                "too many WebSocket pings; one a second is plenty, this link has pings of its own",
            );
        }
    }
}

/// Small chunks are copied out of the message that they came in: a reader that stands still would keep a whole message
/// for each line, while its credit counts the line. Not where one stream's chunks make up the message: it is that
/// stream's then, and what is kept beyond its credit is one message at most.
pub(super) fn unpin(frames: &mut [Frame]) {
    let mut bytes = 0;
    let mut of_one = None;
    let mut mixed = false;
    for frame in &*frames {
        let len = match &frame.body {
            Some(Body::LogChunk(chunk)) => chunk.data.len(),
            Some(Body::Data(data)) => data.data.len(),
            Some(Body::Request(_) | Body::Response(_) | Body::PodEvent(_) | Body::NodeStatus(_)) => {
                mixed = true;
                continue;
            }
            _ => continue,
        };
        bytes += len;
        mixed |= of_one
            .replace(frame.stream)
            .is_some_and(|other| other != frame.stream);
    }
    if bytes == 0 || (!mixed && bytes >= limits::LOG_CHUNK / 2) {
        return;
    }
    for frame in frames {
        let data = match &mut frame.body {
            Some(Body::LogChunk(chunk)) => &mut chunk.data,
            Some(Body::Data(data)) => &mut data.data,
            _ => continue,
        };
        if data.len() < limits::LOG_CHUNK / 2 {
            *data = Bytes::copy_from_slice(data);
        }
    }
}
