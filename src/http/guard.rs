//! What every request passes: a span, the session header, the caller's right to be here.

use std::{panic::AssertUnwindSafe, time::Instant};

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri},
    middleware::Next,
    response::Response,
};
use futures::FutureExt;
use tracing::Instrument;

use super::{
    Edge, HttpConfig, Token,
    answer::{Refusal, one_line},
};
use crate::{
    code::Code,
    hub::CallMeta,
    server::{carried, check_host, check_origin, check_target, session_of},
    wire::metadata::{SESSION, TRACEPARENT},
};

/// What helps who calls the hub by a strange name.
const HOST_ADVICE: &str = "Call the hub localhost or 127.0.0.1, or start it with --allowed-host NAME \
    (hub.allowed_hosts) or with a token";

/// Paths that need no token: probes come from load balancers and kubelets.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// Gives the call its session and span, lets it in or says why not, and turns a panic into 500. One layer for all of it:
/// each is copied and put on the heap for every request.
pub(super) async fn admit(State(edge): State<Edge>, mut request: Request, next: Next) -> Response {
    let meta = CallMeta {
        session: session_of(request.headers()),
        traceparent: carried(request.headers(), TRACEPARENT),
    };
    let path = shown(request.uri());
    let span = tracing::info_span!("http", method = %request.method(), path, session = meta.session);
    let echo = HeaderValue::from_str(&meta.session).ok();
    request.extensions_mut().insert(meta);

    let started = Instant::now();
    let admitted = async {
        match check(&edge, &request) {
            Ok(()) => next.run(request).await,
            Err((why, refusal)) => {
                edge.hub.count_refused(why);
                refusal.for_path(request.uri().path())
            }
        }
    };
    let answered = AssertUnwindSafe(admitted)
        .catch_unwind()
        .instrument(span.clone())
        .await;
    let mut response = answered.unwrap_or_else(|_| {
        span.in_scope(|| tracing::error!("panic in a handler"));
        let message = "the hub failed at this request; its log says more";
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, message).for_path(&path)
    });
    let status = response.status().as_u16();
    span.in_scope(|| tracing::debug!(status, elapsed_ms = started.elapsed().as_millis(), "answered"));
    if let Some(echo) = echo {
        response.headers_mut().insert(SESSION, echo);
    }
    response
}

/// Why a request is refused: the metric's word, and the answer.
type Refused = (&'static str, Refusal);

fn check(edge: &Edge, request: &Request) -> Result<(), Refused> {
    let uri = request.uri();
    check_config(&edge.config, uri, request.headers())?;
    match &edge.config.token {
        Some(token) if !OPEN.contains(&uri.path()) => check_token(token, request.headers()),
        _ => Ok(()),
    }
}

/// Whether the target, the name and the origin are such as may come here.
pub(super) fn check_config(config: &HttpConfig, uri: &Uri, headers: &HeaderMap) -> Result<(), Refused> {
    check_target(uri).map_err(|refusal| ("target_too_long", refusal))?;
    if let Some(allowed) = &config.allowed_hosts {
        check_host(allowed, HOST_ADVICE, uri, headers).map_err(|refusal| ("host", refusal))?;
    }
    check_origin(&config.allowed_origins, headers).map_err(|refusal| ("origin", refusal))
}

/// Whether the caller has the token.
pub(super) fn check_token(token: &Token, headers: &HeaderMap) -> Result<(), Refused> {
    token.check(headers).map_err(|refusal| {
        let why = if refusal.http == StatusCode::UNAUTHORIZED {
            "token_missing"
        } else {
            "token_wrong"
        };
        (why, refusal)
    })
}

/// 404 for what is not served on this listener.
pub(super) async fn no_such_path(uri: Uri) -> Response {
    let message = format!(
        "no such path here: {}; the API document is at /api/v1/openapi.json",
        shown(&uri)
    );
    Refusal::not_found("", message).for_path(uri.path())
}

/// 405; axum adds `Allow`.
pub(super) async fn no_such_method(method: Method, uri: Uri) -> Response {
    let message = format!("{method} is not offered at {}", shown(&uri));
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, Code::Unimplemented, message).for_path(uri.path())
}

/// An empty answer of this status.
pub(super) fn bare(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// A path for people, never the query.
fn shown(uri: &Uri) -> String {
    let path = one_line(uri.path());
    match path.char_indices().nth(200) {
        Some((cut, _)) => format!("{}...", &path[..cut]),
        None => path,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use axum::{Router, middleware, routing::get};
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;

    use super::*;
    use crate::{
        hub::{Hub, HubConfig},
        limits,
    };

    async fn ask(router: Router, request: Request) -> Response {
        TowerToHyperService::new(router).call(request).await.unwrap()
    }

    async fn broken() -> &'static str {
        panic!("a bug")
    }

    #[tokio::test]
    async fn a_panic_is_500_and_not_a_dropped_connection() {
        let edge = Edge::new(Hub::new(HubConfig::default()).unwrap(), HttpConfig::default());
        let router = Router::new()
            .route("/x", get(broken))
            .layer(middleware::from_fn_with_state(edge, admit));
        let request = Request::get("/x")
            .header(SESSION, "Probe#1")
            .body(Body::empty())
            .unwrap();
        let response = ask(router, request).await;
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()[SESSION], "Probe#1");
    }

    #[test]
    fn a_session_too_long_to_carry_is_replaced() {
        let mut headers = HeaderMap::new();
        headers.insert(SESSION, "x".repeat(limits::HTTP_MAX_CARRIED + 1).parse().unwrap());
        assert_eq!(carried(&headers, SESSION), None);
        headers.insert(SESSION, "GetLogs#7".parse().unwrap());
        assert_eq!(carried(&headers, SESSION).as_deref(), Some("GetLogs#7"));
    }
}
