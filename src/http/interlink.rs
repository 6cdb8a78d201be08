//! interLink's six calls, as the virtual kubelet makes them: by path, with any method, whatever Content-Type,
//! also with a body on GET. Each exists on the bare path and under `/nodes/{plugin}/`.

use std::time::SystemTime;

use axum::{
    Extension, Json, Router,
    body::Bytes,
    extract::{FromRequest, RawPathParams, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::any,
};
use serde_json::json;

use super::{
    Edge,
    answer::{Plain, Refusal, one_line},
    logs::{Closing, Reading},
};
use crate::{
    hub::{CallMeta, LogQuery},
    interlink::{self, Body, CreateStruct, LogStruct, Pod, PodCreateRequests, PodStatus, is_uid},
    server::body,
};

pub(super) fn routes() -> Router<Edge> {
    calls().nest("/nodes/{plugin}", calls())
}

fn calls() -> Router<Edge> {
    Router::new()
        .route("/create", any(create))
        .route("/delete", any(delete))
        .route("/status", any(status))
        .route("/getLogs", any(get_logs))
        .route("/pinglink", any(pinglink))
        .route("/updateCache", any(update_cache))
}

/// One call: its body, whose it is, and what travels with it.
pub(super) struct Call {
    scope: Option<String>,
    meta: CallMeta,
    body: Bytes,
}

impl Call {
    fn scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }
}

impl FromRequest<Edge> for Call {
    type Rejection = Plain;

    async fn from_request(request: Request, edge: &Edge) -> Result<Self, Plain> {
        let (mut parts, body) = request.into_parts();
        let params =
            <RawPathParams as axum::extract::FromRequestParts<Edge>>::from_request_parts(&mut parts, edge)
                .await
                .map_err(|_| Refusal::invalid("the path is not UTF-8"))?;
        let scope = params
            .iter()
            .find(|(key, _)| *key == "plugin")
            .map(|(_, name)| name.to_owned());
        let meta = parts.extensions.remove::<CallMeta>().unwrap_or_default();
        let body = body::read(body, edge.config.max_body)
            .await
            .inspect_err(|refusal| {
                let why = if refusal.http == StatusCode::PAYLOAD_TOO_LARGE {
                    "body_too_large"
                } else {
                    "body_broken"
                };
                edge.hub.count_refused(why);
            })?;
        Ok(Self { scope, meta, body })
    }
}

/// Parses the body, and counts it when it cannot be read.
fn parsed<T: Body>(edge: &Edge, bytes: &[u8], what: &str) -> Result<T, Refusal> {
    interlink::read(bytes).map_err(|bad| {
        edge.hub.count_refused("bad_json");
        body::bad_json(&bad, what)
    })
}

/// The same of one object. A list would be read as the object's fields in their order, and its first item blamed for
/// what is wrong: plugins before interLink 0.5 were sent such lists.
fn parsed_object<T: Body>(edge: &Edge, bytes: &[u8], what: &str) -> Result<T, Refusal> {
    if bytes.trim_ascii_start().starts_with(b"[") {
        edge.hub.count_refused("bad_json");
        let message = format!("bad JSON, expected {what}: expected an object, found a list at the top");
        return Err(Refusal::invalid(message));
    }
    parsed(edge, bytes, what)
}

/// Starts a pod. The create goes on when the client goes away; a second one of the same uid gets the same answer.
#[utoipa::path(
    post, path = "/create", tag = "interlink",
    request_body(content = super::openapi::CreateRequest, description = "PodCreateRequests."),
    responses(
        (status = 200, body = super::openapi::CreateAnswer, description = "The only good answer."),
        (status = 400, description = "Bad JSON or a bad pod: one line of text, as all errors here."),
        (status = 409, description = "Deleted while it was under way."),
        (status = 413, description = "Body too large."),
        (status = 422, description = "The plugin refused the pod; its text word for word. Or its job script cannot be made."),
        (status = 500, description = "The plugin failed; its text word for word."),
        (status = 503, description = "The plugin, or the job script's server, is away."),
        (status = 504, description = "No answer in time; whether it was started is not known."),
    )
)]
pub(super) async fn create(State(edge): State<Edge>, call: Call) -> Result<Json<CreateStruct>, Plain> {
    let request: PodCreateRequests = parsed_object(&edge, &call.body, "PodCreateRequests")?;
    let Call { scope, meta, body } = call;
    let scope = scope.as_deref();
    // It was read, and the create may wait long.
    drop(body);
    let created = if edge.config.job_scripts.makes_none(&request.jobscript_url) {
        edge.hub.create(scope, request, meta).await
    } else {
        let scripts = edge.config.job_scripts.clone();
        let url = request.jobscript_url.clone();
        // What travels on to a script server is what does to a plugin.
        let carried = meta.to_metadata();
        let with_script = |pod| async move { scripts.fill(&url, pod, &carried).await };
        // On the heap, as it is rare and large.
        Box::pin(edge.hub.create_with(scope, request, meta, with_script)).await
    };
    Ok(Json(created.map_err(Refusal::of_create)?))
}

/// Ends a pod. 200 also when there is no such pod.
#[utoipa::path(
    delete, path = "/delete", tag = "interlink",
    request_body(content = super::openapi::AnyPod, description = "The v1.Pod."),
    responses(
        (status = 200, description = "Ended, or recorded and done when the plugin is back."),
        (status = 400, description = "Bad JSON."),
        (status = 503, description = "The plugin is away and the hub is set to refuse."),
    )
)]
pub(super) async fn delete(State(edge): State<Edge>, call: Call) -> Result<&'static str, Plain> {
    let pod: Pod = parsed_object(&edge, &call.body, "a v1.Pod")?;
    // What `kubectl delete --grace-period` asked for overrides the spec's own.
    let grace = pod.metadata().deletion_grace_period_seconds;
    let Call { scope, meta, body } = call;
    drop(body);
    edge.hub.delete(scope.as_deref(), pod, grace, meta).await?;
    Ok("Pod deleted\n")
}

/// The last known state of the asked pods: those that are known, in order.
#[utoipa::path(
    get, path = "/status", tag = "interlink",
    request_body(content = Vec<super::openapi::AnyPod>, description = "v1.Pods, whole; `[]` is answered with `[]`."),
    responses(
        (status = 200, body = Vec<super::openapi::StatusAnswer>),
        (status = 400, description = "Bad JSON."),
    )
)]
pub(super) async fn status(State(edge): State<Edge>, call: Call) -> Result<Json<Vec<PodStatus>>, Plain> {
    // Go writes an empty list as null.
    let pods: Option<Vec<Pod>> = parsed(&edge, &call.body, "an array of v1.Pod")?;
    let pods = pods.unwrap_or_default();
    Ok(Json(edge.hub.status(call.scope(), &pods).await?))
}

/// The log of one container. 200 comes with the plugin's open acknowledgement; a log that cannot be finished is
/// aborted without the last chunk.
#[utoipa::path(
    get, path = "/getLogs", tag = "interlink",
    request_body(content = super::openapi::LogsRequest),
    responses(
        (status = 200, description = "Raw bytes, chunked.", content_type = "application/octet-stream", body = Vec<u8>),
        (status = 400, description = "Bad JSON, bad names, options that exclude each other."),
        (status = 404, description = "No such pod or log."),
        (status = 503, description = "The plugin is away."),
    )
)]
pub(super) async fn get_logs(
    State(edge): State<Edge>,
    closing: Option<Extension<Closing>>,
    call: Call,
) -> Result<Response, Plain> {
    let query = log_query(&edge, &call)?;
    let viewer = edge.hub.logs(call.scope(), query).await?;
    let closing = closing.map(|Extension(closing)| closing).unwrap_or_default();
    Ok(Reading::start(viewer, closing).await?.raw())
}

/// Whether the plugin can start pods, and what it has.
#[utoipa::path(
    post, path = "/pinglink", tag = "interlink",
    responses(
        (status = 200, body = super::openapi::PingAnswer, description = "Connected and ready, or just lost."),
        (status = 503, description = "`{\"status\":\"unavailable\",\"reason\":\"..\"}`."),
    )
)]
pub(super) async fn pinglink(State(edge): State<Edge>, call: Call) -> Response {
    match edge.hub.ping(call.scope()) {
        Ok(answer) => Json(answer).into_response(),
        Err(status) => {
            let text = if status.message.is_empty() {
                status.to_string()
            } else {
                status.message
            };
            let body = json!({"status": "unavailable", "reason": one_line(&text)});
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}

/// Drops what is cached of a pod's state; where it runs is kept.
#[utoipa::path(
    post, path = "/updateCache", tag = "interlink",
    request_body(content = super::openapi::AnyPod, description = "The v1.Pod, or its uid as plain text."),
    responses((status = 200, description = "Updated cache"), (status = 400, description = "Neither pod nor uid."))
)]
pub(super) async fn update_cache(State(edge): State<Edge>, call: Call) -> Result<&'static str, Plain> {
    edge.hub.update_cache(&uid_of(&call.body)?);
    Ok("Updated cache")
}

/// The uid in a pod, in a JSON string, or as it is.
fn uid_of(bytes: &[u8]) -> Result<String, Refusal> {
    let text = bytes.trim_ascii();
    let uid = match text.first() {
        Some(b'{') => {
            let pod: serde_json::Value = body::json(text, "a v1.Pod or a pod uid")?;
            pod["metadata"]["uid"].as_str().map(str::to_owned)
        }
        Some(b'"') => Some(body::json(text, "a v1.Pod or a pod uid")?),
        _ => std::str::from_utf8(text).ok().map(str::to_owned),
    };
    uid.filter(|uid| is_uid(uid)).ok_or_else(|| {
        Refusal::invalid("expected a v1.Pod with metadata.uid, or a pod uid: a lower-case UUID")
    })
}

fn log_query(edge: &Edge, call: &Call) -> Result<LogQuery, Refusal> {
    let asked: LogStruct = parsed_object(edge, &call.body, "a log request")?;
    // A span of seconds becomes a time now, so that a reopened stream means the same.
    let options = asked
        .to_options(SystemTime::now().into())
        .map_err(|bad| Refusal::invalid(bad.to_string()))?;
    Ok(LogQuery {
        pod: asked.pod_ref(),
        container: asked.container_name,
        options,
        start: None,
        meta: call.meta.clone(),
    })
}
