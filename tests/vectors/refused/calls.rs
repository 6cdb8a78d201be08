//! Calls and bytes beyond what the receiver allows: one stream ends, the link goes on.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message as _;
use towline::{
    code::{Code, reason},
    wire::{
        CancelStream, Data, GoAway, HttpRequest, Limits, LogChunk, Packet, Register, Request, Side, Status,
        StreamLogs, frame::Body, request::Op,
    },
};

use super::{Case, logs, opened, refusal};
use crate::messages::{chunk, failed, follow, get_status, packet, register, whole_welcome};

/// A chunk of `len` bytes, all `x`, in a packet that is compressed by hand: a raw block for the head, then blocks
/// of one repeated byte (RFC 8878 section 3.1.1.2). A few bytes instead of 64 KiB, and no encoder is asked.
fn long_chunk(offset: u64, len: usize) -> Bytes {
    let whole = packet([(2, Body::LogChunk(many(offset, len)))]);
    let head = whole.len() - len;
    assert!(
        whole[head..].iter().all(|byte| *byte == b'x'),
        "the data comes last"
    );
    let mut zstd = BytesMut::from(&b"\x28\xb5\x2f\xfd\xa0"[..]);
    zstd.put_u32_le(whole.len() as u32);
    zstd.put_uint_le((head as u64) << 3, 3);
    zstd.extend_from_slice(&whole[..head]);
    zstd.put_uint_le((len as u64) << 3 | 1 << 1 | 1, 3);
    zstd.put_u8(b'x');
    Packet {
        frames: Vec::new(),
        zstd: zstd.freeze(),
    }
    .encode_to_vec()
    .into()
}

fn many(offset: u64, len: usize) -> LogChunk {
    LogChunk {
        data: vec![b'x'; len].into(),
        next_offset: offset + len as u64,
        ..chunk(offset, b"")
    }
}

pub(super) fn cases() -> Vec<Case> {
    const CHUNK: usize = 65_536;
    let violation = || Body::Response(failed(Status::new(Code::Internal, reason::FLOW_VIOLATION, "")).into());
    let cancel = || Body::CancelStream(CancelStream::default());
    let call = |stream| packet([(stream, Body::Request(get_status().into()))]);
    let squeezed = |name, about, message: Bytes| Case {
        before: opened(&["flow_control", "events", "zstd"]),
        ..Case::at_hub(name, about, message)
    };
    let long_data = || {
        let data = Data {
            data: vec![b'x'; CHUNK].into(),
            ..Data::default()
        };
        packet([(2, Body::Data(data))])
    };
    let opens = || (Side::Hub, packet([(2, logs())]));
    let chunks = |count: usize| (0..count).map(|n| (Side::Plugin, long_chunk((n * CHUNK) as u64, CHUNK)));
    let upload = packet([(
        2,
        Body::Request(
            Request {
                timeout_ms: 30_000,
                op: Some(Op::HttpRequest(HttpRequest {
                    method: "POST".into(),
                    path: "/".into(),
                    headers: Vec::new(),
                    has_body: true,
                })),
                ..Request::default()
            }
            .into(),
        ),
    )]);
    let one_call = Register {
        limits: Some(Limits {
            max_calls: 1,
            ..register().limits.unwrap()
        }),
        ..register()
    };
    let poor = StreamLogs {
        credit: 65_599,
        ..follow()
    };
    let go_away = GoAway {
        code: 4000,
        reason: "done".into(),
        last_stream: 2,
        grace_ms: 8_000,
        retry_after_ms: 0,
    };
    let back = || chunk(0, b"hello\nworld\n");
    vec![
        Case {
            before: vec![
                (Side::Plugin, packet([(0, Body::Register(one_call.into()))])),
                (Side::Hub, packet([(0, Body::Welcome(whole_welcome(&["flow_control", "events"]).into()))])),
            ],
            ..Case::at_plugin("call_over_the_limit", "The plugin declared max_calls 1, and one call is open.", call(4))
        }
        .after([(Side::Hub, call(2))])
        .writes(4, refusal(Code::ResourceExhausted, reason::TOO_MANY_CALLS)),
        Case::at_plugin("call_while_draining", "The plugin has sent GoAway; stream 2 is still open.", call(4))
            .after([(Side::Hub, call(2)), (Side::Plugin, packet([(0, Body::GoAway(go_away))]))])
            .writes(4, refusal(Code::Unavailable, reason::DRAINING)),
        Case::at_plugin(
            "logs_with_too_little_credit",
            "The first grant must cover one largest chunk: 65,600.",
            packet([(2, Body::StreamLogs(poor.into()))]),
        )
        .writes(2, refusal(Code::InvalidArgument, "")),
        squeezed(
            "chunk_over_the_credit",
            "262,144 were granted and nothing was consumed; three chunks cost 196,800, and the fourth 65,600.",
            long_chunk(3 * CHUNK as u64, CHUNK),
        )
        .after([opens()])
        .after(chunks(3))
        .tells(2, violation())
        .writes(2, cancel()),
        squeezed(
            "chunk_too_large",
            "A chunk has at most 65,536 bytes, whatever the credit.",
            long_chunk(0, CHUNK + 1),
        )
        .after([opens()])
        .tells(2, violation())
        .writes(2, cancel()),
        Case::at_plugin(
            "data_over_the_credit",
            "A Request starts with 131,072 of credit each way; two largest chunks cost 131,200. The program is told to stop.",
            long_data(),
        )
        .after([(Side::Hub, upload), (Side::Hub, long_data())])
        .tells(2, cancel())
        .writes(2, violation()),
        Case::at_hub(
            "chunk_going_back",
            "The link passes it on. The reader of the log delivers each byte once: here from offset 6.",
            packet([(2, Body::LogChunk(back()))]),
        )
        .after([opens(), (Side::Plugin, packet([(2, Body::LogChunk(chunk(0, b"hello\n")))]))])
        .tells(2, Body::LogChunk(back())),
    ]
}
