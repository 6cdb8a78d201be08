//! `json/`: the golden packets in the form of `towline.v1.json`.

use bytes::Bytes;
use towline::{
    envelope::Json,
    wire::{
        Codec as _, CreatePod, DeletePod, Frame, GetStatus, Request, Response, StreamId, StreamLogs,
        codec::decode_packet, frame::Body, request::Op, response,
    },
};

use crate::{golden::Golden, messages::pod, packets::packets};

/// The call that an answer belongs to: the answer alone does not say it.
fn call_of(response: &Response) -> Body {
    let request = |op| {
        Body::Request(
            Request {
                op: Some(op),
                ..Request::default()
            }
            .into(),
        )
    };
    match response.result {
        Some(response::Result::DeletePod(_)) => request(Op::DeletePod(DeletePod::default())),
        Some(response::Result::GetStatus(_)) => request(Op::GetStatus(GetStatus::default())),
        Some(response::Result::LogsEnd(_)) => Body::StreamLogs(StreamLogs::default().into()),
        _ => request(Op::CreatePod(CreatePod {
            pod: pod(),
            payload: Bytes::from_static(b"{}"),
        })),
    }
}

fn write(codec: &mut Json, stream: u32, body: Body) -> Bytes {
    let mut out = Vec::new();
    codec.encode(&mut out, StreamId(stream), body);
    Bytes::from(out)
}

/// The text of a frame, and what is read from it; none when JSON cannot carry it.
fn twin(frame: &Frame) -> Option<(Bytes, Frame)> {
    let body = frame.body.clone()?;
    let (mut writer, mut reader) = (Json::default(), Json::default());
    writer.size(StreamId(frame.stream), &body).ok()?;
    if let Body::Response(response) = &body {
        let call = write(&mut reader, frame.stream, call_of(response));
        writer.decode(call, 1 << 20).unwrap();
    }
    let text = write(&mut writer, frame.stream, body);
    let read = reader.decode(text.clone(), 1 << 20).unwrap().remove(0);
    Some((text, read))
}

/// Every golden packet that has a twin: its messages, one a line.
fn twins() -> impl Iterator<Item = (&'static str, Vec<(Bytes, Frame)>)> {
    let same = ["zstd", "unknown_body", "unknown_fields"];
    let packets = packets()
        .into_iter()
        .filter(move |(name, _)| !same.contains(name));
    packets.filter_map(|(name, packet)| {
        let frames = decode_packet(packet, 1 << 20).unwrap();
        let twins: Option<Vec<_>> = frames.iter().map(twin).collect();
        Some((name, twins?))
    })
}

#[test]
fn golden_texts_are_what_the_code_writes() {
    let mut files = Golden::new("json");
    for (name, messages) in twins() {
        let mut lines = Vec::new();
        for (text, _) in messages {
            lines.extend_from_slice(&text);
            lines.push(b'\n');
        }
        files.add(format!("{name}.jsonl"), &lines);
    }
    files.settle();
}

#[test]
fn a_text_says_what_its_packet_says() {
    let all = packets();
    let mut seen = 0;
    for (name, messages) in twins() {
        let frames = decode_packet(all[name].clone(), 1 << 20).unwrap();
        let read: Vec<Frame> = messages.into_iter().map(|(_, frame)| frame).collect();
        assert_eq!(read, frames, "{name}");
        seen += 1;
    }
    assert!(seen > 20, "only {seen} packets have a twin");
}
