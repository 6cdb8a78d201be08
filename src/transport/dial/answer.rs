//! What the hub answered: whether it is the upgrade that was asked for, or the words of a refusal.

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio_tungstenite::tungstenite::http::HeaderMap;

use super::Dial;
use crate::transport::{Io, accept_key};

/// How much of a refusal's body is read, and shown.
const MAX_BODY: usize = 1 << 10;
/// How long the body of a refusal may take.
const BODY_WAIT: Duration = Duration::from_secs(1);

/// Whether the answer is a TLS record: an alert (RFC 8446 section 5.1).
pub(in crate::transport) fn is_tls(answer: &[u8]) -> bool {
    answer.starts_with(&[0x15, 0x03])
}

/// RFC 6455 section 4.1.
pub(super) fn check(dial: &Dial, headers: &HeaderMap, key: &str) -> Result<(), String> {
    let has = |name, token: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| {
                value
                    .split(',')
                    .any(|part| part.trim().eq_ignore_ascii_case(token))
            })
    };
    if !has("upgrade", "websocket") || !has("connection", "upgrade") {
        return Err("its answer 101 lacks Upgrade: websocket or Connection: upgrade".to_owned());
    }
    if text_of(headers, "sec-websocket-accept") != Some(accept_key(key).as_str()) {
        return Err(
            "its Sec-WebSocket-Accept does not fit; a proxy may have answered from a cache".to_owned(),
        );
    }
    if headers.contains_key("sec-websocket-extensions") {
        return Err("it put an extension in force that was not asked for".to_owned());
    }
    match text_of(headers, "sec-websocket-protocol") {
        Some(chosen) if chosen == dial.subprotocol => Ok(()),
        Some(chosen) => Err(format!(
            "it chose subprotocol {:?}, offered was {:?}: hub and plugin are of different versions",
            printable(chosen.as_bytes()),
            dial.subprotocol
        )),
        None => Err(format!(
            "it did not take subprotocol {:?}: is the path right, or does a proxy remove the header?",
            dial.subprotocol
        )),
    }
}

/// Reads the start of a body, as far as it comes soon.
pub(super) async fn refusal_body(io: &mut Io, mut read: BytesMut, headers: &HeaderMap) -> String {
    let length = text_of(headers, "content-length").and_then(|length| length.parse::<usize>().ok());
    let chunked = headers.contains_key("transfer-encoding");
    let done = |read: &BytesMut| {
        read.len() >= MAX_BODY
            || length.is_some_and(|length| read.len() >= length)
            || (chunked && read.ends_with(b"0\r\n\r\n"))
    };
    let fill = async { while !done(&read) && io.read_buf(&mut read).await.is_ok_and(|size| size > 0) {} };
    // What came until then is shown.
    let _late = tokio::time::timeout(BODY_WAIT, fill).await;
    if chunked {
        return printable(&unchunk(&read));
    }
    printable(&read[..read.len().min(length.unwrap_or(usize::MAX))])
}

/// The bytes of a chunked body, as far as they are there.
fn unchunk(mut body: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(end) = body.windows(2).position(|pair| pair == b"\r\n") {
        let size = str::from_utf8(&body[..end]).unwrap_or_default();
        let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16).unwrap_or(0);
        let rest = &body[end + 2..];
        let take = size.min(rest.len());
        all.extend_from_slice(&rest[..take]);
        if size == 0 || take < size {
            break;
        }
        body = rest[take..].strip_prefix(b"\r\n").unwrap_or_default();
    }
    all
}

pub(super) fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::trim)
}

/// A peer's words on one line, short, without control characters.
pub(in crate::transport) fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_BODY)]);
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(512)
        .collect();
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunked_body_is_joined_as_far_as_it_came() {
        assert_eq!(unchunk(b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"), b"abcde");
        assert_eq!(unchunk(b"5\r\nab"), b"ab");
        assert_eq!(unchunk(b"zz\r\nab"), b"");
        assert_eq!(unchunk(b"ffffffffffffffff\r\nab"), b"ab");
        assert_eq!(unchunk(b""), b"");
    }
}
