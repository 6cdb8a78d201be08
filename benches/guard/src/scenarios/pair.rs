//! Two sessions back to back, and a clock that moves when it is told to.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use towline::{
    envelope,
    session::{Config, Event, Session},
    wire::{Register, Subprotocol, Welcome, feature},
};

pub(super) struct Pair {
    pub(super) hub: Session,
    pub(super) plugin: Session,
    pub(super) now: Instant,
}

impl Pair {
    /// A link with all that is in force between a hub and a plugin of today, compression aside.
    pub(super) fn open(subprotocol: Subprotocol) -> Self {
        let now = Instant::now();
        let mut pair = Self {
            hub: Session::accept(Config::accepting(), now).with_codec(envelope::codec(subprotocol)),
            plugin: Session::dial(Config::dialling(), register(), now)
                .with_codec(envelope::codec(subprotocol)),
            now,
        };
        pair.up();
        assert!(
            matches!(pair.hub.poll_event(), Some(Event::Register(_))),
            "Register comes first"
        );
        pair.hub.welcome(welcome(), now);
        pair.down();
        assert!(
            matches!(pair.plugin.poll_event(), Some(Event::Welcome(_))),
            "Welcome answers it"
        );
        pair
    }

    /// All that the plugin has to say.
    pub(super) fn up(&mut self) {
        while let Some(packet) = self.plugin.poll_packet() {
            self.hub.handle_packet(packet, self.now);
        }
    }

    /// All that the hub has to say.
    pub(super) fn down(&mut self) {
        while let Some(packet) = self.hub.poll_packet() {
            self.plugin.handle_packet(packet, self.now);
        }
    }

    /// Time passes, and both ends look when they must wake, as they do after all that they did.
    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        black_box((self.hub.poll_timeout(), self.plugin.poll_timeout()));
    }

    /// Nothing waits in either end, and no call is open.
    pub(super) fn at_rest(&self) -> bool {
        [&self.hub, &self.plugin]
            .iter()
            .all(|end| end.is_open() && end.calls_in_flight() == 0 && !end.has_events() && !end.has_output())
    }
}

pub(super) fn register() -> Register {
    Register {
        plugin: "cluster-1".to_owned(),
        instance: "01J8Z6Q5T3".to_owned(),
        features: vec![feature::FLOW_CONTROL.to_owned(), feature::EVENTS.to_owned()],
        ..Register::default()
    }
}

pub(super) fn welcome() -> Welcome {
    Welcome {
        session: "01J8Z6Q5T4".to_owned(),
        features: vec![feature::FLOW_CONTROL.to_owned(), feature::EVENTS.to_owned()],
        ..Welcome::default()
    }
}
