//! Messages and closes between the codec's words and this layer's.

use std::io::{Error as IoError, ErrorKind};

use bytes::Bytes;
use tokio_tungstenite::tungstenite::{
    self,
    error::{Error as WsError, ProtocolError},
    protocol::{CloseFrame, frame::coding::CloseCode as WsCode},
};

use crate::{
    limits,
    transport::{Message, NO_CODE, TransportError},
};

pub(super) fn received(message: tungstenite::Message) -> Option<Message> {
    Some(match message {
        tungstenite::Message::Binary(bytes) => Message::Binary(bytes),
        tungstenite::Message::Text(text) => Message::Text(text.into()),
        tungstenite::Message::Ping(bytes) => Message::Ping(bytes),
        tungstenite::Message::Pong(bytes) => Message::Pong(bytes),
        tungstenite::Message::Close(Some(frame)) => {
            Message::Close(frame.code.into(), frame.reason.as_str().to_owned())
        }
        tungstenite::Message::Close(None) => Message::Close(NO_CODE, String::new()),
        // Raw frames are only written, never read.
        tungstenite::Message::Frame(_) => return None,
    })
}

/// A close frame, or none for a code that may not be sent. The reason is cut to what a control frame holds.
pub(super) fn close_frame(code: u16, reason: &str) -> Option<CloseFrame> {
    let code = WsCode::from(code);
    let mut end = reason.len().min(limits::MAX_CLOSE_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    code.is_allowed().then(|| CloseFrame {
        code,
        reason: reason[..end].into(),
    })
}

/// What a control frame may hold (RFC 6455 section 5.5).
pub(super) fn control(mut bytes: Bytes) -> Bytes {
    bytes.truncate(125);
    bytes
}

pub(super) fn ended() -> TransportError {
    IoError::new(ErrorKind::BrokenPipe, "the connection has ended").into()
}

/// Why a message was not sent.
pub(super) fn sending(error: WsError, limit: usize) -> TransportError {
    match error {
        WsError::Io(error) => error.into(),
        WsError::WriteBufferFull(_) | WsError::Capacity(_) => TransportError::TooLarge { limit },
        WsError::ConnectionClosed
        | WsError::AlreadyClosed
        | WsError::Protocol(ProtocolError::SendAfterClosing) => ended(),
        other => TransportError::Protocol(other.to_string()),
    }
}
