//! Why there is no link, in words that say what to do.

use std::time::Duration;

use crate::transport::{ConnectError, EndpointError};

/// Why there is no WebSocket.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The address is not good.
    #[error(transparent)]
    Address(#[from] EndpointError),
    /// The token has characters that no header may have.
    #[error("the token has a character that a header cannot carry: check for line breaks in the token file")]
    Token,
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The hub answered over HTTP, but did not upgrade.
    #[error("{url} refused the link with HTTP {status}: {}", refusal(*status, body))]
    Refused {
        /// Where.
        url: String,
        /// The HTTP status.
        status: u16,
        /// From Retry-After.
        retry_after: Option<Duration>,
        /// The start of what it said.
        body: String,
    },
    /// The answer is not one of a WebSocket server.
    #[error("{url} does not speak WebSocket as it should: {problem}")]
    NotWebSocket {
        /// Where.
        url: String,
        /// What is wrong.
        problem: String,
    },
    /// The upgrade was not answered in time.
    #[error("{url} did not answer the upgrade within {} s", after.as_secs_f32())]
    Timeout {
        /// Where.
        url: String,
        /// The limit.
        after: Duration,
    },
}

fn refusal(status: u16, body: &str) -> String {
    let advice = match status {
        401 => "the hub wants a token, or this one is not good",
        403 => "this token or origin may not open a link",
        404 => "there is no link at this path; it is usually /ws",
        503 => "the hub takes no link now; trying again later helps",
        _ => "",
    };
    match (advice, body) {
        ("", "") => "no reason given".to_owned(),
        ("", said) => said.to_owned(),
        (advice, "") => advice.to_owned(),
        (advice, said) => format!("{said} ({advice})"),
    }
}
