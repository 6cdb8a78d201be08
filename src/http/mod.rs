//! The HTTP edge of the hub: interLink's REST, the link's upgrade, the hub's own API, probes and metrics.
//!
//! Knows HTTP and maps it to [`Hub`]'s calls; knows nothing of frames or sessions and decides nothing about
//! pods or plugins. Learn [`router`] (what is answered) and [`serve()`] (how sockets become requests).

mod answer;
mod api;
mod api_log;
mod events;
#[cfg(feature = "grpc")]
mod grpc;
mod guard;
mod interlink;
mod lines;
mod logs;
mod openapi;
mod passthrough;
mod probes;
mod query;
mod serve;
mod upgrade;

use std::{ops::Deref, sync::Arc};

use axum::Router;
use tokio::sync::Semaphore;

use crate::{hub::Hub, jobscript::JobScripts, limits};

pub use crate::server::{BadToken, Token};
#[cfg(feature = "grpc")]
pub use grpc::serve_grpc;
pub use openapi::document;
pub use serve::serve;

/// Settings of the edge.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Asked of every caller but the probes. None lets everyone in.
    pub token: Option<Token>,
    /// Values of `Origin` that are let in, for example `https://dash.example.org`. A request with any other
    /// one is refused: browsers send it, plugins and virtual kubelets do not.
    pub allowed_origins: Vec<String>,
    /// Names in `Host` by which the hub may be called, besides those of this machine: any other is refused, against
    /// DNS rebinding. None: by any name. Meant for a listener that only this machine reaches and that has no token.
    pub allowed_hosts: Option<Vec<String>>,
    /// Largest request body, in bytes. The caller pays: 413.
    pub max_body: usize,
    /// Largest body of a request to a plugin's own endpoints, in bytes. The caller pays: 413.
    pub passthrough_max_body: u64,
    /// Pass `Authorization` and `Cookie` on to plugins' own endpoints, and their `Set-Cookie` back. The hub's own token is
    /// then among what they see.
    pub forward_authorization: bool,
    /// Link upgrades under way at once. The next one pays: 503 with Retry-After.
    pub max_handshakes: usize,
    /// Connections at once on a listener. The next one pays: 503 with Retry-After.
    pub max_connections: usize,
    /// Where the job scripts of creates come from. The default makes none, and refuses a `jobscriptURL`.
    pub job_scripts: Arc<JobScripts>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            token: None,
            allowed_origins: Vec::new(),
            allowed_hosts: None,
            max_body: limits::HTTP_MAX_BODY,
            passthrough_max_body: limits::HTTP_PASSED_BODY,
            forward_authorization: false,
            max_handshakes: limits::HTTP_MAX_UPGRADES,
            max_connections: limits::HTTP_MAX_CONNECTIONS,
            job_scripts: Arc::default(),
        }
    }
}

/// Which parts a listener serves. The probes are everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Surface {
    /// interLink's six calls.
    pub rest: bool,
    /// `/ws`, where plugins dial in.
    pub link: bool,
    /// `/api/v1`, `/metrics` and plugins' own endpoints.
    pub admin: bool,
}

impl Surface {
    /// Everything on one listener.
    pub const ALL: Self = Self {
        rest: true,
        link: true,
        admin: true,
    };
    /// interLink's REST only.
    pub const REST: Self = Self {
        rest: true,
        link: false,
        admin: false,
    };
    /// The link only.
    pub const LINK: Self = Self {
        rest: false,
        link: true,
        admin: false,
    };
    /// The API and metrics only.
    pub const ADMIN: Self = Self {
        rest: false,
        link: false,
        admin: true,
    };
}

/// What the handlers share. A request's way through the routes clones it several times.
#[derive(Clone)]
struct Edge(Arc<Shared>);

struct Shared {
    hub: Arc<Hub>,
    config: HttpConfig,
    handshakes: Arc<Semaphore>,
}

impl Edge {
    fn new(hub: Arc<Hub>, config: HttpConfig) -> Self {
        Self(Arc::new(Shared {
            hub,
            handshakes: Arc::new(Semaphore::new(config.max_handshakes)),
            config,
        }))
    }
}

impl Deref for Edge {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// The routes of one listener.
pub fn router(hub: Arc<Hub>, config: HttpConfig, surface: Surface) -> Router {
    let edge = Edge::new(hub, config);
    let mut routes = probes::routes();
    if surface.rest {
        routes = routes.merge(interlink::routes());
    }
    if surface.link {
        routes = routes.merge(upgrade::routes());
    }
    if surface.admin {
        routes = routes.merge(api::routes()).merge(probes::metrics_route());
        routes = routes.merge(passthrough::routes());
    }
    routes
        .fallback(guard::no_such_path)
        .method_not_allowed_fallback(guard::no_such_method)
        .layer(axum::middleware::from_fn_with_state(edge.clone(), guard::admit))
        .with_state(edge)
}
