use std::time::Duration;

use super::pair::{Pair, create_request, status_request};
use crate::{
    code::{CloseCode, Code, reason},
    limits,
    session::{Config, Event, Squeezed, State},
    wire::{
        EventAck, Frame, PodEvent, Response, Status, StreamId, codec::encode_frame, feature, frame::Body,
    },
};

#[test]
fn a_call_is_answered_once_and_leaves_nothing() {
    let mut pair = Pair::open();
    let id = pair.call();
    assert!(matches!(pair.plugin_events.pop(), Some(Event::Request(got, _)) if got == id));
    pair.plugin.respond(id, Response::default());
    pair.plugin.respond(id, Response::default());
    pair.settle();
    assert_eq!(pair.responses().len(), 1);
    pair.assert_at_rest();
}

#[test]
fn nothing_but_register_travels_before_welcome() {
    let mut pair = Pair::unregistered(Config::default());
    assert_eq!(
        pair.plugin
            .open_call(status_request(), pair.now)
            .unwrap_err()
            .kind(),
        Code::Unavailable
    );
    pair.plugin.send_event(PodEvent::default());
    pair.settle();
    assert!(matches!(pair.hub_events.as_slice(), [Event::Register(_)]));
    pair.hub.handle_frame(
        Frame {
            stream: 0,
            body: Some(Body::PodEvent(PodEvent::default().into())),
        },
        pair.now,
    );
    assert!(matches!(
        pair.hub.poll_event(),
        Some(Event::Closed {
            code: CloseCode::VIOLATION,
            ..
        })
    ));
}

#[test]
fn a_refused_peer_hears_why_and_when_to_come_back() {
    let mut pair = Pair::unregistered(Config::default());
    pair.settle();
    pair.hub
        .refuse(CloseCode::FORBIDDEN, "not your name", Duration::from_secs(7));
    pair.settle();
    let Some(Event::GoAway {
        code,
        reason,
        retry_after,
    }) = pair.plugin_events.pop()
    else {
        panic!()
    };
    assert_eq!(
        (code, reason.as_str(), retry_after),
        (CloseCode::FORBIDDEN, "not your name", Duration::from_secs(7))
    );
}

#[test]
fn a_peer_that_cannot_take_a_chunk_is_refused_with_the_reason() {
    let config = Config {
        max_message: limits::MIN_MESSAGE - 1,
        ..Config::default()
    };
    let mut pair = Pair::unregistered(config);
    pair.settle();
    assert!(
        matches!(&pair.plugin_events[..], [Event::GoAway { code: CloseCode::VIOLATION, reason, .. }]
        if reason.contains("max_message_bytes is 131071"))
    );
    assert_eq!(pair.hub.state(), State::Closed);
}

#[test]
fn a_handshake_that_does_not_come_ends_the_link() {
    let mut pair = Pair::unregistered(Config::default());
    pair.up = false;
    pair.pass(limits::REGISTER_TIMEOUT);
    assert_eq!(
        (pair.hub.state(), pair.plugin.state()),
        (State::Closed, State::Closed)
    );
}

#[test]
fn a_deadline_ends_the_call_on_both_sides_and_frees_the_slot_when_the_handler_ends() {
    let mut pair = Pair::open();
    let mut request = status_request();
    request.timeout_ms = 5_000;
    let id = pair.hub.open_call(request, pair.now).unwrap();
    pair.pass(Duration::from_secs(5));
    let responses = pair.responses();
    assert_eq!(responses.len(), 1);
    assert_eq!(
        responses[0].1.status.as_ref().unwrap().kind(),
        Code::DeadlineExceeded
    );
    assert!(
        pair.plugin_events
            .iter()
            .any(|e| matches!(e, Event::Cancelled(got) if *got == id))
    );
    assert_eq!(pair.plugin.calls_in_flight(), 1, "the handler still runs");
    pair.plugin.respond(id, Response::default());
    pair.pass(Duration::from_secs(1));
    assert!(pair.responses().is_empty());
    pair.assert_at_rest();
}

#[test]
fn an_answer_that_cannot_leave_before_the_deadline_is_not_due_for_ever() {
    let mut pair = Pair::open();
    let mut request = status_request();
    request.timeout_ms = 5_000;
    let id = pair.hub.open_call(request, pair.now).unwrap();
    pair.settle();
    pair.plugin.respond(id, Response::default());
    // The transport takes nothing meanwhile.
    pair.now += Duration::from_secs(5);
    pair.plugin.handle_timeout(pair.now);
    assert!(pair.plugin.poll_timeout().is_none_or(|at| at > pair.now));
    pair.settle();
    assert_eq!(pair.responses().len(), 1);
    pair.assert_at_rest();
}

#[test]
fn an_unwritten_call_is_cancelled_without_a_frame() {
    let mut pair = Pair::open();
    let id = pair.hub.open_call(status_request(), pair.now).unwrap();
    pair.hub.cancel(id, pair.now);
    pair.settle();
    assert!(pair.plugin_events.is_empty());
    pair.assert_at_rest();
}

#[test]
fn a_cancelled_call_keeps_its_slot_until_it_is_answered_or_lingered() {
    let mut pair = Pair::with(
        Config {
            max_calls: 1,
            ..Config::default()
        },
        &[],
    );
    let id = pair.call();
    pair.hub.cancel(id, pair.now);
    pair.settle();
    assert!(matches!(pair.plugin_events.last(), Some(Event::Cancelled(got)) if *got == id));
    let refused = pair.hub.open_call(status_request(), pair.now).unwrap_err();
    assert_eq!(
        (refused.reason.as_str(), refused.not_started),
        (reason::TOO_MANY_CALLS, true)
    );
    pair.pass(limits::CANCEL_LINGER);
    assert_eq!(pair.hub.calls_in_flight(), 0);
    pair.plugin.respond(id, Response::default());
    pair.settle();
    assert!(pair.responses().is_empty(), "a late answer is ignored");
    pair.assert_at_rest();
}

#[test]
fn a_lost_link_ends_every_call_and_tells_which_were_never_written() {
    let mut pair = Pair::open();
    let written = pair.call();
    let queued = pair.hub.open_call(status_request(), pair.now).unwrap();
    pair.hub.handle_lost();
    pair.settle();
    let started = |id| {
        let response = pair.hub_events.iter().find_map(|e| match e {
            Event::Response(got, response) if *got == id => response.status.clone(),
            _ => None,
        });
        !response.unwrap().not_started
    };
    assert!(started(written) && !started(queued));
}

#[test]
fn an_oversized_call_fails_locally_and_an_oversized_answer_is_replaced() {
    let mut pair = Pair::with(
        Config {
            max_message: 2 << 20,
            ..Config::default()
        },
        &[],
    );
    let refused = pair.hub.open_call(create_request(3 << 20), pair.now).unwrap_err();
    assert_eq!(
        (refused.reason.as_str(), refused.not_started),
        (reason::MESSAGE_TOO_LARGE, true)
    );
    let id = pair.call();
    let huge = Status::new(Code::Internal, "", "y".repeat(3 << 20));
    pair.plugin.respond(
        id,
        Response {
            status: Some(huge),
            result: None,
        },
    );
    pair.settle();
    let answer = pair.responses().remove(0).1.status.unwrap();
    assert_eq!(answer.reason, reason::MESSAGE_TOO_LARGE);
    assert_eq!(pair.hub.state(), State::Open);
}

#[test]
fn a_large_call_after_small_ones_stays_within_the_peers_limit() {
    let mut pair = Pair::with(
        Config {
            max_message: 1 << 20,
            ..Config::default()
        },
        &[],
    );
    for payload in [10, 1000, (1 << 20) - 200, 500, (1 << 20) - 200] {
        pair.hub.open_call(create_request(payload), pair.now).unwrap();
    }
    pair.settle();
    assert_eq!(pair.plugin.state(), State::Open);
    assert_eq!(
        pair.plugin_events
            .iter()
            .filter(|e| matches!(e, Event::Request(..)))
            .count(),
        5
    );
}

#[test]
fn drain_lets_calls_finish_and_takes_no_new_one() {
    let mut pair = Pair::open();
    let id = pair.call();
    pair.hub.drain(
        CloseCode::DRAIN,
        "restart",
        Duration::from_secs(8),
        Duration::from_secs(2),
        pair.now,
    );
    pair.settle();
    assert!(pair.plugin_events.iter().any(|e| matches!(
        e,
        Event::GoAway {
            code: CloseCode::DRAIN,
            ..
        }
    )));
    let refused = pair.plugin.open_call(status_request(), pair.now).unwrap_err();
    assert_eq!(
        (refused.reason.as_str(), refused.not_started),
        (reason::DRAINING, true)
    );
    assert_eq!(pair.hub.state(), State::Draining);
    pair.plugin.respond(id, Response::default());
    pair.settle();
    assert_eq!(pair.responses().len(), 1);
    assert!(matches!(
        pair.hub_events.last(),
        Some(Event::Closed {
            code: CloseCode::DRAIN,
            ..
        })
    ));
}

#[test]
fn a_drain_that_waits_for_a_call_that_the_peer_gives_back_waits_no_longer() {
    let mut pair = Pair::open();
    pair.down = false;
    let request = status_request();
    pair.hub.open_call(request, pair.now).unwrap();
    let grace = Duration::from_secs(8);
    pair.hub
        .drain(CloseCode::DRAIN, "restart", grace, Duration::ZERO, pair.now);
    // Both say it at once: the plugin has not seen the call.
    pair.plugin
        .drain(CloseCode::DRAIN, "stop", grace, Duration::ZERO, pair.now);
    pair.settle();
    assert_eq!(pair.hub.state(), State::Closed);
}

#[test]
fn a_link_that_has_used_up_its_stream_ids_is_drained() {
    let mut pair = Pair::open();
    pair.hub.streams.next = Some(StreamId(u32::MAX - 1));
    let last = pair.hub.open_call(status_request(), pair.now).unwrap();
    assert!(!pair.hub.is_open());
    let refused = pair.hub.open_call(status_request(), pair.now).unwrap_err();
    assert_eq!(
        (refused.reason.as_str(), refused.not_started),
        (reason::DRAINING, true)
    );
    pair.settle();
    pair.plugin.respond(last, Response::default());
    pair.settle();
    assert_eq!(pair.responses().len(), 1, "the last one is answered");
    assert_eq!(pair.hub.state(), State::Closed);
}

#[test]
fn drain_ends_at_its_grace() {
    let mut pair = Pair::open();
    pair.call();
    pair.hub.drain(
        CloseCode::DRAIN,
        "restart",
        Duration::from_secs(8),
        Duration::ZERO,
        pair.now,
    );
    pair.pass(Duration::from_secs(8));
    assert_eq!(pair.hub.state(), State::Closed);
    assert_eq!(
        pair.responses()[0].1.status.as_ref().unwrap().reason,
        reason::SESSION_LOST
    );
}

#[test]
fn a_sent_acknowledgement_is_the_latest() {
    let mut pair = Pair::open();
    for seq in 1..=100 {
        pair.hub.send_ack(EventAck { epoch: 9, seq });
    }
    pair.settle();
    assert!(matches!(
        pair.plugin_events.as_slice(),
        [Event::EventAck(EventAck { epoch: 9, seq: 100 })]
    ));
}

#[test]
fn secrets_are_never_compressed_and_the_rest_is() {
    let mut pair = Pair::with(Config::default(), &[feature::ZSTD]);
    pair.hub.open_call(create_request(50_000), pair.now).unwrap();
    assert!(pair.hub.poll_packet().unwrap().len() > 50_000);
    let mut open = create_request(50_000);
    open.sensitive = false;
    pair.hub.open_call(open, pair.now).unwrap();
    let squeezed = pair.hub.poll_packet().unwrap();
    assert!(squeezed.len() < 5_000);
    pair.plugin.handle_packet(squeezed, pair.now);
    assert!(matches!(pair.plugin.poll_event(), Some(Event::Request(..))));
}

#[test]
fn what_is_below_the_threshold_is_sent_plain_and_the_level_is_obeyed() {
    let squeezed = |from, level| {
        let config = Config {
            compress_from: from,
            compress_level: level,
            ..Config::default()
        };
        let mut pair = Pair::with(config, &[feature::ZSTD]);
        // Lines that are alike but not the same: a higher level finds more in them.
        let text: String = (0..700u64)
            .map(|i| {
                format!(
                    "{} step {} of {} took {} ms\n",
                    i,
                    i * 7 % 91,
                    700,
                    i * i * 31 % 9_973
                )
            })
            .collect();
        let mut open = create_request(0);
        open.sensitive = false;
        if let Some(crate::wire::request::Op::CreatePod(create)) = &mut open.op {
            create.payload = text.into_bytes().into();
        }
        pair.hub.open_call(open, pair.now).unwrap();
        let packet = pair.hub.poll_packet().unwrap();
        let len = packet.len();
        pair.plugin.handle_packet(packet, pair.now);
        assert!(matches!(pair.plugin.poll_event(), Some(Event::Request(..))));
        (len, pair.hub.stats().packets_compressed)
    };
    let (plain, none) = squeezed(1 << 20, 1);
    assert_eq!(none, 0);
    let (low, one) = squeezed(plain, 1);
    let (high, _) = squeezed(64, 9);
    assert_eq!(one, 1, "the threshold itself is compressed");
    assert!(high < low && low < plain, "{high}, {low}, {plain}");
    assert_eq!(squeezed(plain + 1, 1), (plain, 0));
}

#[test]
fn a_packet_of_any_level_is_inflated() {
    let mut plain = Vec::new();
    for id in 0..2_000 {
        let body = Body::Ping(crate::wire::Ping { id });
        encode_frame(&mut plain, crate::wire::StreamId::LINK, body);
    }
    for level in 1..=22 {
        let packet = crate::wire::codec::compress_packet(&plain, level).unwrap();
        assert!(packet.len() < plain.len());
        let frames = crate::wire::decode_packet(packet, plain.len()).unwrap();
        assert_eq!(frames.len(), 2_000, "level {level}");
    }
}

#[test]
fn compressed_packets_are_counted_at_both_ends() {
    let (sent, received) = (std::sync::Arc::<Squeezed>::default(), std::sync::Arc::default());
    let mut pair = Pair::with(Config::default(), &[feature::ZSTD]);
    pair.hub.config.squeezed = Some(sent.clone());
    pair.plugin.config.squeezed = Some(std::sync::Arc::clone(&received));
    for sensitive in [true, false] {
        let mut open = create_request(50_000);
        open.sensitive = sensitive;
        pair.hub.open_call(open, pair.now).unwrap();
        pair.settle();
    }
    let (sent, received): (_, std::sync::Arc<Squeezed>) = (&sent.sent, received);
    assert_eq!((sent.packets(), received.received.packets()), (1, 1));
    assert_eq!(sent.plain_bytes(), received.received.plain_bytes());
    assert_eq!(sent.wire_bytes(), received.received.wire_bytes());
    assert!(sent.plain_bytes() > 50_000 && sent.wire_bytes() < 5_000);
    assert_eq!((received.sent.packets(), received.sent.plain_bytes()), (0, 0));
}

#[test]
fn two_packets_back_to_back_are_one_packet() {
    let mut joined = Vec::new();
    for id in 0..2 {
        encode_frame(
            &mut joined,
            crate::wire::StreamId::LINK,
            Body::Ping(crate::wire::Ping { id }),
        );
    }
    let frames = crate::wire::decode_packet(joined.into(), 1_000).unwrap();
    assert_eq!(frames.len(), 2);
}
