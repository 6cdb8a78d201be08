//! How a try to be linked ended, in a person's words and for the backoff.

use std::time::Duration;

use super::{DialFailure, NoLink, dial::error_chain};
use crate::{
    code::{CloseCode, Reconnect},
    connection::{Connection, Ended, HandshakeError},
};

/// How a try to be linked ended.
pub(super) struct Lost {
    /// How long the link was good; zero when it never was.
    pub(super) lived: Duration,
    pub(super) why: String,
    pub(super) cause: NoLink,
    pub(super) reconnect: Reconnect,
    pub(super) retry_after: Duration,
    /// The hub was done with it: nothing is wrong.
    pub(super) orderly: bool,
}

impl Lost {
    /// No link came.
    pub(super) fn failed(why: impl Into<String>) -> Self {
        Self {
            lived: Duration::ZERO,
            why: why.into(),
            cause: NoLink::Handshake,
            reconnect: Reconnect::Backoff,
            retry_after: Duration::ZERO,
            orderly: false,
        }
    }
}

impl Lost {
    /// A link that was up has ended.
    pub(super) fn ended(ended: &Ended, lived: Duration) -> Self {
        Self {
            // One that broke in the same instant was up as well.
            lived: lived.max(Duration::from_millis(1)),
            why: describe(ended),
            cause: NoLink::Lost,
            reconnect: ended.code.reconnect(),
            retry_after: ended.retry_after,
            orderly: ended.code == CloseCode::NORMAL && ended.by_peer,
        }
    }
}

impl From<DialFailure> for Lost {
    fn from(failure: DialFailure) -> Self {
        Self {
            reconnect: failure.reconnect,
            retry_after: failure.retry_after,
            cause: failure.cause,
            ..Self::failed(failure.message)
        }
    }
}

impl From<HandshakeError> for Lost {
    fn from(error: HandshakeError) -> Self {
        let lost = Self::failed(error_chain(&error));
        match error {
            HandshakeError::Refused {
                code, retry_after, ..
            } => Self {
                reconnect: code.reconnect(),
                retry_after,
                orderly: code == CloseCode::NORMAL,
                ..lost
            },
            _ => lost,
        }
    }
}

fn describe(ended: &Ended) -> String {
    let who = if ended.by_peer {
        "closed by the hub"
    } else {
        "ended"
    };
    if ended.reason.is_empty() {
        format!("{who} with {}", ended.code)
    } else {
        format!("{who} with {}: {}", ended.code, ended.reason)
    }
}

/// A run that is dropped takes its link with it: nobody would keep what is promised there.
pub(super) struct CloseOnDrop(pub(super) Connection);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        // Does nothing to one that has ended.
        self.0.close(CloseCode::NORMAL, "the plugin was stopped");
    }
}

/// A text of the other side, fit for a terminal: escaped and at most 256 bytes.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::new();
    for piece in text.chars().map(|c| {
        if c.is_control() {
            c.escape_default().to_string()
        } else {
            c.to_string()
        }
    }) {
        if shown.len() + piece.len() > 256 - '…'.len_utf8() {
            shown.push('…');
            break;
        }
        shown.push_str(&piece);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_sides_words_cannot_drive_a_terminal_or_fill_a_log() {
        assert_eq!(printable("a\u{1b}[2J\nb"), "a\\u{1b}[2J\\nb");
        let long = printable(&"é".repeat(1_000));
        assert!(long.len() <= 256 && long.ends_with('…'), "{long}");
    }
}
