//! The OpenAPI document, generated from the handlers' own annotations. It describes interLink's leg as it
//! really is; the shapes below exist for it alone, because that leg's bodies are kept whole elsewhere.
#![expect(dead_code, reason = "shapes for the document only")]

use std::sync::OnceLock;

use axum::{
    body::{Body, Bytes},
    response::Response,
};
use serde_json::Value;
use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use super::{answer::ErrorBody, api, api_log, events, interlink, logs::typed, passthrough, probes, upgrade};
use crate::hub::{PluginView, PodView};

/// The document.
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "api", responses((status = 200, description = "OpenAPI 3.1.")))]
pub(super) async fn serve() -> Response {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    let text = TEXT.get_or_init(|| document().to_pretty_json().unwrap_or_default().into());
    typed(Body::from(text.clone()), "application/json")
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "towline hub",
        description = "A bearer token is asked of everything but the probes when the hub has one. Every answer carries \
            `InterLink-Http-Session`: the caller's, or a new `Request-UUID`.\n\n\
            interLink's six calls are served by path, with ANY method and any Content-Type, also with a body on GET; the \
            methods below are those the virtual kubelet uses. Each also exists under `/nodes/{plugin}/`, which fixes the \
            plugin. Their errors are one line of text."
    ),
    paths(
        interlink::create, interlink::delete, interlink::status, interlink::get_logs, interlink::pinglink,
        interlink::update_cache, upgrade::upgrade, api::version, serve, api::plugins, api::plugin, api::forget,
        api::pods, api::pod, api::delete, api_log::log, events::events, passthrough::pass, probes::healthz, probes::readyz, probes::metrics,
    ),
    components(schemas(PluginView, PodView, ErrorBody)),
    tags(
        (name = "interlink", description = "What the virtual kubelet calls (interLink 0.6)."),
        (name = "link", description = "Where plugins dial in."),
        (name = "api", description = "The hub's own API."),
        (name = "probes", description = "Health and metrics."),
    ),
    security(("token" = [])),
    modifiers(&Completion),
)]
struct Document;

/// Adds what the annotations cannot say.
struct Completion;

impl Modify for Completion {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        if let Some(components) = &mut document.components {
            let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
            components.add_security_scheme("token", SecurityScheme::Http(bearer));
        }
        let calls = [
            "/create",
            "/delete",
            "/status",
            "/getLogs",
            "/pinglink",
            "/updateCache",
        ];
        for call in calls {
            if let Some(item) = document.paths.paths.get(call).cloned() {
                document
                    .paths
                    .paths
                    .insert(format!("/nodes/{{plugin}}{call}"), of_plugin(item));
            }
        }
    }
}

/// The same call with the plugin in its path.
fn of_plugin(mut item: utoipa::openapi::PathItem) -> utoipa::openapi::PathItem {
    use utoipa::openapi::{
        Required,
        path::{ParameterBuilder, ParameterIn},
    };
    let plugin = ParameterBuilder::new()
        .name("plugin")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some("Plugin name."))
        .build();
    for operation in [&mut item.get, &mut item.post, &mut item.delete]
        .into_iter()
        .flatten()
    {
        operation
            .parameters
            .get_or_insert_default()
            .push(plugin.clone().into());
        if let Some(id) = &mut operation.operation_id {
            id.push_str("_of_plugin");
        }
    }
    item
}

/// A Kubernetes v1.Pod, whole.
#[derive(ToSchema)]
#[schema(title = "v1.Pod", value_type = Object)]
pub(super) struct AnyPod(Value);

/// interLink's PodCreateRequests.
#[derive(ToSchema)]
pub(super) struct CreateRequest {
    /// The pod; metadata.uid must be a lower-case UUID.
    pod: AnyPod,
    /// v1.ConfigMap each.
    configmaps: Option<Vec<Value>>,
    /// v1.Secret each.
    secrets: Option<Vec<Value>>,
    /// Projected volumes, as v1.ConfigMap each.
    projectedvolumesmaps: Option<Vec<Value>>,
    /// Where a job script is made; may be empty.
    #[schema(rename = "jobscriptURL")]
    jobscript_url: Option<String>,
}

/// interLink's CreateStruct.
#[derive(ToSchema)]
pub(super) struct CreateAnswer {
    #[schema(rename = "PodUID")]
    pod_uid: String,
    /// The site's name for the work; empty while it is not known.
    #[schema(rename = "PodJID")]
    pod_jid: String,
}

/// interLink's PodStatus.
#[derive(ToSchema)]
pub(super) struct StatusAnswer {
    name: String,
    #[schema(rename = "UID")]
    uid: String,
    namespace: String,
    #[schema(rename = "JID")]
    jid: String,
    /// v1.ContainerStatus each, in the order of the asked pod's spec; never empty.
    containers: Vec<Value>,
    /// v1.ContainerStatus each.
    #[schema(rename = "initContainers")]
    init_containers: Option<Vec<Value>>,
}

/// interLink's LogStruct.
#[derive(ToSchema)]
#[schema(rename_all = "PascalCase")]
pub(super) struct LogsRequest {
    namespace: String,
    #[schema(rename = "PodUID")]
    pod_uid: String,
    pod_name: String,
    /// Empty: the only one, or the first main one.
    container_name: String,
    opts: LogsOptions,
}

/// Zero means not set.
#[derive(ToSchema)]
#[schema(rename_all = "PascalCase")]
pub(super) struct LogsOptions {
    /// Not together with Bytes.
    tail: u64,
    bytes: u64,
    timestamps: bool,
    follow: bool,
    previous: bool,
    /// Not together with SinceTime.
    since_seconds: u64,
    /// RFC 3339; `0001-01-01T00:00:00Z` means not set.
    since_time: String,
}

/// interLink's PingResponse. Absent: leave the node's as they are.
#[derive(ToSchema)]
pub(super) struct PingAnswer {
    status: Option<String>,
    /// cpu, memory, pods, accelerators.
    resources: Option<Value>,
    /// key, value, effect each.
    taints: Option<Vec<Value>>,
}

/// A piece of a log.
#[derive(ToSchema)]
pub(super) struct LogLine {
    /// Which log: the run of the container.
    epoch: u64,
    /// Raw bytes before this piece.
    offset: u64,
    /// Raw bytes after it: where to go on.
    next_offset: u64,
    /// Raw bytes that were lost before this piece.
    gap_bytes: u64,
    /// The bytes, base64.
    data_b64: String,
}

/// One change.
#[derive(ToSchema)]
pub(super) struct EventLine {
    /// ADDED, MODIFIED or DELETED.
    r#type: String,
    /// pod or plugin.
    kind: String,
    /// PodView or PluginView.
    object: Value,
}

/// What is there now.
#[derive(ToSchema)]
pub(super) struct EventList {
    items: Vec<EventLine>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_document_has_every_call_of_both_legs() {
        let document = serde_json::to_value(document()).unwrap();
        let paths = document["paths"].as_object().unwrap();
        assert_eq!(
            paths.len(),
            6 * 2 + 1 + 8 + 1 + 3,
            "{:?}",
            paths.keys().collect::<Vec<_>>()
        );
        assert!(paths["/getLogs"]["get"]["requestBody"].is_object());
        let scoped = &paths["/nodes/{plugin}/create"]["post"];
        assert_eq!(scoped["parameters"][0]["name"], "plugin");
        let schemas = document["components"]["schemas"].as_object().unwrap();
        assert!(schemas["CreateAnswer"]["properties"]["PodUID"].is_object());
        assert!(schemas["PodView"]["properties"]["init_containers"].is_object());
    }

    #[test]
    fn every_reference_in_the_document_leads_somewhere() {
        let text = document().to_json().unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        for part in text.split("\"$ref\":\"#").skip(1) {
            let pointer = part.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }
}
