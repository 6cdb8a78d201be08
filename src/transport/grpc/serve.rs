//! The accepting side: an accepted stream becomes calls, a call becomes a link.

use std::{
    io::{Error as IoError, ErrorKind},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use h2::{
    RecvStream,
    server::{Builder, Connection, SendResponse},
};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Uri,
    header::{CONTENT_TYPE as CONTENT_TYPE_NAME, HeaderValue},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::{
    Grpc, Side,
    begun::Begun,
    words::{ACCEPT_ENCODING, CONTENT_TYPE, IDENTITY, broken, put_status},
};
use crate::{
    code::Code,
    limits,
    transport::{Io, TransportError},
};

/// How a client of HTTP/2 begins (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What somebody is told who speaks HTTP/1.1.
const HTTP1: &[u8] = b"HTTP/1.1 505 HTTP Version Not Supported\r\nConnection: close\r\n\
    Content-Type: text/plain; charset=utf-8\r\nContent-Length: 135\r\n\r\nthis port speaks gRPC alone (HTTP/2 from the \
    first byte): plugins dial it with grpc://; /ws and REST are at other addresses of the hub\n";
/// What one connection too many is told: its settings, and GOAWAY with ENHANCE_YOUR_CALM.
const FULL: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\x1c\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0btoo many connections";
/// How much of what nobody reads is taken in, so that its sender can read the answer: a socket closed with unread bytes
/// is reset.
const MAX_THROWN_AWAY: u64 = 64 << 10;
/// How long that may take.
const LINGER: Duration = Duration::from_secs(1);

/// A connection of HTTP/2 and the calls that come on it. Their bytes move while [`Calls::next`] is polled.
pub struct Calls {
    connection: Connection<Begun, Bytes>,
}

/// Why no call can come.
#[derive(Debug, thiserror::Error)]
pub enum NoCalls {
    /// The peer speaks HTTP/1.1; it was told what is spoken here.
    #[error("the peer speaks HTTP/1.1 on the gRPC port")]
    Http1,
    /// The peer speaks something else.
    #[error("the peer does not speak HTTP/2{}", if *tls { ": it wants TLS, and this port has none" } else { "" })]
    Stranger {
        /// It began a TLS handshake.
        tls: bool,
    },
    /// The connection broke.
    #[error("the connection broke")]
    Broken(#[source] IoError),
}

impl Calls {
    /// Reads how the peer begins and says this side's settings. The caller bounds the time.
    ///
    /// # Errors
    /// When the peer speaks something else; it was told so where it can read it.
    pub async fn accept(mut io: Io) -> Result<Self, NoCalls> {
        let mut begin = BytesMut::with_capacity(PREFACE.len());
        while begin.len() < PREFACE.len() && PREFACE.starts_with(&begin) {
            let read = io.read_buf(&mut begin).await.map_err(NoCalls::Broken)?;
            if read == 0 {
                return Err(NoCalls::Broken(ErrorKind::UnexpectedEof.into()));
            }
        }
        if !begin.starts_with(PREFACE) {
            let http = begin[0].is_ascii_uppercase();
            // A TLS record: a handshake (RFC 8446 section 5.1).
            let tls = begin.starts_with(&[0x16, 0x03]);
            turn_away(io, if http { HTTP1 } else { b"" }).await;
            return Err(if http {
                NoCalls::Http1
            } else {
                NoCalls::Stranger { tls }
            });
        }
        let handshake = Builder::new()
            .initial_window_size(limits::GRPC_WINDOW)
            .initial_connection_window_size(limits::GRPC_WINDOW * limits::GRPC_STREAMS)
            .max_frame_size(limits::GRPC_FRAME)
            .max_concurrent_streams(limits::GRPC_STREAMS)
            .max_header_list_size(limits::GRPC_HEADERS)
            .max_send_buffer_size(limits::GRPC_SEND_BUFFER)
            .data_frame_budget(limits::GRPC_SMALL_FRAMES)
            .reset_stream_duration(limits::GRPC_RESET_KEPT)
            .handshake(Begun::after(io, begin.freeze()));
        match handshake.await {
            Ok(connection) => Ok(Self { connection }),
            Err(error) => Err(NoCalls::Broken(IoError::other(error))),
        }
    }

    /// Tells the peer of an accepted stream that there are too many.
    pub async fn turn_away(io: Io) {
        turn_away(io, FULL).await;
    }

    /// The next call; none when the connection has ended in good order. Moves the bytes of the calls before.
    ///
    /// # Errors
    /// When the connection broke; nothing comes after it.
    ///
    /// # Cancel safety
    /// No call is lost.
    pub async fn next(&mut self) -> Option<Result<Call, TransportError>> {
        let call = self.connection.accept().await?;
        Some(match call {
            Ok((request, respond)) => Ok(Call { request, respond }),
            Err(error) => Err(broken(error)),
        })
    }

    /// Takes no new call. The connection ends with the last one that is open.
    pub fn go_away(&mut self) {
        self.connection.graceful_shutdown();
    }
}

/// However it goes, the connection ends here.
async fn turn_away(mut io: Io, answer: &[u8]) {
    let said = async {
        io.write_all(answer).await?;
        io.shutdown().await?;
        tokio::io::copy(&mut io.take(MAX_THROWN_AWAY), &mut tokio::io::sink()).await
    };
    let _ = timeout(LINGER, said).await;
}

/// A call that was not answered yet.
pub struct Call {
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
}

impl Call {
    /// Its method.
    pub fn method(&self) -> &Method {
        self.request.method()
    }

    /// Its path, and the name by which the peer calls this side.
    pub fn uri(&self) -> &Uri {
        self.request.uri()
    }

    /// Its metadata.
    pub fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    /// Takes it as a link whose messages have at most `limit` bytes.
    ///
    /// # Errors
    /// When the peer has gone.
    pub fn link(mut self, limit: usize) -> Result<Grpc, TransportError> {
        let mut response = Response::new(());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE_NAME, CONTENT_TYPE);
        headers.insert(ACCEPT_ENCODING, IDENTITY);
        let send = self.respond.send_response(response, false).map_err(broken)?;
        Ok(Grpc::new(Side::Hub, send, self.request.into_body(), limit, None))
    }

    /// Refuses it with a status of gRPC.
    pub fn refuse(mut self, code: Code, why: &str) {
        let mut response = Response::new(());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE_NAME, CONTENT_TYPE);
        headers.insert(ACCEPT_ENCODING, IDENTITY);
        put_status(headers, code, why);
        if let Err(error) = self.respond.send_response(response, true) {
            tracing::debug!(%error, "the peer of a refused call has gone");
        }
    }

    /// Refuses what is no call of gRPC, with a status of HTTP and a text.
    pub fn refuse_http(mut self, status: StatusCode, why: &str) {
        let mut response = Response::new(());
        *response.status_mut() = status;
        response.headers_mut().insert(
            CONTENT_TYPE_NAME,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        let said = self.respond.send_response(response, false);
        let said = said.and_then(|mut body| body.send_data(format!("{why}\n").into(), true));
        if let Err(error) = said {
            tracing::debug!(%error, "the peer of a refused request has gone");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_by_hand_have_their_lengths() {
        let text = str::from_utf8(HTTP1).unwrap_or_default();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
        assert!(
            head.contains(&format!("Content-Length: {}", body.len())),
            "{}",
            body.len()
        );
        let debug = b"too many connections";
        assert_eq!(usize::from(FULL[9 + 2]), 8 + debug.len());
        assert!(FULL.ends_with(debug) && FULL.len() == 9 + 9 + 8 + debug.len());
    }
}
