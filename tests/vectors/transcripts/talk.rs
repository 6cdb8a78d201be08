//! Two sessions that talk, and what they said.

use std::time::{Duration, Instant};

use bytes::Bytes;
use towline::{
    session::{Config, Event, Session},
    wire::{Register, Side, Welcome},
};

use super::{Line, What};
use crate::messages::welcome;

/// A conversation over one link after another.
pub(super) struct Talk {
    pub(super) hub: Session,
    pub(super) plugin: Session,
    pub(super) now: Instant,
    link: u64,
    lines: Vec<Line>,
}

impl Talk {
    /// A plugin dials and registers; nothing was decided.
    pub(super) fn dial(register: Register) -> Self {
        let now = Instant::now();
        let mut talk = Self {
            hub: Session::accept(Config::default(), now),
            plugin: Session::dial(Config::default(), register, now),
            now,
            link: 1,
            lines: Vec::new(),
        };
        talk.carry();
        talk
    }

    /// A plugin dials, registers, and is let in.
    pub(super) fn open(register: Register) -> Self {
        let mut talk = Self::dial(register);
        talk.let_in(welcome());
        talk
    }

    pub(super) fn let_in(&mut self, welcome: Welcome) {
        self.hub.welcome(welcome, self.now);
        self.carry();
    }

    /// The plugin dials again, on a new link. The former one has ended.
    pub(super) fn dial_again(&mut self, register: Register) {
        self.link += 1;
        self.hub = Session::accept(Config::default(), self.now);
        self.plugin = Session::dial(Config::default(), register, self.now);
        self.carry();
    }

    /// The connection breaks.
    pub(super) fn lose(&mut self) {
        self.carry();
        self.hub.handle_lost();
        self.plugin.handle_lost();
        self.push(What::Lost);
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.hub.handle_timeout(self.now);
        self.plugin.handle_timeout(self.now);
        self.carry();
    }

    /// Carries what both have to say, until they are silent or one has closed.
    pub(super) fn carry(&mut self) {
        loop {
            let before = self.lines.len();
            while let Some(packet) = self.plugin.poll_packet() {
                self.hub.handle_packet(packet.clone(), self.now);
                self.said(Side::Plugin, packet);
            }
            while let Some(packet) = self.hub.poll_packet() {
                self.plugin.handle_packet(packet.clone(), self.now);
                self.said(Side::Hub, packet);
            }
            self.carry_close();
            if self.lines.len() == before {
                return;
            }
        }
    }

    fn said(&mut self, from: Side, packet: Bytes) {
        self.push(What::Message(from, packet));
    }

    fn carry_close(&mut self) {
        let closed = |session: &mut Session| {
            std::iter::from_fn(|| session.poll_event()).find_map(|event| match event {
                Event::Closed { code, reason } => Some((code.0, reason)),
                _ => None,
            })
        };
        for side in [Side::Hub, Side::Plugin] {
            let (session, other) = match side {
                Side::Hub => (&mut self.hub, &mut self.plugin),
                Side::Plugin => (&mut self.plugin, &mut self.hub),
            };
            if let Some((code, reason)) = closed(session) {
                other.handle_lost();
                self.push(What::Close(side, code, reason));
            }
        }
    }

    fn push(&mut self, what: What) {
        self.lines.push(Line {
            link: self.link,
            what,
        });
    }

    pub(super) fn end(self) -> Vec<Line> {
        self.lines
    }
}
