//! [`dial()`]: from an address to a WebSocket, with errors that say what the hub said.

mod answer;
mod error;
mod link;

use std::{fmt, time::Duration};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::{
    handshake::{
        client::{Response, generate_key},
        machine::TryParse,
    },
    http::HeaderValue,
};

pub use error::DialError;
pub use link::{Dialled, dial_link};

use super::{ConnectError, Endpoint, Io, TlsConfig, WebSocket};
use crate::limits;
use answer::{check, refusal_body, text_of};
#[cfg(feature = "grpc")]
pub(super) use answer::{is_tls, printable};
#[cfg(not(feature = "grpc"))]
use answer::{is_tls, printable};

/// Largest answer head that is read.
const MAX_HEAD: usize = 16 << 10;

/// What to dial, and how.
#[derive(Clone)]
pub struct Dial {
    /// Address of the hub's `/ws`: ws://, wss:// or unix:///path. The path is `/ws` when none is written. For
    /// [`dial_link`] also grpc://, grpcs:// or grpc+unix:///path.
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
    finish(dial, &endpoint, io, &request, &key, left).await
}

/// As [`dial()`], on a stream to the hub that is there already: a tunnel, or a simulated network.
///
/// # Errors
/// As [`dial()`], but for connecting.
///
/// # Cancel safety
/// Dropping the future drops the stream.
pub async fn dial_over(dial: &Dial, io: Io) -> Result<(WebSocket<Io>, DialResponse), DialError> {
    let endpoint = Endpoint::parse(&dial.url)?;
    let key = generate_key();
    let request = request(dial, &endpoint, &key)?;
    finish(dial, &endpoint, io, &request, &key, dial.timeout).await
}

async fn finish(
    dial: &Dial,
    endpoint: &Endpoint,
    io: Io,
    request: &[u8],
    key: &str,
    left: Duration,
) -> Result<(WebSocket<Io>, DialResponse), DialError> {
    match tokio::time::timeout(left, upgrade(dial, endpoint, io, request, key)).await {
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
            Err(_) if is_tls(&read) => {
                let text = "its answer is TLS: use wss:// or https://, and a CA file if its CA is your own";
                return Err(not_websocket(text.to_owned()));
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_token_is_never_shown_and_never_breaks_the_request() {
        let mut dial = Dial::new("ws://hub", "p");
        dial.bearer = Some("secret\r\nX: y".to_owned());
        assert!(!format!("{dial:?}").contains("secret"));
        let endpoint = Endpoint::parse(&dial.url).unwrap();
        assert!(matches!(request(&dial, &endpoint, "key"), Err(DialError::Token)));
    }
}
