//! gRPC's own framing: a flag, a length of four bytes, the message. Bytes of DATA frames in, messages out, and back.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use crate::transport::TransportError;

/// Flag and length.
const PREFIX: usize = 5;
/// Smaller messages are copied together, so that they leave in one DATA frame; larger ones leave from where they lie.
const JOINED: usize = 4 << 10;
/// The most that is reserved for a message before its bytes come: a prefix alone must not buy memory.
const RESERVED: usize = 256 << 10;

/// Cuts the bytes of DATA frames into messages: without a copy where a message lies in one frame.
#[derive(Debug)]
pub(super) struct Incoming {
    limit: usize,
    /// Of the last frame, not looked at yet.
    rest: Bytes,
    part: Part,
}

#[derive(Debug)]
enum Part {
    Prefix { bytes: [u8; PREFIX], have: usize },
    Message { size: usize, bytes: BytesMut },
}

const BEGIN: Part = Part::Prefix {
    bytes: [0; PREFIX],
    have: 0,
};

impl Incoming {
    /// Takes messages of at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            rest: Bytes::new(),
            part: BEGIN,
        }
    }

    /// The bytes of the next frame, when [`Incoming::next`] had nothing left.
    pub(super) fn take(&mut self, frame: Bytes) {
        debug_assert!(self.rest.is_empty(), "the former frame was looked at");
        self.rest = frame;
    }

    /// The next message, if it is whole. After an error nothing more comes.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, TransportError> {
        loop {
            match &mut self.part {
                Part::Prefix { bytes, have } => {
                    let size = (PREFIX - *have).min(self.rest.len());
                    self.rest.copy_to_slice(&mut bytes[*have..*have + size]);
                    *have += size;
                    if *have < PREFIX {
                        return Ok(None);
                    }
                    let size = size_of(*bytes, self.limit)?;
                    self.part = Part::Message {
                        size,
                        bytes: BytesMut::new(),
                    };
                }
                Part::Message { size, bytes } => {
                    let message = if bytes.is_empty() && self.rest.len() >= *size {
                        self.rest.split_to(*size)
                    } else {
                        if bytes.is_empty() {
                            bytes.reserve((*size).min(RESERVED));
                        }
                        let missing = (*size - bytes.len()).min(self.rest.len());
                        bytes.extend_from_slice(&self.rest.split_to(missing));
                        if bytes.len() < *size {
                            return Ok(None);
                        }
                        std::mem::take(bytes).freeze()
                    };
                    self.part = BEGIN;
                    return Ok(Some(message));
                }
            }
        }
    }

    /// Whether a message has begun that is not whole.
    pub(super) fn is_torn(&self) -> bool {
        !matches!(self.part, Part::Prefix { have: 0, .. })
    }
}

/// The length in a prefix.
fn size_of(prefix: [u8; PREFIX], limit: usize) -> Result<usize, TransportError> {
    let [flag, size @ ..] = prefix;
    match flag {
        0 => {}
        1 => {
            let text = "a message is compressed by gRPC: only grpc-encoding identity is spoken here";
            return Err(TransportError::Protocol(text.to_owned()));
        }
        flag => return Err(TransportError::Protocol(format!("a message has the flag {flag}"))),
    }
    match usize::try_from(u32::from_be_bytes(size)) {
        Ok(size) if size <= limit => Ok(size),
        _ => Err(TransportError::TooLarge { limit }),
    }
}

/// Messages on their way out, with their prefixes.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    queue: VecDeque<Bytes>,
    /// Small messages and prefixes, behind the queue.
    joined: BytesMut,
    len: usize,
}

impl Outgoing {
    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Queues a message.
    pub(super) fn push(&mut self, message: Bytes) -> Result<(), TransportError> {
        let size = u32::try_from(message.len()).map_err(|_| TransportError::TooLarge {
            limit: u32::MAX as usize,
        })?;
        self.len += PREFIX + message.len();
        self.joined.extend_from_slice(&[0]);
        self.joined.extend_from_slice(&size.to_be_bytes());
        if message.len() < JOINED {
            self.joined.extend_from_slice(&message);
        } else {
            self.queue.push_back(self.joined.split().freeze());
            self.queue.push_back(message);
        }
        Ok(())
    }

    /// The next bytes, at most `room` of them.
    pub(super) fn pop(&mut self, room: usize) -> Option<Bytes> {
        if self.queue.is_empty() && !self.joined.is_empty() {
            self.queue.push_back(self.joined.split().freeze());
        }
        let front = self.queue.front_mut()?;
        let piece = if front.len() <= room {
            self.queue.pop_front()?
        } else {
            front.split_to(room)
        };
        self.len -= piece.len();
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Outgoing::default();
        for message in messages {
            out.push(message.clone().into()).unwrap();
        }
        let mut bytes = Vec::new();
        while let Some(piece) = out.pop(1_000) {
            assert!(piece.len() <= 1_000);
            bytes.extend_from_slice(&piece);
        }
        assert_eq!(out.len(), 0);
        bytes
    }

    #[test]
    fn any_split_of_the_bytes_gives_the_same_messages() {
        let messages = vec![
            vec![1; 300],
            Vec::new(),
            vec![2; 70_000],
            vec![3],
            vec![4; JOINED],
        ];
        let bytes = framed(&messages);
        assert_eq!(bytes[..PREFIX], [0, 0, 0, 1, 44]);
        for step in [1, 2, 3, 5, 64, 16_384, bytes.len()] {
            let mut incoming = Incoming::new(70_000);
            let mut got = Vec::new();
            for piece in bytes.chunks(step) {
                incoming.take(Bytes::copy_from_slice(piece));
                while let Some(message) = incoming.next().unwrap() {
                    got.push(message.to_vec());
                }
            }
            assert!(got == messages, "step {step}");
            assert!(!incoming.is_torn());
        }
    }

    #[test]
    fn a_message_in_one_frame_is_not_copied() {
        let bytes = Bytes::from(framed(&[vec![7; 5_000]]));
        let mut incoming = Incoming::new(5_000);
        incoming.take(bytes.clone());
        let message = incoming.next().unwrap().unwrap();
        assert!(bytes.as_ptr_range().contains(&message.as_ptr()));
    }

    #[test]
    fn a_large_message_leaves_from_where_it_lies() {
        let message = Bytes::from(vec![7; JOINED]);
        let mut out = Outgoing::default();
        out.push(message.clone()).unwrap();
        assert_eq!(out.pop(usize::MAX).unwrap().len(), PREFIX);
        assert_eq!(out.pop(usize::MAX).unwrap().as_ptr(), message.as_ptr());
    }

    #[test]
    fn a_prefix_is_enough_to_refuse() {
        let refused = |prefix: [u8; PREFIX]| {
            let mut incoming = Incoming::new(100);
            incoming.take(Bytes::copy_from_slice(&prefix));
            incoming.next().unwrap_err()
        };
        assert!(matches!(
            refused([0, 0, 0, 0, 101]),
            TransportError::TooLarge { limit: 100 }
        ));
        assert!(matches!(
            refused([0, 255, 255, 255, 255]),
            TransportError::TooLarge { limit: 100 }
        ));
        assert!(
            refused([1, 0, 0, 0, 1])
                .to_string()
                .contains("grpc-encoding identity")
        );
        assert!(refused([9, 0, 0, 0, 1]).to_string().contains("flag 9"));
    }

    #[test]
    fn an_end_within_a_message_is_seen() {
        let mut incoming = Incoming::new(100);
        incoming.take(Bytes::from_static(&[0, 0, 0, 0, 2, 1]));
        assert_eq!(incoming.next().unwrap(), None);
        assert!(incoming.is_torn());
    }
}
