//! Text to a frame. Every error names the field.

use std::{collections::HashMap, fmt};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};

use super::{
    Asked,
    logs::{ChunkIn, OpenIn},
    pods,
    requests::{self, RequestIn},
    responses::ResponseIn,
};
use crate::{
    interlink::{parse, parse_time},
    wire::{
        CancelStream, CodecError, Credit, EventAck, Frame, GoAway, Ping, PodEvent, PodEventType, Pong,
        StreamId, Timestamp, frame::Body,
    },
};

/// Why a field was not read: where, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bad {
    place: String,
    what: String,
}

impl Bad {
    pub(super) fn at(place: &str, what: &str) -> Self {
        Self {
            place: place.to_owned(),
            what: what.to_owned(),
        }
    }
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.is_empty() {
            return write!(f, "{} at the top", self.what);
        }
        write!(f, "{} at {}", self.what, self.place)
    }
}

impl From<Bad> for CodecError {
    fn from(bad: Bad) -> Self {
        Self::Envelope(bad.to_string())
    }
}

/// Null is the default value.
pub(super) fn null<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A part of the message, at this place of it.
pub(super) fn body_of<T: DeserializeOwned>(part: &RawValue, place: &str) -> Result<T, Bad> {
    parse(part.get().as_bytes()).map_err(|bad| {
        let join = if bad.path.is_empty() || bad.path.starts_with('[') {
            ""
        } else {
            "."
        };
        Bad::at(&format!("{place}{join}{}", bad.path), &bad.what)
    })
}

/// A time that may be absent.
pub(super) fn time(text: Option<&str>, place: &str) -> Result<Option<Timestamp>, Bad> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let read = parse_time(text).ok_or_else(|| Bad::at(place, "expected a time as RFC 3339 has it"))?;
    Ok(Some(read))
}

pub(super) fn raw_bytes(raw: Box<RawValue>) -> Bytes {
    let text: Box<str> = raw.into();
    Bytes::from(text.into_string())
}

/// What every message has.
#[derive(Deserialize)]
struct Head {
    v: Option<Value>,
    kind: Option<String>,
    id: Option<Value>,
}

#[derive(Deserialize)]
struct EventIn {
    epoch: u64,
    seq: u64,
    #[serde(rename = "type")]
    kind: Option<String>,
    pod: Box<RawValue>,
    at: Option<String>,
}

#[derive(Deserialize)]
struct CreditIn {
    bytes: u64,
}

#[derive(Deserialize)]
struct CancelIn {
    #[serde(default, deserialize_with = "null")]
    reason: String,
}

/// Reads one message. `asked` tells what the calls are about; a request and its response change it.
pub(super) fn frame(text: &[u8], asked: &mut HashMap<StreamId, Asked>) -> Result<Frame, CodecError> {
    let head: Head = whole(text)?;
    version(head.v.as_ref())?;
    let kind = head.kind.ok_or_else(|| Bad::at("kind", "missing field `kind`"))?;
    let id = head.id;
    let link = |body| Ok(on(StreamId::LINK, Some(body)));
    match kind.as_str() {
        "register" | "hello" => link(Body::Register(whole(text)?)),
        "welcome" => link(Body::Welcome(whole(text)?)),
        "ping" => link(Body::Ping(Ping {
            id: number(id.as_ref())?,
        })),
        "pong" => link(Body::Pong(Pong {
            id: number(id.as_ref())?,
        })),
        "event" => link(Body::PodEvent(event(whole(text)?)?.into())),
        "eventAck" => link(Body::EventAck(whole::<EventAck>(text)?)),
        "nodeStatus" => link(Body::NodeStatus(whole(text)?)),
        "goaway" => link(Body::GoAway(whole::<GoAway>(text)?)),
        "request" => {
            let id = stream(id.as_ref())?;
            let request = whole::<RequestIn>(text)?.into_request()?;
            if let Some(about) = requests::asked_here(&request) {
                asked.insert(id, about);
            }
            Ok(on(id, Some(Body::Request(request.into()))))
        }
        "response" => {
            let id = stream(id.as_ref())?;
            let response = whole::<ResponseIn>(text)?.into_response(asked.remove(&id))?;
            Ok(on(id, Some(Body::Response(response.into()))))
        }
        "streamLogs" => {
            let id = stream(id.as_ref())?;
            Ok(on(
                id,
                Some(Body::StreamLogs(whole::<OpenIn>(text)?.into_open()?.into())),
            ))
        }
        "logChunk" => {
            let id = stream(id.as_ref())?;
            Ok(on(
                id,
                Some(Body::LogChunk(whole::<ChunkIn>(text)?.into_chunk()?)),
            ))
        }
        "credit" => {
            let id = stream(id.as_ref())?;
            let bytes = whole::<CreditIn>(text)?.bytes;
            Ok(on(id, Some(Body::Credit(Credit { bytes }))))
        }
        "cancelStream" => {
            let id = stream(id.as_ref())?;
            let reason = whole::<CancelIn>(text)?.reason;
            Ok(on(id, Some(Body::CancelStream(CancelStream { reason }))))
        }
        // Counted and ignored, whatever stream it means.
        _ => Ok(on(StreamId::LINK, None)),
    }
}

fn on(id: StreamId, body: Option<Body>) -> Frame {
    Frame { stream: id.0, body }
}

fn whole<T: DeserializeOwned>(text: &[u8]) -> Result<T, CodecError> {
    parse(text).map_err(|bad| Bad::at(&bad.path, &bad.what).into())
}

fn version(v: Option<&Value>) -> Result<(), CodecError> {
    match v {
        Some(Value::Number(number)) if number.as_u64() == Some(1) => Ok(()),
        Some(Value::Number(number)) => Err(CodecError::Version(format!(
            "v is {number}, and this side speaks v 1 of the envelope"
        ))),
        Some(_) => Err(Bad::at("v", "expected the number 1").into()),
        None => Err(Bad::at("v", "missing field `v`").into()),
    }
}

/// A decimal number, as text or as a number.
fn number(id: Option<&Value>) -> Result<u64, Bad> {
    let read = match id {
        None => return Err(Bad::at("id", "missing field `id`")),
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(text)) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        Some(_) => None,
    };
    read.ok_or_else(|| Bad::at("id", "expected a decimal number as text, for example \"2\""))
}

fn stream(id: Option<&Value>) -> Result<StreamId, Bad> {
    let read = u32::try_from(number(id)?).ok();
    read.map(StreamId)
        .ok_or_else(|| Bad::at("id", "a stream id is below 4294967296"))
}

fn event(read: EventIn) -> Result<PodEvent, Bad> {
    let mut state = pods::state(&read.pod, "pod")?;
    if state.seq == 0 {
        state.seq = read.seq;
    }
    let named = read.kind.map(|word| format!("POD_EVENT_TYPE_{word}"));
    let kind = named.and_then(|name| PodEventType::from_str_name(&name));
    Ok(PodEvent {
        epoch: read.epoch,
        seq: read.seq,
        r#type: kind.unwrap_or_default().into(),
        state: Some(state),
        at: time(read.at.as_deref(), "at")?,
    })
}
