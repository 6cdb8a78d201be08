//! [`Large`]: a message that is written from where it lies, in one WebSocket frame (RFC 6455 section 5.2).
//!
//! The codec would copy it into its write buffer, which then keeps the size of the largest message for the life of
//! the connection, and would move the rest to the front after each partial write.

use std::io::{Error as IoError, IoSlice};

use bytes::{Bytes, BytesMut};

use super::tls;

/// Messages from this size on are written so; smaller ones are joined in the codec's buffer.
pub(super) const FROM: usize = 16 << 10;

/// One frame on its way out.
#[derive(Debug)]
pub(super) struct Large {
    head: Bytes,
    payload: Bytes,
}

impl Large {
    /// The server's frame: not masked.
    pub(super) fn plain(opcode: u8, payload: Bytes) -> Self {
        Self {
            head: head(opcode, 0, payload.len()).freeze(),
            payload,
        }
    }

    /// The client's frame: masked with a key that nobody can guess (section 10.3). In place, unless somebody else
    /// holds the bytes too.
    pub(super) fn masked(opcode: u8, payload: Bytes) -> Result<Self, IoError> {
        let mut key = [0; 4];
        tls::random(&mut key)?;
        let mut payload = payload
            .try_into_mut()
            .unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        mask(&mut payload, key);
        let mut head = head(opcode, 0x80, payload.len());
        head.extend_from_slice(&key);
        Ok(Self {
            head: head.freeze(),
            payload: payload.freeze(),
        })
    }

    /// What is still to be written; both empty at the end.
    pub(super) fn rest(&self) -> [IoSlice<'_>; 2] {
        [IoSlice::new(&self.head), IoSlice::new(&self.payload)]
    }

    /// So many bytes were written. False when nothing is left.
    pub(super) fn advance(&mut self, size: usize) -> bool {
        let of_head = size.min(self.head.len());
        drop(self.head.split_to(of_head));
        drop(self.payload.split_to((size - of_head).min(self.payload.len())));
        !(self.head.is_empty() && self.payload.is_empty())
    }
}

fn head(opcode: u8, masked: u8, len: usize) -> BytesMut {
    const FIN: u8 = 0x80;
    let mut head = BytesMut::with_capacity(14);
    head.extend_from_slice(&[FIN | opcode]);
    if let Ok(short) = u16::try_from(len) {
        head.extend_from_slice(&[masked | 126]);
        head.extend_from_slice(&short.to_be_bytes());
    } else {
        head.extend_from_slice(&[masked | 127]);
        head.extend_from_slice(&(len as u64).to_be_bytes());
    }
    head
}

/// Section 5.3.
fn mask(payload: &mut [u8], key: [u8; 4]) {
    let word = u32::from_ne_bytes(key);
    let mut words = payload.chunks_exact_mut(4);
    for bytes in words.by_ref() {
        let mut four = [0; 4];
        four.copy_from_slice(bytes);
        bytes.copy_from_slice(&(u32::from_ne_bytes(four) ^ word).to_ne_bytes());
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(key) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn frame(large: &Large) -> Vec<u8> {
        [&large.head[..], &large.payload[..]].concat()
    }

    #[test]
    fn heads_are_as_the_rfc_has_them() {
        let frame = |size| frame(&Large::plain(2, vec![7; size].into()));
        assert_eq!(frame(16_384)[..5], [0x82, 126, 0x40, 0x00, 7]);
        assert_eq!(frame(65_535)[..5], [0x82, 126, 0xff, 0xff, 7]);
        assert_eq!(frame(65_536)[..11], [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0, 7]);
    }

    #[test]
    fn a_masked_frame_unmasks_to_its_payload_whatever_its_length() {
        for size in [126, 127, 128, 129, 70_001] {
            let payload: Vec<u8> = (0..size).map(|at| at as u8).collect();
            let large = Large::masked(2, payload.clone().into()).unwrap();
            let key = large.head[large.head.len() - 4..].to_vec();
            let plain: Vec<u8> = large
                .payload
                .iter()
                .zip(key.iter().cycle())
                .map(|(byte, key)| byte ^ key)
                .collect();
            assert_eq!(plain, payload);
            assert_eq!(large.head[1] & 0x80, 0x80);
        }
    }

    #[test]
    fn bytes_that_another_holds_are_not_changed_by_masking() {
        let held = Bytes::from(vec![1; 200]);
        let _masked = Large::masked(2, held.clone()).unwrap();
        assert!(held.iter().all(|byte| *byte == 1));
    }

    #[test]
    fn any_partial_writes_end_at_the_end() {
        let payload = Bytes::from((0..300).map(|at| at as u8).collect::<Vec<_>>());
        for step in [1, 2, 3, 4, 5, 299, 400] {
            let mut large = Large::plain(2, payload.clone());
            let whole = frame(&large);
            let mut out = Vec::new();
            loop {
                let rest: Vec<u8> = large.rest().iter().flat_map(|part| part.to_vec()).collect();
                let size = step.min(rest.len());
                out.extend_from_slice(&rest[..size]);
                if !large.advance(size) {
                    break;
                }
            }
            assert_eq!(out, whole, "step {step}");
        }
    }
}
