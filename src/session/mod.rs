//! The state machine of one link, without I/O and without a clock.
//!
//! Knows frames, streams, credit and deadlines; must not know sockets, tasks or what a pod is. Time is an
//! argument. Learn [`Session`] (`handle_*` in, `poll_*` out, plain verbs are commands) and [`Event`].
//!
//! ```text
//! accepting  AWAIT_REGISTER -Register-> DECIDING -welcome()-> OPEN -drain()-> DRAINING -> CLOSED
//! dialling   AWAIT_WELCOME  -Welcome------------------------> OPEN -drain()-> DRAINING -> CLOSED
//!
//! call we opened   QUEUED -written-> SENT -Response-> gone
//!                  QUEUED -cancel--> gone (CANCELLED, not_started)
//!                  SENT -cancel, deadline-> CANCELLING -Response, 30 s-> gone
//! call of the peer RUNNING -respond()-> ENDING -written-> gone
//!                  RUNNING -cancel, deadline-> CANCELLED -respond()-> ENDING
//! ```

mod calls;
mod compression;
mod config;
mod credit;
mod drain;
mod event;
mod expiry;
mod flow;
mod handshake;
mod intake;
mod keepalive;
mod packet;
mod rate;
mod schedule;
mod sending;
mod serving;
mod streams;
#[cfg(test)]
mod tests;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;

pub use calls::streams_body;
pub use compression::{Compression, Squeezed, Tally};
pub use config::Config;
pub use event::Event;
pub use flow::Offer;
pub use rate::Rate;

use crate::{
    code::CloseCode,
    limits,
    wire::{
        Binary, Codec, CodecError, Frame, Limits, Side, StreamId, Subprotocol, codec::declared_size,
        frame::Body,
    },
};
use {
    intake::{Intake, is_started_by_peer, unpin},
    keepalive::Keepalive,
    schedule::Schedule,
    streams::Streams,
};

/// Where the link stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Accepting: nothing came yet.
    AwaitRegister,
    /// Accepting: Register came, the caller decides.
    Deciding,
    /// Dialling: Register is on its way.
    AwaitWelcome,
    /// Calls run.
    Open,
    /// This side sent GoAway: open calls finish, none begins.
    Draining,
    /// Nothing more happens.
    Closed,
}

/// One link, seen from one side.
#[derive(Debug)]
pub struct Session {
    config: Config,
    side: Side,
    state: State,
    /// How frames look on the wire: nothing else here knows.
    codec: Box<dyn Codec>,
    /// What the peer can take; the defaults until it has said so.
    peer_limits: Limits,
    features: Vec<String>,
    streams: Streams,
    schedule: Schedule,
    keepalive: Keepalive,
    intake: Intake,
    events: VecDeque<Event>,
    handshake_deadline: Option<Instant>,
    drain_deadline: Option<Instant>,
    closing: Option<(CloseCode, String)>,
    peer_drains: bool,
    /// The code of the last GoAway of this side.
    said: Option<CloseCode>,
    socket_ping: bool,
    stats: Stats,
}

/// What was counted on a link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Frames received.
    pub frames_in: u64,
    /// Frames written.
    pub frames_out: u64,
    /// Packets written.
    pub packets_out: u64,
    /// Of these, compressed ones.
    pub packets_compressed: u64,
    /// Frames that were ignored: late, unknown, or not for this side.
    pub ignored: u64,
    /// Streams that were reset because the peer used credit it did not have.
    pub flow_violations: u64,
    /// Frames that the peer started by itself, or that fitted nowhere.
    pub started_by_peer: u64,
    /// How often reading stopped because the peer started more than its rate.
    pub read_pauses: u64,
}

impl Session {
    fn new(config: Config, side: Side, state: State, now: Instant) -> Self {
        let keepalive = Keepalive::new(&config, side, now);
        let intake = Intake::new(&config, now);
        let streams = Streams::new(side);
        let handshake_deadline = Some(now + config.register_timeout);
        Self {
            config,
            side,
            state,
            codec: Box::new(Binary),
            peer_limits: Limits::default().or_defaults(),
            features: Vec::new(),
            streams,
            schedule: Schedule::new(),
            keepalive,
            intake,
            // Room for one: the first push would make room for four, of 400 bytes each, on thousands of idle links.
            events: VecDeque::with_capacity(1),
            handshake_deadline,
            drain_deadline: None,
            closing: None,
            peer_drains: false,
            said: None,
            socket_ping: false,
            stats: Stats::default(),
        }
    }

    /// The same session with its messages in another form than that of `towline.v1.proto`. To be said before anything
    /// comes or leaves.
    #[must_use]
    pub fn with_codec(mut self, codec: Box<dyn Codec>) -> Self {
        self.codec = codec;
        self
    }

    /// The form of its messages.
    pub fn subprotocol(&self) -> Subprotocol {
        self.codec.subprotocol()
    }

    /// Takes one message of the peer. A message that breaks the protocol closes the session.
    pub fn handle_packet(&mut self, message: Bytes, now: Instant) {
        if self.state == State::Closed {
            return;
        }
        self.end_pause(now);
        self.count_squeezed(&message);
        match self.codec.decode(message, self.config.max_message) {
            Ok(mut frames) => {
                unpin(&mut frames);
                for frame in frames {
                    self.handle_frame(frame, now);
                }
            }
            Err(CodecError::Version(text)) if self.side == Side::Hub => {
                self.refuse(CloseCode::VERSION, &text, limits::SLOW_RETRY);
            }
            Err(CodecError::Version(text)) => self.close(CloseCode::VERSION, &text),
            Err(error @ CodecError::TooLarge { .. }) => self.close(CloseCode::TOO_BIG, &error.to_string()),
            Err(error) => self.close(CloseCode::INVALID, &error.to_string()),
        }
    }

    fn count_squeezed(&self, message: &Bytes) {
        if self.schedule.compress
            && let Some(squeezed) = &self.config.squeezed
            && let Some(plain) = declared_size(message)
        {
            squeezed.received.add(plain, message.len() as u64);
        }
    }

    /// Takes one frame of the peer.
    pub fn handle_frame(&mut self, frame: Frame, now: Instant) {
        if self.state == State::Closed {
            return;
        }
        self.stats.frames_in += 1;
        self.keepalive.heard_frame(now);
        let id = StreamId(frame.stream);
        match (self.state, frame.body) {
            (State::AwaitRegister, Some(Body::Register(register))) if id == StreamId::LINK => {
                self.handle_register(register);
            }
            (State::AwaitRegister, _) => self.violation("the first frame must be Register on stream 0"),
            (State::Deciding, _) => self.violation("nothing may follow Register before Welcome"),
            (State::AwaitWelcome, Some(Body::Welcome(welcome))) if id == StreamId::LINK => {
                self.handle_welcome(welcome, now);
            }
            (State::AwaitWelcome, Some(Body::GoAway(go_away))) if id == StreamId::LINK => {
                self.handle_go_away(go_away)
            }
            (State::AwaitWelcome, _) => self.stats.ignored += 1,
            (_, body) => {
                let (started, ignored) = (is_started_by_peer(body.as_ref()), self.stats.ignored);
                if id == StreamId::LINK {
                    self.handle_link(body);
                } else {
                    self.handle_stream(id, body, now);
                }
                if started || self.stats.ignored > ignored {
                    self.count_started(now);
                }
            }
        }
    }

    fn handle_link(&mut self, body: Option<Body>) {
        match (self.side, body) {
            (_, Some(Body::Ping(ping))) => self.schedule.pong(ping.id),
            (_, Some(Body::Pong(_))) => {}
            (_, Some(Body::GoAway(go_away))) => self.handle_go_away(go_away),
            (Side::Hub, Some(Body::PodEvent(event))) => self.events.push_back(Event::PodEvent(event)),
            (Side::Hub, Some(Body::NodeStatus(status))) => self.events.push_back(Event::NodeStatus(status)),
            (Side::Plugin, Some(Body::EventAck(ack))) => self.events.push_back(Event::EventAck(ack)),
            (_, Some(Body::Request(_) | Body::StreamLogs(_))) => {
                self.violation("a call needs a stream of its own, not stream 0");
            }
            (_, Some(Body::Register(_) | Body::Welcome(_))) => self.violation("the handshake is over"),
            _ => self.stats.ignored += 1,
        }
    }

    fn violation(&mut self, what: &str) {
        self.close(CloseCode::VIOLATION, what);
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether something happened that was not taken.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Swaps all that happened for an empty queue.
    pub fn swap_events(&mut self, empty: &mut VecDeque<Event>) {
        debug_assert!(empty.is_empty(), "what was not told would be told late");
        std::mem::swap(&mut self.events, empty);
    }

    /// When [`Session::handle_timeout`] must be called next, if nothing else comes first.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.state == State::Closed {
            return None;
        }
        [
            self.handshake_deadline,
            self.drain_deadline,
            self.streams.next_deadline,
            self.intake.paused_until(),
            (self.handshake_deadline.is_none()).then(|| self.keepalive.next(self.streams.waiting_since)),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.state == State::Closed {
            return;
        }
        if self.handshake_deadline.is_some_and(|at| at <= now) {
            let text = match self.state {
                State::AwaitRegister => "no Register in time",
                State::AwaitWelcome => "no Welcome in time",
                _ => "the handshake took too long",
            };
            return self.close(CloseCode::IDLE, text);
        }
        self.end_pause(now);
        self.expire_calls(now);
        if self.drain_deadline.is_some_and(|at| at <= now) {
            return self.finish_drain();
        }
        if self.handshake_deadline.is_none() {
            self.keep_alive(now);
        }
    }

    /// Where the link stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// What was counted.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Whether a feature is in force.
    pub fn has_feature(&self, name: &str) -> bool {
        self.features.iter().any(|feature| feature == name)
    }

    /// Whether it holds room that it needs only while calls run.
    pub fn holds_room(&self) -> bool {
        self.events.capacity() > 0 || self.streams.holds_room() || self.schedule.holds_room()
    }

    /// Gives back what room is empty: thousands of links are idle nearly always.
    pub fn rest(&mut self) {
        self.events.shrink_to_fit();
        self.streams.rest();
        self.schedule.rest();
    }

    /// Whether a new call would be taken now, limits aside.
    pub fn is_open(&self) -> bool {
        self.state == State::Open && !self.peer_drains
    }

    /// When the last frame of the peer came.
    pub fn last_heard(&self) -> Instant {
        self.keepalive.last_frame()
    }

    /// Calls and log streams that have not ended, in either direction.
    pub fn calls_in_flight(&self) -> usize {
        self.streams.outgoing.len() + self.streams.incoming.len()
    }

    /// How long the caller should wait, at most, before it considers the transport dead when no byte leaves.
    pub fn write_stall(&self) -> Duration {
        self.config.write_stall
    }

    /// The transport saw life that is not a frame: a pong of its own.
    pub fn handle_transport_pong(&mut self, now: Instant) {
        self.keepalive.heard_socket(now);
    }
}
