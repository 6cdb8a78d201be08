//! Who is connected: plugins by name, and the one session each may have.
//!
//! ```text
//! AWAIT_REGISTER -> SYNCING -> ACTIVE -> DRAINING -> DETACHED
//!                      |         |                      ^
//!                      +---------+--------- loss -------+      DETACHED -same name-> SYNCING | ACTIVE
//! ```
//!
//! The newest session of a name wins. Every session has a number; a frame or a loss that carries an older number than
//! the plugin's present one is ignored, so that a fenced session cannot change anything any more.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};

use super::placement::{Candidate, NODE_LABEL};
use crate::{
    code::{Code, reason},
    connection::Connection,
    limits,
    wire::{NodeStatus, Register, Status, feature},
};

/// Plugin names that are remembered. A new name over it is refused.
const MAX_PLUGINS: usize = 10_000;
/// A takeover counts only if the old session was heard of this recently: else it was only half open.
const TAKEOVER_FRESH: Duration = Duration::from_secs(5);
/// This many takeovers in [`TAKEOVER_SPAN`] raise an alarm.
const TAKEOVER_ALARM: usize = 3;
const TAKEOVER_SPAN: Duration = Duration::from_secs(3600);

/// Locks, also after a panic elsewhere: no state here is left half changed by one.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of a session: higher is newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SessionNumber(u64);

impl SessionNumber {
    /// For logs.
    pub(crate) fn get(self) -> u64 {
        self.0
    }
}

/// Where a session stands. AWAIT_REGISTER has no entry here; DETACHED is a plugin without a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Connected; its pods are being read.
    Syncing,
    /// Calls are routed to it.
    Active,
    /// It takes no new call.
    Draining,
}

/// What the hub has applied of a plugin's outbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
}

/// All that is needed to call a plugin; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) connection: Connection,
    pub(crate) instance: String,
    pub(crate) jobs_epoch: u64,
    pub(crate) flow_control: bool,
    /// Unary calls that the plugin takes at once.
    pub(crate) calls: Arc<Semaphore>,
    /// Creates may not take all of them: deletes and status reads must get through.
    pub(crate) creates: Arc<Semaphore>,
}

/// A session as the registry keeps it.
#[derive(Debug)]
struct Session {
    number: SessionNumber,
    phase: Phase,
    route: Option<Route>,
    calls: Arc<Semaphore>,
    creates: Arc<Semaphore>,
}

/// One plugin, connected or remembered.
#[derive(Debug)]
pub(crate) struct Plugin {
    pub(crate) register: Register,
    pub(crate) node: NodeStatus,
    pub(crate) remote: String,
    pub(crate) since: SystemTime,
    pub(crate) last_seen: SystemTime,
    pub(crate) reconnects: u64,
    /// Why it is not connected.
    pub(crate) lost_reason: String,
    /// When ping was last good, and with what; the grace runs from here.
    pub(crate) last_good: Option<(Instant, NodeStatus)>,
    pub(crate) applied: Mark,
    session: Option<Session>,
    takeovers: VecDeque<Instant>,
}

/// What [`Registry::attach`] found.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) number: SessionNumber,
    /// What the hub has applied of the present outbox epoch.
    pub(crate) applied: Mark,
    /// The session that was taken over; to be closed.
    pub(crate) old: Option<Connection>,
    /// Too many takeovers: two processes share the name.
    pub(crate) alarm: bool,
    pub(crate) first: bool,
}

/// How a plugin answers ping.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Pulse {
    /// Good, or within the grace: the last good status.
    Good(NodeStatus),
    /// Why not.
    Bad(String),
}

#[derive(Debug, Default)]
struct State {
    plugins: BTreeMap<String, Plugin>,
    waiting: HashMap<String, watch::Sender<u64>>,
    last: u64,
}

/// All plugins by name.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    state: Mutex<State>,
}

impl Registry {
    /// Makes a new session the present one of its name and fences the old one.
    ///
    /// # Errors
    /// When too many names are remembered.
    pub(crate) fn attach(&self, register: Register, remote: String) -> Result<Attached, String> {
        let now = Instant::now();
        let mut state = lock(&self.state);
        state.last += 1;
        let number = SessionNumber(state.last);
        let name = register.plugin.clone();
        if !state.plugins.contains_key(&name) && state.plugins.len() >= MAX_PLUGINS {
            return Err(format!(
                "{MAX_PLUGINS} plugin names are known already; forget some with `towline plugins forget`"
            ));
        }
        let taken = register.limits.as_ref().map_or(0, |limits| limits.max_calls);
        let taken = if taken == 0 {
            limits::MAX_CALLS
        } else {
            taken.min(limits::MAX_CALLS)
        } as usize;
        let session = Session {
            number,
            phase: Phase::Syncing,
            route: None,
            calls: Arc::new(Semaphore::new(taken)),
            creates: Arc::new(Semaphore::new((taken - taken / 4).max(1))),
        };
        // A plugin that says nothing of its node is ready by being there.
        let node = register.node_status.clone().unwrap_or(NodeStatus {
            ready: true,
            ..NodeStatus::default()
        });
        let first = !state.plugins.contains_key(&name);
        let plugin = state.plugins.entry(name).or_insert_with(|| Plugin {
            register: Register::default(),
            node: NodeStatus::default(),
            remote: String::new(),
            since: SystemTime::now(),
            last_seen: SystemTime::now(),
            reconnects: 0,
            lost_reason: String::new(),
            last_good: None,
            applied: Mark::default(),
            session: None,
            takeovers: VecDeque::new(),
        });
        if !first {
            plugin.reconnects += 1;
        }
        let old = plugin
            .session
            .take()
            .and_then(|old| old.route)
            .map(|route| route.connection);
        let alarm = match &old {
            Some(old) if plugin.register.instance != register.instance => {
                let silent = now.into_std().saturating_duration_since(old.last_heard());
                silent < TAKEOVER_FRESH && plugin.takeover(now)
            }
            _ => false,
        };
        let epoch = register.outbox.as_ref().map_or(0, |outbox| outbox.epoch);
        // Of another epoch nothing is known; applied() takes the new one over.
        if plugin.applied.epoch != epoch {
            plugin.applied = Mark::default();
        }
        plugin.session = Some(session);
        plugin.register = register;
        plugin.remote = remote;
        plugin.since = SystemTime::now();
        plugin.last_seen = plugin.since;
        plugin.lost_reason.clear();
        plugin.set_node(node, now);
        Ok(Attached {
            number,
            applied: plugin.applied,
            old,
            alarm,
            first,
        })
    }

    /// The connection task runs. None when a newer session has taken the name meanwhile.
    pub(crate) fn connected(
        &self,
        name: &str,
        number: SessionNumber,
        connection: Connection,
    ) -> Option<Route> {
        let mut state = lock(&self.state);
        let plugin = state.plugins.get_mut(name)?;
        let instance = plugin.register.instance.clone();
        let jobs_epoch = plugin.register.jobs_epoch;
        let session = plugin
            .session
            .as_mut()
            .filter(|session| session.number == number)?;
        let route = Route {
            flow_control: connection.has_feature(feature::FLOW_CONTROL),
            connection,
            instance,
            jobs_epoch,
            calls: session.calls.clone(),
            creates: session.creates.clone(),
        };
        session.route = Some(route.clone());
        Some(route)
    }

    /// Moves a session on. False when it is fenced.
    pub(crate) fn set_phase(&self, name: &str, number: SessionNumber, phase: Phase) -> bool {
        let mut state = lock(&self.state);
        let Some(session) = state.session(name, number) else {
            return false;
        };
        // Draining is never left for Active: the peer has said that it goes.
        if session.phase != Phase::Draining {
            session.phase = phase;
        }
        state.wake(name);
        true
    }

    /// The session ended. False when it was fenced: then nothing changes.
    pub(crate) fn detach(&self, name: &str, number: SessionNumber, reason: &str) -> bool {
        let mut state = lock(&self.state);
        if state.session(name, number).is_none() {
            return false;
        }
        let Some(plugin) = state.plugins.get_mut(name) else {
            return false;
        };
        plugin.session = None;
        plugin.last_seen = SystemTime::now();
        reason.clone_into(&mut plugin.lost_reason);
        if let Some((at, _)) = plugin.last_good.as_mut().filter(|_| plugin.node.ready) {
            *at = Instant::now();
        }
        true
    }

    /// Whether this session is the present one of its name.
    pub(crate) fn is_present(&self, name: &str, number: SessionNumber) -> bool {
        lock(&self.state).session(name, number).is_some()
    }

    /// A new node status. False when the session is fenced.
    pub(crate) fn node_status(&self, name: &str, number: SessionNumber, node: NodeStatus) -> bool {
        let mut state = lock(&self.state);
        if state.session(name, number).is_none() {
            return false;
        }
        if let Some(plugin) = state.plugins.get_mut(name) {
            plugin.set_node(node, Instant::now());
        }
        true
    }

    /// Everything up to `seq` was applied. Gives the mark to acknowledge.
    pub(crate) fn applied(&self, name: &str, number: SessionNumber, mark: Mark) -> Option<Mark> {
        let mut state = lock(&self.state);
        state.session(name, number)?;
        let plugin = state.plugins.get_mut(name)?;
        if plugin.applied.epoch != mark.epoch {
            plugin.applied = mark;
        }
        plugin.applied.seq = plugin.applied.seq.max(mark.seq);
        Some(plugin.applied)
    }

    /// What was applied of the present session's outbox.
    pub(crate) fn mark(&self, name: &str, number: SessionNumber) -> Option<Mark> {
        let mut state = lock(&self.state);
        state.session(name, number)?;
        state.plugins.get(name).map(|plugin| plugin.applied)
    }

    /// The route of a plugin that takes calls now.
    pub(crate) fn route(&self, name: &str) -> Option<Route> {
        lock(&self.state).route(name)
    }

    /// Waits until the plugin takes calls. None when `until` came first. Cancel safe.
    pub(crate) async fn routable(&self, name: &str, until: Instant) -> Option<Route> {
        let mut changes = {
            let mut state = lock(&self.state);
            if let Some(route) = state.route(name) {
                return Some(route);
            }
            state
                .waiting
                .entry(name.to_owned())
                .or_insert_with(|| watch::channel(0).0)
                .subscribe()
        };
        let found = tokio::time::timeout_at(until, async {
            loop {
                if changes.changed().await.is_err() {
                    return None;
                }
                if let Some(route) = self.route(name) {
                    return Some(route);
                }
            }
        })
        .await
        .ok()
        .flatten();
        drop(changes);
        lock(&self.state)
            .waiting
            .retain(|_, sender| sender.receiver_count() > 0);
        found
    }

    /// All plugins as placement sees them; the pods are counted by the caller.
    pub(crate) fn candidates(&self) -> Vec<Candidate> {
        let state = lock(&self.state);
        let candidate = |(name, plugin): (&String, &Plugin)| Candidate {
            name: name.clone(),
            node: plugin.register.labels.get(NODE_LABEL).cloned(),
            connected: plugin.session.is_some(),
            ready: plugin.is_ready(),
            pods: 0,
        };
        state.plugins.iter().map(candidate).collect()
    }

    /// Reads one plugin.
    pub(crate) fn with<R>(&self, name: &str, read: impl FnOnce(&Plugin) -> R) -> Option<R> {
        lock(&self.state).plugins.get(name).map(read)
    }

    /// Reads all plugins, by name.
    pub(crate) fn each<R>(&self, mut read: impl FnMut(&str, &Plugin) -> R) -> Vec<R> {
        lock(&self.state)
            .plugins
            .iter()
            .map(|(name, plugin)| read(name, plugin))
            .collect()
    }

    /// How many are connected.
    pub(crate) fn connected_count(&self) -> usize {
        lock(&self.state)
            .plugins
            .values()
            .filter(|plugin| plugin.session.is_some())
            .count()
    }

    /// Forgets a plugin that is not connected.
    ///
    /// # Errors
    /// NOT_FOUND, or FAILED_PRECONDITION when it is connected.
    pub(crate) fn forget(&self, name: &str) -> Result<(), Status> {
        let mut state = lock(&self.state);
        match state.plugins.get(name) {
            None => Err(Status::new(
                Code::NotFound,
                "",
                format!("plugin {name} is not known"),
            )),
            Some(plugin) if plugin.session.is_some() => Err(Status::new(
                Code::FailedPrecondition,
                "",
                format!("plugin {name} is connected; stop it before it is forgotten"),
            )),
            Some(_) => {
                state.plugins.remove(name);
                Ok(())
            }
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

    /// Why a plugin cannot be called, for the text of a 503: name, when last seen, and why.
    pub(crate) fn absence(&self, name: &str) -> Status {
        let state = lock(&self.state);
        let text = match state.plugins.get(name) {
            None => {
                let known = super::placement::list(state.plugins.keys().map(String::as_str));
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
                    super::view::rfc3339(plugin.last_seen),
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

impl State {
    fn session(&mut self, name: &str, number: SessionNumber) -> Option<&mut Session> {
        self.plugins
            .get_mut(name)?
            .session
            .as_mut()
            .filter(|session| session.number == number)
    }

    fn route(&self, name: &str) -> Option<Route> {
        let session = self.plugins.get(name)?.session.as_ref()?;
        let route = session
            .route
            .as_ref()
            .filter(|route| route.connection.is_open())?;
        (session.phase == Phase::Active).then(|| route.clone())
    }

    fn wake(&self, name: &str) {
        if let Some(sender) = self.waiting.get(name) {
            sender.send_modify(|count| *count += 1);
        }
    }
}

impl Plugin {
    /// Connected, and it can start pods.
    pub(crate) fn is_ready(&self) -> bool {
        self.session.is_some() && self.node.ready
    }

    /// Whether it has a session.
    pub(crate) fn is_connected(&self) -> bool {
        self.session.is_some()
    }

    /// Why it is not ready or not connected; empty when fine.
    pub(crate) fn reason(&self) -> String {
        match &self.session {
            None => format!("not connected: {}", self.lost_reason),
            Some(_) if self.node.ready => String::new(),
            Some(_) if self.node.reason.is_empty() => "not ready, and it did not say why".into(),
            Some(_) => self.node.reason.clone(),
        }
    }

    /// How it answers ping.
    pub(crate) fn pulse(&self, now: Instant, grace: Duration) -> Pulse {
        if self.is_ready() {
            return Pulse::Good(self.node.clone());
        }
        match &self.last_good {
            Some((at, node)) if now.duration_since(*at) < grace => Pulse::Good(node.clone()),
            _ => Pulse::Bad(self.reason()),
        }
    }

    /// Lists left out of a new status mean that nothing changed about them.
    fn set_node(&mut self, mut node: NodeStatus, now: Instant) {
        if self.node.ready {
            self.last_good = Some((now, self.node.clone()));
        }
        if node.accelerators.is_none() {
            node.accelerators = self.node.accelerators.take();
        }
        if node.taints.is_none() {
            node.taints = self.node.taints.take();
        }
        if node.ready {
            self.last_good = Some((now, node.clone()));
        }
        self.node = node;
    }

    /// Counts a takeover; true when there were too many lately.
    fn takeover(&mut self, now: Instant) -> bool {
        self.takeovers
            .retain(|at| now.duration_since(*at) < TAKEOVER_SPAN);
        self.takeovers.push_back(now);
        if self.takeovers.len() > TAKEOVER_ALARM {
            self.takeovers.pop_front();
        }
        self.takeovers.len() >= TAKEOVER_ALARM
    }
}
