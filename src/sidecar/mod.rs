//! The REST interface of an interLink plugin, served from a [`Handler`]: for a classic interLink API server.
//!
//! Knows interLink's bodies and the plugin's own calls ([`Local`]); knows nothing of links, hubs or what the handler does.
//! It keeps no state: what a pod is, and that it is created once, is the plugin's business, whichever way a call came.
//! Learn [`serve`] and [`SidecarConfig`].
//!
//! ```text
//!   listener -> server::serve -> routes (who is let in, which call) -> calls, logs -> Local -> Handler
//! ```

mod calls;
mod logs;
mod routes;
mod token;

use std::{convert::Infallible, future::Future, io, path::PathBuf, sync::Arc};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::{Request, body::Incoming, service::service_fn};

use crate::{
    limits,
    plugin::{Handler, Local},
    server,
    transport::Listener,
};

/// What an answer consists of.
type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Settings of the REST side.
#[derive(Debug, Clone)]
pub struct SidecarConfig {
    /// File with the bearer token that callers must send; read again for each request. While it cannot be read nobody is
    /// let in. None lets everyone in: classic API servers send no token.
    pub token_file: Option<PathBuf>,
    /// Names in `Host` by which it may be called, besides those of this machine, against DNS rebinding. None: by any name.
    /// Meant for a listener that only this machine reaches and that has no token.
    pub allowed_hosts: Option<Vec<String>>,
    /// Largest request body, in bytes. The caller pays: 413.
    pub max_body: usize,
    /// Connections at once. The next one pays: 503 with Retry-After.
    pub max_connections: usize,
}

impl Default for SidecarConfig {
    fn default() -> Self {
        Self {
            token_file: None,
            allowed_hosts: None,
            max_body: limits::HTTP_MAX_BODY,
            max_connections: limits::LOCAL_CONNECTIONS,
        }
    }
}

/// Answers an API server's calls on `listener` until `shutdown` is done. Then followed logs end, and open calls may
/// finish for a few seconds. Calls wait until the plugin runs.
pub async fn serve<H: Handler>(
    listener: Listener,
    local: Local<H>,
    config: SidecarConfig,
    shutdown: impl Future<Output = ()> + Send,
) {
    let max_connections = config.max_connections;
    let doorman = token::Doorman::new(config.token_file.clone());
    // A token that is missing is told at the start, not to the first who calls.
    let _ = doorman.token().await;
    let sidecar = Arc::new(Sidecar {
        local,
        doorman,
        config,
    });
    let service = service_fn(move |request: Request<Incoming>| {
        let sidecar = Arc::clone(&sidecar);
        async move { Ok::<_, Infallible>(sidecar.answer(request).await) }
    });
    server::serve(listener, service, max_connections, shutdown).await;
}

/// What the calls share.
struct Sidecar<H> {
    local: Local<H>,
    config: SidecarConfig,
    doorman: token::Doorman,
}
