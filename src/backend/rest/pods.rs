//! The pods that the upstream may have, and what it said of them last.
//!
//! Knows states; knows no HTTP and no file. Learn [`Pods`]: [`Pods::ask`] and [`Pods::heard`] are the two halves of a
//! status call.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::{entry::Entry, record::Record, roster::Roster};
use crate::{
    interlink::PodStatus,
    wire::{PodEventType, PodRef, PodState, Presence},
};

/// All pods by uid.
#[derive(Debug)]
pub(super) struct Pods {
    pub(super) entries: HashMap<String, Entry>,
    roster: Roster,
    /// Deleted, and not told yet.
    gone: Vec<PodRef>,
    /// The upstream cannot be asked.
    pub(super) down: bool,
    /// The uids that were deleted: they are not adopted again. The oldest is let go.
    pub(super) buried: HashSet<String>,
    pub(super) burials: VecDeque<String>,
    /// Others create pods too.
    pub(super) shared: bool,
    /// How long one of their creates may be under way.
    pub(super) others: Duration,
}

/// What a status call asks about.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    pub(super) uids: Vec<String>,
    /// The manifests as a list.
    pub(super) body: Bytes,
}

/// What became of a pod whose create was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// The upstream has it.
    Present(String),
    /// It does not.
    Absent,
    /// Nobody knows yet.
    Open,
}

/// Lists in a row without a pod that was asked about first: then the plugin does not have it.
const SURE: u32 = 2;

/// News to tell the hub.
pub(super) type Told = Vec<(PodEventType, PodState)>;

impl Pods {
    /// `shared`: others create pods too; `others`: how long such a create may take.
    pub(super) fn new(found: Vec<Record>, shared: bool, others: Duration) -> Self {
        let mut pods = Self {
            entries: HashMap::new(),
            roster: Roster::default(),
            gone: Vec::new(),
            down: false,
            buried: HashSet::new(),
            burials: VecDeque::new(),
            shared,
            others,
        };
        for record in found {
            pods.put(record);
        }
        pods
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn get(&self, uid: &str) -> Option<&Entry> {
        self.entries.get(uid)
    }

    pub(super) fn get_mut(&mut self, uid: &str) -> Option<&mut Entry> {
        self.entries.get_mut(uid)
    }

    /// Enters a pod, or what has become of it.
    pub(super) fn put(&mut self, record: Record) {
        let uid = record.pod.uid().to_owned();
        if let Some(entry) = self.entries.get_mut(&uid) {
            if entry.is_minimal() {
                entry.manifest = record.pod.json().to_string().into();
            }
            entry.record = record;
            return;
        }
        self.entries.insert(uid, Entry::new(record));
    }

    /// Forgets a pod. One that was deleted is told to be gone.
    pub(super) fn remove(&mut self, uid: &str, deleted: bool) {
        self.roster.forget(uid);
        if deleted {
            self.bury(uid);
        }
        if let Some(entry) = self.entries.remove(uid)
            && deleted
        {
            self.gone.push(entry.pod);
        }
    }

    /// The pods that are gone and that were not told to be.
    pub(super) fn take_gone(&mut self) -> Told {
        let gone = std::mem::take(&mut self.gone).into_iter();
        gone.map(|pod| (PodEventType::Deleted, PodState::absent(pod)))
            .collect()
    }

    /// What the next status call asks about; nothing when there is no pod of interest.
    pub(super) fn ask(&mut self) -> Option<Batch> {
        let of_interest = self.entries.iter().filter(|(_, entry)| entry.is_of_interest());
        let uids = self
            .roster
            .choose(of_interest.map(|(uid, _)| uid.clone()).collect());
        if uids.is_empty() {
            return None;
        }
        let mut body = BytesMut::from(&b"["[..]);
        for (n, entry) in uids.iter().filter_map(|uid| self.entries.get(uid)).enumerate() {
            body.extend_from_slice(if n == 0 { b"" } else { b"," });
            body.extend_from_slice(&entry.manifest);
        }
        body.extend_from_slice(b"]");
        Some(Batch {
            uids,
            body: body.freeze(),
        })
    }

    /// The upstream answered. What it does not mention is no news, and neither is a pod that nobody knows: slurm's
    /// plugin answers with the pods of the request before.
    pub(super) fn heard(&mut self, batch: &Batch, answer: Vec<PodStatus>) -> Told {
        let now = Instant::now();
        let mut told = self.up();
        let mut seen = Vec::new();
        for status in answer {
            let Some(uid) = self.uid_of(&status) else { continue };
            if let Some(entry) = self.entries.get_mut(&uid) {
                told.extend(entry.hear(&status, now));
            }
            seen.push(uid);
        }
        if let Some(first) = batch.uids.first().filter(|first| !seen.contains(first))
            && let Some(entry) = self.entries.get_mut(first)
        {
            entry.unheard += 1;
        }
        self.roster.answered(&batch.uids, seen.iter().map(String::as_str));
        told
    }

    /// The upstream answered with an error. `not_found`: that it has no such pod.
    pub(super) fn refused(&mut self, batch: &Batch, not_found: bool) -> Told {
        self.roster.failed(&batch.uids);
        if let ([alone], true) = (&batch.uids[..], not_found)
            && let Some(entry) = self.entries.get_mut(alone)
        {
            // Said in so many words of this pod: as good as two lists without it.
            entry.unheard += SURE;
        }
        self.up()
    }

    /// The upstream answers, though perhaps with an error.
    pub(super) fn up(&mut self) -> Told {
        if !std::mem::take(&mut self.down) {
            return Told::new();
        }
        let again = self.entries.values().filter(|entry| !entry.is_over());
        again
            .filter_map(|entry| Some((PodEventType::Updated, entry.state.clone()?)))
            .collect()
    }

    /// The upstream cannot be asked: of pods that have not ended nobody can tell.
    pub(super) fn down(&mut self) -> Told {
        let began = !std::mem::replace(&mut self.down, true);
        for entry in self.entries.values_mut() {
            // One that has just been started may not have read its records.
            entry.not_found = None;
            entry.unheard = 0;
        }
        let unsure = self
            .entries
            .values()
            .filter(|entry| began && entry.state.is_some() && !entry.is_over());
        unsure
            .map(|entry| (PodEventType::Updated, entry.unreachable()))
            .collect()
    }

    /// The state of a pod, as far as it is known.
    pub(super) fn state(&self, pod: &PodRef) -> PodState {
        match self.entries.get(&pod.uid) {
            // Too many are known for it to be adopted: nobody can tell.
            None if self.shared && !self.is_buried(&pod.uid) => PodState {
                pod: Some(pod.clone()),
                presence: Presence::Unreachable.into(),
                ..PodState::default()
            },
            None => PodState::absent(pod.clone()),
            Some(entry) => self.state_of(entry),
        }
    }

    /// The states of all pods.
    pub(super) fn states(&self) -> Vec<PodState> {
        self.entries.values().map(|entry| self.state_of(entry)).collect()
    }

    fn state_of(&self, entry: &Entry) -> PodState {
        match &entry.state {
            _ if entry.absent => PodState::absent(entry.pod.clone()),
            None if !entry.is_sure() && self.fate(&entry.pod.uid) == Fate::Absent => {
                PodState::absent(entry.pod.clone())
            }
            Some(state) if !self.down || entry.is_over() => state.clone(),
            // Nothing is known of its containers: that is no news to a hub.
            None if entry.record.created && !self.down => {
                PodState::present(entry.pod.clone(), entry.record.job_id.clone(), Vec::new())
            }
            _ => entry.unreachable(),
        }
    }

    /// Waits for news of a pod: it is asked about first.
    pub(super) fn urge(&mut self, uid: &str, urgent: bool) {
        self.roster.urge(uid, urgent);
        if let Some(entry) = self.entries.get_mut(uid)
            && urgent
        {
            entry.unheard = 0;
        }
    }

    /// What became of a pod whose create was begun.
    pub(super) fn fate(&self, uid: &str) -> Fate {
        match self.entries.get(uid) {
            // Another one's create may be under way: the plugin need not have the pod yet.
            Some(entry) if entry.state.is_none() && self.may_be_coming(entry) => Fate::Open,
            Some(entry) if entry.not_found.is_some() => Fate::Absent,
            Some(entry) => match &entry.state {
                Some(state) => Fate::Present(state.job_id.clone()),
                // Once may be an answer that was made before the pod was.
                None if entry.unheard >= SURE => Fate::Absent,
                None => Fate::Open,
            },
            None => Fate::Absent,
        }
    }

    fn may_be_coming(&self, entry: &Entry) -> bool {
        entry.record.adopted && !entry.record.created && entry.since.elapsed() < self.others
    }

    pub(super) fn is_down(&self) -> bool {
        self.down
    }

    fn uid_of(&self, status: &PodStatus) -> Option<String> {
        if !status.uid.is_empty() {
            return self.entries.contains_key(&status.uid).then(|| status.uid.clone());
        }
        let named = |entry: &Entry| entry.pod.name == status.name && entry.pod.namespace == status.namespace;
        let mut fits = self.entries.iter().filter(|(_, entry)| named(entry));
        match (fits.next(), fits.next()) {
            (Some((uid, _)), None) => Some(uid.clone()),
            _ => None,
        }
    }
}

#[cfg(test)]
#[path = "pods_tests.rs"]
mod tests;
