//! [`dial_link`]: a link to a hub over what its address names.

use std::task::{Context, Poll};

use super::{Dial, DialError, dial};
#[cfg(feature = "grpc")]
use crate::transport::grpc::{Grpc, dial_grpc};
use crate::transport::{Endpoint, Io, Message, Transport, TransportError, WebSocket};

/// A dialled transport of either kind.
#[derive(Debug)]
pub enum Dialled {
    /// Over WebSocket.
    WebSocket(Box<WebSocket<Io>>),
    /// Over gRPC.
    #[cfg(feature = "grpc")]
    Grpc(Box<Grpc>),
}

/// Dials over WebSocket or gRPC, as the address says.
///
/// # Errors
/// As [`dial()`](super::dial).
///
/// # Cancel safety
/// Dropping the future drops the half-made connection.
pub async fn dial_link(to: &Dial) -> Result<Dialled, DialError> {
    if Endpoint::parse_hub(&to.url)?.is_grpc() {
        #[cfg(feature = "grpc")]
        return Ok(Dialled::Grpc(Box::new(dial_grpc(to).await?)));
    }
    Ok(Dialled::WebSocket(Box::new(dial(to).await?.0)))
}

/// Calls the same method of whichever transport it is.
macro_rules! each {
    ($self:ident, $link:ident => $call:expr) => {
        match $self {
            Self::WebSocket($link) => $call,
            #[cfg(feature = "grpc")]
            Self::Grpc($link) => $call,
        }
    };
}

impl Transport for Dialled {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, TransportError>>> {
        each!(self, link => link.poll_recv(cx))
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        each!(self, link => link.poll_ready(cx))
    }

    fn start_send(&mut self, message: Message) -> Result<(), TransportError> {
        each!(self, link => link.start_send(message))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        each!(self, link => link.poll_flush(cx))
    }

    fn written(&self) -> u64 {
        each!(self, link => link.written())
    }

    fn closes_by_go_away(&self) -> bool {
        each!(self, link => link.closes_by_go_away())
    }
}
