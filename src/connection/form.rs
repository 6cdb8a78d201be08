//! Packets as messages of the transport, binary or text: the one place that looks at the subprotocol.

use std::time::Instant;

use crate::{code::CloseCode, session::Session, transport::Message, wire::Subprotocol};

/// The next message that the session has to write.
pub(super) fn next(session: &mut Session) -> Option<Message> {
    let packet = session.poll_packet()?;
    Some(match session.subprotocol() {
        Subprotocol::Proto => Message::Binary(packet),
        Subprotocol::Json => Message::Text(packet),
    })
}

/// Gives the session a binary or text message; one of the other kind ends the link.
pub(super) fn take(session: &mut Session, message: Message, now: Instant) {
    match (session.subprotocol(), message) {
        (Subprotocol::Proto, Message::Binary(bytes)) | (Subprotocol::Json, Message::Text(bytes)) => {
            session.handle_packet(bytes, now);
        }
        (Subprotocol::Proto, _) => {
            session.close(CloseCode::UNSUPPORTED, "this link takes binary messages");
        }
        (Subprotocol::Json, _) => session.close(CloseCode::UNSUPPORTED, "this link takes text messages"),
    }
}
