//! The way to a plugin: who takes calls now, the wait for one that does not, and why it does not.

use std::{sync::Arc, time::SystemTime};

use tokio::time::Instant;

use super::{
    Registry, State, lock,
    plugin::Plugin,
    session::{Phase, Route},
};
use crate::{
    code::{Code, reason},
    connection::{Connection, told::Told},
    hub::{
        placement::{Candidate, NODE_LABEL, list},
        view::rfc3339,
    },
    wire::Status,
};

impl Registry {
    /// The route of a plugin that takes calls now.
    pub(crate) fn route(&self, name: &str) -> Option<Arc<Route>> {
        lock(&self.state).route(name)
    }

    /// Waits until the plugin takes calls. None when `until` came first. Cancel safe.
    pub(crate) async fn routable(&self, name: &str, until: Instant) -> Option<Arc<Route>> {
        tokio::time::timeout_at(until, self.when(name, |state| state.route(name)))
            .await
            .ok()
    }

    /// Waits until a plugin has a link of its own, or has none. Cancel safe.
    pub(crate) async fn link_is(&self, name: &str, there: bool) {
        let is_so = |state: &State| state.plugins.get(name).is_some_and(|plugin| plugin.has_link()) == there;
        self.when(name, |state| is_so(state).then_some(())).await;
    }

    /// Looks at the registry until `look` finds something: now, and whenever the session of the name changes. Cancel safe.
    async fn when<R>(&self, name: &str, look: impl Fn(&State) -> Option<R>) -> R {
        let waiting = {
            let mut state = lock(&self.state);
            if let Some(found) = look(&state) {
                return found;
            }
            let changes = state.waiting.entry(name.to_owned()).or_default().clone();
            Waiting {
                registry: self,
                changes,
            }
        };
        let mut seen = 0;
        loop {
            if let Some(found) = look(&lock(&self.state)) {
                return found;
            }
            seen = waiting.changes.wait_for(|count| *count != seen).await;
        }
    }

    /// All plugins as placement sees them, or only the one that has the node's name; the pods are counted by the caller.
    pub(crate) fn candidates(&self, node: Option<&str>) -> Vec<Candidate> {
        let state = lock(&self.state);
        let candidate = |name: &String, plugin: &Plugin| Candidate {
            name: name.clone(),
            node: plugin.register.labels.get(NODE_LABEL).cloned(),
            connected: plugin.session.is_some(),
            ready: plugin.takes_pods(),
            pods: 0,
        };
        match node.and_then(|name| state.plugins.get_key_value(name)) {
            Some((name, plugin)) => vec![candidate(name, plugin)],
            None => (state.plugins.iter())
                .map(|(name, plugin)| candidate(name, plugin))
                .collect(),
        }
    }

    /// All live connections.
    pub(crate) fn connections(&self) -> Vec<Connection> {
        let state = lock(&self.state);
        let routes = state
            .plugins
            .values()
            .filter_map(|plugin| plugin.session.as_ref()?.route.as_ref());
        routes.map(|route| route.connection.clone()).collect()
    }

    /// Why a create did not get its turn, for the text of a 503.
    pub(crate) fn busy(&self, name: &str) -> Status {
        if self.route(name).is_none() {
            return self.absence(name);
        }
        let text = format!(
            "plugin {name} is connected, but it was busy with other creates until the time was over; last seen {}",
            rfc3339(SystemTime::now())
        );
        Status::new(Code::Unavailable, reason::TOO_MANY_CALLS, text)
    }

    /// Why a plugin cannot be called, for the text of a 503: name, when last seen, and why.
    pub(crate) fn absence(&self, name: &str) -> Status {
        let state = lock(&self.state);
        let text = match state.plugins.get(name) {
            None => {
                let known = list(state.plugins.keys().map(String::as_str));
                let known = if known.is_empty() {
                    "none".to_owned()
                } else {
                    known
                };
                format!("plugin {name} has never connected to this hub (known: {known})")
            }
            Some(plugin) => match &plugin.session {
                None => format!(
                    "plugin {name} is not connected, last seen {}: {}",
                    rfc3339(plugin.last_seen),
                    plugin.lost_reason
                ),
                Some(session) => match session.phase {
                    Phase::Syncing => {
                        format!("plugin {name} is connected, but its pods are still being read")
                    }
                    Phase::Draining => format!("plugin {name} is going away"),
                    Phase::Active => format!("plugin {name} was just lost"),
                },
            },
        };
        Status::new(Code::Unavailable, reason::PLUGIN_OFFLINE, text)
    }
}

/// One who waits, until it is dropped.
struct Waiting<'a> {
    registry: &'a Registry,
    changes: Arc<Told<u64>>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // The map's own and this one are the last when nobody else waits.
        let mut state = lock(&self.registry.state);
        state.waiting.retain(|_, changes| {
            Arc::strong_count(changes) > 1 + usize::from(Arc::ptr_eq(changes, &self.changes))
        });
    }
}

impl State {
    fn route(&self, name: &str) -> Option<Arc<Route>> {
        let session = self.plugins.get(name)?.session.as_ref()?;
        let route = session
            .route
            .as_ref()
            .filter(|route| route.connection.is_open())?;
        (session.phase == Phase::Active).then(|| route.clone())
    }

    pub(super) fn wake(&self, name: &str) {
        if let Some(changes) = self.waiting.get(name) {
            changes.change(|count| *count += 1);
        }
    }
}
