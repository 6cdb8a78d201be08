use super::pair::{Pair, http_request, register};
use crate::{
    code::{Code, reason},
    limits,
    session::{Config, Event, Offer, State},
    wire::{Data, Frame, HttpHeader, HttpResponse, Response, StreamId, feature, frame::Body},
};

const LEN: usize = 10_000;
const COST: u64 = LEN as u64 + limits::CHUNK_OVERHEAD;

fn data(len: usize) -> Data {
    Data {
        data: vec![b'd'; len].into(),
        ..Data::default()
    }
}

/// A head of one field; it counts its name, its value and 32.
fn head(value: usize) -> Data {
    Data {
        head: Some(HttpResponse {
            status: 200,
            headers: vec![HttpHeader::new("x", vec![b'h'; value])],
        }),
        ..Data::default()
    }
}

fn open() -> (Pair, StreamId) {
    let mut pair = Pair::with(Config::default(), &[feature::FLOW_CONTROL, feature::HTTP]);
    let id = pair.hub.open_call(http_request(false), pair.now).unwrap();
    pair.settle();
    assert!(matches!(pair.plugin_events.pop(), Some(Event::Request(..))));
    (pair, id)
}

fn count(events: &[Event]) -> usize {
    events
        .iter()
        .filter(|event| matches!(event, Event::Data(..)))
        .count()
}

#[test]
fn a_body_travels_both_ways_without_a_first_credit_and_goes_on_as_it_is_read() {
    let (mut pair, id) = open();
    let fits = (limits::BODY_CREDIT / COST) as usize;
    for _ in 0..fits {
        assert_eq!(pair.hub.send_data(id, data(LEN)), Offer::Taken);
        assert_eq!(pair.plugin.send_data(id, data(LEN)), Offer::Taken);
    }
    assert!(matches!(pair.hub.send_data(id, data(LEN)), Offer::Full(_)));
    assert!(matches!(pair.plugin.send_data(id, data(LEN)), Offer::Full(_)));
    pair.settle();
    assert_eq!(
        (count(&pair.hub_events), count(&pair.plugin_events)),
        (fits, fits)
    );
    for _ in 0..fits {
        pair.hub.consumed(id, COST);
        pair.plugin.consumed(id, COST);
    }
    pair.settle();
    for events in [&pair.hub_events, &pair.plugin_events] {
        assert!(
            events
                .iter()
                .any(|event| matches!(event, Event::Writable(got) if *got == id))
        );
    }
    assert_eq!(pair.hub.send_data(id, data(LEN)), Offer::Taken);
    assert_eq!(pair.plugin.send_data(id, data(LEN)), Offer::Taken);
    pair.plugin.respond(id, Response::default());
    pair.settle();
    assert!(
        matches!(pair.hub_events.last(), Some(Event::Response(..))),
        "behind its Data"
    );
    assert_eq!(count(&pair.hub_events), fits + 1);
    pair.assert_at_rest();
}

#[test]
fn a_body_waits_for_the_frame_that_opens_its_call() {
    let mut pair = Pair::with(Config::default(), &[feature::FLOW_CONTROL, feature::HTTP]);
    let id = pair.hub.open_call(http_request(false), pair.now).unwrap();
    assert_eq!(pair.hub.send_data(id, data(1)), Offer::Taken);
    pair.settle();
    assert!(matches!(
        pair.plugin_events.as_slice(),
        [Event::Request(..), Event::Data(..)]
    ));
}

#[test]
fn more_data_than_its_credit_ends_that_call_only_on_either_side() {
    for to_plugin in [true, false] {
        let (mut pair, id) = open();
        let other = pair.call();
        let fits = limits::BODY_CREDIT / COST;
        for n in 0..=fits {
            let frame = Frame {
                stream: id.0,
                body: Some(Body::Data(data(LEN))),
            };
            let session = if to_plugin {
                &mut pair.plugin
            } else {
                &mut pair.hub
            };
            assert_eq!(session.stats().flow_violations, 0, "chunk {n}");
            session.handle_frame(frame, pair.now);
        }
        pair.settle();
        let ended = pair.responses();
        assert_eq!(ended.len(), 1);
        let status = ended[0].1.status.as_ref().unwrap();
        assert_eq!(
            (ended[0].0, status.kind(), status.reason.as_str()),
            (id, Code::Internal, reason::FLOW_VIOLATION)
        );
        pair.plugin.respond(other, Response::default());
        pair.settle();
        assert_eq!(pair.responses().len(), 1);
        assert_eq!(
            (pair.hub.state(), pair.plugin.state()),
            (State::Open, State::Open)
        );
    }
}

#[test]
fn a_head_is_paid_for_like_bytes_and_no_larger_than_a_chunk() {
    let (mut pair, id) = open();
    let most = limits::MAX_LOG_CHUNK - 33;
    assert_eq!(pair.plugin.send_data(id, head(most + 1)), Offer::Gone);
    assert_eq!(pair.plugin.send_data(id, head(most)), Offer::Taken);
    // The rest of the first credit is smaller than another one.
    assert!(matches!(pair.plugin.send_data(id, head(most)), Offer::Full(_)));
    pair.settle();
    assert_eq!(count(&pair.hub_events), 1);
    pair.hub.consumed(id, most as u64 + 33 + limits::CHUNK_OVERHEAD);
    pair.settle();
    assert_eq!(pair.plugin.send_data(id, head(most)), Offer::Taken);
    let frame = Frame {
        stream: id.0,
        body: Some(Body::Data(head(most + 1))),
    };
    pair.hub.handle_frame(frame, pair.now);
    assert_eq!(pair.hub.stats().flow_violations, 1);
}

#[test]
fn an_answer_that_has_begun_is_not_ended_by_its_deadline_on_either_side() {
    let (mut pair, id) = open();
    assert_eq!(pair.plugin.send_data(id, head(10)), Offer::Taken);
    pair.settle();
    pair.now += 2 * limits::STATUS_TIMEOUT;
    for session in [&mut pair.hub, &mut pair.plugin] {
        session.expire_calls(pair.now);
    }
    pair.settle();
    assert!(pair.responses().is_empty());
    assert_eq!(pair.plugin.send_data(id, data(1)), Offer::Taken);
    pair.plugin.respond(id, Response::default());
    pair.settle();
    assert_eq!(pair.responses().len(), 1);
}

#[test]
fn data_on_a_call_without_a_body_does_not_take_its_deadline_away() {
    let (mut pair, _) = open();
    let call = pair.call();
    let frame = Frame {
        stream: call.0,
        body: Some(Body::Data(head(10))),
    };
    pair.hub.handle_frame(frame, pair.now);
    pair.now += 2 * limits::CREATE_TIMEOUT;
    pair.hub.expire_calls(pair.now);
    pair.settle();
    let ended = pair.responses();
    assert!(ended.iter().any(|(id, response)| {
        let late = |status: &crate::wire::Status| status.kind() == Code::DeadlineExceeded;
        *id == call && response.status.as_ref().is_some_and(late)
    }));
}

#[test]
fn data_on_a_log_and_a_log_chunk_on_a_call_end_that_stream_only() {
    let (mut pair, call) = open();
    let log = pair.logs();
    let chunk = Body::LogChunk(super::pair::chunk(0, 1));
    for (id, body) in [(call, chunk), (log, Body::Data(data(1)))] {
        let frame = Frame {
            stream: id.0,
            body: Some(body),
        };
        pair.hub.handle_frame(frame, pair.now);
    }
    assert_eq!(pair.hub.stats().flow_violations, 2);
    assert_eq!(pair.hub.state(), State::Open);
}

#[test]
fn a_body_is_not_sent_to_a_peer_without_the_features() {
    for features in [&[][..], &[feature::HTTP], &[feature::FLOW_CONTROL]] {
        let mut pair = Pair::with(Config::default(), features);
        let refused = pair.hub.open_call(http_request(false), pair.now).unwrap_err();
        assert_eq!((refused.kind(), refused.not_started), (Code::Unimplemented, true));
    }
    assert_eq!(register().features, [""; 0]);
}

#[test]
fn no_frame_of_a_sensitive_call_is_ever_compressed() {
    let features = [feature::FLOW_CONTROL, feature::HTTP, feature::ZSTD];
    for sensitive in [true, false] {
        let mut pair = Pair::with(Config::default(), &features);
        let plain = |packet: bytes::Bytes| packet.len() > LEN;
        let id = pair.hub.open_call(http_request(sensitive), pair.now).unwrap();
        let packet = pair.hub.poll_packet().unwrap();
        assert_eq!(plain(packet.clone()), sensitive, "the request");
        pair.plugin.handle_packet(packet, pair.now);

        let _ = pair.hub.send_data(id, data(LEN));
        let packet = pair.hub.poll_packet().unwrap();
        assert_eq!(plain(packet.clone()), sensitive, "the body");
        pair.plugin.handle_packet(packet, pair.now);

        let _ = pair.plugin.send_data(id, data(LEN));
        assert_eq!(
            plain(pair.plugin.poll_packet().unwrap()),
            sensitive,
            "the body of the answer"
        );
        let text = "x".repeat(LEN);
        let status = crate::wire::Status::new(Code::Internal, "", text);
        pair.plugin.respond(
            id,
            Response {
                status: Some(status),
                result: None,
            },
        );
        assert_eq!(plain(pair.plugin.poll_packet().unwrap()), sensitive, "the answer");
    }
}

#[test]
fn a_packet_that_holds_one_sensitive_frame_is_plain_as_a_whole() {
    let mut pair = Pair::with(
        Config::default(),
        &[feature::FLOW_CONTROL, feature::HTTP, feature::ZSTD],
    );
    pair.hub.open_call(http_request(false), pair.now).unwrap();
    pair.hub.open_call(http_request(true), pair.now).unwrap();
    assert!(pair.hub.poll_packet().unwrap().len() > 2 * LEN);
    pair.hub.open_call(http_request(false), pair.now).unwrap();
    assert!(pair.hub.poll_packet().unwrap().len() < LEN, "and the next is not");
}
