//! [`WebSocket`]: RFC 6455 over any byte stream, as a [`Transport`].
//!
//! An own codec: what comes is taken apart in incoming.rs, what goes is framed in outgoing.rs, and neither keeps a buffer
//! while nothing moves (docs/decisions/0010). The handshake is not its business.

mod ahead;
mod incoming;
mod outgoing;
mod words;

use std::{
    fmt,
    io::{Error as IoError, ErrorKind},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Sleep,
};

use super::{Message, Transport, TransportError};
use crate::code::CloseCode;
use {
    ahead::Ahead,
    incoming::{Broken, Incoming},
    outgoing::Outgoing,
    words::{BINARY, CLOSE, PING, PONG, TEXT, close, control, ended},
};

/// So many bytes may wait for the socket before a message is not taken any more.
const WRITE_BUFFER: usize = 16 << 10;
/// How long this side takes in what a broken peer still sends, so that the peer can read the close code: a
/// socket closed with unread bytes is reset, and the reset overtakes the close frame.
const LINGER: Duration = Duration::from_secs(5);

/// The value of `Sec-WebSocket-Accept` for a request's `Sec-WebSocket-Key`.
pub fn accept_key(sec_websocket_key: &str) -> String {
    tokio_tungstenite::tungstenite::handshake::derive_accept_key(sec_websocket_key.as_bytes())
}

/// Which end this is: a client masks what it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Server,
    Client,
}

/// A WebSocket after its handshake.
///
/// It answers pings and close frames by itself, refuses what is over the limit from the length alone, and tells
/// the peer why (1002, 1007, 1009) before [`Transport::poll_recv`] gives the error.
pub struct WebSocket<S> {
    io: S,
    limit: usize,
    ahead: Ahead,
    incoming: Incoming,
    outgoing: Outgoing,
    /// The answer to the peer's latest ping; it has not been queued.
    pong: Option<Bytes>,
    state: State,
    /// A close frame went or came: an end of the socket is then in good order.
    closing: bool,
}

enum State {
    Open,
    /// The peer broke a rule and was told; what it still sends is thrown away until it ends.
    Failing(Box<Failing>),
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
        Self::over(io, &Bytes::new(), Role::Server, limit)
    }

    /// As [`WebSocket::accepted`], when the HTTP side has read `early` bytes beyond the upgrade.
    pub async fn accepted_with(io: S, early: Bytes, limit: usize) -> Self {
        Self::over(io, &early, Role::Server, limit)
    }

    /// The client's end of a stream whose upgrade was answered; `early` was read beyond the answer.
    pub async fn dialled(io: S, early: Bytes, limit: usize) -> Self {
        Self::over(io, &early, Role::Client, limit)
    }

    fn over(io: S, early: &Bytes, role: Role, limit: usize) -> Self {
        Self {
            io,
            limit,
            ahead: Ahead::of(early),
            incoming: Incoming::new(role, limit),
            outgoing: Outgoing::new(role),
            pong: None,
            state: State::Open,
            closing: false,
        }
    }

    /// What came, or None when it was only a part of a message.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Failed>>> {
        let incoming = &mut self.incoming;
        let taken = ready!(
            self.ahead
                .poll_take(&mut self.io, cx, |bytes| incoming.take(bytes))
        );
        Poll::Ready(match taken {
            Ok(Some(Ok(message))) => message.map(Ok),
            Ok(Some(Err(broken))) => Some(Err(Failed::Broken(broken))),
            Ok(None) => Some(Err(Failed::Ended)),
            Err(error) => Some(Err(Failed::Io(error))),
        })
    }

    /// What the transport itself answers to a message, before it is handed on.
    fn answer(&mut self, message: &Message, cx: &mut Context<'_>) {
        match message {
            // Only the latest ping needs an answer (section 5.5.3).
            Message::Ping(bytes) if !self.closing => self.pong = Some(bytes.clone()),
            Message::Close(code, reason) => {
                if !std::mem::replace(&mut self.closing, true) {
                    let _ = self.outgoing.push(CLOSE, close(*code, reason));
                }
                // As far as it goes at once: its owner needs the socket no more.
                if self.outgoing.poll_write(&mut self.io, cx).is_ready() {
                    let _ = Pin::new(&mut self.io).poll_flush(cx);
                }
                self.state = State::Ended;
            }
            _ => {}
        }
    }

    /// Tells the peer what it broke and starts to linger, or ends at once when there is nobody to tell.
    fn fail(&mut self, failed: Failed) -> Option<TransportError> {
        let (code, error) = match failed {
            Failed::Ended | Failed::Io(_) if self.closing => return None,
            Failed::Ended => {
                let text = "the peer ended the connection without a close frame";
                return Some(IoError::new(ErrorKind::UnexpectedEof, text).into());
            }
            Failed::Io(error) => return Some(error.into()),
            Failed::Broken(Broken::TooLarge) => {
                (CloseCode::TOO_BIG, TransportError::TooLarge { limit: self.limit })
            }
            Failed::Broken(Broken::NotText) => (
                CloseCode::INVALID,
                TransportError::Protocol("text that is not UTF-8".to_owned()),
            ),
            Failed::Broken(Broken::Frame(what)) => {
                (CloseCode::PROTOCOL, TransportError::Protocol(what.to_owned()))
            }
        };
        if self.closing {
            return Some(error);
        }
        if self
            .outgoing
            .push(CLOSE, close(code.0, &error.to_string()))
            .is_err()
        {
            return Some(error);
        }
        self.closing = true;
        self.state = State::Failing(Box::new(Failing {
            error,
            flushed: false,
            shut: false,
            deadline: Box::pin(tokio::time::sleep(LINGER)),
        }));
        None
    }

    /// Queues the answer to a ping, where there is room: a peer that reads no pong gets one of many.
    fn queue_pong(&mut self) -> Result<(), TransportError> {
        if self.outgoing.queued() < WRITE_BUFFER
            && !self.closing
            && let Some(bytes) = self.pong.take()
        {
            self.outgoing.push(PONG, bytes)?;
        }
        Ok(())
    }

    /// Writes what waits.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        self.queue_pong()?;
        self.outgoing
            .poll_write(&mut self.io, cx)
            .map_err(TransportError::from)
    }

    /// Ready when the peer has ended, or has had its time.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let State::Failing(failing) = &mut self.state else {
            return Poll::Ready(());
        };
        if failing.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let Self { io, outgoing, .. } = self;
        if !failing.flushed && outgoing.poll_write(io, cx).is_ready() {
            failing.flushed = Pin::new(&mut *io).poll_flush(cx).is_ready();
        }
        if failing.flushed && !failing.shut {
            failing.shut = Pin::new(&mut *io).poll_shutdown(cx).is_ready();
        }
        self.ahead.poll_discard(io, cx)
    }
}

/// Why nothing more comes.
enum Failed {
    Broken(Broken),
    Ended,
    Io(IoError),
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
            match ready!(self.poll_message(cx)) {
                None => {}
                Some(Ok(message)) => {
                    self.answer(&message, cx);
                    return Poll::Ready(Some(Ok(message)));
                }
                Some(Err(failed)) => {
                    let error = self.fail(failed);
                    if matches!(self.state, State::Open) {
                        self.state = State::Ended;
                        return Poll::Ready(error.map(Err));
                    }
                }
            }
        }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        match self.state {
            State::Open if self.outgoing.queued() < WRITE_BUFFER => Poll::Ready(Ok(())),
            State::Open => match self.poll_write(cx) {
                Poll::Pending if self.outgoing.queued() < WRITE_BUFFER => Poll::Ready(Ok(())),
                written => written,
            },
            State::Failing(_) => self.poll_linger(cx).map(|()| Err(ended())),
            State::Ended => Poll::Ready(Err(ended())),
        }
    }

    fn start_send(&mut self, message: Message) -> Result<(), TransportError> {
        if self.closing || !matches!(self.state, State::Open) {
            return Err(ended());
        }
        if self.outgoing.queued() >= WRITE_BUFFER {
            return Err(TransportError::Protocol("sent before it was ready".to_owned()));
        }
        self.queue_pong()?;
        let (opcode, payload) = match message {
            Message::Binary(bytes) => (BINARY, bytes),
            Message::Text(bytes) => {
                std::str::from_utf8(&bytes)
                    .map_err(|_| TransportError::Protocol("text to send is not UTF-8".to_owned()))?;
                (TEXT, bytes)
            }
            Message::Ping(bytes) => (PING, control(bytes)),
            Message::Pong(bytes) => (PONG, control(bytes)),
            Message::Close(code, reason) => {
                self.closing = true;
                (CLOSE, close(code, &reason))
            }
        };
        if payload.len() > self.limit.saturating_mul(2).max(words::MAX_CONTROL) {
            return Err(TransportError::TooLarge { limit: self.limit });
        }
        Ok(self.outgoing.push(opcode, payload)?)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        match self.state {
            State::Open => {
                ready!(self.poll_write(cx))?;
                Pin::new(&mut self.io)
                    .poll_flush(cx)
                    .map_err(TransportError::from)
            }
            // The close frame leaves in poll_recv; nothing else will.
            State::Failing(_) | State::Ended => Poll::Ready(Ok(())),
        }
    }

    fn written(&self) -> u64 {
        self.outgoing.written()
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
