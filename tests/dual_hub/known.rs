//! Who knew what of a pod that did not come to a state.

use serde_json::Value;

use crate::{kubelet::Kubelet, site::HubProcess, upstream::Upstream};

impl HubProcess {
    /// Waits for the state of a pod; a failure tells who knew what of the pod: the hub, the plugin, and the bridge of each way.
    pub(crate) async fn until_state_at(&self, upstream: &Upstream, uid: &str, word: &str) {
        if !self.comes(async || self.status(uid).await.contains(word)).await {
            let known = self.known_of(upstream, uid).await;
            panic!("never {word}: {uid}; {}\n{known}", self.plugin().await);
        }
    }

    /// Who knows what of a pod.
    async fn known_of(&self, upstream: &Upstream, uid: &str) -> String {
        let (_, pods) = self.ask("GET", "/api/v1/pods", &Value::Null).await;
        let pods: Value = serde_json::from_str(&pods).unwrap_or_default();
        let ours = |pod: &&Value| pod["uid"] == uid;
        let hub = pods["items"].as_array().into_iter().flatten().find(ours);
        let record = |of: &str| {
            let file = self.dir.join(of).join("pods").join(format!("{uid}.json"));
            std::fs::read_to_string(file).unwrap_or_else(|error| error.to_string())
        };
        let calls = upstream.plugin.calls("GET /status");
        let asked = calls.iter().enumerate();
        let about: Vec<usize> = asked
            .filter(|(_, call)| call.body.to_string().contains(uid))
            .map(|(n, _)| n)
            .collect();
        let plugin = Kubelet {
            address: upstream.address.trim_start_matches("http://").to_owned(),
        };
        let at_plugin = plugin.status(uid).await;
        let mut said: Vec<String> = Vec::from(self.said.lock().unwrap().clone());
        said.retain(|line| line.contains(uid) || line.contains("plugin "));
        format!(
            "the hub: {}\nthe plugin: {at_plugin}; asked about it in {} of {} status calls, last in {:?}\nthe link's bridge: {}\nthe HTTP way's bridge: {}\nthe hub's log:\n{}",
            hub.unwrap_or(&Value::Null),
            about.len(),
            calls.len(),
            about.last(),
            record("link"),
            record("hub/ways/p1"),
            said.join("\n")
        )
    }
}
