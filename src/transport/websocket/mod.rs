//! [`WebSocket`]: RFC 6455 over any byte stream, as a [`Transport`].

mod words;

use std::{
    fmt,
    io::{Error as IoError, ErrorKind},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures::{Sink, Stream};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Sleep,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Utf8Bytes,
        error::{Error as WsError, ProtocolError},
        protocol::{Role, WebSocketConfig},
    },
};

use super::{
    Message, Transport, TransportError,
    buffer::{Buffered, IDLE},
    large::{self, Large},
};
use crate::code::CloseCode;
use words::{close_frame, control, ended, received, sending};

/// Small messages are joined up to this many bytes before they are written, unless flushed.
const WRITE_BUFFER: usize = 16 << 10;
/// Opcodes (RFC 6455 section 5.2).
const TEXT: u8 = 1;
const BINARY: u8 = 2;
/// How long this side takes in what a broken peer still sends, so that the peer can read the close code: a
/// socket closed with unread bytes is reset, and the reset overtakes the close frame.
const LINGER: Duration = Duration::from_secs(5);

/// The value of `Sec-WebSocket-Accept` for a request's `Sec-WebSocket-Key`.
pub fn accept_key(sec_websocket_key: &str) -> String {
    tungstenite::handshake::derive_accept_key(sec_websocket_key.as_bytes())
}

/// A WebSocket after its handshake.
///
/// It answers pings and close frames by itself, refuses what is over the limit from the length alone, and tells
/// the peer why (1002, 1007, 1009) before [`Transport::poll_recv`] gives the error.
pub struct WebSocket<S> {
    inner: WebSocketStream<Buffered<S>>,
    role: Role,
    limit: usize,
    /// Leaves once what the codec has queued before it has left.
    large: Option<Large>,
    state: State,
    /// A close frame went or came: an end of the socket is then in good order.
    closing: bool,
}

enum State {
    Open,
    /// The peer broke a rule and was told; what it still sends is thrown away until it ends.
    Failing(Failing),
    Ended,
}

struct Failing {
    error: TransportError,
    flushed: bool,
    shut: bool,
    deadline: Pin<Box<Sleep>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// The server's end of a stream whose upgrade was answered.
    pub async fn accepted(io: S, limit: usize) -> Self {
        Self::over(io, Bytes::new(), Role::Server, limit).await
    }

    /// As [`WebSocket::accepted`], when the HTTP side has read `early` bytes beyond the upgrade.
    pub async fn accepted_with(io: S, early: Bytes, limit: usize) -> Self {
        Self::over(io, early, Role::Server, limit).await
    }

    /// The client's end of a stream whose upgrade was answered; `early` was read beyond the answer.
    pub async fn dialled(io: S, early: Bytes, limit: usize) -> Self {
        Self::over(io, early, Role::Client, limit).await
    }

    async fn over(io: S, early: Bytes, role: Role, limit: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(IDLE)
            .write_buffer_size(WRITE_BUFFER)
            // Never reached: a message that does not fit into the rest is written from where it lies.
            .max_write_buffer_size(WRITE_BUFFER + 4 * large::FROM)
            .max_message_size(Some(limit))
            .max_frame_size(Some(limit));
        let inner = WebSocketStream::from_raw_socket(Buffered::new(io, early), role, Some(config)).await;
        Self {
            inner,
            role,
            limit,
            large: None,
            state: State::Open,
            closing: false,
        }
    }

    /// Tells the peer what it broke and starts to linger, or ends at once when there is nobody to tell.
    fn fail(&mut self, error: WsError) -> Option<TransportError> {
        let (code, error) = match error {
            WsError::ConnectionClosed | WsError::AlreadyClosed => return None,
            WsError::Io(_) | WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake)
                if self.closing =>
            {
                return None;
            }
            WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                let text = "the peer ended the connection without a close frame";
                return Some(IoError::new(ErrorKind::UnexpectedEof, text).into());
            }
            WsError::Io(error) => return Some(error.into()),
            WsError::Capacity(_) => (CloseCode::TOO_BIG, TransportError::TooLarge { limit: self.limit }),
            WsError::Utf8(_) => (
                CloseCode::INVALID,
                TransportError::Protocol("text that is not UTF-8".to_owned()),
            ),
            other => (CloseCode::PROTOCOL, TransportError::Protocol(other.to_string())),
        };
        if self.closing {
            return Some(error);
        }
        let frame = close_frame(code.0, &error.to_string());
        match Pin::new(&mut self.inner).start_send(tungstenite::Message::Close(frame)) {
            Ok(()) => {
                self.closing = true;
                let deadline = Box::pin(tokio::time::sleep(LINGER));
                self.state = State::Failing(Failing {
                    error,
                    flushed: false,
                    shut: false,
                    deadline,
                });
                None
            }
            Err(_) => Some(error),
        }
    }

    /// Queues a large message.
    fn begin(&mut self, opcode: u8, payload: Bytes) -> Result<(), TransportError> {
        if self.closing {
            return Err(ended());
        }
        if payload.len() > self.limit.saturating_mul(2) {
            return Err(TransportError::TooLarge { limit: self.limit });
        }
        self.large = Some(match self.role {
            Role::Server => Large::plain(opcode, payload),
            Role::Client => Large::masked(opcode, payload)?,
        });
        Ok(())
    }

    /// Ready when no large message waits or is being written.
    fn poll_large(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        if self.large.is_some() {
            ready!(Pin::new(&mut self.inner).poll_flush(cx)).map_err(|error| sending(error, self.limit))?;
            // Nothing may follow a close frame, and the answer to the peer's may just have left.
            if self.closing {
                self.large = None;
                return Poll::Ready(Err(ended()));
            }
            if let Some(large) = self.large.take() {
                self.inner.get_mut().begin(large);
            }
        }
        self.inner.get_mut().poll_large(cx).map_err(TransportError::from)
    }

    /// Ready when the peer has ended, or has had its time.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let State::Failing(failing) = &mut self.state else {
            return Poll::Ready(());
        };
        if failing.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        failing.flushed = failing.flushed || Pin::new(&mut self.inner).poll_flush(cx).is_ready();
        let stream = self.inner.get_mut();
        if failing.flushed && !failing.shut {
            failing.shut = Pin::new(&mut *stream).poll_shutdown(cx).is_ready();
        }
        stream.poll_discard(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Transport for WebSocket<S> {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, TransportError>>> {
        loop {
            match &self.state {
                State::Ended => return Poll::Ready(None),
                State::Failing(_) => {
                    ready!(self.poll_linger(cx));
                    let state = std::mem::replace(&mut self.state, State::Ended);
                    let State::Failing(failing) = state else {
                        return Poll::Ready(None);
                    };
                    return Poll::Ready(Some(Err(failing.error)));
                }
                State::Open => {}
            }
            let error = match ready!(Pin::new(&mut self.inner).poll_next(cx)) {
                None => None,
                Some(Ok(message)) => {
                    let Some(message) = received(message) else {
                        continue;
                    };
                    self.closing |= matches!(message, Message::Close(..));
                    return Poll::Ready(Some(Ok(message)));
                }
                Some(Err(error)) => self.fail(error),
            };
            if matches!(self.state, State::Open) {
                self.state = State::Ended;
                return Poll::Ready(error.map(Err));
            }
        }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        match self.state {
            State::Open => {
                ready!(self.poll_large(cx))?;
                Pin::new(&mut self.inner)
                    .poll_ready(cx)
                    .map(|done| done.map_err(|error| sending(error, self.limit)))
            }
            State::Failing(_) => self.poll_linger(cx).map(|()| Err(ended())),
            State::Ended => Poll::Ready(Err(ended())),
        }
    }

    fn start_send(&mut self, message: Message) -> Result<(), TransportError> {
        if !matches!(self.state, State::Open) {
            return Err(ended());
        }
        // It has not left yet, and nothing may overtake it.
        if self.large.is_some() {
            return Err(TransportError::Protocol("sent before it was ready".to_owned()));
        }
        let message = match message {
            Message::Binary(bytes) if bytes.len() >= large::FROM => return self.begin(BINARY, bytes),
            Message::Binary(bytes) => tungstenite::Message::Binary(bytes),
            Message::Text(bytes) => {
                let text = Utf8Bytes::try_from(bytes)
                    .map_err(|_| TransportError::Protocol("text to send is not UTF-8".to_owned()))?;
                if text.len() >= large::FROM {
                    return self.begin(TEXT, text.into());
                }
                tungstenite::Message::Text(text)
            }
            Message::Ping(bytes) => tungstenite::Message::Ping(control(bytes)),
            Message::Pong(bytes) => tungstenite::Message::Pong(control(bytes)),
            Message::Close(code, reason) => {
                self.closing = true;
                tungstenite::Message::Close(close_frame(code, &reason))
            }
        };
        Pin::new(&mut self.inner)
            .start_send(message)
            .map_err(|error| sending(error, self.limit))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        match self.state {
            State::Open => {
                ready!(self.poll_large(cx))?;
                Pin::new(&mut self.inner)
                    .poll_flush(cx)
                    .map(|done| done.map_err(|error| sending(error, self.limit)))
            }
            // The close frame leaves in poll_recv; nothing else will.
            State::Failing(_) | State::Ended => Poll::Ready(Ok(())),
        }
    }

    fn written(&self) -> u64 {
        self.inner.get_ref().written()
    }
}

impl<S> fmt::Debug for WebSocket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket")
            .field("limit", &self.limit)
            .field("closing", &self.closing)
            .finish()
    }
}
