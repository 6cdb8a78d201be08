//! What comes in: frames taken apart, messages put together (RFC 6455 section 5). Knows no socket.
//!
//! Bytes may come in pieces of any size. Nothing is kept of them but the head and the payload that are on their way, so
//! that between two messages there is no buffer at all.

use bytes::{Bytes, BytesMut};

use super::{
    Role,
    words::{BINARY, CLOSE, CONTINUATION, MAX_CONTROL, PING, PONG, TEXT, mask, said_close},
};
use crate::transport::Message;

/// The longest head: two bytes, a length of eight, a key of four.
const MAX_HEAD: usize = 14;
/// Room that is made for a payload from its length alone, in bytes: nearly all fit. More is made as more comes, for so far
/// the length is only a word of the peer's.
const ROOM: usize = 128 << 10;

/// What the peer broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// The framing.
    Frame(&'static str),
    /// The limit, by what a head says.
    TooLarge,
    /// The encoding of a text.
    NotText,
}

/// The receiving half.
#[derive(Debug)]
pub(super) struct Incoming {
    role: Role,
    /// Bytes of a message.
    limit: usize,
    /// Of the next frame's head, as much as came.
    head: [u8; MAX_HEAD],
    head_len: u8,
    /// The frame whose payload is coming.
    frame: Option<Frame>,
    payload: BytesMut,
    /// A message in several frames, so far.
    parts: Option<Box<Parts>>,
}

/// A frame after its head.
#[derive(Debug, Clone, Copy)]
struct Frame {
    fin: bool,
    opcode: u8,
    key: Option<[u8; 4]>,
    left: usize,
}

#[derive(Debug)]
struct Parts {
    opcode: u8,
    payload: BytesMut,
}

impl Incoming {
    pub(super) fn new(role: Role, limit: usize) -> Self {
        Self {
            role,
            limit,
            head: [0; MAX_HEAD],
            head_len: 0,
            frame: None,
            payload: BytesMut::new(),
            parts: None,
        }
    }

    /// Takes bytes off the front, up to the end of a message or of all bytes. None when there is no whole message yet.
    pub(super) fn take(&mut self, bytes: &mut &[u8]) -> Result<Option<Message>, Broken> {
        loop {
            let mut frame = match self.frame {
                Some(frame) => frame,
                None => match self.take_head(bytes)? {
                    Some(frame) => frame,
                    None => return Ok(None),
                },
            };
            let size = frame.left.min(bytes.len());
            let (payload, rest) = bytes.split_at(size);
            *bytes = rest;
            frame.left -= size;
            if self.payload.capacity() == 0 {
                self.payload = BytesMut::with_capacity((size + frame.left).min(ROOM));
            }
            self.payload.extend_from_slice(payload);
            if frame.left > 0 {
                self.frame = Some(frame);
                return Ok(None);
            }
            self.frame = None;
            if let Some(message) = self.end(frame)? {
                return Ok(Some(message));
            }
        }
    }

    /// Reads a head, once it is whole.
    fn take_head(&mut self, bytes: &mut &[u8]) -> Result<Option<Frame>, Broken> {
        if !self.has_head(2, bytes) {
            return Ok(None);
        }
        let [first, second, ..] = self.head;
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0f);
        let (masked, short) = (second & 0x80 != 0, second & 0x7f);
        self.check(first, opcode, fin)?;
        match (self.role, masked) {
            (Role::Server, false) => return Err(Broken::Frame("a client's frame is not masked")),
            (Role::Client, true) => return Err(Broken::Frame("a server's frame is masked")),
            _ => {}
        }
        let of_len = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if opcode >= CLOSE && usize::from(short) > MAX_CONTROL {
            return Err(Broken::Frame("a control frame over 125 bytes"));
        }
        let size = 2 + of_len + if masked { 4 } else { 0 };
        if !self.has_head(size, bytes) {
            return Ok(None);
        }
        self.head_len = 0;
        let (len, key) = self.head[2..size].split_at(of_len);
        let len = match of_len {
            0 => u64::from(short),
            _ => len.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)),
        };
        let before = match opcode {
            CONTINUATION => self.parts.as_ref().map_or(0, |parts| parts.payload.len()),
            _ => 0,
        };
        let left = usize::try_from(len)
            .ok()
            .filter(|len| *len <= self.limit.saturating_sub(before) || opcode >= CLOSE)
            .ok_or(Broken::TooLarge)?;
        Ok(Some(Frame {
            fin,
            opcode,
            key: key.try_into().ok(),
            left,
        }))
    }

    /// Whether so many bytes of the head are there, when it has taken what it lacks.
    fn has_head(&mut self, size: usize, bytes: &mut &[u8]) -> bool {
        let have = usize::from(self.head_len);
        let lacks = size.saturating_sub(have).min(bytes.len());
        let (head, rest) = bytes.split_at(lacks);
        self.head[have..have + lacks].copy_from_slice(head);
        self.head_len += lacks as u8;
        *bytes = rest;
        have + lacks >= size
    }

    /// What the first byte of a head may say now.
    fn check(&self, first: u8, opcode: u8, fin: bool) -> Result<(), Broken> {
        if first & 0x70 != 0 {
            return Err(Broken::Frame(
                "a reserved bit is set, and no extension was agreed",
            ));
        }
        match opcode {
            CONTINUATION if self.parts.is_none() => Err(Broken::Frame("a continuation of no message")),
            TEXT | BINARY if self.parts.is_some() => Err(Broken::Frame("a new message within another one")),
            CLOSE | PING | PONG if !fin => Err(Broken::Frame("a control frame in pieces")),
            CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG => Ok(()),
            _ => Err(Broken::Frame("an unknown opcode")),
        }
    }

    /// The payload of a frame is whole; perhaps it ends a message.
    fn end(&mut self, frame: Frame) -> Result<Option<Message>, Broken> {
        let mut payload = std::mem::take(&mut self.payload);
        if let Some(key) = frame.key {
            mask(&mut payload, key);
        }
        match frame.opcode {
            PING => return Ok(Some(Message::Ping(payload.freeze()))),
            PONG => return Ok(Some(Message::Pong(payload.freeze()))),
            CLOSE => return said_close(&payload).map(Some),
            _ => {}
        }
        let opcode = match &mut self.parts {
            Some(parts) => {
                parts.payload.extend_from_slice(&payload);
                parts.opcode
            }
            None if !frame.fin => {
                let opcode = frame.opcode;
                self.parts = Some(Box::new(Parts { opcode, payload }));
                return Ok(None);
            }
            None => return whole(frame.opcode, payload.freeze()).map(Some),
        };
        if !frame.fin {
            return Ok(None);
        }
        let payload = self
            .parts
            .take()
            .map_or_else(BytesMut::new, |parts| parts.payload);
        whole(opcode, payload.freeze()).map(Some)
    }
}

fn whole(opcode: u8, payload: Bytes) -> Result<Message, Broken> {
    if opcode == BINARY {
        return Ok(Message::Binary(payload));
    }
    match std::str::from_utf8(&payload) {
        Ok(_) => Ok(Message::Text(payload)),
        Err(_) => Err(Broken::NotText),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn server(limit: usize) -> Incoming {
        Incoming::new(Role::Server, limit)
    }

    /// A client's frame, masked with a key that changes every byte.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let key = [1, 2, 3, 4];
        let mut bytes = vec![first];
        match payload.len() {
            size @ 0..126 => bytes.push(0x80 | size as u8),
            size => {
                bytes.push(0x80 | 127);
                bytes.extend_from_slice(&(size as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(&key);
        let mut payload = payload.to_vec();
        mask(&mut payload, key);
        bytes.extend_from_slice(&payload);
        bytes
    }

    fn all(incoming: &mut Incoming, mut bytes: &[u8]) -> Result<Vec<Message>, Broken> {
        let mut messages = Vec::new();
        while let Some(message) = incoming.take(&mut bytes)? {
            messages.push(message);
        }
        Ok(messages)
    }

    #[test]
    fn pieces_of_any_size_give_the_same_messages() {
        let long = vec![7; ROOM + 1_000];
        let bytes = [
            frame(0x82, &long),
            frame(0x01, b"gr\xc3"),
            frame(0x89, b"now"),
            frame(0x00, b""),
            frame(0x80, b"\xbc\xc3\x9f"),
            frame(0x82, b""),
            frame(0x88, b"\x03\xe8bye"),
        ]
        .concat();
        let want = [
            Message::Binary(long.into()),
            Message::Ping(Bytes::from_static(b"now")),
            Message::Text(Bytes::from_static("grüß".as_bytes())),
            Message::Binary(Bytes::new()),
            Message::Close(1000, "bye".to_owned()),
        ];
        for step in [1, 3, 14, 1_000, bytes.len()] {
            let mut incoming = server(1 << 20);
            let pieces = bytes.chunks(step).map(|piece| all(&mut incoming, piece).unwrap());
            assert_eq!(pieces.flatten().collect::<Vec<_>>(), want, "step {step}");
        }
    }

    #[test]
    fn between_messages_nothing_is_kept() {
        let mut incoming = server(1 << 20);
        all(&mut incoming, &frame(0x82, &[1; 5_000])).unwrap();
        all(&mut incoming, &[frame(0x02, b"a"), frame(0x80, b"b")].concat()).unwrap();
        assert_eq!(incoming.payload.capacity(), 0);
        assert!(incoming.frame.is_none() && incoming.parts.is_none());
    }

    #[test]
    fn a_length_alone_takes_no_more_room_than_most_messages_need() {
        let mut incoming = server(1 << 30);
        let head = frame(0x82, &[0; 1_000_000])[..14].to_vec();
        assert!(all(&mut incoming, &head).unwrap().is_empty());
        all(&mut incoming, b"x").unwrap();
        assert_eq!(incoming.payload.capacity(), ROOM);
    }

    #[test]
    fn what_a_message_counts_is_bounded_over_all_its_frames() {
        let mut incoming = server(100);
        let parts = [frame(0x02, &[0; 60]), frame(0x00, &[0; 40])].concat();
        assert!(all(&mut incoming, &parts).unwrap().is_empty());
        // A control frame between them is none of it.
        assert_eq!(all(&mut incoming, &frame(0x8a, &[0; 50])).unwrap().len(), 1);
        assert_eq!(all(&mut incoming, &frame(0x80, b"x")), Err(Broken::TooLarge));
        assert_eq!(
            all(&mut server(100), &frame(0x82, &[0; 101])),
            Err(Broken::TooLarge)
        );
        let endless = [
            0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0,
        ];
        assert_eq!(all(&mut server(usize::MAX >> 1), &endless), Err(Broken::TooLarge));
    }

    #[test]
    fn a_broken_rule_is_seen() {
        let too_long_ping = [0x89, 0xfe, 0, 126];
        for (bytes, what) in [
            (frame(0xc2, b""), "reserved"),
            (frame(0x83, b""), "opcode"),
            (frame(0x8b, b""), "opcode"),
            (frame(0x80, b""), "continuation"),
            ([frame(0x02, b""), frame(0x82, b"")].concat(), "within"),
            (frame(0x09, b""), "pieces"),
            (too_long_ping.to_vec(), "125"),
            (vec![0x82, 1, b'x'], "not masked"),
            (frame(0x88, b"x"), "close"),
        ] {
            match all(&mut server(1_000), &bytes) {
                Err(Broken::Frame(text)) => assert!(text.contains(what), "{text}"),
                other => panic!("{bytes:x?}: {other:?}"),
            }
        }
        let mut client = Incoming::new(Role::Client, 100);
        assert_eq!(
            all(&mut client, &frame(0x82, b"x")),
            Err(Broken::Frame("a server's frame is masked"))
        );
        for bytes in [frame(0x81, b"\xff"), frame(0x88, b"\x03\xe8\xff")] {
            assert_eq!(all(&mut server(100), &bytes), Err(Broken::NotText));
        }
    }
}
