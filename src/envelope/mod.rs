//! The form of `towline.v1.json`: a frame as one JSON object in a text message, with the bodies of interLink's REST.
//!
//! Knows wire's frames and interlink's bodies; knows no state of a call beyond what it was asked, no clock and no
//! socket. Learn [`Json`], the [`Codec`] of a connection that speaks JSON. docs/JSON.md is the text of record.

mod bounds;
mod logs;
mod pods;
mod read;
mod requests;
mod responses;
mod status;
mod write;

use std::collections::HashMap;

use bytes::Bytes;

use crate::wire::{
    Binary, Codec, CodecError, Frame, Status, StreamId, Subprotocol, codec::encoded_len, feature, frame::Body,
};

/// The codec of a subprotocol, for one connection.
pub fn codec(subprotocol: Subprotocol) -> Box<dyn Codec> {
    match subprotocol {
        Subprotocol::Proto => Box::new(Binary),
        Subprotocol::Json => Box::<Json>::default(),
    }
}

/// A frame of at most this many bytes in protobuf is below [`crate::limits::MIN_MESSAGE`] in JSON: what grows most is
/// a container of two bytes, which has some hundred in JSON.
const SURELY_SMALL: usize = 512;

/// Frames as JSON objects. Remembers what was asked on each stream, because an answer does not say it.
#[derive(Debug, Default)]
pub struct Json {
    asked: HashMap<StreamId, Asked>,
}

/// What a call is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    /// `POST /create` of this uid.
    Create(String),
    /// `DELETE /delete`.
    Delete,
    /// `GET /status`.
    Status,
    /// A log.
    Logs,
}

impl Json {
    /// [`Codec::encode`] of a frame that is kept.
    pub fn encode_ref(&mut self, out: &mut Vec<u8>, stream: StreamId, body: &Body) {
        let asked = match body {
            Body::Request(request) => requests::asked(request),
            Body::StreamLogs(_) => Some(Asked::Logs),
            _ => None,
        };
        if let Some(asked) = asked {
            self.asked.insert(stream, asked);
        }
        // What cannot be written was refused by `size`; nothing else comes here.
        let written = write::frame(out, stream, body, self.asked.get(&stream));
        debug_assert!(written.is_ok(), "a frame was not refused: {written:?}");
        if matches!(body, Body::Response(_)) {
            self.asked.remove(&stream);
        }
    }
}

impl Codec for Json {
    fn subprotocol(&self) -> Subprotocol {
        Subprotocol::Json
    }

    fn decode(&mut self, message: Bytes, limit: usize) -> Result<Vec<Frame>, CodecError> {
        if message.len() > limit {
            let size = message.len();
            return Err(CodecError::TooLarge { size, limit });
        }
        bounds::check(&message).map_err(CodecError::Envelope)?;
        let frame = read::frame(&message, &mut self.asked)?;
        Ok(vec![frame])
    }

    fn encode(&mut self, out: &mut Vec<u8>, stream: StreamId, body: Body) {
        self.encode_ref(out, stream, &body);
    }

    fn size(&self, stream: StreamId, body: &Body) -> Result<usize, Status> {
        let payloads = requests::check(body)?;
        if !payloads && encoded_len(stream, body) <= SURELY_SMALL {
            return Ok(crate::limits::MIN_MESSAGE);
        }
        write::size(stream, body, self.asked.get(&stream))
    }

    fn joins(&self) -> bool {
        false
    }

    fn carries(&self, name: &str) -> bool {
        // Compression is of packets, and HttpRequest has no form here.
        name != feature::ZSTD && name != feature::HTTP
    }

    fn forget(&mut self, stream: StreamId) {
        self.asked.remove(&stream);
    }
}
