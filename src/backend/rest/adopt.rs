//! Pods that came to the plugin by another way: its other users create and delete there too.
//!
//! Such a pod is adopted when somebody asks about it: from then on the plugin is asked about it like about any other, and
//! a delete goes there with what is known of it. It is ABSENT only when the plugin itself does not have it, and no other
//! user can still be creating it.

use std::sync::Arc;

use serde_json::json;
use tokio::time::Instant;

use super::{
    RestBackend, Shared,
    entry::Entry,
    pods::{Fate, Pods},
    record::Record,
};
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

    /// Asks again. What was heard of pods that had not ended is forgotten, unless the next call is not due yet.
    pub fn wake(&self) {
        if !*self.shared.awake.borrow() {
            if !self.shared.node.is_fresh(self.shared.config.status_interval) {
                self.shared.pods().hear_afresh();
                self.shared.node.ask_afresh();
            }
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
        if !self.pods().adopt(pod, created) {
            return;
        }
        let (shared, uid) = (self.clone(), pod.uid().to_owned());
        tokio::spawn(async move {
            if let Err(error) = shared.keep_adopted(&uid).await {
                tracing::warn!(uid, %error, "an adopted pod could not be recorded");
            }
        });
    }
}

impl Pods {
    /// Enters a pod of somebody else. Whether there is anything new to keep.
    pub(super) fn adopt(&mut self, pod: &Pod, created: bool) -> bool {
        let uid = pod.uid();
        let whole = !is_name(pod);
        match self.get(uid) {
            Some(entry) => {
                let better = whole && entry.is_minimal();
                let news = created && !entry.record.created;
                if entry.sending || (!better && !news) {
                    return false;
                }
                let manifest = if better {
                    pod.clone()
                } else {
                    entry.record.pod.clone()
                };
                let mut record = entry.record.clone();
                record.pod = manifest;
                record.created |= created;
                self.put(record);
                true
            }
            None if self.is_buried(uid) || self.len() >= limits::UPSTREAM_PODS => false,
            None => {
                let mut record = Record::adopted(pod.clone());
                record.created = created;
                self.put(record);
                true
            }
        }
    }

    /// This uid is not adopted from now on.
    pub(super) fn bury(&mut self, uid: &str) {
        if self.buried.insert(uid.to_owned()) {
            self.burials.push_back(uid.to_owned());
            if self.burials.len() > limits::UPSTREAM_PODS
                && let Some(oldest) = self.burials.pop_front()
            {
                self.buried.remove(&oldest);
            }
        }
    }

    /// Whether others create pods too.
    pub(super) fn share(&mut self, shared: bool) {
        self.shared = shared;
    }

    /// Whether others create pods too.
    pub(super) fn is_shared(&self) -> bool {
        self.shared
    }

    /// Whether this uid was deleted.
    pub(super) fn is_buried(&self, uid: &str) -> bool {
        self.buried.contains(uid)
    }

    /// Forgets what was heard of pods that have not ended: it is old.
    pub(super) fn hear_afresh(&mut self) {
        self.down = false;
        for entry in self.entries.values_mut() {
            entry.not_found = None;
            entry.unheard = 0;
            if !entry.is_over() {
                entry.state = None;
                entry.absent = false;
            }
            entry.since = Instant::now();
        }
    }

    /// Pods that somebody asked about, and that the upstream does not have: nobody else will forget them. They stay a while,
    /// for whoever asks twice.
    pub(super) fn strangers(&self) -> Vec<String> {
        let is_stranger = |uid: &str, entry: &Entry| {
            !entry.is_sure()
                && !entry.sending
                && entry.since.elapsed() >= 2 * self.others.max(limits::UPSTREAM_NOT_FOUND)
                && self.fate(uid) == Fate::Absent
        };
        let strangers = self.entries.iter().filter(|(uid, entry)| is_stranger(uid, entry));
        strangers.map(|(uid, _)| uid.clone()).collect()
    }
}

impl Entry {
    /// Only its name is known.
    pub(super) fn is_minimal(&self) -> bool {
        is_name(&self.record.pod)
    }
}

/// Whether a manifest says no more of a pod than its name.
pub(super) fn is_name(pod: &Pod) -> bool {
    pod.spec().containers.is_empty()
}

/// A manifest of a pod that no more is known of than its name.
pub(super) fn minimal(pod: &PodRef) -> Option<Pod> {
    let metadata = json!({"uid": pod.uid, "name": pod.name, "namespace": pod.namespace});
    Pod::from_value(json!({"metadata": metadata, "spec": {"containers": []}})).ok()
}
