//! The state table: what the hub last heard of each pod. Pure; time is an argument.
//!
//! A cache of what the plugins know, fed by events and by GetStatus. A state is applied only if its sequence
//! number is not older within its epoch, and a terminal pod goes back only if a restart count rises.

mod entry;
mod gone;
#[cfg(test)]
mod tests;
mod uid;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::SystemTime,
};

use tokio::time::Instant;

pub(crate) use entry::Entry;
pub(crate) use uid::Uid;

use self::{
    entry::{is_terminal, restarted},
    gone::Gone,
};
use crate::{
    hub::{Way, registry::SessionNumber, store::PodRow},
    limits,
    wire::{PodRef, PodState, Presence},
};

/// Where a state comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) plugin: &'a str,
    pub(crate) epoch: u64,
    /// The session that it came over: what an older one says late changes nothing.
    pub(crate) session: SessionNumber,
    pub(crate) way: Way,
    /// The plugin has told all its pods over this session: only then its word can make a pod lost.
    pub(crate) in_sync: bool,
    /// When it was asked for; none for what the plugin tells by itself.
    pub(crate) asked: Option<Instant>,
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

/// Names and images of the containers in a pod's spec.
pub(crate) type Names = Arc<[(String, String)]>;

/// All pods by uid.
#[derive(Debug, Default)]
pub(crate) struct PodTable {
    /// Ordered, so that what is asked and told of them always comes in one order.
    pods: BTreeMap<Uid, Box<Entry>>,
    /// The uids of each plugin's pods: what one plugin has is asked for whenever it connects, and the others may be
    /// thousands.
    of_plugin: HashMap<String, BTreeSet<Uid>>,
    /// Uids of what changed since [`PodTable::take_touched`].
    touched: Vec<Uid>,
    gone: Gone,
    active: HashMap<String, usize>,
    terminal: VecDeque<(Instant, Uid)>,
}

impl PodTable {
    /// Enters a pod whose create is under way. An existing entry is left as it is.
    pub(crate) fn begin(&mut self, pod: &PodRef, plugin: &str, names: Names) -> Applied {
        let Some(uid) = Uid::read(&pod.uid) else {
            return Applied::Refused;
        };
        if self.pods.contains_key(&uid) {
            return Applied::Unchanged;
        }
        if self.pods.len() >= limits::HUB_PODS {
            return Applied::Refused;
        }
        self.count(plugin, 1);
        touch(&mut self.touched, uid);
        let entry = Entry {
            pod: pod.clone(),
            plugin: plugin.to_owned(),
            job_id: String::new(),
            answered: false,
            deleting: None,
            delete_asked: None,
            lost: None,
            state: None,
            unread: false,
            created_at: SystemTime::now(),
            observed_at: None,
            names,
            epoch: 0,
            seq: 0,
            session: SessionNumber::default(),
            absent_since: None,
            terminal: false,
            terminal_at: None,
        };
        self.enter(uid, entry);
        Applied::Added
    }

    /// Takes up pods of an earlier life, as the store has them.
    pub(crate) fn restore(&mut self, rows: Vec<PodRow>, now: Instant) {
        let mut entries: Vec<Entry> = rows.into_iter().map(Entry::from_row).collect();
        entries.sort_by_key(|entry| entry.terminal_at);
        for entry in entries {
            // It was read before it was ever kept.
            let Some(uid) = Uid::read(&entry.pod.uid) else {
                continue;
            };
            if entry.terminal {
                let age = entry
                    .terminal_at
                    .and_then(|at| at.elapsed().ok())
                    .unwrap_or_default();
                let since = now.checked_sub(age).unwrap_or(now);
                self.terminal.push_back((since, uid));
            } else {
                self.count(&entry.plugin, 1);
            }
            self.enter(uid, entry);
        }
    }

    /// The uids of all that changed since the last call: what the store must be told. One may come again.
    pub(crate) fn take_touched(&mut self) -> Vec<Uid> {
        std::mem::take(&mut self.touched)
    }

    /// There is no store to be told.
    pub(crate) fn forget_touched(&mut self) {
        self.touched.clear();
    }

    /// The create that was promised did not come through: every container is reported as ended, with the reason.
    pub(crate) fn failed(&mut self, uid: &str, why: &str, now: Instant) {
        let Some((uid, entry)) = self.find(uid) else {
            return;
        };
        let state = entry.ended_state("CreateRefused", why);
        entry.lost = Some(why.to_owned());
        entry.answered = true;
        entry.observed_at = Some(SystemTime::now());
        self.set_state(uid, state, now);
    }

    /// The plugin answered the create.
    pub(crate) fn answered(&mut self, uid: &str, job_id: &str) {
        if let Some((uid, entry)) = self.find(uid) {
            entry.answered = true;
            entry.absent_since = None;
            if !job_id.is_empty() {
                job_id.clone_into(&mut entry.job_id);
            }
            touch(&mut self.touched, uid);
        }
    }

    /// A delete was asked for now, or (none) the first one was refused. False when that is no news.
    pub(crate) fn ask_delete(&mut self, uid: &str, at: Option<SystemTime>) -> bool {
        match self.find(uid) {
            Some((uid, entry)) if entry.delete_asked.is_some() != at.is_some() => {
                entry.delete_asked = at;
                touch(&mut self.touched, uid);
                true
            }
            _ => false,
        }
    }

    /// The plugin confirmed a delete. A pod that is over, or that the plugin does not have, goes at once.
    pub(crate) fn deleted(&mut self, uid: &str, existed: bool, way: Way, now: Instant) -> Applied {
        match self.find(uid) {
            Some((uid, entry)) if existed && !entry.terminal => {
                entry.deleting = Some(way);
                touch(&mut self.touched, uid);
                Applied::Changed
            }
            Some((uid, _)) => {
                self.take(uid, now);
                Applied::Removed
            }
            None => Applied::Unchanged,
        }
    }

    /// Applies a whole state.
    pub(crate) fn apply(&mut self, source: Source<'_>, state: PodState) -> Applied {
        let valid = |pod: &&PodRef| pod.namespace.len() <= 63 && pod.name.len() <= 253;
        let Some(pod) = state.pod.as_ref().filter(valid) else {
            return Applied::Refused;
        };
        let Some(uid) = Uid::read(&pod.uid) else {
            return Applied::Refused;
        };
        match state.presence() {
            Presence::Absent => return self.absent(source, &pod.uid, state.seq),
            Presence::Unreachable | Presence::Unspecified => return Applied::Unchanged,
            Presence::Present => {}
        }
        let mut added = false;
        match self.pods.get(&uid) {
            Some(entry) if entry.plugin != source.plugin => return Applied::Refused,
            Some(_) => {}
            // The answer was under way when the pod went.
            None if source.asked.is_some_and(|asked| self.gone.since(asked, uid)) => {
                return Applied::Unchanged;
            }
            None => {
                if self.begin(pod, source.plugin, Names::default()) == Applied::Refused {
                    return Applied::Refused;
                }
                // The plugin has it, so its create was answered in an earlier life of this hub.
                self.answered(&pod.uid, &state.job_id);
                added = true;
            }
        }
        let Some(entry) = self.pods.get_mut(&uid) else {
            return Applied::Refused;
        };
        if entry.is_newer(source, state.seq) {
            return Applied::Unchanged;
        }
        touch(&mut self.touched, uid);
        entry.session = source.session;
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
        self.set_state(uid, state, source.now);
        match (added, same) {
            (true, _) => Applied::Added,
            (false, true) => Applied::Unchanged,
            (false, false) => Applied::Changed,
        }
    }

    /// The plugin is sure that it does not have this pod. `seq` is 0 when it does not say as of when.
    pub(crate) fn absent(&mut self, source: Source<'_>, uid: &str, seq: u64) -> Applied {
        let Some((uid, entry)) = self.find(uid) else {
            return Applied::Unchanged;
        };
        if entry.plugin != source.plugin {
            return Applied::Refused;
        }
        if entry.is_newer(source, if seq == 0 { u64::MAX } else { seq }) {
            return Applied::Unchanged;
        }
        entry.session = source.session;
        if entry.deleting.is_some() {
            self.take(uid, source.now);
            return Applied::Removed;
        }
        if !entry.answered || entry.terminal {
            return Applied::Unchanged;
        }
        match entry.absent_since {
            Some(since) if source.in_sync && source.now.duration_since(since) >= limits::LOST_AFTER => {
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
        let Some((uid, entry)) = self.find(uid) else {
            return false;
        };
        if !entry.terminal {
            entry.state = None;
            entry.unread = true;
            touch(&mut self.touched, uid);
        }
        true
    }

    /// The plugin is to be asked about this pod by its name, until it has told a state.
    pub(crate) fn unread(&mut self, uid: &str) {
        if let Some((_, entry)) = self.find(uid).filter(|(_, entry)| !entry.terminal) {
            entry.unread = true;
        }
    }

    /// Removes terminal pods that are too old or too many. Gives the removed entries.
    pub(crate) fn prune(&mut self, now: Instant) -> Vec<Entry> {
        let mut removed = Vec::new();
        while let Some((since, uid)) = self.terminal.front() {
            let old = now.duration_since(*since) >= limits::TERMINAL_KEEP;
            if !old && self.terminal.len() <= limits::TERMINAL_MAX {
                break;
            }
            let uid = *uid;
            self.terminal.pop_front();
            removed.extend(self.take(uid, now));
        }
        removed
    }

    /// Removes a pod.
    pub(crate) fn remove(&mut self, uid: &str, now: Instant) -> Option<Entry> {
        self.take(Uid::read(uid)?, now)
    }

    fn take(&mut self, uid: Uid, now: Instant) -> Option<Entry> {
        let entry = *self.pods.remove(&uid)?;
        if let Some(uids) = self.of_plugin.get_mut(&entry.plugin) {
            uids.remove(&uid);
            if uids.is_empty() {
                self.of_plugin.remove(&entry.plugin);
            }
        }
        self.gone.put(uid, now);
        touch(&mut self.touched, uid);
        if entry.terminal {
            self.terminal.retain(|(_, other)| *other != uid);
        } else {
            self.count(&entry.plugin, -1);
        }
        Some(entry)
    }

    /// Removes all pods of a plugin.
    pub(crate) fn forget(&mut self, plugin: &str, now: Instant) -> Vec<Entry> {
        let uids = self.of_plugin.get(plugin).cloned().unwrap_or_default();
        uids.into_iter().filter_map(|uid| self.take(uid, now)).collect()
    }

    /// One pod.
    pub(crate) fn get(&self, uid: &str) -> Option<&Entry> {
        self.at(Uid::read(uid)?)
    }

    /// The same.
    pub(crate) fn at(&self, uid: Uid) -> Option<&Entry> {
        self.pods.get(&uid).map(Box::as_ref)
    }

    /// All pods.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.pods.values().map(Box::as_ref)
    }

    /// How many pods are known.
    pub(crate) fn len(&self) -> usize {
        self.pods.len()
    }

    /// Pods of one plugin.
    pub(crate) fn of<'a>(&'a self, plugin: &'a str) -> impl Iterator<Item = &'a Entry> {
        let uids = self.of_plugin.get(plugin).into_iter().flatten();
        uids.filter_map(|uid| self.at(*uid))
    }

    /// Pods of one plugin that are not over.
    pub(crate) fn active(&self, plugin: &str) -> usize {
        self.active.get(plugin).copied().unwrap_or(0)
    }

    fn find(&mut self, uid: &str) -> Option<(Uid, &mut Entry)> {
        let uid = Uid::read(uid)?;
        Some((uid, self.pods.get_mut(&uid)?))
    }

    /// A pod stays with its plugin as long as it is known.
    fn enter(&mut self, uid: Uid, entry: Entry) {
        match self.of_plugin.get_mut(&entry.plugin) {
            Some(uids) => uids.insert(uid),
            None => self
                .of_plugin
                .entry(entry.plugin.clone())
                .or_default()
                .insert(uid),
        };
        self.pods.insert(uid, Box::new(entry));
    }

    fn set_state(&mut self, uid: Uid, mut state: PodState, now: Instant) {
        // A decoded list has room for four, of 300 bytes each, and is kept as long as the pod.
        state.containers.shrink_to_fit();
        state.init_containers.shrink_to_fit();
        let Some(entry) = self.pods.get_mut(&uid) else {
            return;
        };
        let (was, is) = (entry.terminal, is_terminal(&state));
        entry.terminal = is;
        entry.terminal_at = is.then(|| entry.terminal_at.unwrap_or_else(SystemTime::now));
        entry.state = Some(state);
        entry.unread = false;
        touch(&mut self.touched, uid);
        if is == was {
            return;
        }
        let plugin = entry.plugin.clone();
        if is {
            self.terminal.push_back((now, uid));
            self.count(&plugin, -1);
        } else {
            self.terminal.retain(|(_, other)| *other != uid);
            self.count(&plugin, 1);
        }
    }

    fn count(&mut self, plugin: &str, by: isize) {
        let count = match self.active.get_mut(plugin) {
            Some(count) => count,
            None => self.active.entry(plugin.to_owned()).or_default(),
        };
        *count = count.saturating_add_signed(by);
        if *count == 0 {
            self.active.remove(plugin);
        }
    }
}

/// What is changed in several steps is noted once.
fn touch(touched: &mut Vec<Uid>, uid: Uid) {
    if touched.last() != Some(&uid) {
        touched.push(uid);
    }
}
