//! The words of RFC 6455 that both halves need: opcodes, masks, and what a close says.

use std::io::{Error as IoError, ErrorKind};

use bytes::Bytes;

use super::incoming::Broken;
use crate::{
    limits,
    transport::{Message, NO_CODE, TransportError},
};

/// Opcodes (section 5.2). From CLOSE on they are of control frames.
pub(super) const CONTINUATION: u8 = 0;
pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;
/// What a control frame may hold, in bytes (section 5.5).
pub(super) const MAX_CONTROL: usize = 125;
/// "Protocol error" (section 7.4.1).
const PROTOCOL: u16 = 1002;

/// Section 5.3; undoes itself.
pub(super) fn mask(payload: &mut [u8], key: [u8; 4]) {
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

/// Whether a code may stand in a close frame (section 7.4).
fn may_travel(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1013 | 3000..=4999)
}

/// What the payload of a close frame says. A code that may not travel is told as what it is: an error of the peer's.
pub(super) fn said_close(payload: &[u8]) -> Result<Message, Broken> {
    let (code, reason) = match payload {
        [] => return Ok(Message::Close(NO_CODE, String::new())),
        [_] => return Err(Broken::Frame("a close frame with half a code")),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    let reason = std::str::from_utf8(reason).map_err(|_| Broken::NotText)?;
    Ok(match may_travel(code) {
        true => Message::Close(code, reason.to_owned()),
        false => Message::Close(PROTOCOL, format!("closed with {code}, which may not be sent")),
    })
}

/// The payload of a close frame; empty for a code that may not be sent. The reason is cut to what a control frame holds.
pub(super) fn close(code: u16, reason: &str) -> Bytes {
    if !may_travel(code) {
        return Bytes::new();
    }
    let reason = limits::cut(reason, limits::MAX_CLOSE_REASON);
    [&code.to_be_bytes(), reason.as_bytes()].concat().into()
}

/// What fits into a control frame.
pub(super) fn control(mut bytes: Bytes) -> Bytes {
    bytes.truncate(MAX_CONTROL);
    bytes
}

pub(super) fn ended() -> TransportError {
    IoError::new(ErrorKind::BrokenPipe, "the connection has ended").into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_close_is_read_as_it_was_written() {
        let read = |code, reason: &str| said_close(&close(code, reason)).unwrap();
        assert_eq!(read(4500, "why"), Message::Close(4500, "why".to_owned()));
        assert_eq!(read(1000, ""), Message::Close(1000, String::new()));
        // Neither is ever sent; who reads one knows no code.
        for code in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
            assert_eq!(read(code, "why"), Message::Close(NO_CODE, String::new()));
            let Message::Close(PROTOCOL, text) = said_close(&code.to_be_bytes()).unwrap() else {
                panic!("{code} was taken")
            };
            assert!(text.contains(&code.to_string()), "{text}");
        }
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        let Message::Close(1000, reason) = said_close(&close(1000, &"é".repeat(100))).unwrap() else {
            panic!()
        };
        assert_eq!(reason, "é".repeat(61));
    }
}
