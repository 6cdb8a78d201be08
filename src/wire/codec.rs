//! Bytes to packets and back.

use std::{cell::RefCell, fmt, io};

use bytes::{BufMut, Bytes};
use prost::{Message, encoding};
use zstd::{
    bulk::{Compressor, Decompressor},
    zstd_safe::CParameter,
};

use super::{Frame, Packet, Status, StreamId, Subprotocol, frame::Body};
use crate::limits;

/// Why a message is not a packet. Every one of them ends the link with close code 1007 or 1009.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The message is larger than this side declared.
    #[error("message of {size} bytes is over the limit of {limit} bytes")]
    TooLarge {
        /// Its size in bytes, as received or as declared inside zstd.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// More frames than a packet may hold.
    #[error("packet of more than {} frames", limits::MAX_FRAMES)]
    TooManyFrames,
    /// Not protobuf, or a field of the wrong type.
    #[error("message is not a towline.v1.Packet: {0}")]
    Malformed(String),
    /// The zstd part is broken, nested, undeclared or mixed with frames.
    #[error("zstd part: {0}")]
    Zstd(&'static str),
    /// Not an envelope of the JSON path, or a field of the wrong type.
    #[error("message is not an envelope of towline.v1.json: {0}")]
    Envelope(String),
    /// An envelope of another version. Ends the link with close code 4502.
    #[error("{0}")]
    Version(String),
}

/// Frames to messages and back, in the form of one subprotocol. It may remember which calls are open, so each
/// connection has its own.
pub trait Codec: fmt::Debug + Send {
    /// Which one that is.
    fn subprotocol(&self) -> Subprotocol;

    /// The frames of one message of at most `limit` bytes.
    ///
    /// # Errors
    /// Every message that is not well formed; nothing panics.
    fn decode(&mut self, message: Bytes, limit: usize) -> Result<Vec<Frame>, CodecError>;

    /// Appends one frame to a message under construction.
    fn encode(&mut self, out: &mut Vec<u8>, stream: StreamId, body: Body);

    /// [`Codec::encode`] of a frame whose [`Codec::size`] is known: measuring may cost as much as writing.
    fn encode_sized(&mut self, out: &mut Vec<u8>, stream: StreamId, body: Body, size: usize) {
        let _ = size;
        self.encode(out, stream, body);
    }

    /// How many bytes [`Codec::encode`] would append; for a small frame it may be a bound instead.
    ///
    /// # Errors
    /// This form cannot carry the frame.
    fn size(&self, stream: StreamId, body: &Body) -> Result<usize, Status>;

    /// Whether a message may hold several frames.
    fn joins(&self) -> bool;

    /// Whether a feature can be in force with this form.
    fn carries(&self, feature: &str) -> bool;

    /// A call has ended that no Response ended.
    fn forget(&mut self, stream: StreamId);
}

/// The form of `towline.v1.proto`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Binary;

impl Codec for Binary {
    fn subprotocol(&self) -> Subprotocol {
        Subprotocol::Proto
    }

    fn decode(&mut self, message: Bytes, limit: usize) -> Result<Vec<Frame>, CodecError> {
        decode_packet(message, limit)
    }

    fn encode(&mut self, out: &mut Vec<u8>, stream: StreamId, body: Body) {
        encode_frame(out, stream, body);
    }

    fn encode_sized(&mut self, out: &mut Vec<u8>, stream: StreamId, body: Body, size: usize) {
        encode_sized(out, stream, body, size);
    }

    fn size(&self, stream: StreamId, body: &Body) -> Result<usize, Status> {
        Ok(encoded_len(stream, body))
    }

    fn joins(&self) -> bool {
        true
    }

    fn carries(&self, _feature: &str) -> bool {
        true
    }

    fn forget(&mut self, _stream: StreamId) {}
}

/// The tag of `Packet.frames`: field 1, length-delimited.
const FRAMES_TAG: u8 = 0x0a;

/// Appends one frame to a packet under construction. What is in `out` stays a valid packet, because
/// protobuf joins repeated fields by concatenation.
pub fn encode_frame(out: &mut Vec<u8>, stream: StreamId, body: Body) {
    let size = encoded_len(stream, &body);
    encode_sized(out, stream, body, size);
}

/// [`encode_frame`] of a body whose [`encoded_len`] is known.
fn encode_sized(out: &mut Vec<u8>, stream: StreamId, body: Body, size: usize) {
    let frame = Frame {
        stream: stream.0,
        body: Some(body),
    };
    out.reserve(size);
    let before = out.len();
    out.put_u8(FRAMES_TAG);
    encoding::encode_varint(after_varint(size - 1) as u64, out);
    frame.encode_raw(out);
    debug_assert_eq!(
        out.len() - before,
        size,
        "the size of a frame is what its body said"
    );
}

/// How many of `size` bytes are left when a varint before them says how many they are.
fn after_varint(size: usize) -> usize {
    let mut len = size.saturating_sub(1);
    while encoding::encoded_len_varint(len as u64) + len > size {
        len -= 1;
    }
    len
}

/// How many bytes [`encode_frame`] would append for this body.
pub fn encoded_len(stream: StreamId, body: &Body) -> usize {
    let mut len = body.encoded_len();
    if stream.0 != 0 {
        len += 1 + encoding::encoded_len_varint(u64::from(stream.0));
    }
    1 + encoding::encoded_len_varint(len as u64) + len
}

/// Decodes one message. `limit` bounds it before and after inflation, in bytes; payloads stay slices of
/// `message`.
///
/// # Errors
/// Every malformed, oversized or nested message; nothing panics.
pub fn decode_packet(message: Bytes, limit: usize) -> Result<Vec<Frame>, CodecError> {
    if message.len() > limit {
        return Err(CodecError::TooLarge {
            size: message.len(),
            limit,
        });
    }
    let packet = decode_plain(message)?;
    if packet.zstd.is_empty() {
        return Ok(packet.frames);
    }
    if !packet.frames.is_empty() {
        return Err(CodecError::Zstd("frames beside it"));
    }
    let inner = decode_plain(inflate(&packet.zstd, limit)?)?;
    if !inner.zstd.is_empty() {
        return Err(CodecError::Zstd("nested"));
    }
    Ok(inner.frames)
}

/// The tag of `Packet.zstd`: field 2, length-delimited.
const ZSTD_TAG: u8 = 0x12;

/// Scratch space over this is given back after the packet that needed it.
const SCRATCH: usize = 256 << 10;

thread_local! {
    /// Making these costs more than a small packet, and they are large: one each a thread, for all links.
    static SQUEEZE: RefCell<Option<Squeezer>> = RefCell::new(Squeezer::new().ok());
    static INFLATE: RefCell<Option<Decompressor<'static>>> = RefCell::new(Decompressor::new().ok());
}

/// A compressor, the level that it is set to, and where its output goes first.
struct Squeezer {
    context: Compressor<'static>,
    level: i32,
    scratch: Vec<u8>,
}

impl Squeezer {
    fn new() -> io::Result<Self> {
        let level = limits::COMPRESS_LEVEL;
        Ok(Self {
            context: Compressor::new(level)?,
            level,
            scratch: Vec::new(),
        })
    }

    fn packet(&mut self, plain: &[u8], level: i32) -> Option<Bytes> {
        if self.level != level {
            self.context
                .set_parameter(CParameter::CompressionLevel(level))
                .ok()?;
            self.level = level;
        }
        self.scratch.clear();
        self.scratch.reserve(zstd::zstd_safe::compress_bound(plain.len()));
        let len = self.context.compress_to_buffer(plain, &mut self.scratch).ok()?;
        let whole = 1 + encoding::encoded_len_varint(len as u64) + len;
        let packet = (whole < plain.len()).then(|| {
            let mut packet = Vec::with_capacity(whole);
            packet.put_u8(ZSTD_TAG);
            encoding::encode_varint(len as u64, &mut packet);
            packet.put_slice(&self.scratch);
            packet.into()
        });
        if self.scratch.capacity() > SCRATCH {
            self.scratch = Vec::new();
        }
        packet
    }
}

/// Compresses an encoded packet of plain frames at a level of [`limits::COMPRESS_LEVELS`], or gives nothing when that
/// would not make it smaller. A level may change from packet to packet at no cost.
pub fn compress_packet(plain: &[u8], level: i32) -> Option<Bytes> {
    SQUEEZE.with_borrow_mut(|squeezer| squeezer.as_mut()?.packet(plain, level))
}

/// What a compressed message says that it is when inflated, in bytes; none for a plain one. For counting: decoding checks
/// for itself.
pub(crate) fn declared_size(message: &[u8]) -> Option<u64> {
    let mut rest = message.strip_prefix(&[ZSTD_TAG])?;
    encoding::decode_varint(&mut rest).ok()?;
    zstd::zstd_safe::get_frame_content_size(rest).ok()?
}

/// The largest window a sender may ask for: 8 MiB (RFC 8878 section 3.1.1.1.2 recommends to support as much). A
/// whole message is inflated at once here and needs no window; receivers that stream do.
const MAX_WINDOW: u64 = 8 << 20;

fn inflate(squeezed: &[u8], limit: usize) -> Result<Bytes, CodecError> {
    let declared = zstd::zstd_safe::get_frame_content_size(squeezed)
        .map_err(|_| CodecError::Zstd("broken frame header"))?
        .ok_or(CodecError::Zstd("content size is not declared"))?;
    let size = usize::try_from(declared).unwrap_or(usize::MAX);
    if size > limit {
        return Err(CodecError::TooLarge { size, limit });
    }
    if window(squeezed, declared).is_none_or(|window| window > MAX_WINDOW) {
        return Err(CodecError::Zstd("window over 8 MiB"));
    }
    let plain = INFLATE.with_borrow_mut(|context| context.as_mut()?.decompress(squeezed, size).ok());
    plain.map(Bytes::from).ok_or(CodecError::Zstd("broken"))
}

/// The window that a zstd frame wants (RFC 8878 section 3.1.1.1); none when its header is cut short.
fn window(squeezed: &[u8], content: u64) -> Option<u64> {
    const SINGLE_SEGMENT: u8 = 1 << 5;
    if squeezed.get(4)? & SINGLE_SEGMENT != 0 {
        return Some(content);
    }
    let descriptor = squeezed.get(5)?;
    let base = 1 << (10 + (descriptor >> 3));
    Some(base + base / 8 * u64::from(descriptor & 7))
}

/// One pass, by hand where all frames come by: what is left to prost is the inside of a frame.
fn decode_plain(mut rest: Bytes) -> Result<Packet, CodecError> {
    let malformed = |error: prost::DecodeError| CodecError::Malformed(error.to_string());
    let inside = encoding::DecodeContext::default;
    let mut packet = Packet::default();
    while !rest.is_empty() {
        let (tag, kind) = encoding::decode_key(&mut rest).map_err(malformed)?;
        match tag {
            1 => {
                encoding::check_wire_type(encoding::WireType::LengthDelimited, kind).map_err(malformed)?;
                let size = encoding::decode_varint(&mut rest).map_err(malformed)?;
                let Some(behind) = rest
                    .len()
                    .checked_sub(usize::try_from(size).unwrap_or(usize::MAX))
                else {
                    return Err(CodecError::Malformed(format!(
                        "a frame of {size} bytes, and {} are there",
                        rest.len()
                    )));
                };
                if packet.frames.len() == limits::MAX_FRAMES {
                    return Err(CodecError::TooManyFrames);
                }
                if packet.frames.is_empty() {
                    // The others are mostly of its kind.
                    let alike = 1 + behind / (rest.len() - behind + 2);
                    packet.frames.reserve_exact(alike.min(limits::MAX_FRAMES));
                }
                let mut frame = Frame::default();
                while rest.len() > behind {
                    let (tag, kind) = encoding::decode_key(&mut rest).map_err(malformed)?;
                    frame
                        .merge_field(tag, kind, &mut rest, inside())
                        .map_err(malformed)?;
                }
                if rest.len() < behind {
                    return Err(CodecError::Malformed("a field is longer than its frame".into()));
                }
                packet.frames.push(frame);
            }
            2 => encoding::bytes::merge(kind, &mut packet.zstd, &mut rest, inside()).map_err(malformed)?,
            _ => encoding::skip_field(kind, tag, &mut rest, inside()).map_err(malformed)?,
        }
    }
    Ok(packet)
}
