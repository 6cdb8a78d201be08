//! What gRPC and HTTP/2 say, in the words of the link, and back.

use std::{
    fmt::Write,
    io::{Error as IoError, ErrorKind},
};

use h2::Reason;
use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};

use crate::{
    code::{CloseCode, Code},
    transport::TransportError,
};

/// The one call there is: `towline.v1.LinkService/Connect`.
pub(crate) const PATH: &str = "/towline.v1.LinkService/Connect";
pub(super) const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");
pub(super) const STATUS: HeaderName = HeaderName::from_static("grpc-status");
pub(super) const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
pub(super) const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
pub(super) const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
pub(super) const IDENTITY: HeaderValue = HeaderValue::from_static("identity");
/// Longest text of a peer that is kept, in bytes.
const MAX_TEXT: usize = 1 << 10;

/// The status with which the hub ends a call: for people and stock clients. The close code itself travels in GoAway.
pub(super) fn status_of(code: CloseCode) -> Code {
    match code {
        CloseCode::NORMAL => Code::Ok,
        CloseCode::PROTOCOL | CloseCode::UNSUPPORTED | CloseCode::INVALID | CloseCode::VIOLATION => {
            Code::InvalidArgument
        }
        CloseCode::TOO_BIG => Code::ResourceExhausted,
        CloseCode::SUPERSEDED => Code::Aborted,
        CloseCode::IDLE | CloseCode::SLOW => Code::DeadlineExceeded,
        CloseCode::CREDENTIAL => Code::Unauthenticated,
        CloseCode::VERSION => Code::FailedPrecondition,
        CloseCode::FORBIDDEN => Code::PermissionDenied,
        _ => Code::Unavailable,
    }
}

/// `grpc-status` and, if there is something to say, `grpc-message`.
pub(super) fn put_status(headers: &mut HeaderMap, code: Code, message: &str) {
    headers.insert(STATUS, HeaderValue::from(code as i32));
    if !message.is_empty()
        && let Ok(message) = HeaderValue::from_str(&encoded(message))
    {
        headers.insert(MESSAGE, message);
    }
}

/// What `grpc-status` and `grpc-message` say; none without a status.
pub(super) fn read_status(headers: &HeaderMap) -> Option<(Code, String)> {
    let number = headers.get(STATUS)?.to_str().ok()?.parse().unwrap_or(2);
    let message = headers
        .get(MESSAGE)
        .map_or_else(String::new, |message| decoded(message.as_bytes()));
    Some((Code::from_number(number), message))
}

/// Percent-encoding as gRPC has it.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes().take(MAX_TEXT) {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            out.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn decoded(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len().min(MAX_TEXT));
    let mut rest = text;
    while let [first, tail @ ..] = rest
        && bytes.len() < MAX_TEXT
    {
        let escaped = (*first == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|digits| str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether the peer says that it needs no more, which is no failure.
pub(super) fn is_orderly(error: &h2::Error) -> bool {
    error.is_remote() && error.reason() == Some(Reason::NO_ERROR)
}

/// A stream or connection that broke.
pub(super) fn broken(error: h2::Error) -> TransportError {
    let kind = if error.is_remote() || error.is_io() {
        ErrorKind::ConnectionReset
    } else {
        ErrorKind::InvalidData
    };
    let who = if error.is_remote() {
        "the peer"
    } else {
        "this side"
    };
    let text = match error.reason() {
        _ if error.is_io() => match error.into_io() {
            Some(error) => return error.into(),
            None => "the connection failed".to_owned(),
        },
        Some(reason) if error.is_go_away() => format!("{who} ended the HTTP/2 connection: {reason}"),
        Some(reason) => format!("{who} ended the HTTP/2 stream: {reason}"),
        None => error.to_string(),
    };
    IoError::new(kind, text).into()
}

pub(super) fn ended() -> TransportError {
    IoError::new(ErrorKind::BrokenPipe, "the connection has ended").into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn any_text_travels_in_a_status() {
        for text in ["", "a b", "100 % sure", "grüß\nGott", "%41%"] {
            let mut headers = HeaderMap::new();
            put_status(&mut headers, Code::Unavailable, text);
            assert_eq!(
                read_status(&headers),
                Some((Code::Unavailable, text.to_owned())),
                "{headers:?}"
            );
        }
    }

    #[test]
    fn what_others_write_is_read_as_far_as_it_goes() {
        let mut headers = HeaderMap::new();
        assert_eq!(read_status(&headers), None);
        headers.insert(STATUS, "x".parse().unwrap());
        headers.insert(MESSAGE, "a%2Gb%4".parse().unwrap());
        assert_eq!(read_status(&headers), Some((Code::Unknown, "a%2Gb%4".to_owned())));
        headers.insert(MESSAGE, "x".repeat(5_000).parse().unwrap());
        assert_eq!(read_status(&headers).unwrap().1.len(), MAX_TEXT);
    }

    #[test]
    fn a_good_end_is_ok_and_every_other_is_not() {
        assert_eq!(status_of(CloseCode::NORMAL), Code::Ok);
        for code in [
            1002, 1003, 1007, 1009, 4000, 4001, 4002, 4003, 4004, 4005, 4500, 4502, 4503, 4504,
        ] {
            assert_ne!(status_of(CloseCode(code)), Code::Ok, "{code}");
        }
    }
}
