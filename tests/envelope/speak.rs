//! A codec in short words.

use bytes::Bytes;
use serde_json::Value;
use towline::{
    envelope::Json,
    wire::{
        Codec as _, CodecError, CreatePod, Frame, GetStatus, PodRef, Request, StreamId, frame::Body,
        request::Op,
    },
};

pub(crate) const UID: &str = "3f0c9d0e-8f0b-4c53-9e1b-5d2f9a4b7c11";

pub(crate) fn pod() -> PodRef {
    PodRef::new(UID, "lab", "hello")
}

pub(crate) fn write(codec: &mut Json, stream: u32, body: Body) -> Bytes {
    let mut out = Vec::new();
    codec.encode(&mut out, StreamId(stream), body);
    Bytes::from(out)
}

pub(crate) fn read(codec: &mut Json, text: &[u8]) -> Result<Frame, CodecError> {
    let mut frames = codec.decode(Bytes::copy_from_slice(text), 16 << 20)?;
    assert_eq!(frames.len(), 1, "one frame a message");
    Ok(frames.remove(0))
}

/// What a fresh codec reads.
pub(crate) fn read_alone(text: &str) -> Result<Frame, CodecError> {
    read(&mut Json::default(), text.as_bytes())
}

/// The message as a value.
pub(crate) fn shown(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap()
}

pub(crate) fn create(payload: &str) -> Request {
    Request {
        op_key: "c1".into(),
        attempt: 1,
        timeout_ms: 110_000,
        sensitive: true,
        op: Some(Op::CreatePod(CreatePod {
            pod: Some(pod()),
            payload: Bytes::copy_from_slice(payload.as_bytes()),
        })),
        ..Request::default()
    }
}

pub(crate) fn get_status(status: GetStatus) -> Request {
    Request {
        op: Some(Op::GetStatus(status)),
        ..Request::default()
    }
}

/// A codec that has sent this request on stream 2 and waits for its response.
pub(crate) fn waiting_for(request: Request) -> Json {
    let mut codec = Json::default();
    let _sent = write(&mut codec, 2, Body::Request(request.into()));
    codec
}
