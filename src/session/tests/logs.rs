use super::pair::{Pair, chunk, follow};
use crate::{
    code::{Code, reason},
    limits,
    session::{Event, Offer},
    wire::{Frame, LogOptions, LogsEnd, Response, StreamId, frame::Body, response},
};

fn end() -> Response {
    Response {
        status: None,
        result: Some(response::Result::LogsEnd(LogsEnd {
            eof: true,
            ..LogsEnd::default()
        })),
    }
}

/// Sends chunks of `len` until the stream is full; gives how many were taken.
fn fill(pair: &mut Pair, id: StreamId, len: usize) -> usize {
    let mut sent = 0;
    while pair.plugin.send_chunk(id, chunk((sent * len) as u64, len)) == Offer::Taken {
        sent += 1;
        pair.settle();
    }
    sent
}

#[test]
fn a_reader_that_takes_nothing_pauses_its_own_stream_only() {
    let mut pair = Pair::open();
    let slow = pair.logs();
    let fast = pair.logs();
    // A peer that is not near.
    pair.pass(limits::NEAR);
    let taken = fill(&mut pair, slow, 10_000);
    assert_eq!(
        taken as u64,
        limits::LOG_CREDIT / (10_000 + limits::CHUNK_OVERHEAD)
    );
    assert_eq!(pair.plugin.send_chunk(fast, chunk(0, 10_000)), Offer::Taken);
    let call = pair.call();
    pair.plugin.respond(call, Response::default());
    pair.settle();
    assert_eq!(pair.responses().len(), 1);
    pair.plugin_events.clear();
    for _ in 0..taken {
        pair.hub.consumed(slow, 10_000 + limits::CHUNK_OVERHEAD);
    }
    pair.settle();
    assert!(
        pair.plugin_events
            .iter()
            .any(|e| matches!(e, Event::Writable(id) if *id == slow))
    );
    assert!(
        fill(&mut pair, slow, 10_000) > taken,
        "a stream that flows has a larger window"
    );
}

#[test]
fn empty_chunks_are_not_free() {
    let mut pair = Pair::open();
    let id = pair.logs();
    assert_eq!(
        fill(&mut pair, id, 0) as u64,
        limits::LOG_CREDIT / limits::CHUNK_OVERHEAD
    );
}

#[test]
fn the_end_of_a_log_never_overtakes_its_chunks() {
    let mut pair = Pair::open();
    let a = pair.logs();
    let b = pair.logs();
    for n in 0..5 {
        assert_eq!(pair.plugin.send_chunk(a, chunk(n * 20_000, 20_000)), Offer::Taken);
        assert_eq!(pair.plugin.send_chunk(b, chunk(n * 20_000, 20_000)), Offer::Taken);
    }
    pair.plugin.respond(a, end());
    pair.settle();
    let mut of_a = 0;
    for event in &pair.hub_events {
        match event {
            Event::LogChunk(id, _) if *id == a => of_a += 1,
            Event::Response(id, _) if *id == a => assert_eq!(of_a, 5),
            _ => {}
        }
    }
    assert_eq!(pair.responses().len(), 1);
}

/// The chunks of a stream that the hub got: position, next position, bytes.
fn got(pair: &Pair, of: StreamId) -> Vec<(u64, u64, usize)> {
    let chunks = pair.hub_events.iter().filter_map(|event| match event {
        Event::LogChunk(id, chunk) if *id == of => Some(chunk),
        _ => None,
    });
    chunks
        .map(|chunk| {
            (
                chunk.at.unwrap_or_default().offset,
                chunk.next_offset,
                chunk.data.len(),
            )
        })
        .collect()
}

#[test]
fn small_chunks_that_wait_leave_as_one_where_nothing_stands_between_them() {
    let mut pair = Pair::open();
    let id = pair.logs();
    for n in 0..5 {
        assert_eq!(pair.plugin.send_chunk(id, chunk(n * 100, 100)), Offer::Taken);
    }
    // A hole, a gap that is told, a log that began anew: each is a chunk of its own, and the next joins it.
    assert_eq!(pair.plugin.send_chunk(id, chunk(1_000, 100)), Offer::Taken);
    let mut gap = chunk(1_100, 100);
    gap.gap_bytes = 7;
    assert_eq!(pair.plugin.send_chunk(id, gap), Offer::Taken);
    let mut anew = chunk(0, 100);
    anew.reset = true;
    assert_eq!(pair.plugin.send_chunk(id, anew), Offer::Taken);
    assert_eq!(pair.plugin.send_chunk(id, chunk(100, 100)), Offer::Taken);
    pair.settle();
    let expected = [
        (0, 500, 500),
        (1_000, 1_100, 100),
        (1_100, 1_200, 100),
        (0, 200, 200),
    ];
    assert_eq!(got(&pair, id), expected);
    // Nothing waits any more: a lone chunk is not held back for others.
    pair.plugin.send_chunk(id, chunk(200, 100));
    pair.settle();
    pair.plugin.send_chunk(id, chunk(300, 100));
    pair.settle();
    assert_eq!(got(&pair, id)[4..], [(200, 300, 100), (300, 400, 100)]);
}

#[test]
fn joined_chunks_keep_to_the_credit_and_to_the_size_of_a_chunk() {
    let mut pair = Pair::open();
    let id = pair.logs();
    let mut sent = 0;
    while pair.plugin.send_chunk(id, chunk(sent * 100, 100)) == Offer::Taken {
        sent += 1;
    }
    pair.settle();
    assert_eq!(pair.hub.stats().flow_violations, 0);
    let chunks = got(&pair, id);
    assert!(chunks.iter().all(|(_, _, len)| *len <= limits::LOG_CHUNK));
    assert_eq!(
        chunks.iter().map(|(_, _, len)| *len as u64).sum::<u64>(),
        sent * 100
    );
    assert!(chunks.windows(2).all(|two| two[0].1 == two[1].0));
    let cost = sent * 100 + chunks.len() as u64 * limits::CHUNK_OVERHEAD;
    let room = limits::LOG_CREDIT - cost;
    assert!(
        room < 100 + limits::CHUNK_OVERHEAD,
        "{room} bytes of credit are left"
    );
}

#[test]
fn streams_take_turns_and_calls_go_first() {
    let mut pair = Pair::open();
    let a = pair.logs();
    let b = pair.logs();
    let call = pair.call();
    for n in 0..3 {
        pair.plugin.send_chunk(a, chunk(n * 20_000, 20_000));
    }
    for n in 0..3 {
        pair.plugin.send_chunk(b, chunk(n * 20_000, 20_000));
    }
    pair.plugin.respond(call, Response::default());
    pair.settle();
    let order: Vec<StreamId> = pair
        .hub_events
        .iter()
        .filter_map(|e| match e {
            Event::LogChunk(id, _) | Event::Response(id, _) => Some(*id),
            _ => None,
        })
        .collect();
    assert_eq!(order, [call, a, b, a, b, a, b]);
}

#[test]
fn a_cancelled_log_drops_what_was_queued_and_frees_its_slot() {
    let mut pair = Pair::open();
    let id = pair.logs();
    pair.plugin.send_chunk(id, chunk(0, 100));
    pair.hub.cancel(id, pair.now);
    let cancel = pair.hub.poll_packet().unwrap();
    pair.plugin.handle_packet(cancel, pair.now);
    assert!(matches!(
        pair.plugin.poll_event(),
        Some(Event::StreamLogs(..) | Event::Cancelled(_))
    ));
    assert_eq!(pair.plugin.send_chunk(id, chunk(100, 1)), Offer::Gone);
    pair.plugin.respond(id, end());
    pair.settle();
    assert!(
        !pair
            .hub_events
            .iter()
            .any(|e| matches!(e, Event::LogChunk(..) | Event::Response(..)))
    );
    pair.assert_at_rest();
}

#[test]
fn more_than_the_credit_ends_that_stream_only() {
    let mut pair = Pair::open();
    let id = pair.logs();
    let other = pair.call();
    for _ in 0..5 {
        let frame = Frame {
            stream: id.0,
            body: Some(Body::LogChunk(chunk(0, 60_000))),
        };
        pair.hub.handle_frame(frame, pair.now);
    }
    pair.settle();
    let ended = pair.responses();
    assert_eq!(ended.len(), 1);
    let status = ended[0].1.status.as_ref().unwrap();
    assert_eq!(
        (status.kind(), status.reason.as_str()),
        (Code::Internal, reason::FLOW_VIOLATION)
    );
    assert_eq!(pair.hub.stats().flow_violations, 1);
    pair.plugin.respond(other, Response::default());
    pair.settle();
    assert_eq!(pair.responses().len(), 1);
}

#[test]
fn without_flow_control_only_bounded_requests_are_sent() {
    let mut pair = Pair::with(crate::session::Config::default(), &[]);
    assert_eq!(
        pair.hub.open_logs(follow(), pair.now).unwrap_err().kind(),
        Code::Unimplemented
    );
    let mut bounded = follow();
    bounded.options = Some(LogOptions {
        limit_bytes: Some(1 << 20),
        ..LogOptions::default()
    });
    bounded.start = Some(crate::wire::LogPosition::default());
    let id = pair.hub.open_logs(bounded, pair.now).unwrap();
    pair.settle();
    for n in 0..20 {
        assert_eq!(
            pair.plugin.send_chunk(id, chunk(n * 50_000, 50_000)),
            Offer::Taken
        );
        pair.settle();
    }
    assert_eq!(
        pair.hub_events
            .iter()
            .filter(|e| matches!(e, Event::LogChunk(..)))
            .count(),
        20
    );
}

#[test]
fn a_log_that_is_not_acknowledged_in_time_is_given_up_and_one_that_flows_has_no_deadline() {
    let mut pair = Pair::open();
    let dead = pair.logs();
    let alive = pair.logs();
    pair.plugin.send_chunk(alive, chunk(0, 0));
    pair.pass(limits::LOG_OPEN_TIMEOUT * 3);
    let ended = pair.responses();
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0].0, dead);
    assert_eq!(ended[0].1.status.as_ref().unwrap().kind(), Code::DeadlineExceeded);
}
