//! Register and Welcome: nothing but Register travels before Welcome was processed.

use std::time::{Duration, Instant};

use super::{Config, Event, Session, State};
use crate::{
    code::CloseCode,
    limits,
    planted::{self, Bug},
    wire::{GoAway, Register, Side, StreamId, Welcome, frame::Body},
};

impl Session {
    /// The accepting side of a fresh transport.
    pub fn accept(config: Config, now: Instant) -> Self {
        Self::new(config, Side::Hub, State::AwaitRegister, now)
    }

    /// The dialling side of a fresh transport; Register is the first frame. Its `limits` are filled in.
    pub fn dial(config: Config, mut register: Register, now: Instant) -> Self {
        let mut session = Self::new(config, Side::Plugin, State::AwaitWelcome, now);
        register.limits = Some(session.config.limits());
        if planted::is(Bug::SendBeforeWelcome) {
            session.schedule.node = register.node_status.clone().map(Box::new);
        }
        session.schedule.handshake(Body::Register(register.into()));
        session
    }

    pub(super) fn handle_register(&mut self, mut register: Box<Register>) {
        // What the form of the messages cannot carry is not offered.
        register.features.retain(|feature| self.codec.carries(feature));
        self.peer_limits = register.limits.unwrap_or_default().or_defaults();
        let declared = self.peer_limits.max_message_bytes;
        if declared < limits::MIN_MESSAGE as u64 {
            let least = limits::MIN_MESSAGE;
            let text =
                format!("limits.max_message_bytes is {declared}; a peer must take at least {least} bytes");
            return self.refuse(CloseCode::VIOLATION, &text, limits::SLOW_RETRY);
        }
        self.state = State::Deciding;
        self.events.push_back(Event::Register(register));
    }

    /// Lets the registered peer in. `welcome.features` is what is in force; `limits`, `ping_ms` and `idle_ms`
    /// are filled in. Does nothing in any other state than [`State::Deciding`].
    pub fn welcome(&mut self, mut welcome: Welcome, now: Instant) {
        if self.state != State::Deciding {
            return;
        }
        welcome.limits = Some(self.config.limits());
        welcome.ping_ms = self.config.ping_interval.as_millis() as u64;
        welcome.idle_ms = self.config.idle.as_millis() as u64;
        self.features.clone_from(&welcome.features);
        self.schedule.handshake(Body::Welcome(welcome.into()));
        self.enter_open(now);
    }

    /// Turns the registered peer away: GoAway and the same close code.
    pub fn refuse(&mut self, code: CloseCode, reason: &str, retry_after: Duration) {
        self.said = Some(code);
        self.schedule.handshake(Body::GoAway(GoAway {
            code: u32::from(code.0),
            reason: reason.to_owned(),
            last_stream: StreamId::LINK.0,
            grace_ms: 0,
            retry_after_ms: retry_after.as_millis() as u64,
        }));
        self.close(code, reason);
    }

    pub(super) fn handle_welcome(&mut self, welcome: Box<Welcome>, now: Instant) {
        self.peer_limits = welcome.limits.unwrap_or_default().or_defaults();
        self.features = (welcome.features.iter())
            .filter(|feature| self.codec.carries(feature))
            .cloned()
            .collect();
        if welcome.idle_ms != 0 {
            self.keepalive.idle = Duration::from_millis(welcome.idle_ms);
        }
        self.enter_open(now);
        self.events.push_back(Event::Welcome(welcome));
    }

    fn enter_open(&mut self, now: Instant) {
        self.state = State::Open;
        self.handshake_deadline = None;
        self.keepalive.heard_frame(now);
        self.schedule.compress = self.has_feature(crate::wire::feature::ZSTD);
    }
}
