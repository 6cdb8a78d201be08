//! Which pods were submitted, by uid.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::journal::{Entry, Journal, Record, Ticket};
use crate::limits;

/// The latest [`limits::PLUGIN_JOBS`] pods; written down too when there is a journal.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    pods: HashMap<Arc<str>, Pod>,
    /// Turn -> pod uid, to push out the oldest.
    turns: BTreeMap<u64, Arc<str>>,
    next_turn: u64,
}

#[derive(Debug)]
struct Pod {
    turn: u64,
    record: Record,
    ticket: Ticket,
}

impl Remembered {
    /// What is known of a pod, and when it was recorded.
    pub(super) fn get(&self, uid: &str) -> Option<(&Record, Ticket)> {
        self.pods.get(uid).map(|pod| (&pod.record, pod.ticket))
    }

    /// Remembers this of a pod.
    pub(super) fn put(&mut self, journal: Option<&Journal>, uid: &Arc<str>, record: Record) -> Ticket {
        let ticket = journal.map_or_else(Ticket::default, |journal| {
            journal.record(match &record {
                Record::Submitting => Entry::Submitting(uid.to_string()),
                Record::Job(job_id) => Entry::Job {
                    uid: uid.to_string(),
                    job_id: job_id.clone(),
                },
            })
        });
        if let Some(pod) = self.pods.get_mut(uid) {
            (pod.record, pod.ticket) = (record, ticket);
            return ticket;
        }
        if self.turns.len() >= limits::PLUGIN_JOBS
            && let Some((_, oldest)) = self.turns.pop_first()
        {
            tracing::warn!(
                pods = limits::PLUGIN_JOBS,
                "too many pods are not deleted: the oldest is forgotten"
            );
            self.remove(journal, &oldest);
        }
        let turn = self.next_turn;
        self.next_turn += 1;
        self.turns.insert(turn, uid.clone());
        self.pods.insert(uid.clone(), Pod { turn, record, ticket });
        ticket
    }

    /// Forgets a pod; tells when that was recorded. None when it was not known.
    pub(super) fn remove(&mut self, journal: Option<&Journal>, uid: &str) -> Option<Ticket> {
        let pod = self.pods.remove(uid)?;
        self.turns.remove(&pod.turn);
        Some(journal.map_or_else(Ticket::default, |journal| {
            journal.record(Entry::Forgotten(uid.to_owned()))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_pod_is_forgotten_when_there_are_too_many() {
        let mut remembered = Remembered::default();
        for pod in 0..=limits::PLUGIN_JOBS {
            remembered.put(None, &pod.to_string().into(), Record::Submitting);
        }
        remembered.put(None, &"1".into(), Record::Job("j".to_owned()));
        assert!(remembered.get("0").is_none());
        assert_eq!(
            remembered.get("1").map(|(record, _)| record),
            Some(&Record::Job("j".to_owned()))
        );
        assert_eq!(remembered.pods.len(), limits::PLUGIN_JOBS);
        assert_eq!(remembered.turns.len(), limits::PLUGIN_JOBS);
    }
}
