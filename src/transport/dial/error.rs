//! Why there is no link, in words that say what to do.

use std::time::Duration;

use crate::{
    code::Code,
    transport::{ConnectError, EndpointError},
};

/// Why there is no link.
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
    /// The hub answered the call of gRPC with a status.
    #[error("{url} refused the link with {code}: {}", said(*code, message))]
    RefusedCall {
        /// Where.
        url: String,
        /// The status.
        code: Code,
        /// What it said.
        message: String,
    },
    /// The answer is not one of a gRPC server.
    #[error("{url} does not speak gRPC as it should: {problem}")]
    NotGrpc {
        /// Where.
        url: String,
        /// What is wrong.
        problem: String,
    },
    /// The answer is not one of a WebSocket server.
    #[error("{url} does not speak WebSocket as it should: {problem}")]
    NotWebSocket {
        /// Where.
        url: String,
        /// What is wrong.
        problem: String,
    },
    /// The upgrade, or the call, was not answered in time.
    #[error("{url} did not answer the dial within {} s", after.as_secs_f32())]
    Timeout {
        /// Where.
        url: String,
        /// The limit.
        after: Duration,
    },
}

fn said(code: Code, message: &str) -> String {
    let advice = match code {
        Code::Unauthenticated => "the hub wants a token, or this one is not good",
        Code::PermissionDenied => "this token may not open a link",
        Code::Unimplemented => "there is no towline link at this port",
        Code::Unavailable => "the hub takes no link now; trying again later helps",
        _ => "",
    };
    told(advice, message)
}

fn refusal(status: u16, body: &str) -> String {
    let advice = match status {
        401 => "the hub wants a token, or this one is not good",
        403 => "this token or origin may not open a link",
        404 => "there is no link at this path; it is usually /ws",
        503 => "the hub takes no link now; trying again later helps",
        _ => "",
    };
    told(advice, body)
}

fn told(advice: &str, said: &str) -> String {
    match (advice, said) {
        ("", "") => "no reason given".to_owned(),
        ("", said) => said.to_owned(),
        (advice, "") => advice.to_owned(),
        (advice, said) => format!("{said} ({advice})"),
    }
}
