//! Frames to bytes and back, in protobuf.

use std::hint::black_box;

use bytes::Bytes;
use towline::{
    limits,
    wire::{StreamId, codec::encoded_len, decode_packet, encode_frame, frame::Body},
};

use super::{Operation, Scenario, samples};

const STREAM: StreamId = StreamId(2);

/// Calls of the large packet.
const MANY: u32 = 64;

pub(super) fn all() -> Vec<Scenario> {
    let frame = |name, prepare| Scenario {
        name,
        unit: "frame",
        per: 1,
        times: 1_000,
        prepare,
    };
    let packet = |name, prepare| Scenario {
        per: MANY,
        times: 100,
        ..frame(name, prepare)
    };
    vec![
        frame("encode-create", |times| encode(times, 1, create())),
        frame("decode-create", |_| decode(1, create())),
        frame("encode-response", |times| encode(times, 1, answer())),
        frame("decode-response", |_| decode(1, answer())),
        frame("encode-log-256", |times| encode(times, 1, log(256))),
        frame("decode-log-256", |_| decode(1, log(256))),
        frame("encode-log-4k", |times| encode(times, 1, log(4 << 10))),
        frame("decode-log-4k", |_| decode(1, log(4 << 10))),
        frame("encode-event", |times| encode(times, 1, event())),
        frame("decode-event", |_| decode(1, event())),
        packet("encode-64-creates", |times| encode(times, MANY, create())),
        packet("decode-64-creates", |_| decode(MANY, create())),
    ]
}

fn create() -> Body {
    samples::request(samples::small_create())
}

fn answer() -> Body {
    samples::response(samples::created())
}

fn log(len: usize) -> Body {
    Body::LogChunk(samples::chunk(9_000_000, samples::log(len)))
}

fn event() -> Body {
    Body::PodEvent(Box::new(samples::event(4_711)))
}

/// Writes a packet of so many frames. Writing uses up a frame, so all that will be written are made before.
fn encode(times: u32, frames: u32, body: Body) -> Operation {
    let size = encoded_len(STREAM, &body) * frames as usize;
    let mut bodies = vec![body; (times * frames) as usize];
    Box::new(move || {
        let mut out = Vec::with_capacity(size);
        for _ in 0..frames {
            encode_frame(&mut out, STREAM, bodies.pop().expect("one for each time"));
        }
        assert_eq!(out.len(), size, "a packet has another size");
        black_box(out);
    })
}

/// Reads a packet of so many frames, and lets it go.
fn decode(frames: u32, body: Body) -> Operation {
    let mut message = Vec::new();
    for _ in 0..frames {
        encode_frame(&mut message, STREAM, body.clone());
    }
    let message = Bytes::from(message);
    let read =
        |message: &Bytes| decode_packet(message.clone(), limits::MAX_MESSAGE).expect("a packet is read");
    assert!(
        read(&message)
            .iter()
            .all(|frame| frame.body.as_ref() == Some(&body)),
        "what was read is not what was written"
    );
    Box::new(move || {
        let packet = read(black_box(&message));
        assert_eq!(packet.len(), frames as usize, "a packet has other frames");
        black_box(packet);
    })
}
