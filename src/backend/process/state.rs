//! What is told of a pod: from the machine to `PodState` and event words. Pure.

use std::time::SystemTime;

use super::{
    machine::{Kind, Machine, Phase, Slot},
    plan::Plan,
    spec::Exit,
};
use crate::wire::{
    ContainerRunning, ContainerState, ContainerTerminated, ContainerWaiting, PodEventType, PodRef, PodState,
    Presence, Timestamp, container_state::State,
};

/// A state that says: there is no such pod.
pub(crate) fn absent(pod: &PodRef, now: SystemTime) -> PodState {
    PodState {
        pod: Some(pod.clone()),
        presence: Presence::Absent as i32,
        observed_at: Some(timestamp(now)),
        ..Default::default()
    }
}

/// The state of a pod as its machine has it.
pub(crate) fn pod_state(plan: &Plan, machine: &Machine, now: SystemTime) -> PodState {
    let initialized = machine.slots.iter().all(|slot| match slot.kind {
        Kind::Init => matches!(slot.phase, Phase::Ended(_)),
        Kind::Sidecar => slot.runs > 0,
        Kind::Main => true,
    });
    let mut state = PodState {
        pod: Some(plan.pod.clone()),
        job_id: plan.pod.uid.clone(),
        seq: 0,
        presence: Presence::Present as i32,
        containers: Vec::new(),
        init_containers: Vec::new(),
        observed_at: Some(timestamp(now)),
    };
    for (container, slot) in plan.containers.iter().zip(&machine.slots) {
        let told = container_state(&plan.pod.uid, &container.image, slot, initialized);
        match slot.kind {
            Kind::Main => state.containers.push(told),
            Kind::Init | Kind::Sidecar => state.init_containers.push(told),
        }
    }
    state
}

fn container_state(uid: &str, image: &str, slot: &Slot, initialized: bool) -> ContainerState {
    let waiting = |reason: &str, message: String| {
        State::Waiting(ContainerWaiting {
            reason: reason.to_owned(),
            message,
        })
    };
    let (state, running) = match &slot.phase {
        Phase::Waiting if initialized => (waiting("ContainerCreating", String::new()), false),
        Phase::Waiting => (waiting("PodInitializing", String::new()), false),
        Phase::Starting => (waiting("ContainerCreating", String::new()), false),
        Phase::Running { started_at } => (
            State::Running(ContainerRunning {
                started_at: Some(timestamp(*started_at)),
            }),
            true,
        ),
        Phase::Backoff { delay, .. } => {
            let text = format!(
                "back-off {} s before container {} is started again",
                delay.as_secs(),
                slot.name
            );
            (waiting("CrashLoopBackOff", text), false)
        }
        Phase::Ended(exit) => (State::Terminated(terminated(exit)), false),
    };
    ContainerState {
        name: slot.name.clone(),
        image: image.to_owned(),
        image_id: String::new(),
        container_id: match slot.runs {
            0 => String::new(),
            epoch => format!("process://{uid}/{}/{epoch}", slot.name),
        },
        ready: running
            || slot.kind == Kind::Init && matches!(&slot.phase, Phase::Ended(exit) if exit.exit_code == 0),
        started: running,
        restart_count: u32::try_from(slot.runs.saturating_sub(1)).unwrap_or(u32::MAX),
        state: Some(state),
        last_termination: slot.last.as_ref().map(terminated),
    }
}

fn terminated(exit: &Exit) -> ContainerTerminated {
    ContainerTerminated {
        exit_code: exit.exit_code,
        signal: exit.signal,
        reason: exit.reason.clone(),
        message: exit.message.clone(),
        started_at: exit.started_at.map(timestamp),
        finished_at: Some(timestamp(exit.finished_at)),
    }
}

/// The word for what changed between two states; none when nothing did.
pub(crate) fn event(before: Option<&PodState>, after: &PodState, machine: &Machine) -> Option<PodEventType> {
    let all = |state: &PodState| -> Vec<ContainerState> {
        state
            .init_containers
            .iter()
            .chain(&state.containers)
            .cloned()
            .collect()
    };
    let (before, after) = (before.map(all), all(after));
    if before.as_ref() == Some(&after) {
        return None;
    }
    if machine.is_over() {
        return Some(if machine.succeeded() {
            PodEventType::Finished
        } else {
            PodEventType::Failed
        });
    }
    let is_running = |state: &ContainerState| matches!(state.state, Some(State::Running(_)));
    // The first that this process tells of it: it may have been taken up as it runs.
    let Some(before) = before else {
        return Some(if after.iter().any(is_running) {
            PodEventType::Started
        } else {
            PodEventType::Created
        });
    };
    let begun = || {
        before
            .iter()
            .zip(&after)
            .filter(|(was, is)| !is_running(was) && is_running(is))
    };
    if begun().any(|(_, is)| is.restart_count > 0) {
        Some(PodEventType::Restarted)
    } else if begun().next().is_some() {
        Some(PodEventType::Started)
    } else {
        Some(PodEventType::Updated)
    }
}

/// A time as the wire has it.
pub(crate) fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::from(time)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::{Duration, Instant};

    use super::*;
    use crate::{
        backend::process::{machine::BACKOFF_FIRST, plan::tests::plan_of, spec::RunState},
        interlink::RestartPolicy,
    };

    fn reason(state: &ContainerState) -> &str {
        match state.state.as_ref().unwrap() {
            State::Waiting(waiting) => &waiting.reason,
            State::Running(_) => "Running",
            State::Terminated(terminated) => &terminated.reason,
        }
    }

    fn ended(exit_code: i32) -> RunState {
        let mut exit = Exit::not_started(exit_code, if exit_code == 0 { "Completed" } else { "Error" }, "");
        exit.started = true;
        RunState::Exited(exit)
    }

    #[test]
    fn a_pod_is_told_from_its_start_to_its_end() {
        let now = Instant::now();
        let plan = plan_of(serde_json::json!({
            "restartPolicy": "OnFailure",
            "initContainers": [{"name": "init", "command": ["true"]}],
            "containers": [{"name": "main", "image": "img", "command": ["true"]}]
        }))
        .unwrap();
        let slots = plan
            .containers
            .iter()
            .map(|container| Slot::new(&container.name, container.kind))
            .collect();
        let mut machine = Machine::new(slots, RestartPolicy::OnFailure, Duration::ZERO, None);
        let mut before: Option<PodState> = None;
        let mut tell = |machine: &Machine| {
            let state = pod_state(&plan, machine, SystemTime::now());
            let word = event(before.as_ref(), &state, machine);
            before = Some(state.clone());
            (word, reason(&state.containers[0]).to_owned(), state)
        };
        let running = RunState::Running {
            started_at: SystemTime::now(),
        };

        let (word, main, _) = tell(&machine);
        assert_eq!(
            (word, main.as_str()),
            (Some(PodEventType::Created), "PodInitializing")
        );
        machine.actions(now);
        machine.observe(0, running.clone(), now);
        assert_eq!(tell(&machine).0, Some(PodEventType::Started));
        assert_eq!(tell(&machine).0, None);
        machine.observe(0, ended(0), now);
        machine.actions(now);
        let (word, main, _) = tell(&machine);
        assert_eq!(
            (word, main.as_str()),
            (Some(PodEventType::Updated), "ContainerCreating")
        );
        machine.observe(1, ended(2), now);
        let (_, main, state) = tell(&machine);
        assert_eq!(main, "CrashLoopBackOff");
        assert_eq!(
            state.containers[0].last_termination.as_ref().unwrap().exit_code,
            2
        );
        machine.actions(now + BACKOFF_FIRST);
        machine.observe(1, running, now);
        let (word, _, state) = tell(&machine);
        assert_eq!(word, Some(PodEventType::Restarted));
        assert_eq!(
            (state.containers[0].restart_count, state.containers[0].ready),
            (1, true)
        );
        machine.observe(1, ended(0), now);
        machine.actions(now);
        let (word, main, _) = tell(&machine);
        assert_eq!((word, main.as_str()), (Some(PodEventType::Finished), "Completed"));
        // As a plugin tells it that was started anew and finds it so.
        assert_eq!(event(None, &state, &machine), Some(PodEventType::Finished));
    }
}
