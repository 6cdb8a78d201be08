//! From a pod's state to a status that the virtual kubelet reads rightly.
//!
//! The virtual kubelet counts containers and takes some states for others: a list that is empty reads as
//! Succeeded, one that lacks a container or has one more ends its process, a waiting init container beside a
//! failed one reads as Pending for ever. So the status is built from the spec in its own request, container by
//! container, and only filled from what the plugin said.

use super::{Container, ContainerStatus, Pod, PodStatus, status};
use crate::wire::{ContainerState, ContainerTerminated, PodState, Presence, container_state::State};

/// The status to answer with for `pod`, the one inside the status request; nothing when there is no news (the
/// pod is not known for sure, or nothing is known of its containers).
pub fn complete(pod: &Pod, state: &PodState) -> Option<PodStatus> {
    if state.presence() != Presence::Present {
        return None;
    }
    let spec = pod.spec();
    let mains = &state.containers;
    let is_known =
        |container: &Container| find(mains, &container.name).is_some_and(|known| known.state.is_some());
    // An init container that failed says enough about containers that were never mentioned.
    let failure = failed_init(spec, state);
    if spec.containers.is_empty() || (failure.is_none() && !spec.containers.iter().any(is_known)) {
        return None;
    }

    let mut containers: Vec<ContainerStatus> = spec
        .containers
        .iter()
        .map(|container| match find(mains, &container.name) {
            Some(known) => readable(container, known),
            None => unmentioned(pod, container, mains),
        })
        .collect();
    if let Some(failure) = &failure {
        for container in &mut containers {
            failure.spread_to(container);
        }
    }
    let is_over = containers
        .iter()
        .all(|container| container.state.terminated.is_some());
    let has_succeeded = is_over && containers.iter().all(|container| exit_of(container) == Some(0));
    let has_begun = containers
        .iter()
        .any(|container| container.state.waiting.is_none());

    let mut init_containers = Vec::new();
    for container in &spec.init_containers {
        let known = find(&state.init_containers, &container.name);
        let mut status = match known {
            Some(known) => readable(container, known),
            None => waiting(container, "PodInitializing", ""),
        };
        // A sidecar that runs reads as an init phase without end, and its exit code must not decide.
        let is_waiting = status.state.waiting.is_some();
        if container.is_sidecar() && (!is_waiting || has_begun) && failure.is_none() {
            continue;
        }
        if let Some(failure) = failure.as_ref().filter(|failure| failure.name != container.name) {
            if status.state.terminated.is_none() {
                failure.spread_to(&mut status);
            }
        } else if status.state.terminated.is_none() && is_over {
            // The pod was ended before this one: it must not be waited for.
            let exit = if has_succeeded { 0 } else { KILLED_EXIT };
            status = terminated(
                container,
                exit,
                "the pod ended before this init container was seen to end",
            );
        } else if known.is_none() && has_begun {
            // The main containers run, so it has passed, or it was never this plugin's to run.
            status = terminated(container, 0, "");
        }
        init_containers.push(status);
    }

    Some(PodStatus {
        name: pod.name().to_owned(),
        uid: pod.uid().to_owned(),
        namespace: pod.namespace().to_owned(),
        jid: state.job_id.clone(),
        containers,
        init_containers,
    })
}

/// Exit code of what was ended from outside.
const KILLED_EXIT: i32 = 137;

fn exit_of(container: &ContainerStatus) -> Option<i32> {
    container.state.terminated.as_ref().map(|ended| ended.exit_code)
}

fn find<'a>(states: &'a [ContainerState], name: &str) -> Option<&'a ContainerState> {
    states.iter().find(|state| state.name == name)
}

/// What the plugin said of a container, made safe to read.
fn readable(container: &Container, known: &ContainerState) -> ContainerStatus {
    let mut status = ContainerStatus::from(known);
    if status.image.is_empty() {
        status.image.clone_from(&container.image);
    }
    if let (Some(ended), Some(State::Terminated(raw))) = (&mut status.state.terminated, &known.state) {
        ended.exit_code = true_exit(raw);
        ended.message = told(raw, ended.exit_code);
        status.ready = false;
    } else if status.state.running.is_none() {
        // Waiting, or nothing said. After a run it is between two runs.
        let waiting = status.state.waiting.get_or_insert_default();
        if let Some(last) = &known.last_termination {
            if waiting.reason.is_empty() {
                waiting.reason = "CrashLoopBackOff".to_owned();
            }
            if waiting.message.is_empty() {
                waiting.message = format!("the last run ended: {}", told_always(last));
            }
        }
        status.ready = false;
    }
    status
}

/// The state of a container in the spec that the plugin did not mention.
fn unmentioned(pod: &Pod, container: &Container, mains: &[ContainerState]) -> ContainerStatus {
    let mut worst = Some(0);
    let mut running = None;
    for main in mains {
        match &main.state {
            Some(State::Terminated(ended)) => {
                worst = worst.map(|exit| if exit == 0 { true_exit(ended) } else { exit })
            }
            state => {
                worst = None;
                running = running.or(match state {
                    Some(State::Running(it)) => Some(it),
                    _ => None,
                });
            }
        }
    }
    let is_kept_back = pod.kept_back().any(|name| name == container.name);
    match (worst, running) {
        (Some(exit), _) if is_kept_back || exit != 0 => terminated(container, exit, "not run by this plugin"),
        // Nobody saw it end: it must not look as if it had succeeded.
        (Some(_), _) => waiting(container, "Unknown", "the plugin has not reported this container"),
        (None, Some(running)) if is_kept_back => ContainerStatus {
            state: status::State {
                running: Some(status::Running {
                    started_at: running.started_at.as_ref().map(super::time::format_seconds),
                }),
                ..Default::default()
            },
            ready: true,
            ..named(container)
        },
        (None, _) => waiting(container, "ContainerCreating", ""),
    }
}

fn named(container: &Container) -> ContainerStatus {
    ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone(),
        ..Default::default()
    }
}

fn waiting(container: &Container, reason: &str, message: &str) -> ContainerStatus {
    let waiting = status::Waiting {
        reason: reason.to_owned(),
        message: message.to_owned(),
    };
    ContainerStatus {
        state: status::State {
            waiting: Some(waiting),
            ..Default::default()
        },
        ..named(container)
    }
}

fn terminated(container: &Container, exit_code: i32, message: &str) -> ContainerStatus {
    let ended = status::Terminated {
        exit_code,
        message: message.to_owned(),
        ..Default::default()
    };
    ContainerStatus {
        state: status::State {
            terminated: Some(ended),
            ..Default::default()
        },
        ..named(container)
    }
}

/// Whether an init container ended badly, for good.
pub(super) fn is_failed_init(container: &ContainerState) -> bool {
    matches!(&container.state, Some(State::Terminated(ended)) if true_exit(ended) != 0)
}

/// The init container that failed the pod.
struct FailedInit<'a> {
    name: &'a str,
    exit_code: i32,
    message: String,
    finished_at: Option<String>,
}

fn failed_init<'a>(spec: &super::PodSpec, state: &'a PodState) -> Option<FailedInit<'a>> {
    let has_begun = state
        .containers
        .iter()
        .any(|main| main.last_termination.is_some() || matches!(main.state, Some(State::Running(_))));
    let mut inits = spec
        .init_containers
        .iter()
        .filter(|init| !(init.is_sidecar() && has_begun));
    inits.find_map(|init| {
        let known = find(&state.init_containers, &init.name).filter(|known| is_failed_init(known))?;
        let Some(State::Terminated(ended)) = &known.state else {
            return None;
        };
        // A sidecar that ended together with its pod did not fail it.
        let mains_ran = state.containers.iter().any(|main| match &main.state {
            Some(State::Terminated(main)) => main.started_at.is_some() || true_exit(main) == 0,
            _ => false,
        });
        if init.is_sidecar() && mains_ran {
            return None;
        }
        let exit_code = true_exit(ended);
        Some(FailedInit {
            name: &known.name,
            exit_code,
            message: format!(
                "not started: init container {} failed: {}",
                known.name,
                told_always(ended)
            ),
            finished_at: ended.finished_at.as_ref().map(super::time::format_seconds),
        })
    })
}

impl FailedInit<'_> {
    /// Ends a container together with the init container, unless it failed by itself.
    fn spread_to(&self, container: &mut ContainerStatus) {
        if container
            .state
            .terminated
            .as_ref()
            .is_some_and(|ended| ended.exit_code != 0)
        {
            return;
        }
        container.ready = false;
        container.state = status::State {
            terminated: Some(status::Terminated {
                exit_code: self.exit_code,
                message: self.message.clone(),
                finished_at: self.finished_at.clone(),
                ..Default::default()
            }),
            ..Default::default()
        };
    }
}

/// Words that never go with success.
const FAILURES: [&str; 10] = [
    "Error",
    "OOMKilled",
    "DeadlineExceeded",
    "Cancelled",
    "Canceled",
    "Evicted",
    "Lost",
    "NodeFail",
    "Timeout",
    "ContainerCannotRun",
];

/// The exit code that tells the truth: work that was cancelled or killed never ended with 0.
pub(super) fn true_exit(ended: &ContainerTerminated) -> i32 {
    match ended.exit_code {
        0 if ended.signal > 0 => 128_i32.saturating_add(ended.signal),
        0 if FAILURES.contains(&ended.reason.as_str()) => 1,
        exit => exit,
    }
}

/// The message with the reason in it, because only the message survives.
fn told(ended: &ContainerTerminated, exit_code: i32) -> String {
    let reason = match ended.reason.as_str() {
        "Completed" | "Error" => "",
        reason => reason,
    };
    match (reason, ended.message.as_str()) {
        ("", "") if ended.signal > 0 => format!("ended by signal {}", ended.signal),
        ("", "") if exit_code != 0 => format!("exit code {exit_code}"),
        ("", message) => message.to_owned(),
        (reason, "") => reason.to_owned(),
        (reason, message)
            if message
                .to_ascii_lowercase()
                .contains(&reason.to_ascii_lowercase()) =>
        {
            message.to_owned()
        }
        (reason, message) => format!("{reason}: {message}"),
    }
}

fn told_always(ended: &ContainerTerminated) -> String {
    let exit = true_exit(ended);
    match told(ended, exit) {
        text if text.is_empty() || text == format!("exit code {exit}") => format!("exit code {exit}"),
        text => format!("exit code {exit}, {text}"),
    }
}

#[cfg(test)]
mod tests;
