//! What a journal says when it has been read: all its entries folded into one. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU64,
};

use super::{
    entry::{Entry, Kept},
    mark::Mark,
};
use crate::{limits, plugin::outbox::Snapshot};

/// What is kept of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// A submit was begun; how it ended is not known.
    Submitting,
    /// It has this job.
    Job(String),
}

/// The fold of all entries so far. Bounded: one event and one record a pod, [`limits::PLUGIN_TOLD`] marks.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    jobs_epoch: u64,
    epoch: NonZeroU64,
    next_seq: u64,
    acked_seq: u64,
    events: BTreeMap<u64, Kept>,
    by_uid: HashMap<String, u64>,
    /// Pod uid -> the last event of it, also an acknowledged one.
    told: HashMap<String, (u64, Mark)>,
    told_order: BTreeMap<u64, String>,
    /// Turn -> pod uid and its record, oldest first.
    pods: BTreeMap<u64, (String, Record)>,
    turns: HashMap<String, u64>,
    next_turn: u64,
}

impl Image {
    /// Nothing was told and no pod is known.
    pub(crate) fn new(epoch: NonZeroU64, jobs_epoch: u64) -> Self {
        Self {
            jobs_epoch,
            epoch,
            next_seq: 1,
            acked_seq: 0,
            events: BTreeMap::new(),
            by_uid: HashMap::new(),
            told: HashMap::new(),
            told_order: BTreeMap::new(),
            pods: BTreeMap::new(),
            turns: HashMap::new(),
            next_turn: 0,
        }
    }

    /// Takes in one more fact.
    pub(crate) fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::JobsEpoch(epoch) => {
                if epoch != self.jobs_epoch {
                    self.jobs_epoch = epoch;
                    self.pods.clear();
                    self.turns.clear();
                }
            }
            Entry::Epoch(epoch) => {
                self.epoch = epoch;
                (self.next_seq, self.acked_seq) = (1, 0);
                self.events.clear();
                self.by_uid.clear();
                self.told.clear();
                self.told_order.clear();
            }
            Entry::Position { next_seq, acked_seq } => {
                (self.next_seq, self.acked_seq) = (next_seq, acked_seq);
            }
            Entry::Event(kept) => {
                self.tell(kept.uid.clone(), kept.seq, kept.mark);
                self.next_seq = self.next_seq.max(kept.seq.saturating_add(1));
                if let Some(older) = self.by_uid.insert(kept.uid.clone(), kept.seq) {
                    self.events.remove(&older);
                }
                self.events.insert(kept.seq, kept);
            }
            Entry::Told { uid, seq, mark } => self.tell(uid, seq, mark),
            Entry::Ack(seq) => self.ack(seq),
            Entry::Submitting(uid) => self.record(uid, Record::Submitting),
            Entry::Job { uid, job_id } => self.record(uid, Record::Job(job_id)),
            Entry::Forgotten(uid) => {
                if let Some(turn) = self.turns.remove(&uid) {
                    self.pods.remove(&turn);
                }
            }
        }
    }

    /// Entries that make the same image again.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let mut entries = vec![Entry::JobsEpoch(self.jobs_epoch), Entry::Epoch(self.epoch)];
        for (seq, uid) in &self.told_order {
            // Of the others the event itself says it.
            if let Some((_, mark)) = self.told.get(uid)
                && !self.events.contains_key(seq)
            {
                entries.push(Entry::Told {
                    uid: uid.clone(),
                    seq: *seq,
                    mark: *mark,
                });
            }
        }
        entries.extend(self.events.values().cloned().map(Entry::Event));
        entries.push(Entry::Position {
            next_seq: self.next_seq,
            acked_seq: self.acked_seq,
        });
        entries.extend(self.pods.values().cloned().map(|(uid, record)| match record {
            Record::Submitting => Entry::Submitting(uid),
            Record::Job(job_id) => Entry::Job { uid, job_id },
        }));
        entries
    }

    /// The outbox that it says. An event whose state cannot be read is left out.
    pub(crate) fn outbox(&self) -> Snapshot {
        Snapshot {
            epoch: self.epoch,
            next_seq: self.next_seq,
            acked_seq: self.acked_seq,
            events: self
                .events
                .values()
                .filter_map(|kept| kept.event(self.epoch))
                .collect(),
        }
    }

    pub(crate) fn jobs_epoch(&self) -> u64 {
        self.jobs_epoch
    }

    /// The epoch of the outbox and the highest number given in it.
    pub(crate) fn position(&self) -> (NonZeroU64, u64) {
        (self.epoch, self.next_seq - 1)
    }

    /// What was told last of a pod.
    pub(crate) fn told(&self, uid: &str) -> Option<Mark> {
        self.told.get(uid).map(|(_, mark)| *mark)
    }

    /// The records of pods, oldest first.
    pub(crate) fn pods(&self) -> impl Iterator<Item = &(String, Record)> {
        self.pods.values()
    }

    fn tell(&mut self, uid: String, seq: u64, mark: Mark) {
        if let Some((older, _)) = self.told.insert(uid.clone(), (seq, mark)) {
            self.told_order.remove(&older);
        }
        self.told_order.insert(seq, uid);
        if self.told_order.len() > limits::PLUGIN_TOLD
            && let Some((_, oldest)) = self.told_order.pop_first()
        {
            self.told.remove(&oldest);
        }
    }

    fn ack(&mut self, seq: u64) {
        if seq <= self.acked_seq || seq >= self.next_seq {
            return;
        }
        self.acked_seq = seq;
        let kept = self.events.split_off(&(seq + 1));
        for event in std::mem::replace(&mut self.events, kept).into_values() {
            self.by_uid.remove(&event.uid);
            // Nothing follows: it need not be known again.
            if event.last && self.told.remove(&event.uid).is_some() {
                self.told_order.remove(&event.seq);
            }
        }
    }

    /// A pod keeps its turn when its record changes.
    fn record(&mut self, uid: String, record: Record) {
        let turn = *self.turns.entry(uid.clone()).or_insert_with(|| {
            self.next_turn += 1;
            self.next_turn
        });
        self.pods.insert(turn, (uid, record));
    }
}

/// Equal when the same entries make them.
impl PartialEq for Image {
    fn eq(&self, other: &Self) -> bool {
        self.entries() == other.entries()
    }
}
