use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use proptest::prelude::*;

use super::pair::{Pair, chunk, create_request, register, status_request};
use crate::{
    code::CloseCode,
    limits,
    session::{Config, Event, Rate, Session, State},
    wire::{
        CancelStream, Credit, Data, Frame, Ping, PodEvent, Pong, Response, StreamId, Welcome,
        codec::encode_frame, feature, frame::Body,
    },
};

fn guarded(per_second: u32, burst: u32) -> Config {
    Config {
        peer_frames: Some(Rate { per_second, burst }),
        ..Config::accepting()
    }
}

/// A hub that has let its plugin in; what it wrote so far is thrown away.
fn hub(config: Config) -> (Session, Instant) {
    let now = Instant::now() + Duration::from_secs(3600);
    let mut hub = Session::accept(config, now);
    let body = Some(Body::Register(register().into()));
    hub.handle_frame(Frame { stream: 0, body }, now);
    let features = vec![feature::EVENTS.to_owned()];
    hub.welcome(
        Welcome {
            features,
            ..Welcome::default()
        },
        now,
    );
    while hub.poll_packet().is_some() || hub.poll_event().is_some() {}
    (hub, now)
}

fn event(seq: u64) -> Body {
    Body::PodEvent(
        PodEvent {
            seq,
            ..PodEvent::default()
        }
        .into(),
    )
}

fn packet(bodies: impl IntoIterator<Item = Body>) -> Bytes {
    let mut out = Vec::new();
    for body in bodies {
        encode_frame(&mut out, StreamId::LINK, body);
    }
    out.into()
}

fn closed(session: &mut Session) -> Option<(CloseCode, String)> {
    std::iter::from_fn(|| session.poll_event()).find_map(|event| match event {
        Event::Closed { code, reason } => Some((code, reason)),
        _ => None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// However the peer bundles its events and whenever they come: over any time no more are read than the burst, the
    /// rate and one packet; and all are read in the end, in order.
    #[test]
    fn a_flood_is_read_at_the_rate_and_nothing_of_it_is_lost(
        packets in prop::collection::vec((0u64..50, 1usize..60), 1..60), per_second in 1u32..2_000, burst in 1u32..100,
    ) {
        let (mut hub, mut now) = hub(guarded(per_second, burst));
        let largest = packets.iter().map(|(_, count)| *count).max().unwrap();
        let (mut seq, mut socket, mut got) = (0, VecDeque::new(), Vec::<(u64, Instant)>::new());
        let mut arrivals: VecDeque<(Instant, Bytes)> = VecDeque::new();
        let mut at = now;
        for (millis, count) in packets {
            at += Duration::from_millis(millis);
            let first = seq + 1;
            seq += count as u64;
            arrivals.push_back((at, packet((first..=seq).map(event))));
        }
        while got.len() < seq as usize {
            while arrivals.front().is_some_and(|(at, _)| *at <= now) {
                socket.extend(arrivals.pop_front().map(|(_, packet)| packet));
            }
            while hub.may_read(now) && let Some(message) = socket.pop_front() {
                hub.handle_packet(message, now);
            }
            got.extend(std::iter::from_fn(|| hub.poll_event()).filter_map(|event| match event {
                Event::PodEvent(event) => Some((event.seq, now)),
                _ => None,
            }));
            // The peer is as good as gone after an hour of pause; a rate that low is not what is tested.
            prop_assert_eq!(hub.state(), State::Open);
            let due = hub.poll_timeout().into_iter().chain(arrivals.front().map(|(at, _)| *at)).min().unwrap();
            prop_assert!(due > now || (hub.may_read(now) && socket.is_empty()) , "a wake without a purpose");
            now = now.max(due);
            if hub.poll_timeout().is_some_and(|at| at <= now) {
                hub.handle_timeout(now);
            }
            while hub.poll_packet().is_some() {}
        }
        prop_assert!(got.iter().map(|(seq, _)| *seq).eq(1..=seq));
        for (first, (_, from)) in got.iter().enumerate().step_by(7) {
            for (last, (_, until)) in got.iter().enumerate().skip(first).step_by(5) {
                let time = (*until - *from).as_secs_f64() * f64::from(per_second);
                let allowed = f64::from(burst) + time + largest as f64;
                prop_assert!((last - first + 1) as f64 <= allowed + 0.01, "{} in {time}", last - first + 1);
            }
        }
    }
}

#[test]
fn what_answers_this_side_or_has_credit_is_never_held_up() {
    let mut pair = Pair::with(guarded(1, 1), &[feature::FLOW_CONTROL]);
    let log = pair.logs();
    for n in 0..200 {
        let call = pair.call();
        pair.plugin.respond(call, Response::default());
        pair.plugin.send_chunk(log, chunk(n, 1));
        pair.settle();
    }
    for (stream, body) in [
        (0, Body::Pong(Pong { id: 1 })),
        (log.0, Body::Credit(Credit { bytes: 9 })),
    ] {
        pair.hub.handle_frame(
            Frame {
                stream,
                body: Some(body),
            },
            pair.now,
        );
    }
    assert!(pair.hub.may_read(pair.now));
    assert_eq!(
        (pair.hub.stats().started_by_peer, pair.hub.stats().read_pauses),
        (0, 0)
    );
}

#[test]
fn creates_and_deletes_bring_room_for_the_events_of_their_pods_and_no_more() {
    let mut pair = Pair::with(guarded(1, 8), &[feature::EVENTS]);
    let mut seq = 0;
    let mut events = |pair: &mut Pair, count| {
        for _ in 0..count {
            seq += 1;
            let body = Some(event(seq));
            pair.hub.handle_frame(Frame { stream: 0, body }, pair.now);
        }
    };
    for _ in 0..200 {
        let call = pair.hub.open_call(create_request(1), pair.now).unwrap();
        pair.settle();
        events(&mut pair, limits::PEER_FRAMES_A_CALL);
        assert!(pair.hub.may_read(pair.now), "what was asked for");
        pair.plugin.respond(call, Response::default());
        pair.settle();
    }
    let status = pair.call();
    pair.plugin.respond(status, Response::default());
    pair.settle();
    events(&mut pair, 8);
    assert!(!pair.hub.may_read(pair.now), "what was not");
    assert_eq!(pair.hub.stats().read_pauses, 1);
}

#[test]
fn what_the_peer_starts_and_what_fits_nowhere_takes_a_token() {
    let floods: [(u32, Option<Body>); 6] = [
        (0, Some(Body::Ping(Ping { id: 1 }))),
        (0, Some(event(1))),
        (0, None),
        (1, Some(Body::CancelStream(CancelStream::default()))),
        (1, Some(Body::Data(Data::default()))),
        (2, Some(Body::Response(Response::default().into()))),
    ];
    for (stream, body) in floods {
        let (mut hub, now) = hub(guarded(10, 20));
        for _ in 0..20 {
            let body = body.clone();
            assert!(hub.may_read(now), "{body:?}");
            hub.handle_frame(Frame { stream, body }, now);
        }
        assert!(!hub.may_read(now), "{body:?}");
        assert_eq!(hub.stats().read_pauses, 1);
    }
    let (mut hub, now) = hub(guarded(10, 20));
    for n in 0..20 {
        let body = if n % 2 == 0 {
            None
        } else {
            Some(Body::Request(status_request().into()))
        };
        hub.handle_frame(
            Frame {
                stream: 2 * n + 1,
                body,
            },
            now,
        );
    }
    assert!(!hub.may_read(now), "calls");
}

#[test]
fn a_trusted_hub_is_never_held_up() {
    let mut pair = Pair::open();
    for _ in 0..20_000 {
        let call = pair.call();
        pair.plugin.respond(call, Response::default());
        pair.settle();
        pair.plugin_events.clear();
        pair.hub_events.clear();
    }
    assert!(pair.plugin.may_read(pair.now));
    assert_eq!(pair.plugin.stats().read_pauses, 0);
}

#[test]
fn a_pause_is_no_silence_of_the_peer_and_a_silence_after_it_is() {
    let (mut hub, start) = hub(guarded(1, 1));
    let mut now = start;
    hub.handle_packet(packet((1..=300).map(event)), now);
    while hub.poll_event().is_some() {}
    let mut resumed = None;
    while hub.state() == State::Open {
        let at = hub.poll_timeout().unwrap();
        assert!(at > now || resumed.is_none(), "a wake without time passing");
        now = now.max(at);
        hub.handle_timeout(now);
        while hub.poll_packet().is_some() {}
        if resumed.is_none() && hub.may_read(now) {
            resumed = Some(now);
        }
    }
    let resumed = resumed.expect("it was given up while nothing was read");
    assert!(resumed >= start + Duration::from_secs(299));
    assert!(now <= resumed + limits::IDLE_TIMEOUT);
    assert!(matches!(closed(&mut hub), Some((CloseCode::IDLE, _))));
}

#[test]
fn a_client_that_pings_every_second_is_served_and_a_flood_of_socket_pings_is_closed_with_the_reason() {
    let (mut hub, mut now) = hub(Config::accepting());
    for n in 0..3_600 {
        now += Duration::from_secs(1);
        hub.handle_transport_ping(now);
        let body = Some(event(n));
        hub.handle_frame(Frame { stream: 0, body }, now);
    }
    while let Some(event) = hub.poll_event() {
        assert!(!matches!(event, Event::Closed { .. }));
    }
    for _ in 0..=limits::SOCKET_PINGS_BURST {
        hub.handle_transport_ping(now);
    }
    let (code, reason) = closed(&mut hub).unwrap();
    assert_eq!(code, CloseCode::VIOLATION);
    assert!(reason.contains("too many WebSocket pings"), "{reason}");
}
