//! What a codec remembers goes when the session gives a call up: a peer that never answers buys no memory.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use towline::{
    envelope::Json,
    limits,
    session::{Config, Event, Session},
    wire::{
        Codec, CodecError, Frame, GetStatus, Register, Status, StreamId, Subprotocol, Welcome, frame::Body,
    },
};

use crate::speak::get_status;

/// Notes what it is told to forget.
#[derive(Debug)]
struct Probe(Json, Arc<Mutex<Vec<StreamId>>>);

impl Codec for Probe {
    fn subprotocol(&self) -> Subprotocol {
        self.0.subprotocol()
    }
    fn decode(&mut self, message: Bytes, limit: usize) -> Result<Vec<Frame>, CodecError> {
        self.0.decode(message, limit)
    }
    fn encode(&mut self, out: &mut Vec<u8>, stream: StreamId, body: Body) {
        self.0.encode(out, stream, body);
    }
    fn size(&self, stream: StreamId, body: &Body) -> Result<usize, Status> {
        self.0.size(stream, body)
    }
    fn joins(&self) -> bool {
        self.0.joins()
    }
    fn carries(&self, feature: &str) -> bool {
        self.0.carries(feature)
    }
    fn forget(&mut self, stream: StreamId) {
        self.1.lock().unwrap().push(stream);
        self.0.forget(stream);
    }
}

#[test]
fn a_call_that_is_never_answered_is_forgotten_with_its_slot() {
    let forgotten = Arc::<Mutex<Vec<StreamId>>>::default();
    let mut now = Instant::now();
    let mut hub = Session::accept(Config::default(), now)
        .with_codec(Box::new(Probe(Json::default(), forgotten.clone())));
    let register = Register::default();
    let mut plugin = Session::dial(Config::default(), register, now).with_codec(Box::<Json>::default());
    hub.handle_packet(plugin.poll_packet().unwrap(), now);
    assert!(matches!(hub.poll_event(), Some(Event::Register(_))));
    hub.welcome(Welcome::default(), now);
    plugin.handle_packet(hub.poll_packet().unwrap(), now);

    let id = hub.open_call(get_status(GetStatus::default()), now).unwrap();
    assert!(hub.poll_packet().is_some(), "it leaves alone");
    hub.cancel(id, now);
    assert!(hub.poll_packet().is_some(), "so does its cancel");
    for _ in 0..2 {
        now += limits::CANCEL_LINGER / 2 + Duration::from_secs(1);
        // The link lives: only this call is not answered.
        let mut alive = Vec::new();
        Json::default().encode(&mut alive, StreamId::LINK, Body::Ping(Default::default()));
        hub.handle_packet(Bytes::from(alive), now);
        hub.handle_timeout(now);
    }
    assert_eq!(*forgotten.lock().unwrap(), [id]);
    assert_eq!(hub.calls_in_flight(), 0);
}
