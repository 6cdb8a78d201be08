//! Delete: sent with the manifest, forgotten when the plugin has confirmed it.

use std::sync::Arc;

use bytes::Bytes;
use hyper::Method;

use super::{
    Shared, unrecorded,
    upstream::{Ask, told},
};
use crate::{
    code::{Code, reason},
    limits,
    plugin::{Delete, Deleted},
    wire::Status,
};

impl Shared {
    pub(super) async fn delete(self: Arc<Self>, delete: Delete) -> Result<Deleted, Status> {
        let uid = &delete.pod.uid;
        let recorded = self
            .pods()
            .get(uid)
            .map(|entry| entry.record.pod.json().to_string());
        let known = recorded.is_some();
        // The one that comes with the delete says when, and with which grace.
        let body = match recorded {
            _ if !delete.pod_json.is_empty() => delete.pod_json.clone(),
            Some(manifest) => Bytes::from(manifest),
            None => return Ok(Deleted { existed: false }),
        };
        let ask = Ask {
            method: Method::POST,
            path: "/delete",
            body,
            within: limits::UPSTREAM_ANSWER_TIMEOUT,
            repeatable: true,
            metadata: None,
        };
        let whole =
            (self.upstream.ask(&ask).await).map_err(|failed| failed.passing(&self.upstream.address()))?;
        let http = whole.status.as_u16();
        let done = whole.status.is_success() || matches!(http, 404 | 410);
        if !done && matches!(http, 429 | 502 | 503 | 504) {
            let text = told(whole.status, &whole.body);
            return Err(Status::new(Code::Unavailable, reason::NOT_READY, text));
        }
        if !done && known {
            let text = told(whole.status, &whole.body);
            return Err(Status::new(Code::Internal, reason::PLUGIN_ERROR, text));
        }
        if !done {
            // It was never passed on from here, or is deleted already: some plugins say 500 to that.
            tracing::info!(pod = %delete.pod, http, "the upstream did not delete a pod that is not known here");
        }
        self.forget(uid, true).await.map_err(|error| unrecorded(&error))?;
        Ok(Deleted {
            existed: known && http != 404 && http != 410,
        })
    }
}
