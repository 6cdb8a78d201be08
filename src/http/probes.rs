//! `/healthz`, `/readyz`, `/metrics`.

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;

use super::{Edge, logs::typed};

/// The probes: on every listener, without a token.
pub(super) fn routes() -> Router<Edge> {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
}

/// Metrics, beside the API.
pub(super) fn metrics_route() -> Router<Edge> {
    Router::new().route("/metrics", get(metrics))
}

/// The process answers.
#[utoipa::path(get, path = "/healthz", tag = "probes", responses((status = 200, description = "Always `ok`.")))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether requests should be sent here; names the checks that fail.
#[utoipa::path(
    get, path = "/readyz", tag = "probes",
    responses(
        (status = 200, description = "Ready: `{\"ready\":true,\"failing\":[],\"checks\":[..]}`."),
        (status = 503, description = "Not ready; `failing` names the checks."),
    )
)]
pub(super) async fn readyz(State(edge): State<Edge>) -> Response {
    let checks = edge.hub.checks();
    let failing: Vec<_> = checks
        .iter()
        .filter(|check| !check.ok)
        .map(|check| check.name)
        .collect();
    let status = if failing.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = json!({"ready": failing.is_empty(), "failing": failing, "checks": checks});
    (status, Json(body)).into_response()
}

/// OpenMetrics.
#[utoipa::path(get, path = "/metrics", tag = "probes", responses((status = 200, description = "OpenMetrics text.")))]
pub(super) async fn metrics(State(edge): State<Edge>) -> Response {
    let text = Body::from(edge.hub.metrics_text());
    typed(text, "application/openmetrics-text; version=1.0.0; charset=utf-8")
}
