//! Messages as a plugin says them.

use bytes::Bytes;
use towline::wire::{
    ContainerRunning, ContainerState, ContainerTerminated, CreateResult, DeleteResult, LogChunk, LogPosition,
    LogsEnd, NodeStatus, Outbox, PodEvent, PodRef, PodState, Presence, Register, Response, Role, Status,
    StatusResult, container_state::State, response,
};

pub(crate) const UID: &str = "11111111-2222-3333-4444-555555555555";

/// The uid of the nth pod.
pub(crate) fn uid(n: usize) -> String {
    format!("00000000-0000-4000-8000-{n:012x}")
}

/// Register of plugin `p`: flow control and events, outbox epoch 7, jobs epoch 1.
pub(crate) fn registration(instance: &str) -> Register {
    Register {
        role: Role::Plugin.into(),
        plugin: "p".into(),
        instance: instance.into(),
        r#type: "fake".into(),
        features: vec!["flow_control".into(), "events".into()],
        outbox: Some(fresh_outbox(7)),
        jobs_epoch: 1,
        node_status: Some(NodeStatus {
            ready: true,
            cpu: "4".into(),
            ..NodeStatus::default()
        }),
        ..Register::default()
    }
}

/// An outbox that has sent nothing yet.
pub(crate) fn fresh_outbox(epoch: u64) -> Outbox {
    Outbox {
        epoch,
        oldest_seq: 1,
        next_seq: 1,
        acked_seq: 0,
    }
}

pub(crate) fn running(seq: u64) -> PodState {
    state(
        PodRef::new(UID, "default", "demo"),
        seq,
        State::Running(ContainerRunning::default()),
    )
}

pub(crate) fn ended(seq: u64) -> PodState {
    state(
        PodRef::new(UID, "default", "demo"),
        seq,
        State::Terminated(ContainerTerminated::default()),
    )
}

/// A pod of one container `main`.
pub(crate) fn state(pod: PodRef, seq: u64, state: State) -> PodState {
    PodState {
        pod: Some(pod),
        job_id: "job-1".into(),
        seq,
        presence: Presence::Present.into(),
        containers: vec![ContainerState {
            name: "main".into(),
            state: Some(state),
            ..ContainerState::default()
        }],
        ..PodState::default()
    }
}

/// An event of epoch 7 with this state.
pub(crate) fn event(state: PodState) -> PodEvent {
    PodEvent {
        epoch: 7,
        seq: state.seq,
        state: Some(state),
        ..PodEvent::default()
    }
}

pub(crate) fn good(result: response::Result) -> Response {
    Response {
        status: None,
        result: Some(result),
    }
}

pub(crate) fn failed(status: Status) -> Response {
    Response {
        status: Some(status),
        result: None,
    }
}

pub(crate) fn created(job_id: &str, existed: bool) -> Response {
    good(response::Result::CreatePod(CreateResult {
        job_id: job_id.into(),
        existed,
    }))
}

pub(crate) fn deleted(existed: bool) -> Response {
    good(response::Result::DeletePod(DeleteResult { existed }))
}

pub(crate) fn page(pods: Vec<PodState>, next_page_token: String) -> Response {
    good(response::Result::GetStatus(StatusResult {
        as_of: 0,
        pods,
        next_page_token,
    }))
}

/// A chunk of plain bytes.
pub(crate) fn chunk(epoch: u64, offset: u64, data: impl Into<Bytes>) -> LogChunk {
    let data = data.into();
    LogChunk {
        at: Some(LogPosition { epoch, offset }),
        next_offset: offset + data.len() as u64,
        data,
        ..LogChunk::default()
    }
}

/// The end of a log that is whole.
pub(crate) fn logs_end(epoch: u64, offset: u64) -> LogsEnd {
    LogsEnd {
        next: Some(LogPosition { epoch, offset }),
        eof: true,
        reset: false,
    }
}
