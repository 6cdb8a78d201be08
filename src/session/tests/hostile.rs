use bytes::Bytes;
use proptest::prelude::*;

use super::pair::{Pair, chunk, create_request, follow, status_request};
use crate::{
    code::{CloseCode, Code, reason},
    limits,
    session::{Config, Event, Session, State},
    wire::{
        CancelStream, Credit, Frame, GoAway, Ping, Response, StreamId, codec::encode_frame, decode_packet,
        frame::Body,
    },
};

fn frame(stream: u32, body: Body) -> Frame {
    Frame {
        stream,
        body: Some(body),
    }
}

#[test]
fn an_unknown_kind_of_call_is_answered_unimplemented() {
    let mut pair = Pair::open();
    pair.hub.handle_frame(
        Frame {
            stream: 1,
            body: None,
        },
        pair.now,
    );
    pair.hub.handle_frame(
        Frame {
            stream: 1,
            body: None,
        },
        pair.now,
    );
    let packet = pair.hub.poll_packet().unwrap();
    let frames = decode_packet(packet, 1_000).unwrap();
    let [
        Frame {
            stream: 1,
            body: Some(Body::Response(response)),
        },
    ] = frames.as_slice()
    else {
        panic!("{frames:?}")
    };
    assert_eq!(response.status.as_ref().unwrap().kind(), Code::Unimplemented);
}

#[test]
fn late_and_unknown_frames_are_ignored() {
    let mut pair = Pair::open();
    let id = pair.call();
    pair.plugin.respond(id, Response::default());
    pair.settle();
    pair.hub_events.clear();
    for body in [
        Body::Response(Response::default().into()),
        Body::LogChunk(chunk(0, 5)),
        Body::Credit(Credit { bytes: 5 }),
        Body::CancelStream(CancelStream::default()),
    ] {
        pair.hub.handle_frame(frame(id.0, body), pair.now);
    }
    pair.hub.handle_frame(
        Frame {
            stream: 0,
            body: None,
        },
        pair.now,
    );
    pair.settle();
    assert!(pair.hub_events.is_empty());
    assert_eq!(pair.hub.stats().ignored, 5);
    pair.assert_at_rest();
}

#[test]
fn a_stream_id_used_again_breaks_the_protocol() {
    let mut pair = Pair::open();
    pair.plugin
        .handle_frame(frame(4, Body::Request(status_request().into())), pair.now);
    pair.plugin
        .handle_frame(frame(2, Body::Request(status_request().into())), pair.now);
    assert_eq!(pair.plugin.state(), State::Closed);
}

#[test]
fn a_call_on_the_wrong_stream_breaks_the_protocol() {
    for stream in [0, 3] {
        let mut pair = Pair::open();
        pair.plugin
            .handle_frame(frame(stream, Body::Request(status_request().into())), pair.now);
        let events: Vec<Event> = std::iter::from_fn(|| pair.plugin.poll_event()).collect();
        assert!(
            matches!(
                events.last(),
                Some(Event::Closed {
                    code: CloseCode::VIOLATION,
                    ..
                })
            ),
            "{events:?}"
        );
    }
}

#[test]
fn calls_over_the_limit_are_refused_and_a_flood_that_reads_nothing_is_cut_off() {
    let mut pair = Pair::with(
        Config {
            max_calls: 2,
            ..Config::default()
        },
        &[],
    );
    for n in 1..=3 {
        pair.plugin
            .handle_frame(frame(n * 2, Body::Request(status_request().into())), pair.now);
    }
    let answer = decode_packet(pair.plugin.poll_packet().unwrap(), 10_000).unwrap();
    let [
        Frame {
            stream: 6,
            body: Some(Body::Response(response)),
        },
    ] = answer.as_slice()
    else {
        panic!()
    };
    let status = response.status.as_ref().unwrap();
    assert_eq!(
        (status.reason.as_str(), status.not_started),
        (reason::TOO_MANY_CALLS, true)
    );
    for n in 4..5_000 {
        pair.plugin
            .handle_frame(frame(n * 2, Body::Request(status_request().into())), pair.now);
    }
    assert_eq!(pair.plugin.state(), State::Closed);
}

#[test]
fn a_log_without_enough_credit_for_one_chunk_is_refused() {
    let mut pair = Pair::open();
    let mut open = follow();
    open.credit = 10;
    pair.plugin
        .handle_frame(frame(2, Body::StreamLogs(open.into())), pair.now);
    let answer = decode_packet(pair.plugin.poll_packet().unwrap(), 10_000).unwrap();
    assert!(
        matches!(&answer[0].body, Some(Body::Response(r)) if r.status.as_ref().unwrap().kind() == Code::InvalidArgument)
    );
}

#[test]
fn garbage_and_giants_close_with_the_fitting_code() {
    let mut pair = Pair::with(
        Config {
            max_message: limits::MIN_MESSAGE,
            ..Config::default()
        },
        &[],
    );
    pair.hub
        .handle_packet(Bytes::from_static(b"\xff\xff\xff\xff"), pair.now);
    assert!(matches!(
        pair.hub.poll_event(),
        Some(Event::Closed {
            code: CloseCode::INVALID,
            ..
        })
    ));
    pair.plugin
        .handle_packet(vec![0; limits::MIN_MESSAGE + 1].into(), pair.now);
    assert!(matches!(
        pair.plugin.poll_event(),
        Some(Event::Closed {
            code: CloseCode::TOO_BIG,
            ..
        })
    ));
}

#[test]
fn a_small_message_that_inflates_beyond_the_limit_is_refused_from_its_header() {
    use prost::Message;
    let squeezed = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap();
    let bomb = crate::wire::Packet {
        frames: Vec::new(),
        zstd: squeezed.into(),
    }
    .encode_to_vec();
    assert!(bomb.len() < 10_000);
    let refused = decode_packet(bomb.into(), 16 << 20).unwrap_err();
    assert!(matches!(refused, crate::wire::CodecError::TooLarge { size, .. } if size == 64 << 20));
}

#[test]
fn a_packet_of_too_many_frames_is_refused() {
    let many = Bytes::from([0x0a, 0x00].repeat(limits::MAX_FRAMES + 1));
    assert_eq!(
        decode_packet(many, 1 << 20).unwrap_err(),
        crate::wire::CodecError::TooManyFrames
    );
}

fn any_body() -> impl Strategy<Value = Body> {
    prop_oneof![
        Just(Body::Request(status_request().into())),
        Just(Body::Request(create_request(20).into())),
        Just(Body::Response(Response::default().into())),
        Just(Body::StreamLogs(follow().into())),
        (0usize..70_000).prop_map(|len| Body::LogChunk(chunk(0, len))),
        any::<u64>().prop_map(|bytes| Body::Credit(Credit { bytes })),
        Just(Body::CancelStream(CancelStream::default())),
        any::<u64>().prop_map(|id| Body::Ping(Ping { id })),
        (any::<u32>(), 0u32..9).prop_map(|(code, last_stream)| Body::GoAway(GoAway {
            code,
            last_stream,
            ..GoAway::default()
        })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever frames come in whatever order: no panic, every call of ours ends exactly once, and after the loss
    /// of the link every table is empty.
    #[test]
    fn any_frames_end_every_call_once(frames in prop::collection::vec((0u32..12, prop::option::of(any_body())), 0..60)) {
        let mut pair = Pair::open();
        let mut open = Vec::new();
        for (n, (stream, body)) in frames.into_iter().enumerate() {
            if n % 3 == 0 {
                open.extend(pair.hub.open_call(status_request(), pair.now));
                open.extend(pair.hub.open_logs(follow(), pair.now));
            }
            if n % 2 == 0 {
                while pair.hub.poll_packet().is_some() {}
            }
            pair.hub.handle_frame(Frame { stream, body }, pair.now);
        }
        pair.hub.handle_lost();
        let events: Vec<Event> = std::iter::from_fn(|| pair.hub.poll_event()).collect();
        for id in open {
            let ends = events.iter().filter(|e| matches!(e, Event::Response(got, _) if *got == id)).count();
            prop_assert_eq!(ends, 1, "stream {}", id);
        }
        prop_assert_eq!(pair.hub.calls_in_flight(), 0);
    }

    /// Perturbed bytes of a real conversation never panic and never hang.
    #[test]
    fn perturbed_bytes_never_panic(at in 0usize..400, with in any::<u8>(), cut in 0usize..400) {
        let mut out = Vec::new();
        encode_frame(&mut out, StreamId(2), Body::Request(create_request(100).into()));
        encode_frame(&mut out, StreamId(4), Body::StreamLogs(follow().into()));
        encode_frame(&mut out, StreamId::LINK, Body::Ping(Ping { id: 3 }));
        let mut bytes = out.to_vec();
        if let Some(byte) = bytes.get_mut(at) { *byte = with; }
        bytes.truncate(bytes.len().saturating_sub(cut));
        let mut pair = Pair::open();
        pair.plugin.handle_packet(bytes.into(), pair.now);
        while pair.plugin.poll_event().is_some() {}
        while pair.plugin.poll_packet().is_some() {}
    }

    /// However the sender cuts its frames into packets, the receiver sees the same.
    #[test]
    fn any_packing_gives_the_same(cuts in prop::collection::vec(1usize..5, 1..20)) {
        let bodies = || (0..20u32).map(|n| (StreamId(2 + 2 * n), Body::Request(create_request(n as usize).into())));
        let mut pair = Pair::open();
        let mut frames = bodies();
        let mut cuts = cuts.into_iter().cycle();
        loop {
            let mut out = Vec::new();
            for (id, body) in frames.by_ref().take(cuts.next().unwrap()) { encode_frame(&mut out, id, body); }
            if out.is_empty() { break; }
            pair.plugin.handle_packet(out.into(), pair.now);
        }
        let got: Vec<String> = std::iter::from_fn(|| pair.plugin.poll_event()).map(|e| format!("{e:?}")).collect();
        let want: Vec<String> = bodies().map(|(id, body)| match body {
            Body::Request(request) => format!("{:?}", Event::Request(id, request)),
            _ => String::new(),
        }).collect();
        prop_assert_eq!(got, want);
    }
}

#[test]
fn a_session_never_wakes_without_work() {
    let mut session = Session::accept(Config::default(), std::time::Instant::now());
    session.close(CloseCode::NORMAL, "");
    assert_eq!(session.poll_timeout(), None);
    assert!(!session.has_output());
}
