//! What one answer about a pod brings. Pure.

use crate::{
    interlink::{Phase, PodStatus, phase},
    wire::{ContainerState, PodEventType, PodRef, PodState, container_state::State},
};

/// The word by which apptainer's plugin says that it has no such pod.
const NOT_FOUND: &str = "PodNotFound";

/// What an answer brings.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Found {
    /// It says nothing.
    Nothing,
    /// What is known already.
    Same,
    /// The plugin says that it has no such pod.
    Missing,
    /// Something has changed.
    News(PodEventType, PodState),
}

/// Compares an answer with what is known.
pub(super) fn news(pod: &PodRef, job_id: &str, before: Option<&PodState>, status: &PodStatus) -> Found {
    let mut state = PodState::from(status);
    // Without containers the virtual kubelet would take it for a success.
    if state.containers.iter().all(|container| container.state.is_none()) {
        return Found::Nothing;
    }
    if state.containers.iter().all(is_not_found) {
        return Found::Missing;
    }
    state.pod = Some(pod.clone());
    if state.job_id.is_empty() {
        job_id.clone_into(&mut state.job_id);
    }
    if let Some(before) = before {
        if goes_back(before, &state) {
            return Found::Same;
        }
        if *before == state {
            return Found::Same;
        }
    }
    Found::News(kind(before, &state), state)
}

fn is_not_found(container: &ContainerState) -> bool {
    matches!(&container.state, Some(State::Waiting(waiting)) if waiting.reason == NOT_FOUND)
}

/// An answer that was made before what is known: from a cache. What has ended stays so, unless it was started again.
fn goes_back(before: &PodState, now: &PodState) -> bool {
    let restarts = |state: &PodState| {
        state
            .containers
            .iter()
            .map(|container| u64::from(container.restart_count))
            .sum::<u64>()
    };
    phase(before).is_terminal() && !phase(now).is_terminal() && restarts(now) <= restarts(before)
}

fn kind(before: Option<&PodState>, now: &PodState) -> PodEventType {
    let was = before.map(phase);
    let restarted = before.is_some_and(|before| {
        now.containers.iter().any(|container| {
            let former = before
                .containers
                .iter()
                .find(|former| former.name == container.name);
            former.is_some_and(|former| former.restart_count < container.restart_count)
        })
    });
    match phase(now) {
        Phase::Succeeded if was != Some(Phase::Succeeded) => PodEventType::Finished,
        Phase::Failed if was != Some(Phase::Failed) => PodEventType::Failed,
        _ if restarted => PodEventType::Restarted,
        Phase::Running if was != Some(Phase::Running) => PodEventType::Started,
        _ => PodEventType::Updated,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn status(state: Value) -> PodStatus {
        let container = json!({"name": "main", "state": state});
        serde_json::from_value(json!({"name": "p", "UID": "u", "namespace": "n", "containers": [container]}))
            .unwrap()
    }

    fn told(before: Option<&PodState>, state: Value) -> Found {
        news(&PodRef::new("u", "n", "p"), "42", before, &status(state))
    }

    fn state(found: Found) -> (PodEventType, PodState) {
        match found {
            Found::News(kind, state) => (kind, state),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_step_of_a_life_is_told_once() {
        let (kind, waiting) = state(told(None, json!({"waiting": {}})));
        assert_eq!((kind, waiting.job_id.as_str()), (PodEventType::Updated, "42"));
        assert_eq!(told(Some(&waiting), json!({"waiting": {}})), Found::Same);
        let (kind, running) = state(told(Some(&waiting), json!({"running": {}})));
        assert_eq!(kind, PodEventType::Started);
        let (kind, ended) = state(told(Some(&running), json!({"terminated": {"exitCode": 0}})));
        assert_eq!(kind, PodEventType::Finished);
        assert_eq!(
            told(Some(&ended), json!({"terminated": {"exitCode": 0}})),
            Found::Same
        );
        let (kind, _) = state(told(Some(&running), json!({"terminated": {"exitCode": 3}})));
        assert_eq!(kind, PodEventType::Failed);
    }

    #[test]
    fn a_cached_answer_does_not_bring_the_dead_back() {
        let (_, ended) = state(told(None, json!({"terminated": {"exitCode": 0}})));
        assert_eq!(told(Some(&ended), json!({"running": {}})), Found::Same);
        let mut again = status(json!({"running": {}}));
        again.containers[0].restart_count = 1;
        let (kind, _) = state(news(&PodRef::new("u", "n", "p"), "", Some(&ended), &again));
        assert_eq!(kind, PodEventType::Restarted);
    }

    #[test]
    fn no_containers_are_no_news_and_not_found_is_told_apart() {
        let mut empty = status(json!({}));
        assert_eq!(told(None, json!({})), Found::Nothing);
        empty.containers.clear();
        assert_eq!(news(&PodRef::default(), "", None, &empty), Found::Nothing);
        assert_eq!(
            told(None, json!({"waiting": {"reason": "PodNotFound"}})),
            Found::Missing
        );
    }
}
