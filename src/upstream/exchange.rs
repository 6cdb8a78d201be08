//! One connection to the upstream.

use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use tokio_util::task::AbortOnDropHandle;

use super::{Failed, forward::RequestBody};
use crate::{
    limits,
    transport::{ConnectError, Endpoint, TlsConfig},
};

/// A connection, closed when it is dropped.
#[derive(Debug)]
pub(super) struct Link {
    sender: SendRequest<RequestBody>,
    _driver: AbortOnDropHandle<()>,
}

impl Link {
    /// Connects.
    pub(super) async fn open(endpoint: &Endpoint, tls: &TlsConfig) -> Result<Self, Failed> {
        let socket = endpoint
            .connect(tls, limits::UPSTREAM_CONNECT)
            .await
            .map_err(|error| Failed::NotReached(unreached(&error)))?;
        let (sender, connection) = handshake(TokioIo::new(socket))
            .await
            .map_err(|error| Failed::NotReached(error.to_string()))?;
        let driver = tokio::spawn(async move {
            // Its end is told by the call that it serves.
            let _ = connection.await;
        });
        Ok(Self {
            sender,
            _driver: AbortOnDropHandle::new(driver),
        })
    }

    /// Sends a request and waits for the head of the answer.
    pub(super) async fn send(&mut self, request: Request<RequestBody>) -> Result<Response<Incoming>, Failed> {
        self.sender
            .ready()
            .await
            .map_err(|error| Failed::NotReached(error.to_string()))?;
        self.sender
            .send_request(request)
            .await
            .map_err(|error| Failed::lost(&error))
    }

    /// Whether it may carry another request.
    pub(super) fn is_good(&self) -> bool {
        !self.sender.is_closed()
    }
}

/// The transport's own words speak of a hub.
fn unreached(error: &ConnectError) -> String {
    match error {
        ConnectError::Connect { source, .. } => source.to_string(),
        ConnectError::Timeout { after, .. } => format!("no connection within {} s", after.as_secs_f32()),
        other => other.to_string(),
    }
}
