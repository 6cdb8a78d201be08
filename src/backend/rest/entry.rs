//! One pod: its record, and what the upstream said of it last.

use std::time::SystemTime;

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    news::{Found, news},
    record::Record,
};
use crate::{
    interlink::{Phase, PodStatus, RestartPolicy, phase},
    limits,
    wire::{PodEventType, PodRef, PodState, Presence, container_state::State},
};

/// A pod.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) record: Record,
    pub(super) pod: PodRef,
    /// Its create is under way: the upstream need not have it yet.
    pub(super) sending: bool,
    pub(super) manifest: Bytes,
    pub(super) state: Option<PodState>,
    /// Since when the upstream says that it does not find it.
    pub(super) not_found: Option<Instant>,
    /// Calls in a row that asked about it first and were not told of it.
    pub(super) unheard: u32,
    pub(super) absent: bool,
    /// Since when the upstream is asked about it.
    pub(super) since: Instant,
}

impl Entry {
    /// A pod that was not heard of yet.
    pub(super) fn new(record: Record) -> Self {
        Self {
            pod: record.pod.pod_ref(),
            manifest: record.pod.json().to_string().into(),
            record,
            sending: false,
            state: None,
            not_found: None,
            unheard: 0,
            absent: false,
            since: Instant::now(),
        }
    }

    /// Whether the upstream is known to have had it.
    pub(super) fn is_sure(&self) -> bool {
        !self.record.adopted || self.record.created || self.state.is_some()
    }

    /// Whether a container has ended for good, as far as is known.
    pub(super) fn has_ended(&self, container: &str) -> bool {
        let Some(state) = &self.state else { return false };
        let mut all = state.containers.iter().chain(&state.init_containers);
        match all.find(|known| container.is_empty() || known.name == container) {
            Some(known) => matches!(known.state, Some(State::Terminated(_))),
            None => self.is_over(),
        }
    }

    /// Whether a container is known to have started.
    pub(super) fn has_started(&self, container: &str) -> bool {
        let Some(state) = &self.state else { return false };
        let mut all = state.containers.iter().chain(&state.init_containers);
        all.any(|known| {
            (container.is_empty() || known.name == container)
                && matches!(known.state, Some(State::Running(_) | State::Terminated(_)))
        })
    }

    /// The upstream may have news of it.
    pub(super) fn is_of_interest(&self) -> bool {
        !self.sending && (!self.is_over() || self.may_restart())
    }

    pub(super) fn is_over(&self) -> bool {
        self.state
            .as_ref()
            .is_some_and(|state| phase(state).is_terminal())
    }

    fn may_restart(&self) -> bool {
        match self.record.pod.spec().restart_policy {
            RestartPolicy::Never => false,
            RestartPolicy::OnFailure => self
                .state
                .as_ref()
                .is_some_and(|state| phase(state) == Phase::Failed),
            RestartPolicy::Always => true,
        }
    }

    pub(super) fn unreachable(&self) -> PodState {
        PodState {
            pod: Some(self.pod.clone()),
            job_id: self.record.job_id.clone(),
            presence: Presence::Unreachable.into(),
            observed_at: Some(SystemTime::now().into()),
            ..self.state.clone().unwrap_or_default()
        }
    }

    pub(super) fn hear(&mut self, status: &PodStatus, now: Instant) -> Option<(PodEventType, PodState)> {
        self.unheard = 0;
        match news(&self.pod, &self.record.job_id, self.state.as_ref(), status) {
            Found::Nothing => None,
            // Its ended job was cleared away.
            Found::Missing if self.is_over() => None,
            Found::Same => {
                self.not_found = None;
                std::mem::take(&mut self.absent)
                    .then(|| self.state.clone())?
                    .map(|state| (PodEventType::Updated, state))
            }
            Found::News(kind, state) => {
                self.not_found = None;
                self.absent = false;
                self.state = Some(state.clone());
                Some((kind, state))
            }
            Found::Missing => {
                let since = *self.not_found.get_or_insert(now);
                let sure = now.duration_since(since) >= limits::UPSTREAM_NOT_FOUND && self.record.created;
                (sure && !std::mem::replace(&mut self.absent, true))
                    .then(|| (PodEventType::Updated, PodState::absent(self.pod.clone())))
            }
        }
    }
}
