//! Pods that came to the plugin by another way: its other users create and delete there too.
//!
//! Such a pod is adopted when somebody asks about it: from then on the plugin is asked about it like about any other, and
//! a delete goes there with what is known of it. It is ABSENT only when the plugin itself does not have it, and no other
//! user can still be creating it.

use std::sync::Arc;

use serde_json::json;

use super::{RestBackend, Shared, entry::Entry, pods::Pods, record::Record};
use crate::{interlink::Pod, limits, wire::PodRef};

impl RestBackend {
    /// Takes up a pod that somebody else created, or is creating when not `created`. One that was deleted here is not taken
    /// up again. Quick: a record is written later. Call it inside a tokio runtime.
    pub fn adopt(&self, pod: &Pod, created: bool) {
        self.shared.adopt(pod, created);
    }

    /// Forgets a pod that was deleted by another way.
    pub fn disown(&self, uid: &str) {
        let known = {
            let mut pods = self.shared.pods();
            pods.bury(uid);
            pods.get(uid).is_some()
        };
        if known {
            let (shared, uid) = (self.shared.clone(), uid.to_owned());
            tokio::spawn(async move {
                if let Err(error) = shared.forget(&uid, true).await {
                    tracing::warn!(uid, %error, "the record of a deleted pod could not be removed");
                }
            });
        }
    }

    /// Stops asking the plugin, until [`RestBackend::wake`]: another way is in use, and two would ask twice as often.
    pub fn rest(&self) {
        self.shared.awake.send_replace(false);
    }

    /// Asks again. What was heard of pods that had not ended is forgotten: it is old.
    pub fn wake(&self) {
        if !*self.shared.awake.borrow() {
            self.shared.pods().hear_afresh();
            self.shared.node.ask_afresh();
            self.shared.awake.send_replace(true);
        }
    }
}

impl Shared {
    /// Takes up pods that only their names are known of, if others may have created them.
    pub(super) fn adopt_named(self: &Arc<Self>, pods: &[PodRef]) {
        if !self.pods().is_shared() {
            return;
        }
        for pod in pods {
            if self.pods().get(&pod.uid).is_none()
                && let Some(manifest) = minimal(pod)
            {
                self.adopt(&manifest, false);
            }
        }
    }

    fn adopt(self: &Arc<Self>, pod: &Pod, created: bool) {
        let Some(record) = self.pods().adopt(pod, created) else {
            return;
        };
        let shared = self.clone();
        tokio::spawn(async move {
            let uid = record.pod.uid().to_owned();
            if let Err(error) = shared.keep(record).await {
                tracing::warn!(uid, %error, "an adopted pod could not be recorded");
            }
            // It was deleted while that was written.
            if shared.pods().get(&uid).is_none() {
                let _ = shared.forget(&uid, false).await;
            }
        });
    }
}

impl Pods {
    /// Enters a pod of somebody else. Gives the record to keep, if there is anything new.
    pub(super) fn adopt(&mut self, pod: &Pod, created: bool) -> Option<Record> {
        let uid = pod.uid();
        let whole = !pod.spec().containers.is_empty();
        match self.get(uid) {
            Some(entry) => {
                let better = whole && entry.is_minimal();
                let news = created && !entry.record.created;
                if entry.sending || (!better && !news) {
                    return None;
                }
                let manifest = if better {
                    pod.clone()
                } else {
                    entry.record.pod.clone()
                };
                let mut record = entry.record.clone();
                record.pod = manifest;
                record.created |= created;
                self.put(record.clone());
                Some(record)
            }
            None if self.is_buried(uid) || self.len() >= limits::UPSTREAM_PODS => None,
            None => {
                let mut record = Record::adopted(pod.clone());
                record.created = created;
                self.put(record.clone());
                Some(record)
            }
        }
    }
}

impl Entry {
    /// Only its name is known.
    pub(super) fn is_minimal(&self) -> bool {
        self.record.pod.spec().containers.is_empty()
    }
}

/// A manifest of a pod that no more is known of than its name.
pub(super) fn minimal(pod: &PodRef) -> Option<Pod> {
    let metadata = json!({"uid": pod.uid, "name": pod.name, "namespace": pod.namespace});
    Pod::from_value(json!({"metadata": metadata, "spec": {"containers": []}})).ok()
}
