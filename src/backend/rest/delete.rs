//! Delete: sent with the manifest, forgotten when the plugin has confirmed it.

use std::sync::Arc;

use bytes::Bytes;
use hyper::Method;

use super::{
    Shared,
    adopt::{is_name, minimal},
    entry::Entry,
    unrecorded,
};
use crate::{
    code::{Code, reason},
    interlink::{self, Pod},
    plugin::{Delete, Deleted},
    upstream::{Ask, told},
    wire::Status,
};

impl Shared {
    pub(super) async fn delete(self: Arc<Self>, delete: Delete) -> Result<Deleted, Status> {
        let uid = &delete.pod.uid;
        let (recorded, known) = {
            let pods = self.pods();
            let entry = pods.get(uid);
            let known = entry.is_some_and(Entry::is_sure);
            // Somebody else's pod goes too, though only its name is known.
            let named = || minimal(&delete.pod).filter(|_| pods.is_shared());
            let recorded = entry.map(|entry| entry.record.pod.clone()).or_else(named);
            (recorded, known)
        };
        // What comes with the delete says more than a mere name.
        let recorded = recorded.filter(|pod| delete.pod_json.is_empty() || !is_name(pod));
        let Some(body) = manifest(recorded, &delete.pod_json) else {
            return Ok(Deleted { existed: false });
        };
        let ask = Ask {
            method: Method::POST,
            path: "/delete",
            body,
            within: self.config.answer_timeout,
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

/// The whole pod. The one that comes with the delete says when it was deleted and with which grace, but may be no more
/// than a name: then the recorded one is sent, with what the other says of the deletion.
fn manifest(recorded: Option<Pod>, given: &Bytes) -> Option<Bytes> {
    let parsed = interlink::parse::<Pod>(given).ok();
    let is_whole = parsed.as_ref().is_some_and(|pod| !is_name(pod));
    match recorded {
        Some(recorded) if !is_whole => {
            let mut json = recorded.json().clone();
            for key in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
                if let Some(said) = parsed.as_ref().and_then(|pod| pod.json()["metadata"].get(key)) {
                    json["metadata"][key] = said.clone();
                }
            }
            Some(json.to_string().into())
        }
        _ => (!given.is_empty()).then(|| given.clone()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn sent(recorded: Option<&Value>, given: &str) -> Option<Value> {
        let recorded = recorded.map(|pod| Pod::from_value(pod.clone()).unwrap());
        let body = manifest(recorded, &Bytes::from(given.to_owned()))?;
        Some(serde_json::from_slice(&body).unwrap())
    }

    #[test]
    fn the_plugin_gets_a_whole_pod_that_says_when_it_was_deleted() {
        let whole = json!({"metadata": {"uid": "u"}, "spec": {"containers": [{"name": "main"}]}});
        let name = r#"{"metadata": {"uid": "u", "deletionGracePeriodSeconds": 3}}"#;
        let mut with_grace = whole.clone();
        with_grace["metadata"]["deletionGracePeriodSeconds"] = json!(3);
        assert_eq!(sent(Some(&whole), name), Some(with_grace.clone()));
        assert_eq!(sent(Some(&whole), ""), Some(whole.clone()));
        assert_eq!(sent(Some(&whole), &with_grace.to_string()), Some(with_grace));
        assert_eq!(sent(None, name), Some(serde_json::from_str(name).unwrap()));
        assert_eq!(sent(None, ""), None);
    }
}
