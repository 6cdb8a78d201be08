//! `/api/v1`: the hub's own API, for the command line, dashboards and scripts.

use axum::{
    Extension, Json, Router,
    extract::{Path, State},
    http::Uri,
    routing::get,
};
use serde::Serialize;
use serde_json::json;

use super::{
    Edge,
    answer::{Api, ErrorBody, Refusal},
    api_log, events, openapi,
    query::Query,
};
use crate::{
    code::reason,
    hub::{CallMeta, PluginView, PodView},
    interlink::Pod,
    server::body,
    wire,
};

pub(super) fn routes() -> Router<Edge> {
    Router::new()
        .route("/api/v1/version", get(version))
        .route("/api/v1/openapi.json", get(openapi::serve))
        .route("/api/v1/plugins", get(plugins))
        .route("/api/v1/plugins/{name}", get(plugin).delete(forget))
        .route("/api/v1/pods", get(pods))
        .route(
            "/api/v1/namespaces/{namespace}/pods/{name}",
            get(pod).delete(delete),
        )
        .route(
            "/api/v1/namespaces/{namespace}/pods/{name}/log",
            get(api_log::log),
        )
        .route("/api/v1/events", get(events::events))
}

/// A list; an object, so that fields can join it.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Plugins {
    items: Vec<PluginView>,
}

/// A list; an object, so that fields can join it.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Pods {
    items: Vec<PodView>,
}

/// What this hub is.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Version {
    /// Version of the software.
    version: &'static str,
    /// Version of this API.
    api: &'static str,
    /// Subprotocols that links are taken with.
    subprotocols: [&'static str; 2],
}

/// What this hub is.
#[utoipa::path(get, path = "/api/v1/version", tag = "api", responses((status = 200, body = Version)))]
pub(super) async fn version(uri: Uri) -> Result<Json<Version>, Api> {
    Query::parse(&uri, &[])?;
    let subprotocols = wire::Subprotocol::ALL.map(wire::Subprotocol::name);
    Ok(Json(Version {
        version: env!("CARGO_PKG_VERSION"),
        api: "v1",
        subprotocols,
    }))
}

/// Every plugin that is known, connected or not.
#[utoipa::path(get, path = "/api/v1/plugins", tag = "api", responses((status = 200, body = Plugins)))]
pub(super) async fn plugins(State(edge): State<Edge>, uri: Uri) -> Result<Json<Plugins>, Api> {
    Query::parse(&uri, &[])?;
    Ok(Json(Plugins {
        items: edge.hub.plugins(),
    }))
}

/// One plugin.
#[utoipa::path(
    get, path = "/api/v1/plugins/{name}", tag = "api",
    params(("name" = String, Path, description = "Plugin name.")),
    responses((status = 200, body = PluginView), (status = 404, description = "Not known.", body = ErrorBody))
)]
pub(super) async fn plugin(
    State(edge): State<Edge>,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Json<PluginView>, Api> {
    Query::parse(&uri, &[])?;
    Ok(Json(find_plugin(&edge, &name)?))
}

/// Forgets a plugin that is not connected, and its pods. Answers what was forgotten.
#[utoipa::path(
    delete, path = "/api/v1/plugins/{name}", tag = "api",
    params(("name" = String, Path, description = "Plugin name.")),
    responses(
        (status = 200, body = PluginView),
        (status = 404, description = "Not known.", body = ErrorBody),
        (status = 422, description = "It is connected.", body = ErrorBody),
    )
)]
pub(super) async fn forget(
    State(edge): State<Edge>,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Json<PluginView>, Api> {
    Query::parse(&uri, &[])?;
    let view = find_plugin(&edge, &name)?;
    edge.hub.forget(&name)?;
    Ok(Json(view))
}

fn find_plugin(edge: &Edge, name: &str) -> Result<PluginView, Refusal> {
    let known = edge.hub.plugins();
    known
        .into_iter()
        .find(|plugin| plugin.name == name)
        .ok_or_else(|| Refusal::not_found("", format!("no plugin of the name {name:?} is known")))
}

/// Every pod that is known, of all namespaces or of one.
#[utoipa::path(
    get, path = "/api/v1/pods", tag = "api",
    params(
        ("namespace" = Option<String>, Query, description = "Only pods of this namespace."),
        ("plugin" = Option<String>, Query, description = "Only pods on this plugin."),
    ),
    responses((status = 200, body = Pods), (status = 400, description = "Unknown query key.", body = ErrorBody))
)]
pub(super) async fn pods(State(edge): State<Edge>, uri: Uri) -> Result<Json<Pods>, Api> {
    let query = Query::parse(&uri, &["namespace", "plugin"])?;
    let mut items = edge.hub.pods();
    if let Some(namespace) = query.text("namespace") {
        items.retain(|pod| pod.namespace == namespace);
    }
    if let Some(plugin) = query.text("plugin") {
        items.retain(|pod| pod.plugin == plugin);
    }
    Ok(Json(Pods { items }))
}

/// The newest pod of this namespace and name.
#[utoipa::path(
    get, path = "/api/v1/namespaces/{namespace}/pods/{name}", tag = "api",
    params(
        ("namespace" = String, Path, description = "Namespace."),
        ("name" = String, Path, description = "Pod name."),
    ),
    responses((status = 200, body = PodView), (status = 404, description = "Not known.", body = ErrorBody))
)]
pub(super) async fn pod(
    State(edge): State<Edge>,
    Path((namespace, name)): Path<(String, String)>,
    uri: Uri,
) -> Result<Json<PodView>, Api> {
    Query::parse(&uri, &[])?;
    Ok(Json(find_pod(&edge, &namespace, &name)?))
}

/// Ends a pod. Answers when the end is recorded and begun, with the pod as it was.
#[utoipa::path(
    delete, path = "/api/v1/namespaces/{namespace}/pods/{name}", tag = "api",
    params(
        ("namespace" = String, Path, description = "Namespace."),
        ("name" = String, Path, description = "Pod name."),
        ("grace_seconds" = Option<u64>, Query, description = "Seconds between SIGTERM and SIGKILL; the pod's own \
            terminationGracePeriodSeconds when absent."),
    ),
    responses(
        (status = 200, body = PodView),
        (status = 404, description = "Not known.", body = ErrorBody),
        (status = 503, description = "Its plugin is away and deletes are not kept.", body = ErrorBody),
    )
)]
pub(super) async fn delete(
    State(edge): State<Edge>,
    Extension(meta): Extension<CallMeta>,
    Path((namespace, name)): Path<(String, String)>,
    uri: Uri,
) -> Result<Json<PodView>, Api> {
    let query = Query::parse(&uri, &["grace_seconds"])?;
    let grace = query.value("grace_seconds", "a whole number of seconds")?;
    let view = find_pod(&edge, &namespace, &name)?;
    let metadata = json!({"uid": view.uid, "namespace": view.namespace, "name": view.name});
    let pod = Pod::from_value(json!({"metadata": metadata, "spec": {}}))
        .map_err(|bad| body::bad_json(&bad, "a pod"))?;
    edge.hub.delete(None, pod, grace, meta).await?;
    Ok(Json(view))
}

pub(super) fn find_pod(edge: &Edge, namespace: &str, name: &str) -> Result<PodView, Refusal> {
    edge.hub.find_pod(namespace, name).ok_or_else(|| {
        let message = format!("no pod {name:?} is known in namespace {namespace:?}");
        Refusal::not_found(reason::POD_NOT_FOUND, message)
    })
}
