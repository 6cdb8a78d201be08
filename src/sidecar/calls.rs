//! Create, delete, status and ping.

use std::collections::HashMap;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response,
    header::{CONTENT_TYPE, HeaderValue},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned, de::IgnoredAny};
use serde_json::value::RawValue;

use super::{Body, Sidecar, routes::whole};
use crate::{
    code::{Code, reason},
    interlink::{
        CreateStruct, PingResponse, Pod, PodCreateRequests, PodStatus, RetrievedPodData, complete,
        validate_create,
    },
    plugin::{Delete, Handler},
    server::{Refusal, body},
    wire::{PodState, Status},
};

impl<H: Handler> Sidecar<H> {
    /// Starts a pod: one RetrievedPodData, alone or, as before interLink 0.5, in a list.
    pub(super) async fn create(
        &self,
        sent: &Bytes,
        metadata: HashMap<String, String>,
    ) -> Result<Response<Body>, Refusal> {
        let payload = only(sent, "RetrievedPodData")?;
        let pod = created_pod(&payload)?;
        let pod_ref = pod.pod_ref();
        let created = self.local.create(pod_ref, payload, metadata).await;
        let created = created.map_err(Refusal::of_create)?;
        Ok(json(&CreateStruct {
            pod_uid: pod.uid().to_owned(),
            pod_jid: created.job_id,
        }))
    }

    /// Ends a pod; one that is not known has ended.
    pub(super) async fn delete(&self, sent: &Bytes) -> Result<Response<Body>, Refusal> {
        let pod_json = only(sent, "a v1.Pod")?;
        let pod: Pod = body::json(&pod_json, "a v1.Pod")?;
        let delete = Delete {
            pod: pod.pod_ref(),
            grace_seconds: pod.metadata().deletion_grace_period_seconds,
            pod_json,
        };
        self.local.delete(delete).await?;
        Ok(text("Pod deleted\n"))
    }

    /// The states of the asked pods, those that are known, in order; nothing asked for is a ping.
    pub(super) async fn status(&self, sent: &Bytes) -> Result<Response<Body>, Refusal> {
        // Go writes an empty list as null; a person's curl may send nothing at all.
        let pods: Option<Vec<Pod>> = match sent.trim_ascii() {
            [] => None,
            sent => body::json(sent, "an array of v1.Pod")?,
        };
        let pods = pods.unwrap_or_default();
        if pods.is_empty() {
            return self.ping().await;
        }
        let states = self.local.status(pods.iter().map(Pod::pod_ref).collect()).await?;
        let by_uid: HashMap<&str, &PodState> = states
            .iter()
            .filter_map(|state| Some((state.pod.as_ref()?.uid.as_str(), state)))
            .collect();
        let known = |pod: &Pod| complete(pod, by_uid.get(pod.uid())?);
        let statuses: Vec<PodStatus> = pods.iter().filter_map(known).collect();
        Ok(json(&statuses))
    }

    /// What the plugin has. One that takes no pods is not healthy: a create would fail its pod for good.
    async fn ping(&self) -> Result<Response<Body>, Refusal> {
        let node = self.local.node().await?;
        if node.ready {
            return Ok(json(&PingResponse::from(&node)));
        }
        let why = match node.reason.as_str() {
            "" => "the plugin is not ready",
            why => why,
        };
        Err(Status::new(Code::Unavailable, reason::NOT_READY, why).into())
    }
}

/// The one thing that was sent, also as the only item of a list. Word for word: it is passed on.
fn only(sent: &Bytes, what: &str) -> Result<Bytes, Refusal> {
    if !sent.trim_ascii_start().starts_with(b"[") {
        return Ok(sent.clone());
    }
    let items: Vec<Box<RawValue>> = body::json(sent, what)?;
    match items.as_slice() {
        [one] => Ok(Bytes::from(one.get().to_owned())),
        items => Err(Refusal::invalid(format!(
            "expected {what}, alone or as the only item of a list; this list has {} items",
            items.len()
        ))),
    }
}

/// The pod of a create, checked: its names become file names and addresses of later calls.
fn created_pod(payload: &[u8]) -> Result<Pod, Refusal> {
    /// What tells a virtual kubelet's request from an API server's.
    #[derive(Deserialize)]
    struct Shape {
        container: Option<IgnoredAny>,
        configmaps: Option<IgnoredAny>,
        secrets: Option<IgnoredAny>,
        projectedvolumesmaps: Option<IgnoredAny>,
        #[serde(rename = "jobscriptURL")]
        jobscript_url: Option<IgnoredAny>,
    }
    let sent: RetrievedPodData = object(payload, "RetrievedPodData")?;
    let shape: Shape = object(payload, "RetrievedPodData")?;
    let of_a_kubelet = shape.configmaps.is_some()
        || shape.secrets.is_some()
        || shape.projectedvolumesmaps.is_some()
        || shape.jobscript_url.is_some();
    if shape.container.is_none() && of_a_kubelet {
        // Its ConfigMaps and Secrets would be lost without a word.
        return Err(Refusal::invalid(
            "this is what a virtual kubelet sends to an interLink API server (PodCreateRequests); a plugin takes \
             RetrievedPodData: {pod, container, jobConfig}. Let the virtual kubelet call the API server or a hub",
        ));
    }
    let request = PodCreateRequests::new(sent.pod);
    validate_create(&request)
        .map_err(|bad| Status::new(Code::InvalidArgument, reason::BAD_POD, bad.to_string()))?;
    Ok(request.pod)
}

/// Parses one object. A list would be read as the object's fields in their order.
pub(super) fn object<T: DeserializeOwned>(sent: &[u8], what: &str) -> Result<T, Refusal> {
    if sent.trim_ascii_start().starts_with(b"[") {
        return Err(Refusal::invalid(format!(
            "bad JSON, expected {what}: expected an object, found a list at the top"
        )));
    }
    body::json(sent, what)
}

fn json(value: &impl Serialize) -> Response<Body> {
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    typed(bytes.into(), "application/json")
}

fn text(text: &'static str) -> Response<Body> {
    typed(Bytes::from_static(text.as_bytes()), "text/plain; charset=utf-8")
}

fn typed(bytes: Bytes, content_type: &'static str) -> Response<Body> {
    let mut response = Response::new(whole(Full::new(bytes)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_list_of_one_is_the_one_word_for_word() {
        let one = |text: &'static str| only(&Bytes::from_static(text.as_bytes()), "a v1.Pod");
        assert_eq!(one(r#"{"a": 1}"#).unwrap(), r#"{"a": 1}"#);
        assert_eq!(one(r#" [ {"a":  1.50} ] "#).unwrap(), r#"{"a":  1.50}"#);
        for (bad, says) in [
            ("[]", "has 0 items"),
            ("[{},{}]", "has 2 items"),
            ("[{]", "bad JSON"),
        ] {
            let refusal = one(bad).unwrap_err();
            assert_eq!(refusal.http, 400);
            assert!(
                refusal.status.message.contains(says),
                "{}",
                refusal.status.message
            );
        }
    }

    #[test]
    fn what_a_virtual_kubelet_sends_is_told_from_what_an_api_server_sends() {
        let kubelet = include_bytes!("../../tests/payloads/create.vk.json");
        let refusal = created_pod(kubelet).unwrap_err();
        assert_eq!(refusal.http, 400);
        assert!(refusal.status.message.contains("PodCreateRequests"));
        let server = include_bytes!("../../tests/payloads/create.plugin.json");
        assert!(!created_pod(server).unwrap().uid().is_empty());
    }

    #[test]
    fn a_pod_whose_names_cannot_be_names_is_refused() {
        let bad = br#"{"pod":{"metadata":{"uid":"../x","name":"a","namespace":"b"},"spec":{"containers":[{"name":"c"}]}}}"#;
        let refusal = created_pod(bad).unwrap_err();
        assert_eq!(
            (refusal.http.as_u16(), refusal.status.reason.as_str()),
            (400, "BAD_POD")
        );
    }
}
