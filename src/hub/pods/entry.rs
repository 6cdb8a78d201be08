//! One pod of the table, and what its states mean.

use std::time::SystemTime;

use tokio::time::Instant;

use super::{Names, Source};
use crate::{
    hub::{Way, registry::SessionNumber, store::PodRow},
    interlink,
    planted::{self, Bug},
    wire::{
        ContainerState, ContainerTerminated, PodRef, PodState, Presence, Timestamp, container_state::State,
    },
};

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) pod: PodRef,
    /// The owner: later calls go there.
    pub(crate) plugin: String,
    pub(crate) job_id: String,
    /// True once the plugin has answered its create (or has told of the pod by itself).
    pub(crate) answered: bool,
    /// Over which way the plugin has confirmed its delete, if it has.
    pub(crate) deleting: Option<Way>,
    /// When its delete was asked for.
    pub(crate) delete_asked: Option<SystemTime>,
    /// Why it counts as lost.
    pub(crate) lost: Option<String>,
    /// The latest state; none before the first one, or after updateCache.
    pub(crate) state: Option<PodState>,
    /// The plugin is to be asked about it by name: updateCache dropped its state, or it was created over a way that is not
    /// used any more; and no state was told since.
    pub(crate) unread: bool,
    pub(crate) created_at: SystemTime,
    pub(crate) observed_at: Option<SystemTime>,
    /// Names and images of the spec at create, so that a lost pod without any state can be reported.
    pub(super) names: Names,
    pub(super) epoch: u64,
    pub(super) seq: u64,
    pub(super) session: SessionNumber,
    pub(super) absent_since: Option<Instant>,
    pub(super) terminal: bool,
    /// When it was over.
    pub(super) terminal_at: Option<SystemTime>,
}

impl Entry {
    /// As the store keeps it.
    pub(crate) fn row(&self) -> PodRow {
        PodRow {
            uid: self.pod.uid.clone(),
            namespace: self.pod.namespace.clone(),
            name: self.pod.name.clone(),
            plugin: self.plugin.clone(),
            job_id: self.job_id.clone(),
            answered: self.answered,
            deleting: self.deleting.is_some(),
            deleted_over_http: self.deleting == Some(Way::Http),
            delete_asked: self.delete_asked,
            lost: self.lost.clone(),
            created_at: Some(self.created_at),
            observed_at: self.observed_at,
            terminal_at: self.terminal_at,
            names: self.names.to_vec(),
            epoch: self.epoch,
            seq: self.seq,
            state: self.state.clone(),
        }
    }

    /// Out of the store: of an earlier life, so older than every session.
    pub(super) fn from_row(row: PodRow) -> Self {
        let terminal = row.state.as_ref().is_some_and(is_terminal);
        Self {
            pod: PodRef::new(row.uid, row.namespace, row.name),
            plugin: row.plugin,
            job_id: row.job_id,
            answered: row.answered,
            deleting: row.deleting.then_some(if row.deleted_over_http {
                Way::Http
            } else {
                Way::Link
            }),
            delete_asked: row.delete_asked,
            lost: row.lost,
            unread: row.state.is_none() && row.observed_at.is_some(),
            state: row.state,
            created_at: row.created_at.unwrap_or_else(SystemTime::now),
            observed_at: row.observed_at,
            names: row.names.into(),
            epoch: row.epoch,
            seq: row.seq,
            session: SessionNumber::default(),
            absent_since: None,
            terminal,
            terminal_at: row.terminal_at.filter(|_| terminal),
        }
    }

    /// Whether it is over.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// The first main container of the spec; empty when the spec is not known.
    pub(crate) fn first_container(&self) -> &str {
        self.names.first().map_or("", |(name, _)| name)
    }

    /// Containers in its spec, as far as they are known.
    pub(crate) fn spec_len(&self) -> usize {
        self.names.len()
    }

    /// Whether it was seen ABSENT once and waits for the second look.
    pub(crate) fn is_suspected(&self) -> bool {
        self.absent_since.is_some() && !self.terminal
    }

    /// Whether what is known is newer than what this source says as of `seq`.
    pub(super) fn is_newer(&self, source: Source<'_>, seq: u64) -> bool {
        !planted::is(Bug::StaleStateApplied)
            && (source.session < self.session || (source.epoch == self.epoch && seq < self.seq))
    }

    /// The state of a pod that its plugin does not have any more: what had not ended ends with 137.
    pub(super) fn lost_state(&self, why: &str) -> PodState {
        self.ended_state("Lost", &format!("lost: {why}"))
    }

    /// Its state with every container that had not ended ended with 137, this reason and message.
    pub(super) fn ended_state(&self, reason: &str, message: &str) -> PodState {
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
                reason: reason.to_owned(),
                message: message.to_owned(),
                started_at,
                finished_at,
                ..ContainerTerminated::default()
            }));
        }
        state
    }
}

/// Whether nothing more will come: all main containers ended, or an init container failed the pod.
pub(super) fn is_terminal(state: &PodState) -> bool {
    interlink::phase(state).is_terminal()
}

/// Whether a container was started again between the two.
pub(super) fn restarted(old: Option<&PodState>, new: &PodState) -> bool {
    let Some(old) = old else { return true };
    let mut before = old.containers.iter().chain(&old.init_containers);
    let after = || new.containers.iter().chain(&new.init_containers);
    before.any(|old| after().any(|new| new.name == old.name && new.restart_count > old.restart_count))
}
