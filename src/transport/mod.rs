//! Ordered messages between two peers; nothing about frames.
//!
//! Knows sockets, TLS, WebSocket and gRPC; knows nothing of packets. Learn [`Transport`] and [`Message`].
//!
//! [`dial_link()`] makes a [`WebSocket`] or a call of gRPC over an [`Io`] to a hub, [`Listener`] accepts an [`Io`] of a peer, and
//! [`memory`] is a transport within a process, with faults for tests.

#[cfg(feature = "net")]
pub mod dial;
#[cfg(feature = "grpc")]
mod early;
#[cfg(feature = "net")]
pub mod endpoint;
#[cfg(feature = "grpc")]
pub mod grpc;
#[cfg(feature = "net")]
mod handshake;
#[cfg(feature = "net")]
mod io;
#[cfg(feature = "net")]
pub mod listen;
pub mod memory;
#[cfg(feature = "net")]
pub mod tls;
#[cfg(feature = "net")]
mod websocket;

#[cfg(feature = "net")]
pub use dial::{Dial, DialError, DialResponse, Dialled, dial, dial_link, dial_over};
#[cfg(feature = "net")]
pub use endpoint::{ConnectError, Endpoint, EndpointError};
#[cfg(feature = "net")]
pub use io::{Duplex, Io};
#[cfg(feature = "net")]
pub use listen::{ListenError, Listener};
#[cfg(feature = "net")]
pub use tls::{ServerTls, TlsConfig, TlsError};
#[cfg(feature = "net")]
pub use websocket::{WebSocket, accept_key};

use std::{
    io::Error as IoError,
    task::{Context, Poll},
};

use bytes::Bytes;

/// One message of a transport, as WebSocket has them (RFC 6455).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A binary message: one packet.
    Binary(Bytes),
    /// A text message: the JSON path. Checked to be UTF-8 by the transport.
    Text(Bytes),
    /// A ping of the transport itself; answered by the transport, reported for keepalive only.
    Ping(Bytes),
    /// A pong of the transport itself.
    Pong(Bytes),
    /// The peer closes: code (1005 when it gave none) and reason.
    Close(u16, String),
}

/// "No code given" (RFC 6455 section 7.1.5); reported, never sent.
pub(crate) const NO_CODE: u16 = 1005;

/// Why a transport ended.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The socket failed.
    #[error("socket")]
    Io(#[from] IoError),
    /// A message over the limit was refused, from its length alone.
    #[error("message over the limit of {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The peer broke the framing.
    #[error("framing: {0}")]
    Protocol(String),
}

/// An ordered, message-wise transport. Like a `Stream` and a `Sink` in one, polled by one task.
///
/// Contract: `poll_ready` before each `start_send`; `start_send` only queues; bytes leave in `poll_flush`.
/// After `poll_recv` gave `None` or an error, nothing more comes.
pub trait Transport: Send + Unpin + 'static {
    /// The next message, `None` when the peer ended in good order.
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, TransportError>>>;
    /// Ready when a message may be queued.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>>;
    /// Queues a message.
    ///
    /// # Errors
    /// When the transport has ended.
    fn start_send(&mut self, message: Message) -> Result<(), TransportError>;
    /// Ready when all queued bytes have left.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>>;
    /// Bytes taken by the socket so far: how write progress is seen while `poll_flush` is pending.
    fn written(&self) -> u64;
    /// Whether a close is only an end here, so that its code has to go in GoAway before it: the peer then gets
    /// [`Message::Close`] without a code. Also what breaks this transport's own rules is then told in GoAway, by its owner:
    /// it can still send after an error of `poll_recv`.
    fn closes_by_go_away(&self) -> bool {
        false
    }
}
