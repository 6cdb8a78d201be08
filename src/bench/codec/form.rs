//! The same frame as protobuf, as an envelope of the JSON path, and as plain JSON with types.

use anyhow::{Context as _, bail, ensure};
use bytes::{Bytes, BytesMut};
use prost::Message as _;

use super::{Sample, Typed};
use crate::{
    envelope::Json,
    limits,
    wire::{Codec as _, Frame, Packet, StreamId, decode_packet, frame::Body},
};

/// The stream of the samples: the hub's first.
const STREAM: StreamId = StreamId(2);

/// One way to write frames, ready to write and to read one sample again and again.
pub trait Form {
    /// Its name in tables.
    const NAME: &'static str;

    /// Of a sample.
    ///
    /// # Errors
    /// The form cannot carry it, or what is read is not what was written.
    fn new(sample: &Sample) -> anyhow::Result<Self>
    where
        Self: Sized;

    /// Writes it once; gives the size in bytes.
    fn write(&mut self) -> usize;

    /// Reads once what was written.
    fn read(&mut self) -> bool;

    /// Reads it and compares it with the sample.
    ///
    /// # Errors
    /// It is another one.
    fn check(&mut self) -> anyhow::Result<()>;
}

/// The link's own form.
#[derive(Debug)]
pub struct Protobuf {
    packet: Packet,
    out: BytesMut,
    written: Bytes,
}

/// The stream of this frame: events travel on the link's own.
fn stream_of(body: &Body) -> StreamId {
    match body {
        Body::PodEvent(_) => StreamId::LINK,
        _ => STREAM,
    }
}

impl Protobuf {
    /// The bytes that are read.
    pub fn written(&self) -> &[u8] {
        &self.written
    }
}

impl Form for Protobuf {
    const NAME: &'static str = "protobuf";

    fn new(sample: &Sample) -> anyhow::Result<Self> {
        let packet = Packet {
            frames: vec![Frame {
                stream: stream_of(&sample.body).0,
                body: Some(sample.body.clone()),
            }],
            ..Packet::default()
        };
        let mut form = Self {
            written: packet.encode_to_vec().into(),
            packet,
            out: BytesMut::new(),
        };
        form.check()?;
        Ok(form)
    }

    fn write(&mut self) -> usize {
        self.out.clear();
        // A packet of one frame is what the link writes for one: the bytes are compared by a test.
        match self.packet.encode(&mut self.out) {
            Ok(()) => self.out.len(),
            Err(_) => 0,
        }
    }

    fn read(&mut self) -> bool {
        decode_packet(self.written.clone(), limits::MAX_MESSAGE).is_ok_and(|frames| !frames.is_empty())
    }

    fn check(&mut self) -> anyhow::Result<()> {
        let frames = decode_packet(self.written.clone(), limits::MAX_MESSAGE)?;
        ensure!(
            frames == self.packet.frames,
            "what was read is not what was written"
        );
        Ok(())
    }
}

/// The JSON path: an envelope with the body of interLink's REST.
#[derive(Debug)]
pub struct Text {
    stream: StreamId,
    opened_by: Option<Body>,
    body: Body,
    codec: Json,
    out: Vec<u8>,
    opening: Vec<u8>,
    written: Bytes,
}

impl Text {
    /// An answer is written and read only on a stream that was opened; that costs a twentieth of the smallest one.
    fn open(&mut self) {
        if let Some(opening) = &self.opened_by {
            self.opening.clear();
            self.codec.encode_ref(&mut self.opening, self.stream, opening);
        }
    }

    fn decode(&mut self) -> anyhow::Result<Vec<Frame>> {
        self.open();
        Ok(self.codec.decode(self.written.clone(), limits::MAX_MESSAGE)?)
    }
}

impl Form for Text {
    const NAME: &'static str = "JSON envelope";

    fn new(sample: &Sample) -> anyhow::Result<Self> {
        let mut form = Self {
            stream: stream_of(&sample.body),
            opened_by: sample.opened_by.clone(),
            body: sample.body.clone(),
            codec: Json::default(),
            out: Vec::new(),
            opening: Vec::new(),
            written: Bytes::new(),
        };
        form.write();
        form.written = Bytes::from(form.out.clone());
        form.check()?;
        Ok(form)
    }

    fn write(&mut self) -> usize {
        self.open();
        self.out.clear();
        self.codec.encode_ref(&mut self.out, self.stream, &self.body);
        self.out.len()
    }

    fn read(&mut self) -> bool {
        self.decode().is_ok_and(|frames| !frames.is_empty())
    }

    fn check(&mut self) -> anyhow::Result<()> {
        let frames = self.decode()?;
        let [frame] = frames.as_slice() else {
            bail!("{} frames were read", frames.len());
        };
        ensure!(
            frame.body.as_ref() == Some(&self.body),
            "what was read is not what was written"
        );
        Ok(())
    }
}

/// JSON as a service of its own would have it: types, and no envelope.
#[derive(Debug)]
pub struct TypedJson {
    typed: Typed,
    out: Vec<u8>,
    written: Vec<u8>,
}

impl TypedJson {
    fn decode(&self) -> serde_json::Result<Typed> {
        let text = self.written.as_slice();
        Ok(match self.typed {
            Typed::Create(_) => Typed::Create(Box::new(serde_json::from_slice(text)?)),
            Typed::Status(_) => Typed::Status(serde_json::from_slice(text)?),
            Typed::Log(_) => Typed::Log(serde_json::from_slice(text)?),
        })
    }
}

impl Form for TypedJson {
    const NAME: &'static str = "serde_json";

    fn new(sample: &Sample) -> anyhow::Result<Self> {
        let mut form = Self {
            typed: sample.typed.clone(),
            out: Vec::new(),
            written: Vec::new(),
        };
        ensure!(form.write() > 0, "serde_json cannot write it");
        form.written.clone_from(&form.out);
        form.check()?;
        Ok(form)
    }

    fn write(&mut self) -> usize {
        self.out.clear();
        let written = match &self.typed {
            Typed::Create(body) => serde_json::to_writer(&mut self.out, body),
            Typed::Status(body) => serde_json::to_writer(&mut self.out, body),
            Typed::Log(body) => serde_json::to_writer(&mut self.out, body),
        };
        if written.is_ok() { self.out.len() } else { 0 }
    }

    fn read(&mut self) -> bool {
        self.decode().is_ok()
    }

    fn check(&mut self) -> anyhow::Result<()> {
        let read = self.decode().context("serde_json")?;
        ensure!(read == self.typed, "what was read is not what was written");
        Ok(())
    }
}
