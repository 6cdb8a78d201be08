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

mod plugin;
mod route;
mod session;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use tokio::{
    sync::{Notify, Semaphore},
    time::Instant,
};

pub(crate) use plugin::{Plugin, Pulse};
pub(crate) use session::{Phase, Route, SessionNumber};

use self::session::{Nudges, Session};
use crate::{
    code::Code,
    connection::{Connection, told::Told},
    hub::{Way, call::Unanswered, store::PluginRow, way},
    limits,
    planted::{self, Bug},
    wire::{NodeStatus, Register, Status, feature},
};

/// Locks, also after a panic elsewhere: no state here is left half changed by one.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the hub has applied of a plugin's outbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
}

impl Mark {
    /// Moves on, never back within an epoch.
    fn raise(&mut self, to: Self) {
        if self.epoch != to.epoch {
            *self = to;
        }
        self.seq = self.seq.max(to.seq);
    }

    /// Whether this is as far as `mark`, or farther, in the same epoch.
    pub(crate) fn covers(self, mark: Self) -> bool {
        self.epoch == mark.epoch && mark.seq <= self.seq
    }
}

/// What [`Registry::attach`] found.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) number: SessionNumber,
    /// What the hub has applied of the present outbox epoch.
    pub(crate) applied: Mark,
    /// So much of it is on the disk.
    pub(crate) kept: Mark,
    /// The hub has read all its pods since that outbox began: what it lacks comes as events.
    pub(crate) synced: bool,
    /// They were all read in this life of the hub.
    pub(crate) read: bool,
    /// The session that was taken over, and its way; to be closed.
    pub(crate) old: Option<(Connection, Way)>,
    /// Too many takeovers: two processes share the name.
    pub(crate) alarm: bool,
    pub(crate) first: bool,
}

/// Why a session was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Too many names are remembered.
    Full,
    /// The plugin has its own link.
    HasLink,
}

#[derive(Debug, Default)]
struct State {
    /// Boxed: the tree has room for almost twice as many as it holds, and moves them.
    plugins: BTreeMap<String, Box<Plugin>>,
    waiting: BTreeMap<String, Arc<Told<u64>>>,
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
    /// When too many names are remembered, or when this is the HTTP way and the plugin has its link.
    pub(crate) fn attach(
        &self,
        mut register: Register,
        remote: String,
        way: Way,
    ) -> Result<Attached, Refused> {
        let now = Instant::now();
        let mut state = lock(&self.state);
        state.last += 1;
        let number = SessionNumber(state.last);
        let name = register.plugin.clone();
        if !state.plugins.contains_key(&name) && state.plugins.len() >= limits::HUB_PLUGINS {
            return Err(Refused::Full);
        }
        if way == Way::Http && state.plugins.get(&name).is_some_and(|plugin| plugin.has_link()) {
            return Err(Refused::HasLink);
        }
        let taken = register.limits.as_ref().map_or(0, |limits| limits.max_calls);
        let taken = if taken == 0 {
            limits::MAX_CALLS
        } else {
            taken.min(limits::MAX_CALLS)
        } as usize;
        let session = Session {
            number,
            way,
            phase: Phase::Syncing,
            route: None,
            calls: Arc::new(Semaphore::new(taken)),
            creates: Arc::new(Semaphore::new((taken - taken / 4).max(1))),
            nudges: Arc::default(),
        };
        // A plugin that says nothing of its node is ready by being there.
        let node = register.node_status.take().unwrap_or(NodeStatus {
            ready: true,
            ..NodeStatus::default()
        });
        let first = !state.plugins.contains_key(&name);
        let plugin = state.plugins.entry(name.clone()).or_insert_with(|| {
            Box::new(Plugin {
                register: Register::default(),
                node: NodeStatus::default(),
                remote: String::new(),
                way,
                since: SystemTime::now(),
                last_seen: SystemTime::now(),
                reconnects: 0,
                lost_reason: String::new(),
                last_good: None,
                applied: Mark::default(),
                kept: Mark::default(),
                synced: false,
                read: false,
                session: None,
                takeovers: VecDeque::new(),
            })
        });
        if !first {
            plugin.reconnects += 1;
        }
        let was_good = plugin.is_ready();
        let old = plugin
            .session
            .take()
            .and_then(|old| old.route)
            .map(|route| (route.connection.clone(), route.way));
        let alarm = match &old {
            // From one way to the other is no fight.
            Some((old, was)) if *was == way && plugin.register.instance != register.instance => {
                let silent = now.into_std().saturating_duration_since(old.last_heard());
                silent < limits::TAKEOVER_FRESH && plugin.takeover(now)
            }
            _ => false,
        };
        let epoch = register.outbox.as_ref().map_or(0, |outbox| outbox.epoch);
        // Of another epoch nothing is known; applied() takes the new one over.
        if plugin.applied.epoch != epoch {
            plugin.applied = Mark::default();
            plugin.kept = Mark::default();
            plugin.synced = false;
        }
        plugin.session = Some(session);
        plugin.register = register;
        plugin.remote = remote;
        plugin.way = way;
        plugin.since = SystemTime::now();
        plugin.last_seen = plugin.since;
        plugin.lost_reason.clear();
        plugin.set_node(node, was_good, now);
        let attached = Attached {
            number,
            applied: plugin.applied,
            kept: plugin.kept,
            synced: plugin.synced,
            read: plugin.read,
            old,
            alarm,
            first,
        };
        state.wake(&name);
        Ok(attached)
    }

    /// Takes up the plugins of an earlier life.
    pub(crate) fn restore(&self, rows: Vec<PluginRow>) {
        let now = Instant::now();
        let mut state = lock(&self.state);
        for row in rows {
            let plugin = Plugin::from_row(row, now);
            state
                .plugins
                .insert(plugin.register.plugin.clone(), Box::new(plugin));
        }
    }

    /// The connection task runs. None when a newer session has taken the name meanwhile.
    pub(crate) fn connected(
        &self,
        name: &str,
        number: SessionNumber,
        connection: Connection,
    ) -> Option<Arc<Route>> {
        let mut state = lock(&self.state);
        let plugin = state.plugins.get_mut(name)?;
        let instance = plugin.register.instance.clone();
        let jobs_epoch = plugin.register.jobs_epoch;
        let shared = way::is_shared(&plugin.register, plugin.way);
        let session = plugin
            .session
            .as_mut()
            .filter(|session| session.number == number)?;
        let route = Arc::new(Route {
            flow_control: connection.has_feature(feature::FLOW_CONTROL),
            plugin: name.into(),
            session: number,
            connection,
            way: session.way,
            shared,
            instance,
            jobs_epoch,
            unanswered: Unanswered::default(),
            calls: session.calls.clone(),
            creates: session.creates.clone(),
            nudges: session.nudges.clone(),
        });
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
        state.wake(name);
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
            plugin.set_node(node, plugin.node.ready, Instant::now());
        }
        true
    }

    /// Everything up to `seq` was applied. Gives the mark to acknowledge.
    pub(crate) fn applied(&self, name: &str, number: SessionNumber, mark: Mark) -> Option<Mark> {
        let mut state = lock(&self.state);
        state.session(name, number)?;
        let plugin = state.plugins.get_mut(name)?;
        plugin.applied.raise(mark);
        Some(plugin.applied)
    }

    /// All pods were read over this session. False when it is fenced.
    pub(crate) fn synced(&self, name: &str, number: SessionNumber) -> bool {
        let mut state = lock(&self.state);
        if state.session(name, number).is_none() {
            return false;
        }
        if let Some(plugin) = state.plugins.get_mut(name) {
            plugin.synced = true;
            plugin.read = true;
        }
        true
    }

    /// What was applied up to this mark is on the disk: it may be acknowledged, also to a later session.
    pub(crate) fn kept(&self, name: &str, mark: Mark) {
        let mut state = lock(&self.state);
        if let Some(plugin) = state.plugins.get_mut(name)
            && plugin.applied.epoch == mark.epoch
        {
            plugin.kept.raise(mark);
        }
    }

    /// What was applied of the present session's outbox.
    pub(crate) fn mark(&self, name: &str, number: SessionNumber) -> Option<Mark> {
        let mut state = lock(&self.state);
        state.session(name, number)?;
        state.plugins.get(name).map(|plugin| plugin.applied)
    }

    /// Has the pods that are unread asked about, if the plugin is connected. As often as it is asked: one read takes them
    /// all.
    pub(crate) fn read_now(&self, name: &str) {
        self.nudge(name, |nudges| &nudges.read);
    }

    /// Has the deletes that are kept for a plugin made, if it is connected.
    pub(crate) fn delete_now(&self, name: &str) {
        self.nudge(name, |nudges| &nudges.deletes);
    }

    fn nudge(&self, name: &str, which: impl FnOnce(&Nudges) -> &Notify) {
        let state = lock(&self.state);
        if let Some(session) = state.plugins.get(name).and_then(|plugin| plugin.session.as_ref()) {
            which(&session.nudges).notify_one();
        }
    }

    /// Reads one plugin.
    pub(crate) fn with<R>(&self, name: &str, read: impl FnOnce(&Plugin) -> R) -> Option<R> {
        lock(&self.state).plugins.get(name).map(|plugin| read(plugin))
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
}

impl State {
    fn session(&mut self, name: &str, number: SessionNumber) -> Option<&mut Session> {
        self.plugins
            .get_mut(name)?
            .session
            .as_mut()
            .filter(|session| session.number == number || planted::is(Bug::NoFencing))
    }
}
