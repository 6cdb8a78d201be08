//! Packets as messages of the transport, binary or text: the one place that looks at the subprotocol.

use std::time::Instant;

use bytes::Bytes;

use crate::{code::CloseCode, session::Session, transport::Message, wire::Subprotocol};

/// A packet of the session as a message.
pub(super) fn message(form: Subprotocol, packet: Bytes) -> Message {
    match form {
        Subprotocol::Proto => Message::Binary(packet),
        Subprotocol::Json => Message::Text(packet),
    }
}

/// Gives the session a binary or text message; one of the other kind ends the link.
pub(super) fn take(form: Subprotocol, message: Message, session: &mut Session, now: Instant) {
    match (form, message) {
        (Subprotocol::Proto, Message::Binary(bytes)) | (Subprotocol::Json, Message::Text(bytes)) => {
            session.handle_packet(bytes, now);
        }
        (Subprotocol::Proto, _) => {
            session.close(CloseCode::UNSUPPORTED, "this link takes binary messages");
        }
        (Subprotocol::Json, _) => session.close(CloseCode::UNSUPPORTED, "this link takes text messages"),
    }
}
