//! What stands between a handler and the link: its panics, and what it must not be asked.

use std::{future::Future, panic::AssertUnwindSafe};

use futures::FutureExt;
use serde::{Deserialize, de::IgnoredAny};

use super::config::is_label;
use crate::{
    code::{Code, reason},
    interlink::surely_holds,
    wire::{PodRef, Status},
};

/// Runs a handler's future; a panic in it ends the call with INTERNAL, not the link.
pub(super) async fn guard<T>(
    call: &'static str,
    work: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(Err(status)) if status.kind() == Code::Ok => {
            let text = format!("the plugin's {call} failed without saying how");
            Err(Status::new(Code::Internal, reason::PLUGIN_ERROR, text))
        }
        Ok(outcome) => outcome,
        Err(_) => {
            // What the panic said went to stderr; it may hold parts of a pod.
            tracing::error!(call, "the handler panicked");
            let text = format!("the plugin's {call} panicked; its own log has the reason");
            Err(Status::new(Code::Internal, reason::PLUGIN_ERROR, text))
        }
    }
}

/// Takes the pod of a request. Names become paths and command arguments in handlers, so they are rejected, never
/// cleaned.
pub(super) fn pod(pod: Option<PodRef>) -> Result<PodRef, Status> {
    let refuse = |text: &str| Err(Status::new(Code::InvalidArgument, reason::BAD_POD, text).not_started());
    let Some(pod) = pod else {
        return refuse("the request names no pod");
    };
    let uid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !(1..=64).contains(&pod.uid.len()) || !pod.uid.bytes().all(uid) || pod.uid.starts_with('-') {
        return refuse("the pod's uid must be 1 to 64 of a-z, 0-9 and '-'");
    }
    if !pod.namespace.is_empty() && !is_label(&pod.namespace) {
        return refuse("the pod's namespace must be an RFC 1123 label");
    }
    if pod.name.len() > 253 || (!pod.name.is_empty() && !pod.name.split('.').all(is_subdomain_part)) {
        return refuse("the pod's name must be an RFC 1123 subdomain");
    }
    Ok(pod)
}

/// Parts of a subdomain have no bound of their own in Kubernetes.
fn is_subdomain_part(part: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !part.is_empty() && part.bytes().all(inner) && !part.starts_with('-') && !part.ends_with('-')
}

/// Checks that a create's payload is JSON with the pod of this uid in it. Nothing of it is quoted: it holds secrets.
pub(super) fn payload(payload: &[u8], uid: &str) -> Result<(), Status> {
    #[derive(Deserialize)]
    struct Retrieved {
        pod: Pod,
    }
    #[derive(Deserialize)]
    struct Pod {
        metadata: Metadata,
        #[serde(rename = "spec")]
        _spec: IgnoredAny,
    }
    #[derive(Deserialize)]
    struct Metadata {
        uid: String,
    }
    let refuse = |text: String| Err(Status::new(Code::InvalidArgument, reason::BAD_POD, text).not_started());
    if surely_holds(payload, uid) {
        return Ok(());
    }
    match serde_json::from_slice::<Retrieved>(payload) {
        Ok(retrieved) if retrieved.pod.metadata.uid == uid => Ok(()),
        Ok(_) => refuse("the payload holds a pod of another uid than the request".to_owned()),
        Err(error) => refuse(format!(
            "the payload must be JSON like {{\"pod\": {{\"metadata\": {{\"uid\": ..}}, \"spec\": ..}}, ..}}: {} at line {} column {}",
            match error.classify() {
                serde_json::error::Category::Eof => "it ends too early",
                serde_json::error::Category::Data => "a field is missing or of another type",
                _ => "it is not JSON",
            },
            error.line(),
            error.column()
        )),
    }
}
