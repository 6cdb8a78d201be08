//! Frames on streams where they do not fit.

use bytes::Bytes;
use towline::{
    code::{Code, reason},
    wire::{CancelStream, Credit, EventAck, Ping, PodEventType, Response, Side, frame::Body},
};

use super::{Case, logs, refusal};
use crate::messages::{chunk, created, event, get_status, logs_end, packet, running};

/// A frame with the given stream and a body of field 99, which no version has.
fn unknown(stream: u8) -> Bytes {
    match stream {
        0 => Bytes::from_static(b"\x0a\x04\x9a\x06\x01x"),
        _ => [&b"\x0a\x06\x08"[..], &[stream], b"\x9a\x06\x01x"]
            .concat()
            .into(),
    }
}

pub(super) fn cases() -> Vec<Case> {
    let call = |stream| packet([(stream, Body::Request(get_status().into()))]);
    let answer = |stream| packet([(stream, Body::Response(Response::default().into()))]);
    let asked = |stream| (Side::Hub, call(stream));
    let answered = |stream| (Side::Plugin, answer(stream));
    let read_whole = || {
        [
            (Side::Hub, packet([(2, logs())])),
            (Side::Plugin, packet([(2, Body::LogChunk(chunk(0, b"")))])),
            (Side::Plugin, packet([(2, Body::Response(logs_end().into()))])),
        ]
    };
    let ignored = |name, about, stream, body| Case::at_plugin(name, about, packet([(stream, body)]));
    let mut all = vec![
        Case::at_plugin("call_on_stream_0", "A call needs a stream of its own.", call(0)).closes(4504),
        Case::at_plugin(
            "logs_on_stream_0",
            "A log stream needs a stream of its own.",
            packet([(0, logs())]),
        )
        .closes(4504),
        Case::at_plugin("call_of_the_wrong_parity", "The hub opens even streams.", call(3)).closes(4504),
        Case::at_plugin(
            "stream_used_again",
            "Stream 2 was opened, and answered, before.",
            call(2),
        )
        .after([asked(2), answered(2)])
        .closes(4504),
        Case::at_plugin("stream_opened_twice", "Stream 2 is open.", call(2))
            .after([asked(2)])
            .closes(4504),
        Case::at_plugin(
            "stream_going_back",
            "Stream 4 was opened before stream 2.",
            call(2),
        )
        .after([asked(4)])
        .closes(4504),
        Case::at_plugin(
            "unknown_body_on_a_new_stream",
            "A kind of call of a later version. Its caller waits for an answer.",
            unknown(2),
        )
        .writes(2, refusal(Code::Unimplemented, reason::NO_SUCH_OP)),
        Case::at_hub(
            "unknown_body_on_a_new_stream_at_the_hub",
            "A kind of call of a later version. Its caller waits for an answer.",
            unknown(1),
        )
        .writes(1, refusal(Code::Unimplemented, reason::NO_SUCH_OP)),
        Case::at_plugin(
            "unknown_body_on_a_known_stream",
            "Ignored; the call goes on.",
            unknown(2),
        )
        .after([asked(2)]),
        Case::at_plugin("unknown_body_on_an_ended_stream", "Ignored.", unknown(2))
            .after([asked(2), answered(2)]),
        Case::at_plugin("unknown_body_on_the_link", "Ignored.", unknown(0)),
        Case::at_plugin(
            "unknown_body_of_the_wrong_parity",
            "Ignored: this is no stream of the hub.",
            unknown(3),
        ),
        Case::at_hub("late_response", "Stream 2 was answered before.", answer(2))
            .after([asked(2), answered(2)]),
        Case::at_hub(
            "late_chunk",
            "The log stream was answered before.",
            packet([(2, Body::LogChunk(chunk(12, b"late\n")))]),
        )
        .after(read_whole()),
        Case::at_hub(
            "response_to_nothing",
            "No call was made on stream 2.",
            packet([(2, Body::Response(created().into()))]),
        ),
    ];
    all.extend([
        ignored(
            "cancel_of_nothing",
            "No call is on stream 2.",
            2,
            Body::CancelStream(CancelStream::default()),
        ),
        ignored(
            "credit_for_nothing",
            "No stream 2 is open.",
            2,
            Body::Credit(Credit { bytes: 65_600 }),
        ),
        ignored(
            "ping_on_a_stream",
            "Ping is for stream 0.",
            2,
            Body::Ping(Ping { id: 1 }),
        ),
        ignored(
            "event_at_the_plugin",
            "Events go to the hub.",
            0,
            Body::PodEvent(event(PodEventType::Started, running(1)).into()),
        ),
        Case::at_hub(
            "ack_at_the_hub",
            "Acknowledgements go to the plugin.",
            packet([(0, Body::EventAck(EventAck { epoch: 77, seq: 1 }))]),
        ),
    ]);
    all
}
