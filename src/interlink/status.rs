//! PodStatus and v1.ContainerStatus as JSON, and their plain translation to and from wire's states. Nothing is
//! corrected here: see `complete`.

use serde::{Deserialize, Serialize};

use super::{lenient, parse_time, time::format_seconds};
use crate::wire::{
    self, ContainerRunning, ContainerState, ContainerTerminated, ContainerWaiting, PodRef, PodState,
    Presence, container_state,
};

/// The status of one pod, as the virtual kubelet reads it and as plugins write it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodStatus {
    /// Pod name.
    #[serde(deserialize_with = "lenient::null")]
    pub name: String,
    /// Pod uid.
    #[serde(rename = "UID", alias = "uid", deserialize_with = "lenient::null")]
    pub uid: String,
    /// Namespace.
    #[serde(deserialize_with = "lenient::null")]
    pub namespace: String,
    /// The plugin's name for the work.
    #[serde(rename = "JID", alias = "jobid", deserialize_with = "lenient::null")]
    pub jid: String,
    /// Main containers.
    #[serde(deserialize_with = "lenient::null", serialize_with = "lenient::nil")]
    pub containers: Vec<ContainerStatus>,
    /// Init containers.
    #[serde(
        rename = "initContainers",
        deserialize_with = "lenient::null",
        serialize_with = "lenient::nil"
    )]
    pub init_containers: Vec<ContainerStatus>,
}

/// v1.ContainerStatus.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    /// Container name.
    #[serde(deserialize_with = "lenient::null")]
    pub name: String,
    /// Now.
    #[serde(deserialize_with = "lenient::null")]
    pub state: State,
    /// The run before.
    #[serde(deserialize_with = "lenient::null")]
    pub last_state: State,
    /// Ready to serve.
    #[serde(deserialize_with = "lenient::null")]
    pub ready: bool,
    /// Starts after the first.
    #[serde(deserialize_with = "lenient::null")]
    pub restart_count: u32,
    /// Image.
    #[serde(deserialize_with = "lenient::null")]
    pub image: String,
    /// Image as resolved.
    #[serde(rename = "imageID", deserialize_with = "lenient::null")]
    pub image_id: String,
    /// The runtime's id.
    #[serde(
        rename = "containerID",
        deserialize_with = "lenient::null",
        skip_serializing_if = "String::is_empty"
    )]
    pub container_id: String,
    /// Whether it has started; absent when not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<bool>,
}

/// v1.ContainerState: one of these, or none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Not running yet, or between two runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// Running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<Running>,
    /// Ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminated: Option<Terminated>,
}

/// v1.ContainerStateWaiting.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Waiting {
    /// One word.
    #[serde(deserialize_with = "lenient::null", skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// One line.
    #[serde(deserialize_with = "lenient::null", skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// v1.ContainerStateRunning.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Running {
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
}

/// v1.ContainerStateTerminated.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Terminated {
    /// Exit code.
    #[serde(deserialize_with = "lenient::null")]
    pub exit_code: i32,
    /// Signal, or 0.
    #[serde(deserialize_with = "lenient::null", skip_serializing_if = "is_zero")]
    pub signal: i32,
    /// One word; the virtual kubelet overwrites it.
    #[serde(deserialize_with = "lenient::null", skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// One line; the virtual kubelet keeps it.
    #[serde(deserialize_with = "lenient::null", skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
fn is_zero(number: &i32) -> bool {
    *number == 0
}

impl From<&ContainerState> for ContainerStatus {
    fn from(from: &ContainerState) -> Self {
        let state = match &from.state {
            None => State::default(),
            Some(container_state::State::Waiting(waiting)) => State {
                waiting: Some(Waiting {
                    reason: waiting.reason.clone(),
                    message: waiting.message.clone(),
                }),
                ..Default::default()
            },
            Some(container_state::State::Running(running)) => State {
                running: Some(Running {
                    started_at: running.started_at.as_ref().map(format_seconds),
                }),
                ..Default::default()
            },
            Some(container_state::State::Terminated(ended)) => terminated(ended),
        };
        Self {
            name: from.name.clone(),
            state,
            last_state: from.last_termination.as_ref().map(terminated).unwrap_or_default(),
            ready: from.ready,
            restart_count: from.restart_count,
            image: from.image.clone(),
            image_id: from.image_id.clone(),
            container_id: from.container_id.clone(),
            started: from.started.then_some(true),
        }
    }
}

fn terminated(ended: &ContainerTerminated) -> State {
    let terminated = Terminated {
        exit_code: ended.exit_code,
        signal: ended.signal,
        reason: ended.reason.clone(),
        message: ended.message.clone(),
        started_at: ended.started_at.as_ref().map(format_seconds),
        finished_at: ended.finished_at.as_ref().map(format_seconds),
    };
    State {
        terminated: Some(terminated),
        ..Default::default()
    }
}

impl From<&ContainerStatus> for ContainerState {
    fn from(from: &ContainerStatus) -> Self {
        let time = |text: &Option<String>| text.as_deref().and_then(parse_time);
        let ended = |from: &Terminated| ContainerTerminated {
            exit_code: from.exit_code,
            signal: from.signal,
            reason: from.reason.clone(),
            message: from.message.clone(),
            started_at: time(&from.started_at),
            finished_at: time(&from.finished_at),
        };
        let state = match &from.state {
            State {
                terminated: Some(it), ..
            } => Some(container_state::State::Terminated(ended(it))),
            State {
                running: Some(it), ..
            } => Some(container_state::State::Running(ContainerRunning {
                started_at: time(&it.started_at),
            })),
            State {
                waiting: Some(it), ..
            } => Some(container_state::State::Waiting(ContainerWaiting {
                reason: it.reason.clone(),
                message: it.message.clone(),
            })),
            _ => None,
        };
        Self {
            name: from.name.clone(),
            image: from.image.clone(),
            image_id: from.image_id.clone(),
            container_id: from.container_id.clone(),
            ready: from.ready,
            started: from.started.unwrap_or(from.state.running.is_some()),
            restart_count: from.restart_count,
            state,
            last_termination: from.last_state.terminated.as_ref().map(ended),
        }
    }
}

impl From<&PodStatus> for PodState {
    /// Reads a plugin's own REST answer: a pod that it lists is present.
    fn from(from: &PodStatus) -> Self {
        Self {
            pod: Some(PodRef::new(&from.uid, &from.namespace, &from.name)),
            job_id: from.jid.clone(),
            seq: 0,
            presence: Presence::Present.into(),
            containers: from.containers.iter().map(wire::ContainerState::from).collect(),
            init_containers: from
                .init_containers
                .iter()
                .map(wire::ContainerState::from)
                .collect(),
            observed_at: None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;
    use crate::interlink::parse;

    #[test]
    fn a_plugins_answer_survives_the_link() {
        let body = include_bytes!("../../tests/payloads/status.plugin.json");
        let read: Vec<PodStatus> = parse(body).unwrap();
        for status in &read {
            let state = PodState::from(status);
            assert_eq!(state.presence(), Presence::Present);
            let again: Vec<ContainerStatus> = state.containers.iter().map(ContainerStatus::from).collect();
            let shape = |list: &[ContainerStatus]| serde_json::to_value(list).unwrap();
            let mut expected = shape(&status.containers);
            // `started` follows from a running state.
            for container in expected.as_array_mut().unwrap() {
                if container["state"].get("running").is_some() {
                    container["started"] = json!(true);
                }
            }
            assert_eq!(shape(&again), expected);
        }
        let again: Value = serde_json::to_value(&read).unwrap();
        assert_eq!(again, serde_json::from_slice::<Value>(body).unwrap());
    }

    #[test]
    fn other_spellings_and_null_are_read() {
        let read: PodStatus =
            parse(br#"{"uid": "u", "jobid": "7", "containers": null, "initContainers": null}"#).unwrap();
        assert_eq!((read.uid.as_str(), read.jid.as_str()), ("u", "7"));
        assert!(parse::<Option<Vec<PodStatus>>>(b"null").unwrap().is_none());
    }
}
