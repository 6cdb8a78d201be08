//! [`dial()`]: from an address to a WebSocket, with errors that say what the hub said.

use std::{fmt, time::Duration};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::{
    handshake::{
        client::{Response, generate_key},
        machine::TryParse,
    },
    http::{HeaderMap, HeaderValue},
};

use super::{ConnectError, Endpoint, EndpointError, Io, TlsConfig, WebSocket, accept_key};
use crate::limits;

/// Largest answer head that is read.
const MAX_HEAD: usize = 16 << 10;
/// How much of a refusal's body is read, and shown.
const MAX_BODY: usize = 1 << 10;
/// How long the body of a refusal may take.
const BODY_WAIT: Duration = Duration::from_secs(1);

/// What to dial, and how.
#[derive(Clone)]
pub struct Dial {
    /// Address of the hub's `/ws`: ws://, wss:// or unix:///path. The path is `/ws` when none is written.
    pub url: String,
    /// Token for `Authorization: Bearer`.
    pub bearer: Option<String>,
    /// The one subprotocol that is offered.
    pub subprotocol: String,
    /// Whom to trust.
    pub tls: TlsConfig,
    /// Largest message in bytes that this side takes.
    pub limit: usize,
    /// For the whole way to the upgraded connection.
    pub timeout: Duration,
}

/// What the hub answered to the upgrade.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialResponse {
    /// The subprotocol in force: the one that was offered.
    pub subprotocol: String,
    /// The Server header, if there was one.
    pub server: Option<String>,
}

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

impl Dial {
    /// The usual settings for an address and a subprotocol.
    pub fn new(url: impl Into<String>, subprotocol: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            bearer: None,
            subprotocol: subprotocol.into(),
            tls: TlsConfig::default(),
            limit: limits::MAX_MESSAGE,
            timeout: limits::REGISTER_TIMEOUT,
        }
    }
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dial")
            .field("url", &self.url)
            .field("bearer", &self.bearer.as_ref().map(|_| "..."))
            .field("subprotocol", &self.subprotocol)
            .field("tls", &self.tls)
            .field("limit", &self.limit)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// Dials, upgrades, and checks that the hub took the subprotocol.
///
/// # Errors
/// Which step failed, where, and what to do; a refusal carries the hub's own words.
///
/// # Cancel safety
/// Dropping the future drops the half-made connection.
pub async fn dial(dial: &Dial) -> Result<(WebSocket<Io>, DialResponse), DialError> {
    let endpoint = Endpoint::parse(&dial.url)?;
    let key = generate_key();
    let request = request(dial, &endpoint, &key)?;
    let started = tokio::time::Instant::now();
    let io = endpoint.connect(&dial.tls, dial.timeout).await?;
    let left = dial.timeout.saturating_sub(started.elapsed());
    match tokio::time::timeout(left, upgrade(dial, &endpoint, io, &request, &key)).await {
        Ok(result) => result,
        Err(_) => Err(DialError::Timeout {
            url: endpoint.to_string(),
            after: dial.timeout,
        }),
    }
}

/// Written here and not by the WebSocket crate, which logs the whole request, token included.
fn request(dial: &Dial, endpoint: &Endpoint, key: &str) -> Result<Vec<u8>, DialError> {
    let mut text = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: {}\r\nUser-Agent: towline/{}\r\n",
        endpoint.path_or("/ws"),
        endpoint.host_header(),
        dial.subprotocol,
        env!("CARGO_PKG_VERSION"),
    );
    if let Some(token) = &dial.bearer {
        if HeaderValue::from_str(token).is_err() || token.is_empty() {
            return Err(DialError::Token);
        }
        text.push_str("Authorization: Bearer ");
        text.push_str(token);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    Ok(text.into_bytes())
}

async fn upgrade(
    dial: &Dial,
    endpoint: &Endpoint,
    mut io: Io,
    request: &[u8],
    key: &str,
) -> Result<(WebSocket<Io>, DialResponse), DialError> {
    let url = endpoint.to_string();
    let lost = |source| ConnectError::Connect {
        address: url.clone(),
        source,
    };
    let not_websocket = |problem: String| DialError::NotWebSocket {
        url: url.clone(),
        problem,
    };
    io.write_all(request).await.map_err(lost)?;
    io.flush().await.map_err(lost)?;

    let mut read = BytesMut::with_capacity(1 << 10);
    let response = loop {
        if io.read_buf(&mut read).await.map_err(lost)? == 0 {
            return Err(not_websocket(
                "it ended the connection without an answer".to_owned(),
            ));
        }
        match Response::try_parse(&read) {
            Ok(Some((size, response))) => {
                let _head = read.split_to(size);
                break response;
            }
            Ok(None) if read.len() < MAX_HEAD => {}
            Ok(None) => {
                return Err(not_websocket(format!(
                    "its answer's head is over {MAX_HEAD} bytes"
                )));
            }
            Err(error) => return Err(not_websocket(format!("its answer is not HTTP/1.1 ({error})"))),
        }
    };
    let headers = response.headers();
    if response.status().as_u16() != 101 {
        return Err(DialError::Refused {
            url: url.clone(),
            status: response.status().as_u16(),
            retry_after: text_of(headers, "retry-after")
                .and_then(|s| s.parse().ok())
                .map(Duration::from_secs),
            body: refusal_body(&mut io, read, headers).await,
        });
    }
    check(dial, headers, key).map_err(not_websocket)?;
    let answer = DialResponse {
        subprotocol: dial.subprotocol.clone(),
        server: text_of(headers, "server").map(|server| printable(server.as_bytes())),
    };
    Ok((WebSocket::dialled(io, read.freeze(), dial.limit).await, answer))
}

/// RFC 6455 section 4.1.
fn check(dial: &Dial, headers: &HeaderMap, key: &str) -> Result<(), String> {
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
async fn refusal_body(io: &mut Io, mut read: BytesMut, headers: &HeaderMap) -> String {
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

fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(str::trim)
}

/// A peer's words on one line, short, without control characters.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_BODY)]);
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(512)
        .collect();
    line.trim().to_owned()
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_chunked_body_is_joined_as_far_as_it_came() {
        assert_eq!(unchunk(b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"), b"abcde");
        assert_eq!(unchunk(b"5\r\nab"), b"ab");
        assert_eq!(unchunk(b"zz\r\nab"), b"");
        assert_eq!(unchunk(b"ffffffffffffffff\r\nab"), b"ab");
        assert_eq!(unchunk(b""), b"");
    }

    #[test]
    fn a_token_is_never_shown_and_never_breaks_the_request() {
        let mut dial = Dial::new("ws://hub", "p");
        dial.bearer = Some("secret\r\nX: y".to_owned());
        assert!(!format!("{dial:?}").contains("secret"));
        let endpoint = Endpoint::parse(&dial.url).unwrap();
        assert!(matches!(request(&dial, &endpoint, "key"), Err(DialError::Token)));
    }
}
