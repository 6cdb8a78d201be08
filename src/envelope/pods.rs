//! Pods by name, and their states as REST's PodStatus with what REST lacks: presence, seq, the time of observation.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::read::{Bad, body_of, null, time};
use crate::{
    interlink::{ContainerStatus, PodStatus, Running, State, Terminated, format_time},
    wire::{ContainerState, ContainerTerminated, PodRef, PodState, Presence, Timestamp, container_state},
};

/// A v1.Pod of which only the name is told.
#[derive(Serialize)]
pub(super) struct Named<'a> {
    metadata: NameOut<'a>,
}

#[derive(Serialize)]
struct NameOut<'a> {
    name: &'a str,
    namespace: &'a str,
    uid: &'a str,
}

impl<'a> Named<'a> {
    pub(super) fn of(pod: Option<&'a PodRef>) -> Self {
        let (name, namespace, uid) = pod.map_or(("", "", ""), |pod| (&pod.name, &pod.namespace, &pod.uid));
        Self {
            metadata: NameOut { name, namespace, uid },
        }
    }
}

#[derive(Deserialize)]
struct PodIn {
    metadata: PodRef,
}

#[derive(Deserialize)]
struct CreateIn {
    pod: PodIn,
}

/// The name in a v1.Pod.
pub(super) fn named(pod: &RawValue) -> Result<PodRef, Bad> {
    body_of::<PodIn>(pod, "body").map(|pod| pod.metadata)
}

/// The name in a RetrievedPodData.
pub(super) fn named_in_create(body: &RawValue) -> Result<PodRef, Bad> {
    body_of::<CreateIn>(body, "body").map(|create| create.pod.metadata)
}

/// The names in a list of v1.Pod.
pub(super) fn all_named(pods: &RawValue) -> Result<Vec<PodRef>, Bad> {
    let pods: Vec<PodIn> = body_of(pods, "body")?;
    Ok(pods.into_iter().map(|pod| pod.metadata).collect())
}

/// One state as it is written.
#[derive(Serialize)]
pub(super) struct StatusItem<'a> {
    name: &'a str,
    #[serde(rename = "UID")]
    uid: &'a str,
    namespace: &'a str,
    #[serde(rename = "JID")]
    job_id: &'a str,
    containers: Option<Vec<ContainerStatus>>,
    #[serde(rename = "initContainers")]
    init_containers: Option<Vec<ContainerStatus>>,
    presence: &'static str,
    seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_at: Option<String>,
}

impl<'a> StatusItem<'a> {
    pub(super) fn of(state: &'a PodState) -> Self {
        let (name, namespace, uid) =
            (state.pod.as_ref()).map_or(("", "", ""), |pod| (&pod.name, &pod.namespace, &pod.uid));
        // Go writes a nil slice as null.
        let list = |states: &[ContainerState]| {
            (!states.is_empty()).then(|| states.iter().map(container).collect::<Vec<_>>())
        };
        Self {
            name,
            uid,
            namespace,
            job_id: &state.job_id,
            containers: list(&state.containers),
            init_containers: list(&state.init_containers),
            presence: match state.presence() {
                Presence::Unspecified => "UNSPECIFIED",
                Presence::Present => "PRESENT",
                Presence::Absent => "ABSENT",
                Presence::Unreachable => "UNREACHABLE",
            },
            seq: state.seq,
            observed_at: state.observed_at.as_ref().map(format_time),
        }
    }
}

/// As REST has it, but nothing is rounded and nothing left to be guessed.
fn container(from: &ContainerState) -> ContainerStatus {
    let exact = |at: &Option<Timestamp>| at.as_ref().map(format_time);
    let ended = |ended: &mut Option<Terminated>, from: &ContainerTerminated| {
        if let Some(ended) = ended {
            ended.started_at = exact(&from.started_at);
            ended.finished_at = exact(&from.finished_at);
        }
    };
    let mut to = ContainerStatus::from(from);
    to.started = Some(from.started);
    match &from.state {
        Some(container_state::State::Running(from)) => {
            let started_at = exact(&from.started_at);
            to.state = State {
                running: Some(Running { started_at }),
                ..State::default()
            };
        }
        Some(container_state::State::Terminated(from)) => ended(&mut to.state.terminated, from),
        Some(container_state::State::Waiting(_)) | None => {}
    }
    if let Some(from) = &from.last_termination {
        ended(&mut to.last_state.terminated, from);
    }
    to
}

/// What REST's PodStatus lacks. A plugin that lists a pod and says no more has it.
#[derive(Deserialize)]
struct Beside {
    presence: Option<String>,
    #[serde(default, deserialize_with = "null")]
    seq: u64,
    observed_at: Option<String>,
}

/// One state, at this place of the message.
pub(super) fn state(item: &RawValue, place: &str) -> Result<PodState, Bad> {
    let status: PodStatus = body_of(item, place)?;
    let beside: Beside = body_of(item, place)?;
    Ok(PodState {
        seq: beside.seq,
        presence: match beside.presence.as_deref() {
            None | Some("PRESENT") => Presence::Present,
            Some("ABSENT") => Presence::Absent,
            Some("UNREACHABLE") => Presence::Unreachable,
            // A word of a later version is no news.
            Some(_) => Presence::Unspecified,
        }
        .into(),
        observed_at: time(beside.observed_at.as_deref(), &format!("{place}.observed_at"))?,
        ..PodState::from(&status)
    })
}

/// The body of an answer to `GET /status`.
pub(super) fn states(body: &RawValue) -> Result<Vec<PodState>, Bad> {
    let items: Vec<&RawValue> = serde_json::from_str(body.get())
        .map_err(|_| Bad::at("body", "expected a list of pod states, or null"))?;
    let numbered = items.into_iter().enumerate();
    numbered
        .map(|(n, item)| state(item, &format!("body[{n}]")))
        .collect()
}
