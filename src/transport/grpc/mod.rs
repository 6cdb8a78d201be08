//! [`Grpc`]: the link as the one call of gRPC, `towline.v1.LinkService/Connect`, as a [`Transport`].
//!
//! Knows HTTP/2 and gRPC's framing; must not know what is in a packet: one gRPC message is one, passed on as bytes. Learn
//! [`Grpc`], [`dial_grpc`] (the plugin's end) and [`Calls`] (what a listener gets).
//!
//! ```text
//! Grpc (streams of one call, polled by the link's task) <-> h2, one task a connection <-> Io
//! ```
//! Flow control is HTTP/2's: a byte has left when the peer's window took it, so a peer that reads nothing is seen as on a
//! socket. There are no close frames: a close is the end of the stream, and its code goes before it in `GoAway`
//! ([`Transport::closes_by_go_away`]).

mod begun;
mod dial;
mod frames;
mod serve;
mod words;

use std::{
    fmt,
    io::{Error as IoError, ErrorKind},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use hyper::HeaderMap;
use tokio_util::sync::DropGuard;

pub use dial::{dial_grpc, dial_grpc_over};
pub use serve::{Call, Calls, NoCalls};
pub(crate) use words::PATH;

use super::{Message, NO_CODE, Transport, TransportError};
use crate::{
    code::{CloseCode, Code},
    limits,
};
use frames::{Incoming, Outgoing};
use words::{broken, ended, is_orderly, put_status, read_status, status_of};

/// DATA frames that are looked at before others have their turn: they may be small.
const FRAMES: usize = 64;

/// One end of a link over gRPC.
pub struct Grpc {
    side: Side,
    send: SendStream<Bytes>,
    recv: RecvStream,
    incoming: Incoming,
    outgoing: Outgoing,
    written: u64,
    /// The end that leaves behind what is queued.
    closing: Option<(CloseCode, String)>,
    /// This side's end was said.
    said_end: bool,
    /// The peer's end came, or the stream broke.
    heard_end: bool,
    /// The peer broke the framing: what it still sends is thrown away, so that it can read why.
    discards: bool,
    /// Lets the task of a dialled connection go.
    _connection: Option<DropGuard>,
}

/// Whose end it is. The hub's is said in trailers, with a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Hub,
    Plugin,
}

impl Grpc {
    fn new(
        side: Side,
        send: SendStream<Bytes>,
        recv: RecvStream,
        limit: usize,
        connection: Option<DropGuard>,
    ) -> Self {
        Self {
            side,
            send,
            recv,
            incoming: Incoming::new(limit),
            outgoing: Outgoing::default(),
            written: 0,
            closing: None,
            said_end: false,
            heard_end: false,
            discards: false,
            _connection: connection,
        }
    }

    /// Ready when HTTP/2 has taken all that is queued, within the peer's windows. What the peer takes no more is let go
    /// of: reading tells why.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.outgoing.len() > 0 {
            self.send.reserve_capacity(self.outgoing.len());
            let mut room = self.send.capacity();
            if room == 0 {
                room = match ready!(self.send.poll_capacity(cx)) {
                    Some(Ok(room)) => room,
                    Some(Err(_)) | None => {
                        self.outgoing = Outgoing::default();
                        break;
                    }
                };
            }
            if let Some(piece) = self.outgoing.pop(room) {
                self.written += piece.len() as u64;
                if self.send.send_data(piece, false).is_err() {
                    self.outgoing = Outgoing::default();
                }
            }
        }
        Poll::Ready(())
    }

    /// Says this side's end, with a status where it is the hub's. A stream that broke needs none.
    fn say_end(&mut self, code: CloseCode, reason: &str) {
        if std::mem::replace(&mut self.said_end, true) {
            return;
        }
        let said = match self.side {
            Side::Plugin => self.send.send_data(Bytes::new(), true),
            Side::Hub => {
                let mut trailers = HeaderMap::new();
                let status = status_of(code);
                let text = if status == Code::Ok {
                    String::new()
                } else {
                    format!("{code}: {reason}")
                };
                put_status(&mut trailers, status, &text);
                self.send.send_trailers(trailers)
            }
        };
        if let Err(error) = said {
            tracing::debug!(%error, "the end of a call was not said");
        }
    }

    /// The peer has sent all it had. What its status says is for people: the close code came in GoAway.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, TransportError>>> {
        match ready!(self.recv.poll_trailers(cx)) {
            Ok(trailers) => self.end(trailers.as_ref()),
            Err(error) if is_orderly(&error) => self.end(None),
            Err(error) => self.lost(broken(error)),
        }
    }

    fn end(&mut self, trailers: Option<&HeaderMap>) -> Poll<Option<Result<Message, TransportError>>> {
        if self.discards {
            self.heard_end = true;
            return Poll::Ready(None);
        }
        if self.incoming.is_torn() {
            let text = "the peer ended within a message";
            return self.lost(IoError::new(ErrorKind::UnexpectedEof, text).into());
        }
        self.heard_end = true;
        let reason = match trailers.and_then(read_status) {
            Some((code, message)) if code != Code::Ok => format!("{code}: {message}"),
            _ => String::new(),
        };
        if self.side == Side::Hub && self.outgoing.len() == 0 {
            self.say_end(CloseCode::NORMAL, "");
        }
        Poll::Ready(Some(Ok(Message::Close(NO_CODE, reason))))
    }

    /// The stream broke; after this side's own end that is nothing new.
    fn lost(&mut self, error: TransportError) -> Poll<Option<Result<Message, TransportError>>> {
        self.heard_end = true;
        Poll::Ready((!self.said_end && !self.discards).then_some(Err(error)))
    }
}

impl Transport for Grpc {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, TransportError>>> {
        if self.heard_end {
            return Poll::Ready(None);
        }
        for _ in 0..FRAMES {
            match self.incoming.next() {
                Ok(Some(message)) => return Poll::Ready(Some(Ok(Message::Binary(message)))),
                Ok(None) => {}
                Err(error) => {
                    self.discards = true;
                    self.incoming = Incoming::new(0);
                    return Poll::Ready(Some(Err(error)));
                }
            }
            match ready!(self.recv.poll_data(cx)) {
                Some(Ok(frame)) => {
                    // Fails for a stream that has ended only; then nobody waits for the room.
                    let _ = self.recv.flow_control().release_capacity(frame.len());
                    if !self.discards {
                        self.incoming.take(frame);
                    }
                }
                Some(Err(error)) if is_orderly(&error) => return self.end(None),
                Some(Err(error)) => return self.lost(broken(error)),
                None => return self.poll_end(cx),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        if self.said_end || self.closing.is_some() {
            return Poll::Ready(Err(ended()));
        }
        if self.outgoing.len() >= limits::GRPC_QUEUE {
            let written = self.poll_write(cx);
            if written.is_pending() && self.outgoing.len() >= limits::GRPC_QUEUE {
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn start_send(&mut self, message: Message) -> Result<(), TransportError> {
        if self.said_end || self.closing.is_some() {
            return Err(ended());
        }
        match message {
            Message::Binary(packet) => self.outgoing.push(packet),
            Message::Text(_) => {
                let text = "gRPC carries packets alone; the JSON path needs a WebSocket";
                Err(TransportError::Protocol(text.to_owned()))
            }
            // The link has pings of its own.
            Message::Ping(_) | Message::Pong(_) => Ok(()),
            Message::Close(code, reason) => {
                self.closing = Some((CloseCode(code), reason));
                Ok(())
            }
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        if self.said_end {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_write(cx));
        if let Some((code, reason)) = self.closing.take() {
            self.say_end(code, &reason);
        }
        Poll::Ready(Ok(()))
    }

    fn written(&self) -> u64 {
        self.written
    }

    fn closes_by_go_away(&self) -> bool {
        true
    }
}

impl fmt::Debug for Grpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grpc")
            .field("side", &self.side)
            .field("said_end", &self.said_end)
            .field("heard_end", &self.heard_end)
            .finish_non_exhaustive()
    }
}
