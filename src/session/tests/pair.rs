//! Two sessions, a wire between them, and a clock that moves only when told.

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{
    session::{Config, Event, Session, State},
    wire::{
        CreatePod, GetStatus, HttpRequest, LogChunk, LogPosition, PodRef, Register, Request, Response,
        StreamId, StreamLogs, Welcome, feature, request::Op,
    },
};

pub(super) struct Pair {
    pub(super) hub: Session,
    pub(super) plugin: Session,
    pub(super) now: Instant,
    pub(super) hub_events: Vec<Event>,
    pub(super) plugin_events: Vec<Event>,
    /// False: packets towards the hub vanish.
    pub(super) up: bool,
    /// False: packets towards the plugin vanish.
    pub(super) down: bool,
}

impl Pair {
    pub(super) fn unregistered(config: Config) -> Self {
        let now = Instant::now();
        Self {
            hub: Session::accept(config.clone(), now),
            plugin: Session::dial(config, register(), now),
            now,
            hub_events: Vec::new(),
            plugin_events: Vec::new(),
            up: true,
            down: true,
        }
    }

    pub(super) fn with(config: Config, features: &[&str]) -> Self {
        let mut pair = Self::unregistered(config);
        pair.settle();
        let Some(Event::Register(_)) = pair.hub_events.pop() else {
            panic!("no Register")
        };
        let features = features.iter().map(|f| (*f).to_owned()).collect();
        pair.hub.welcome(
            Welcome {
                session: "s".into(),
                features,
                ..Welcome::default()
            },
            pair.now,
        );
        pair.settle();
        assert!(matches!(pair.plugin_events.pop(), Some(Event::Welcome(_))));
        assert_eq!(
            (pair.hub.state(), pair.plugin.state()),
            (State::Open, State::Open)
        );
        pair
    }

    pub(super) fn open() -> Self {
        Self::with(Config::default(), &[feature::FLOW_CONTROL, feature::EVENTS])
    }

    /// Carries packets until both sides have nothing to say.
    pub(super) fn settle(&mut self) {
        loop {
            let mut moved = false;
            while let Some(packet) = self.plugin.poll_packet() {
                moved = true;
                if self.up {
                    self.hub.handle_packet(packet, self.now);
                }
            }
            while let Some(packet) = self.hub.poll_packet() {
                moved = true;
                if self.down {
                    self.plugin.handle_packet(packet, self.now);
                }
            }
            self.hub_events
                .extend(std::iter::from_fn(|| self.hub.poll_event()));
            self.plugin_events
                .extend(std::iter::from_fn(|| self.plugin.poll_event()));
            if !moved {
                return;
            }
        }
    }

    /// Moves the clock, stopping at every timeout on the way.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        self.settle();
        loop {
            let next = [self.hub.poll_timeout(), self.plugin.poll_timeout()]
                .into_iter()
                .flatten()
                .min();
            match next {
                Some(at) if at <= until => {
                    self.now = self.now.max(at);
                    self.hub.handle_timeout(self.now);
                    self.plugin.handle_timeout(self.now);
                    self.settle();
                }
                _ => break,
            }
        }
        self.now = until;
    }

    /// The hub opens a status call; gives its id on both sides.
    pub(super) fn call(&mut self) -> StreamId {
        let id = self.hub.open_call(status_request(), self.now).unwrap();
        self.settle();
        id
    }

    /// The hub opens a log stream with the open acknowledgement still to come.
    pub(super) fn logs(&mut self) -> StreamId {
        let id = self.hub.open_logs(follow(), self.now).unwrap();
        self.settle();
        id
    }

    pub(super) fn responses(&mut self) -> Vec<(StreamId, Response)> {
        let mut found = Vec::new();
        let mut rest = Vec::new();
        for event in self.hub_events.drain(..) {
            match event {
                Event::Response(id, response) => found.push((id, *response)),
                other => rest.push(other),
            }
        }
        self.hub_events = rest;
        found
    }

    pub(super) fn assert_at_rest(&self) {
        for session in [&self.hub, &self.plugin] {
            assert_eq!(session.calls_in_flight(), 0, "a table is not empty at rest");
            assert!(!session.has_output());
        }
    }
}

pub(super) fn register() -> Register {
    Register {
        plugin: "p1".into(),
        instance: "i1".into(),
        ..Register::default()
    }
}

pub(super) fn status_request() -> Request {
    Request {
        op: Some(Op::GetStatus(GetStatus {
            all: true,
            ..GetStatus::default()
        })),
        ..Request::default()
    }
}

pub(super) fn create_request(payload: usize) -> Request {
    let create = CreatePod {
        pod: Some(PodRef::new("u", "ns", "n")),
        payload: vec![7; payload].into(),
    };
    Request {
        op: Some(Op::CreatePod(create)),
        sensitive: true,
        ..Request::default()
    }
}

/// An HTTP request whose head has about 10,000 bytes.
pub(super) fn http_request(sensitive: bool) -> Request {
    let http = HttpRequest {
        method: "POST".into(),
        path: format!("/{}", "p".repeat(10_000)),
        has_body: true,
        ..HttpRequest::default()
    };
    Request {
        op: Some(Op::HttpRequest(http)),
        sensitive,
        ..Request::default()
    }
}

pub(super) fn follow() -> StreamLogs {
    StreamLogs {
        container: "main".into(),
        ..StreamLogs::default()
    }
}

pub(super) fn chunk(offset: u64, len: usize) -> LogChunk {
    LogChunk {
        at: Some(LogPosition { epoch: 1, offset }),
        next_offset: offset + len as u64,
        data: Bytes::from(vec![b'x'; len]),
        ..LogChunk::default()
    }
}
