//! Frames to bytes and back, as envelopes of the JSON path.

use std::hint::black_box;

use bytes::Bytes;
use towline::{
    envelope::Json,
    limits,
    wire::{Codec as _, StreamId, frame::Body},
};

use super::{Operation, Scenario, samples};

const STREAM: StreamId = StreamId(2);

pub(super) fn all() -> Vec<Scenario> {
    let envelope = |name, prepare| Scenario {
        name,
        unit: "envelope",
        per: 1,
        times: 200,
        prepare,
    };
    vec![
        envelope("json-encode-create", |_| encode(create())),
        envelope("json-decode-create", |_| decode(create())),
        envelope("json-encode-log-4k", |_| encode(log())),
        envelope("json-decode-log-4k", |_| decode(log())),
    ]
}

fn create() -> Body {
    samples::request(samples::create(Bytes::from_static(samples::CREATED)))
}

fn log() -> Body {
    Body::LogChunk(samples::chunk(9_000_000, samples::log(4 << 10)))
}

/// Writes an envelope, the check of its payload included, as a link does.
fn encode(body: Body) -> Operation {
    let mut codec = Json::default();
    Box::new(move || {
        let size = codec
            .size(STREAM, &body)
            .expect("the JSON path has a form for it");
        let mut out = Vec::with_capacity(size);
        codec.encode_ref(&mut out, STREAM, &body);
        assert!(
            !out.is_empty() && out.len() <= size,
            "an envelope has another size"
        );
        black_box(out);
    })
}

/// Reads an envelope, and lets it go.
fn decode(body: Body) -> Operation {
    let mut codec = Json::default();
    let mut message = Vec::new();
    codec.encode_ref(&mut message, STREAM, &body);
    let message = Bytes::from(message);
    let mut read = move || {
        codec
            .decode(message.clone(), limits::MAX_MESSAGE)
            .expect("an envelope is read")
    };
    let first = read();
    assert!(
        first
            .first()
            .is_some_and(|frame| frame.body.as_ref() == Some(&body)),
        "what was read is not what was written"
    );
    Box::new(move || {
        let frames = read();
        assert_eq!(frames.len(), 1, "an envelope holds one frame");
        black_box(frames);
    })
}
