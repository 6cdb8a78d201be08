//! A pod's state as one word, and the state of a pod that its plugin lost.

use std::fmt;

use super::{Pod, complete::is_failed_init};
use crate::wire::{
    ContainerState, ContainerTerminated, PodState, Presence, Timestamp, container_state::State,
};

/// Where a pod is in its life, for tables and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// No main container has started.
    Pending,
    /// At least one main container has started, and not all have ended.
    Running,
    /// All main containers ended with exit code 0.
    Succeeded,
    /// The pod ended, and not well.
    Failed,
    /// The plugin does not say.
    Unknown,
}

impl Phase {
    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Unknown => "Unknown",
        }
    }

    /// Whether nothing more will come.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The phase of a state.
pub fn phase(state: &PodState) -> Phase {
    if state.presence() != Presence::Present {
        return Phase::Unknown;
    }
    let mains = &state.containers;
    let has_begun = |container: &ContainerState| {
        container.last_termination.is_some()
            || matches!(container.state, Some(State::Running(_) | State::Terminated(_)))
    };
    let exits: Option<Vec<i32>> = mains.iter().map(exit_code).collect();
    match exits {
        Some(exits) if exits.is_empty() => match state.init_containers.iter().any(is_failed_init) {
            true => Phase::Failed,
            false => Phase::Pending,
        },
        Some(exits) if exits.iter().all(|exit| *exit == 0) => Phase::Succeeded,
        Some(_) => Phase::Failed,
        None if mains.iter().any(has_begun) => Phase::Running,
        // A sidecar that ended is no failed init: then a main container had begun.
        None if state.init_containers.iter().any(is_failed_init) => Phase::Failed,
        None => Phase::Pending,
    }
}

fn exit_code(container: &ContainerState) -> Option<i32> {
    match &container.state {
        Some(State::Terminated(ended)) => Some(super::complete::true_exit(ended)),
        _ => None,
    }
}

/// Exit code of a lost container: that of SIGKILL, as nobody saw it end.
const LOST_EXIT: i32 = 137;

/// The state of a pod that its plugin no longer knows: every container that was not seen to end is terminated
/// with exit code 137 and a message that begins with "lost: ".
pub fn lost(pod: &Pod, former: Option<&PodState>, why: &str, at: Timestamp) -> PodState {
    let end = |name: &str, image: &str, former: Option<&ContainerState>| {
        if let Some(seen) = former.filter(|seen| exit_code(seen).is_some()) {
            return seen.clone();
        }
        let started_at = match former.and_then(|seen| seen.state.as_ref()) {
            Some(State::Running(running)) => running.started_at,
            _ => None,
        };
        let ended = ContainerTerminated {
            exit_code: LOST_EXIT,
            signal: 0,
            reason: "Lost".to_owned(),
            message: format!("lost: {why}"),
            started_at,
            finished_at: Some(at),
        };
        ContainerState {
            name: name.to_owned(),
            image: image.to_owned(),
            restart_count: former.map_or(0, |seen| seen.restart_count),
            state: Some(State::Terminated(ended)),
            last_termination: former.and_then(|seen| seen.last_termination.clone()),
            ..Default::default()
        }
    };
    let all = |specs: &[super::Container], seen: &[ContainerState]| -> Vec<ContainerState> {
        let former = |name: &str| seen.iter().find(|container| container.name == name);
        specs
            .iter()
            .map(|spec| end(&spec.name, &spec.image, former(&spec.name)))
            .collect()
    };
    let (mains, inits) = former.map_or((&[][..], &[][..]), |state| {
        (&state.containers[..], &state.init_containers[..])
    });
    PodState {
        pod: Some(pod.pod_ref()),
        job_id: former.map(|state| state.job_id.clone()).unwrap_or_default(),
        seq: former.map_or(0, |state| state.seq),
        presence: Presence::Present.into(),
        containers: all(&pod.spec().containers, mains),
        init_containers: all(&pod.spec().init_containers, inits),
        observed_at: Some(at),
    }
}
