//! The state table: what the hub last heard of each pod. Pure; time is an argument.
//!
//! A cache of what the plugins know, fed by events and by GetStatus. A state is applied only if its sequence
//! number is not older within its epoch, and a terminal pod goes back only if a restart count rises.

use std::{
    collections::{HashMap, VecDeque},
    time::SystemTime,
};

use tokio::time::Instant;

use crate::{
    interlink, limits,
    wire::{
        ContainerState, ContainerTerminated, PodRef, PodState, Presence, Timestamp, container_state::State,
    },
};

/// Pods that are not terminal, over all plugins. Adoption of more is refused and counted.
pub(crate) const MAX_PODS: usize = 200_000;

/// Everything known of one pod.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) pod: PodRef,
    /// The owner: later calls go there.
    pub(crate) plugin: String,
    pub(crate) job_id: String,
    /// True once the plugin has answered its create (or has told of the pod by itself).
    pub(crate) answered: bool,
    /// True once the plugin has confirmed a delete.
    pub(crate) deleting: bool,
    /// When its delete was asked for.
    pub(crate) delete_asked: Option<SystemTime>,
    /// Why it counts as lost.
    pub(crate) lost: Option<String>,
    /// The latest state; none before the first one, or after updateCache.
    pub(crate) state: Option<PodState>,
    pub(crate) created_at: SystemTime,
    pub(crate) observed_at: Option<SystemTime>,
    /// Names and images of the spec at create, so that a lost pod without any state can be reported.
    names: Vec<(String, String)>,
    epoch: u64,
    seq: u64,
    absent_since: Option<Instant>,
    terminal: bool,
}

/// Where a state comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) plugin: &'a str,
    pub(crate) epoch: u64,
    pub(crate) now: Instant,
}

/// What a state did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applied {
    /// A pod that was not known.
    Added,
    /// The state replaced the former one.
    Changed,
    /// Nothing new: older, the same, or no news.
    Unchanged,
    /// The pod is gone: it was deleted.
    Removed,
    /// First of two ABSENT answers.
    Suspected,
    /// Second of two: the pod is now reported as failed.
    Lost,
    /// The pod belongs to another plugin, the reference is bad, or the table is full.
    Refused,
}

/// All pods by uid.
#[derive(Debug, Default)]
pub(crate) struct PodTable {
    pods: HashMap<String, Entry>,
    active: HashMap<String, usize>,
    terminal: VecDeque<(Instant, String)>,
}

impl PodTable {
    /// Enters a pod whose create is under way. An existing entry is left as it is.
    pub(crate) fn begin(&mut self, pod: PodRef, plugin: &str, names: Vec<(String, String)>) -> Applied {
        if self.pods.contains_key(&pod.uid) {
            return Applied::Unchanged;
        }
        if self.pods.len() >= MAX_PODS {
            return Applied::Refused;
        }
        self.insert(Entry {
            pod,
            plugin: plugin.to_owned(),
            job_id: String::new(),
            answered: false,
            deleting: false,
            delete_asked: None,
            lost: None,
            state: None,
            created_at: SystemTime::now(),
            observed_at: None,
            names,
            epoch: 0,
            seq: 0,
            absent_since: None,
            terminal: false,
        });
        Applied::Added
    }

    /// The plugin answered the create.
    pub(crate) fn answered(&mut self, uid: &str, job_id: &str) {
        if let Some(entry) = self.pods.get_mut(uid) {
            entry.answered = true;
            entry.absent_since = None;
            if !job_id.is_empty() {
                job_id.clone_into(&mut entry.job_id);
            }
        }
    }

    /// A delete was asked for now, or (none) the first one was refused. False when that is no news.
    pub(crate) fn ask_delete(&mut self, uid: &str, at: Option<SystemTime>) -> bool {
        match self.pods.get_mut(uid) {
            Some(entry) if entry.delete_asked.is_some() != at.is_some() => {
                entry.delete_asked = at;
                true
            }
            _ => false,
        }
    }

    /// The plugin confirmed a delete. A pod that is over, or that the plugin does not have, goes at once.
    pub(crate) fn deleted(&mut self, uid: &str, existed: bool) -> Applied {
        match self.pods.get_mut(uid) {
            Some(entry) if existed && !entry.terminal => {
                entry.deleting = true;
                Applied::Changed
            }
            Some(_) => {
                self.remove(uid);
                Applied::Removed
            }
            None => Applied::Unchanged,
        }
    }

    /// Applies a whole state.
    pub(crate) fn apply(&mut self, source: Source<'_>, state: PodState) -> Applied {
        let Some(pod) = state.pod.clone().filter(valid_ref) else {
            return Applied::Refused;
        };
        match state.presence() {
            Presence::Absent => return self.absent(source, &pod.uid),
            Presence::Unreachable | Presence::Unspecified => return Applied::Unchanged,
            Presence::Present => {}
        }
        let mut added = false;
        match self.pods.get(&pod.uid) {
            Some(entry) if entry.plugin != source.plugin => return Applied::Refused,
            Some(_) => {}
            None => {
                if self.begin(pod.clone(), source.plugin, Vec::new()) == Applied::Refused {
                    return Applied::Refused;
                }
                // The plugin has it, so its create was answered in an earlier life of this hub.
                self.answered(&pod.uid, &state.job_id);
                added = true;
            }
        }
        let Some(entry) = self.pods.get_mut(&pod.uid) else {
            return Applied::Refused;
        };
        if entry.epoch == source.epoch && state.seq < entry.seq {
            return Applied::Unchanged;
        }
        entry.absent_since = None;
        if !state.job_id.is_empty() {
            entry.job_id.clone_from(&state.job_id);
        }
        // An empty container list is no news: the virtual kubelet would read it as Succeeded.
        if state.containers.is_empty() {
            return if added { Applied::Added } else { Applied::Unchanged };
        }
        if entry.terminal && !is_terminal(&state) && !restarted(entry.state.as_ref(), &state) {
            return Applied::Unchanged;
        }
        entry.lost = None;
        entry.epoch = source.epoch;
        entry.seq = state.seq;
        entry.observed_at = state
            .observed_at
            .and_then(|at| SystemTime::try_from(at).ok())
            .or_else(|| Some(SystemTime::now()));
        let same = entry.state.as_ref().is_some_and(|old| {
            old.containers == state.containers && old.init_containers == state.init_containers
        });
        self.set_state(&pod.uid, state, source.now);
        match (added, same) {
            (true, _) => Applied::Added,
            (false, true) => Applied::Unchanged,
            (false, false) => Applied::Changed,
        }
    }

    /// The plugin is sure that it does not have this pod.
    pub(crate) fn absent(&mut self, source: Source<'_>, uid: &str) -> Applied {
        let Some(entry) = self.pods.get_mut(uid) else {
            return Applied::Unchanged;
        };
        if entry.plugin != source.plugin {
            return Applied::Refused;
        }
        if entry.deleting {
            self.remove(uid);
            return Applied::Removed;
        }
        if !entry.answered || entry.terminal {
            return Applied::Unchanged;
        }
        match entry.absent_since {
            Some(since) if source.now.duration_since(since) >= limits::LOST_AFTER => {
                let why = format!("plugin {} does not have this pod any more", entry.plugin);
                let state = entry.lost_state(&why);
                entry.lost = Some(why);
                entry.observed_at = Some(SystemTime::now());
                self.set_state(uid, state, source.now);
                Applied::Lost
            }
            Some(_) => Applied::Suspected,
            None => {
                entry.absent_since = Some(source.now);
                Applied::Suspected
            }
        }
    }

    /// Drops the cached state of a pod, never its placement. False when it is not known.
    pub(crate) fn drop_state(&mut self, uid: &str) -> bool {
        let Some(entry) = self.pods.get_mut(uid) else {
            return false;
        };
        if !entry.terminal {
            entry.state = None;
            entry.seq = 0;
        }
        true
    }

    /// Removes terminal pods that are too old or too many. Gives the removed entries.
    pub(crate) fn prune(&mut self, now: Instant) -> Vec<Entry> {
        let mut removed = Vec::new();
        while let Some((since, uid)) = self.terminal.front() {
            let old = now.duration_since(*since) >= limits::TERMINAL_KEEP;
            if !old && self.terminal.len() <= limits::TERMINAL_MAX {
                break;
            }
            let uid = uid.clone();
            self.terminal.pop_front();
            removed.extend(self.remove(&uid));
        }
        removed
    }

    /// Removes a pod.
    pub(crate) fn remove(&mut self, uid: &str) -> Option<Entry> {
        let entry = self.pods.remove(uid)?;
        if entry.terminal {
            self.terminal.retain(|(_, other)| other != uid);
        } else {
            self.count(&entry.plugin, -1);
        }
        Some(entry)
    }

    /// Removes all pods of a plugin.
    pub(crate) fn forget(&mut self, plugin: &str) -> Vec<Entry> {
        let uids: Vec<String> = self.of(plugin).map(|entry| entry.pod.uid.clone()).collect();
        uids.iter().filter_map(|uid| self.remove(uid)).collect()
    }

    /// One pod.
    pub(crate) fn get(&self, uid: &str) -> Option<&Entry> {
        self.pods.get(uid)
    }

    /// All pods.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.pods.values()
    }

    /// How many pods are known.
    pub(crate) fn len(&self) -> usize {
        self.pods.len()
    }

    /// Pods of one plugin.
    pub(crate) fn of<'a>(&'a self, plugin: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.pods.values().filter(move |entry| entry.plugin == plugin)
    }

    /// Pods of one plugin that are not over.
    pub(crate) fn active(&self, plugin: &str) -> usize {
        self.active.get(plugin).copied().unwrap_or(0)
    }

    fn insert(&mut self, entry: Entry) {
        self.count(&entry.plugin, 1);
        self.pods.insert(entry.pod.uid.clone(), entry);
    }

    fn set_state(&mut self, uid: &str, state: PodState, now: Instant) {
        let Some(entry) = self.pods.get_mut(uid) else {
            return;
        };
        let (was, is) = (entry.terminal, is_terminal(&state));
        entry.terminal = is;
        entry.state = Some(state);
        let plugin = entry.plugin.clone();
        if is && !was {
            self.terminal.push_back((now, uid.to_owned()));
            self.count(&plugin, -1);
        } else if was && !is {
            self.terminal.retain(|(_, other)| other != uid);
            self.count(&plugin, 1);
        }
    }

    fn count(&mut self, plugin: &str, by: isize) {
        let count = self.active.entry(plugin.to_owned()).or_default();
        *count = count.saturating_add_signed(by);
        if *count == 0 {
            self.active.remove(plugin);
        }
    }
}

impl Entry {
    /// Whether it is over.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Containers in its spec, as far as they are known.
    pub(crate) fn spec_len(&self) -> usize {
        self.names.len()
    }

    /// Whether it was seen ABSENT once and waits for the second look.
    pub(crate) fn is_suspected(&self) -> bool {
        self.absent_since.is_some() && !self.terminal
    }

    /// The state of a pod that its plugin does not have any more: what had not ended ends with 137.
    fn lost_state(&self, why: &str) -> PodState {
        let mut state = self.state.clone().unwrap_or_default();
        state.pod = Some(self.pod.clone());
        state.job_id.clone_from(&self.job_id);
        state.set_presence(Presence::Present);
        if state.containers.is_empty() {
            state.containers = self
                .names
                .iter()
                .map(|(name, image)| ContainerState {
                    name: name.clone(),
                    image: image.clone(),
                    ..ContainerState::default()
                })
                .collect();
        }
        // One container at least must say it, also when neither the spec nor a state was ever seen.
        if state.containers.is_empty() {
            state.containers.push(ContainerState::default());
        }
        let message = format!("lost: {why}");
        let finished_at = Some(Timestamp::from(SystemTime::now()));
        for container in state.containers.iter_mut().chain(&mut state.init_containers) {
            if matches!(container.state, Some(State::Terminated(_))) {
                continue;
            }
            let started_at = match &container.state {
                Some(State::Running(running)) => running.started_at,
                _ => None,
            };
            container.ready = false;
            container.state = Some(State::Terminated(ContainerTerminated {
                exit_code: 137,
                reason: "Lost".into(),
                message: message.clone(),
                started_at,
                finished_at,
                ..ContainerTerminated::default()
            }));
        }
        state
    }
}

/// Whether nothing more will come: all main containers ended, or an init container failed the pod.
fn is_terminal(state: &PodState) -> bool {
    interlink::phase(state).is_terminal()
}

fn valid_ref(pod: &PodRef) -> bool {
    interlink::is_uid(&pod.uid) && pod.namespace.len() <= 63 && pod.name.len() <= 253
}

fn restarted(old: Option<&PodState>, new: &PodState) -> bool {
    let Some(old) = old else { return true };
    let mut before = old.containers.iter().chain(&old.init_containers);
    let after = || new.containers.iter().chain(&new.init_containers);
    before.any(|old| after().any(|new| new.name == old.name && new.restart_count > old.restart_count))
}

#[cfg(test)]
#[path = "pods_tests.rs"]
mod tests;
