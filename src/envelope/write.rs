//! A frame to text.

use std::io;

use serde::Serialize;

use super::{
    Asked,
    logs::{ChunkOut, OpenOut},
    pods::StatusItem,
    requests::request_out,
    responses::response_out,
};
use crate::{
    code::Code,
    interlink::format_time,
    wire::{PodEvent, PodState, Status, StreamId, frame::Body},
};

#[derive(Serialize)]
struct Out<'a, T> {
    v: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    kind: &'a str,
    #[serde(flatten)]
    rest: T,
}

#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
struct CreditOut {
    bytes: u64,
}

#[derive(Serialize)]
struct CancelOut<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
}

#[derive(Serialize)]
struct EventOut<'a> {
    epoch: u64,
    seq: u64,
    #[serde(rename = "type", skip_serializing_if = "str::is_empty")]
    kind: &'a str,
    pod: StatusItem<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
}

/// Appends the frame.
pub(super) fn frame(
    out: &mut Vec<u8>,
    stream: StreamId,
    body: &Body,
    asked: Option<&Asked>,
) -> Result<(), serde_json::Error> {
    write(out, stream, body, asked)
}

/// How many bytes the frame has.
pub(super) fn size(stream: StreamId, body: &Body, asked: Option<&Asked>) -> Result<usize, Status> {
    let mut count = Count(0);
    match write(&mut count, stream, body, asked) {
        Ok(()) => Ok(count.0),
        Err(error) => Err(Status::new(
            Code::Internal,
            "",
            format!("cannot be written as JSON: {error}"),
        )),
    }
}

struct Count(usize);

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write(
    to: impl io::Write,
    stream: StreamId,
    body: &Body,
    asked: Option<&Asked>,
) -> Result<(), serde_json::Error> {
    let call = Some(stream.to_string());
    match body {
        Body::Register(register) => put(to, None, "register", register),
        Body::Welcome(welcome) => put(to, None, "welcome", welcome),
        Body::Ping(ping) => put(to, Some(ping.id.to_string()), "ping", Nothing {}),
        Body::Pong(pong) => put(to, Some(pong.id.to_string()), "pong", Nothing {}),
        Body::PodEvent(told) => {
            let nothing = PodState::default();
            put(
                to,
                None,
                "event",
                event(told, told.state.as_ref().unwrap_or(&nothing)),
            )
        }
        Body::EventAck(ack) => put(to, None, "eventAck", ack),
        Body::NodeStatus(status) => put(to, None, "nodeStatus", status),
        Body::GoAway(go_away) => put(to, None, "goaway", go_away),
        Body::Request(request) => put(to, call, "request", request_out(request)?),
        Body::Response(response) => put(to, call, "response", response_out(response, asked)),
        Body::StreamLogs(open) => put(to, call, "streamLogs", OpenOut::from(&**open)),
        Body::LogChunk(chunk) => put(to, call, "logChunk", ChunkOut::from(chunk)),
        Body::Credit(credit) => put(to, call, "credit", CreditOut { bytes: credit.bytes }),
        Body::CancelStream(cancel) => put(
            to,
            call,
            "cancelStream",
            CancelOut {
                reason: &cancel.reason,
            },
        ),
        Body::Data(_) => Err(serde::ser::Error::custom("Data has no form here")),
    }
}

fn put(
    to: impl io::Write,
    id: Option<String>,
    kind: &str,
    rest: impl Serialize,
) -> Result<(), serde_json::Error> {
    serde_json::to_writer(to, &Out { v: 1, id, kind, rest })
}

fn event<'a>(told: &PodEvent, state: &'a PodState) -> EventOut<'a> {
    let name = told.r#type().as_str_name();
    let kind = name.strip_prefix("POD_EVENT_TYPE_").unwrap_or(name);
    EventOut {
        epoch: told.epoch,
        seq: told.seq,
        kind: if kind == "UNSPECIFIED" { "" } else { kind },
        pod: StatusItem::of(state),
        at: told.at.as_ref().map(format_time),
    }
}
