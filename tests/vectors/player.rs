//! [`Player`]: a real session that says and hears what was recorded.

use std::time::{Duration, Instant};

use bytes::Bytes;
use towline::{
    code::CloseCode,
    session::{Config, Event, Offer, Session, State},
    wire::{CancelStream, Frame, GoAway, Limits, Side, StreamId, Welcome, decode_packet, frame::Body},
};

use crate::contract::hex;

const LIMIT: usize = 16 << 20;

/// One side of a link, played from what was recorded on it.
pub(crate) struct Player {
    pub(crate) session: Session,
    pub(crate) now: Instant,
    pub(crate) events: Vec<Event>,
}

impl Player {
    /// `recorded` is all that was said on the link: it tells what the side declared.
    pub(crate) fn new<'a>(side: Side, recorded: impl IntoIterator<Item = &'a Bytes>) -> Self {
        let now = Instant::now();
        let mut config = Config::default();
        let mut registers = None;
        for frame in recorded.into_iter().flat_map(frames) {
            match (side, frame.body) {
                (Side::Plugin, Some(Body::Register(register))) => {
                    declare(&mut config, register.limits);
                    registers.get_or_insert(register);
                }
                (Side::Hub, Some(Body::Welcome(welcome))) => {
                    declare(&mut config, welcome.limits);
                    timers(&mut config, &welcome);
                }
                _ => {}
            }
        }
        let session = match side {
            Side::Hub => Session::accept(config, now),
            Side::Plugin => Session::dial(config, *registers.expect("the plugin registers"), now),
        };
        Self {
            session,
            now,
            events: Vec::new(),
        }
    }

    pub(crate) fn hear(&mut self, packet: &Bytes) {
        self.session.handle_packet(packet.clone(), self.now);
        self.take_events();
    }

    /// Does what makes a session write this packet, and checks that it writes it, to the byte.
    pub(crate) fn say(&mut self, packet: &Bytes, place: &str) {
        for frame in frames(packet) {
            let body = frame.body.expect("a session writes no unknown body");
            assert!(
                self.perform(StreamId(frame.stream), body),
                "{place}: was not taken"
            );
        }
        let written = self
            .session
            .poll_packet()
            .unwrap_or_else(|| panic!("{place}: nothing was written"));
        assert_eq!(hex(&written), hex(packet), "{place}");
        self.take_events();
    }

    /// The same, whatever comes of it. Gives what was written.
    pub(crate) fn try_to_say(&mut self, packet: &Bytes) -> Vec<Bytes> {
        for frame in frames(packet) {
            let _whether_taken = frame
                .body
                .is_some_and(|body| self.perform(StreamId(frame.stream), body));
        }
        let written = std::iter::from_fn(|| self.session.poll_packet()).collect();
        self.take_events();
        written
    }

    /// Does what writes this frame. False when the session did not take it.
    fn perform(&mut self, id: StreamId, body: Body) -> bool {
        let (session, now) = (&mut self.session, self.now);
        match body {
            // Queued since the session was made; answers to what was heard write themselves.
            Body::Register(_) | Body::Pong(_) | Body::Credit(_) => {}
            Body::Welcome(welcome) => session.welcome(*welcome, now),
            Body::Request(request) => return session.open_call(*request, now) == Ok(id),
            Body::StreamLogs(open) => return session.open_logs(*open, now) == Ok(id),
            Body::Response(response) => session.respond(id, *response),
            Body::CancelStream(_) => session.cancel(id, now),
            Body::LogChunk(chunk) => return session.send_chunk(id, chunk) == Offer::Taken,
            Body::Data(data) => return session.send_data(id, data) == Offer::Taken,
            Body::PodEvent(event) => session.send_event(*event),
            Body::EventAck(ack) => session.send_ack(ack),
            Body::NodeStatus(status) => session.send_node_status(*status),
            Body::GoAway(go_away) => self.go_away(go_away),
            Body::Ping(_) => return self.wait_for_output(),
        }
        true
    }

    /// Lets time pass, from one timer to the next, until there is something to write.
    fn wait_for_output(&mut self) -> bool {
        for _ in 0..100 {
            if self.session.has_output() {
                return true;
            }
            let Some(next) = self.session.poll_timeout() else {
                return false;
            };
            self.now = next;
            self.session.handle_timeout(self.now);
        }
        false
    }

    fn go_away(&mut self, go_away: GoAway) {
        let code = CloseCode(u16::try_from(go_away.code).unwrap());
        let (grace, retry) = (
            Duration::from_millis(go_away.grace_ms),
            Duration::from_millis(go_away.retry_after_ms),
        );
        match self.session.state() {
            State::Deciding => self.session.refuse(code, &go_away.reason, retry),
            State::Open => self.session.drain(code, &go_away.reason, grace, retry, self.now),
            // A session refuses some peers by itself.
            _ => {}
        }
    }

    /// The close that the session asks for, if it does.
    pub(crate) fn close(&self) -> Option<(CloseCode, &str)> {
        self.events.iter().find_map(|event| match event {
            Event::Closed { code, reason } => Some((*code, reason.as_str())),
            _ => None,
        })
    }

    pub(crate) fn take_events(&mut self) {
        while let Some(event) = self.session.poll_event() {
            self.events.push(event);
        }
    }
}

fn declare(config: &mut Config, limits: Option<Limits>) {
    let limits = limits.unwrap_or_default().or_defaults();
    config.max_message = usize::try_from(limits.max_message_bytes).unwrap();
    config.max_calls = limits.max_calls;
    config.max_log_streams = limits.max_log_streams;
    config.max_unacked_events = limits.max_unacked_events;
}

fn timers(config: &mut Config, welcome: &Welcome) {
    config.ping_interval = Duration::from_millis(welcome.ping_ms);
    config.idle = Duration::from_millis(welcome.idle_ms);
}

/// The frames of a packet; none when it is not one.
pub(crate) fn frames(packet: &Bytes) -> Vec<Frame> {
    decode_packet(packet.clone(), LIMIT).unwrap_or_default()
}

/// What the session told its owner, as the frame that it comes from.
pub(crate) fn told(event: Event) -> (u32, Body) {
    match event {
        Event::Register(register) => (0, Body::Register(register)),
        Event::Welcome(welcome) => (0, Body::Welcome(welcome)),
        Event::Request(id, request) => (id.0, Body::Request(request)),
        Event::StreamLogs(id, open) => (id.0, Body::StreamLogs(open)),
        Event::Cancelled(id) => (id.0, Body::CancelStream(CancelStream::default())),
        Event::Response(id, response) => (id.0, Body::Response(response)),
        Event::LogChunk(id, chunk) => (id.0, Body::LogChunk(chunk)),
        Event::Data(id, data) => (id.0, Body::Data(data)),
        Event::PodEvent(event) => (0, Body::PodEvent(event)),
        Event::EventAck(ack) => (0, Body::EventAck(ack)),
        Event::NodeStatus(status) => (0, Body::NodeStatus(status)),
        other => panic!("not expected here: {other:?}"),
    }
}
