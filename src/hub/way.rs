//! The two ways to a plugin, and the wait for the other one to be free.
//!
//! A plugin's own link is preferred: it takes over from the HTTP way at once, and the HTTP way goes on only while there
//! is no link. What a link says of pods is the word of the plugin itself; the HTTP way (a bridge in this process) asks a
//! plugin that may have pods which came to it by its link.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{Hub, registry::lock};
use crate::{
    interlink::Pod,
    wire::{Register, feature},
};

/// How the hub reaches a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Way {
    /// The plugin has dialled.
    #[default]
    Link,
    /// This hub calls the plugin's REST.
    Http,
}

impl Way {
    /// The word for people, labels of metrics, and the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Http => "http",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether this plugin looks beyond its own records, for pods that came to it by the other way.
pub(crate) fn is_shared(register: &Register, way: Way) -> bool {
    way == Way::Http || register.features.iter().any(|name| name == feature::SHARED)
}

/// Who must know what happens to a plugin's pods over its link: the HTTP way asks and deletes with whole manifests. Called
/// often and from everywhere, so it must be quick and must not block.
pub trait Onlooker: fmt::Debug + Send + Sync + 'static {
    /// A pod is placed at the plugin. `created`: the plugin has answered its create; else nobody knows yet.
    fn placed(&self, pod: &Pod, created: bool);
    /// The plugin has confirmed the delete of a pod.
    fn deleted(&self, uid: &str);
}

impl Hub {
    /// Tells somebody about the pods of a plugin from now on. There is one for each name; the latest counts.
    pub fn look_on(&self, plugin: &str, onlooker: Arc<dyn Onlooker>) {
        lock(&self.onlookers).insert(plugin.to_owned(), onlooker);
    }

    /// Waits until a plugin has had no link for `settle`: a plugin that lost its link dials again in a second, and then the
    /// other way need not begin. Cancel safe.
    pub async fn without_link(&self, plugin: &str, settle: Duration) {
        loop {
            self.registry.link_is(plugin, false).await;
            if timeout(settle, self.registry.link_is(plugin, true))
                .await
                .is_err()
            {
                return;
            }
        }
    }

    /// Who looks on at this plugin.
    pub(crate) fn onlooker(&self, plugin: &str) -> Option<Arc<dyn Onlooker>> {
        lock(&self.onlookers).get(plugin).cloned()
    }

    /// Whether anybody looks on at all.
    pub(crate) fn has_onlookers(&self) -> bool {
        !lock(&self.onlookers).is_empty()
    }

    /// Whether a plugin has both ways.
    pub(crate) fn has_two_ways(&self, plugin: &str) -> bool {
        self.onlooker(plugin).is_some() && !self.config.http_only.iter().any(|name| name == plugin)
    }

    /// Tells of a create from its payload.
    pub(crate) fn tell_placed(&self, plugin: &str, payload: &[u8], created: bool) {
        #[derive(serde::Deserialize)]
        struct Retrieved {
            pod: Pod,
        }
        if let Some(onlooker) = self.onlooker(plugin)
            && let Ok(Retrieved { pod }) = serde_json::from_slice(payload)
        {
            onlooker.placed(&pod, created);
        }
    }

    /// Tells of pods whose state was asked for: their manifests came with the question.
    pub(crate) fn tell_asked(&self, pods: &[Pod]) {
        if !self.has_onlookers() {
            return;
        }
        let placed: Vec<(String, &Pod)> = self.read_pods(|table| {
            let known = |pod: &'_ Pod| {
                let entry = table.get(pod.uid())?;
                let stays = entry.answered && entry.deleting.is_none() && entry.delete_asked.is_none();
                (stays && entry.lost.is_none() && !entry.is_terminal()).then(|| entry.plugin.clone())
            };
            pods.iter().filter_map(|pod| Some((known(pod)?, pod))).collect()
        });
        for (plugin, pod) in placed {
            if let Some(onlooker) = self.onlooker(&plugin) {
                onlooker.placed(pod, true);
            }
        }
    }
}
