//! The forms that the link is spoken in.

use std::fmt;

/// A WebSocket subprotocol: the major version of the link, and the form of its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Subprotocol {
    /// Binary messages, each a Packet.
    #[default]
    Proto,
    /// Text messages, each a JSON object (docs/JSON.md).
    Json,
}

impl Subprotocol {
    /// All that this side speaks, the preferred one first.
    pub const ALL: [Self; 2] = [Self::Proto, Self::Json];

    /// The name in `Sec-WebSocket-Protocol`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Proto => super::SUBPROTOCOL_PROTO,
            Self::Json => super::SUBPROTOCOL_JSON,
        }
    }
}

impl fmt::Display for Subprotocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
