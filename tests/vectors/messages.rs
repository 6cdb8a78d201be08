//! The messages that the vectors are made of.

use bytes::Bytes;
use towline::{
    session::Config,
    wire::{
        ContainerRunning, ContainerState, ContainerTerminated, ContainerWaiting, CreatePod, CreateResult,
        EventAck, GetStatus, Limits, LogChunk, LogOptions, LogPosition, LogsEnd, NodeStatus, Outbox,
        PodEvent, PodEventType, PodRef, PodState, Presence, Register, Request, Response, Role, Status,
        StreamId, StreamLogs, Timestamp, Welcome, codec::encode_frame, container_state, frame::Body,
        request::Op, response,
    },
};

pub(crate) const UID: &str = "3f0c9d0e-8f0b-4c53-9e1b-5d2f9a4b7c11";

pub(crate) fn pod() -> Option<PodRef> {
    Some(PodRef::new(UID, "default", "hello"))
}

pub(crate) fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp {
        seconds: 1_790_000_000 + seconds,
        nanos: 0,
    })
}

pub(crate) fn register() -> Register {
    Register {
        role: Role::Plugin as i32,
        plugin: "site1".into(),
        instance: "0193b1f0-0000-7000-8000-000000000001".into(),
        r#type: "process".into(),
        software: "towline/0.1".into(),
        features: vec!["flow_control".into(), "events".into()],
        limits: Some(Limits {
            max_message_bytes: 16 << 20,
            max_calls: 64,
            max_log_streams: 64,
            max_unacked_events: 256,
        }),
        outbox: Some(Outbox {
            epoch: 77,
            oldest_seq: 1,
            next_seq: 1,
            acked_seq: 0,
        }),
        jobs_epoch: 5,
        labels: [("node".to_owned(), "cluster1".to_owned())].into(),
        node_status: Some(NodeStatus {
            ready: true,
            cpu: "64".into(),
            memory: "256Gi".into(),
            pods: "110".into(),
            ..NodeStatus::default()
        }),
    }
}

pub(crate) fn welcome() -> Welcome {
    Welcome {
        session: "s-1".into(),
        features: vec!["flow_control".into(), "events".into()],
        applied: Some(EventAck::default()),
        hub_version: "0.1.0".into(),
        ..Welcome::default()
    }
}

pub(crate) fn create() -> Request {
    Request {
        op_key: format!("create/{UID}"),
        attempt: 1,
        timeout_ms: 110_000,
        metadata: [("interlink-http-session".to_owned(), "CreatePod#12345".to_owned())].into(),
        sensitive: true,
        op: Some(Op::CreatePod(CreatePod {
            pod: pod(),
            payload: Bytes::from_static(
                br#"{"pod":{"metadata":{"name":"hello"}},"container":[],"jobConfig":{}}"#,
            ),
        })),
    }
}

pub(crate) fn created() -> Response {
    Response {
        status: None,
        result: Some(response::Result::CreatePod(CreateResult {
            job_id: "4711".into(),
            existed: false,
        })),
    }
}

pub(crate) fn state(seq: u64, state: container_state::State) -> PodState {
    PodState {
        pod: pod(),
        job_id: "4711".into(),
        seq,
        presence: Presence::Present as i32,
        containers: vec![ContainerState {
            name: "main".into(),
            image: "busybox".into(),
            started: true,
            state: Some(state),
            ..ContainerState::default()
        }],
        observed_at: at(seq as i64),
        ..PodState::default()
    }
}

pub(crate) fn queued(seq: u64) -> PodState {
    let waiting = ContainerWaiting {
        reason: "ContainerCreating".into(),
        message: "queued as job 4711".into(),
    };
    let mut queued = state(seq, container_state::State::Waiting(waiting));
    queued.containers[0].started = false;
    queued
}

pub(crate) fn running(seq: u64) -> PodState {
    state(
        seq,
        container_state::State::Running(ContainerRunning { started_at: at(0) }),
    )
}

pub(crate) fn ended(seq: u64) -> PodState {
    let end = ContainerTerminated {
        reason: "Completed".into(),
        started_at: at(0),
        finished_at: at(9),
        ..ContainerTerminated::default()
    };
    state(seq, container_state::State::Terminated(end))
}

pub(crate) fn event(kind: PodEventType, state: PodState) -> PodEvent {
    PodEvent {
        epoch: 77,
        seq: state.seq,
        r#type: kind as i32,
        at: state.observed_at,
        state: Some(state),
    }
}

pub(crate) fn chunk(offset: u64, text: &'static [u8]) -> LogChunk {
    LogChunk {
        at: Some(LogPosition { epoch: 1, offset }),
        next_offset: offset + text.len() as u64,
        data: Bytes::from_static(text),
        ..LogChunk::default()
    }
}

pub(crate) fn logs_end() -> Response {
    let end = LogsEnd {
        next: Some(LogPosition { epoch: 1, offset: 12 }),
        eof: true,
        reset: false,
    };
    Response {
        status: None,
        result: Some(response::Result::LogsEnd(end)),
    }
}

pub(crate) fn follow() -> StreamLogs {
    StreamLogs {
        pod: pod(),
        container: "main".into(),
        options: Some(LogOptions {
            follow: true,
            ..LogOptions::default()
        }),
        timeout_ms: 30_000,
        ..StreamLogs::default()
    }
}

pub(crate) fn packet(frames: impl IntoIterator<Item = (u32, Body)>) -> Bytes {
    let mut out = Vec::new();
    for (stream, body) in frames {
        encode_frame(&mut out, StreamId(stream), body);
    }
    Bytes::from(out)
}
/// [`welcome`] as a session writes it: with the limits and timers of the hub.
pub(crate) fn whole_welcome(features: &[&str]) -> Welcome {
    let config = Config::default();
    Welcome {
        features: features.iter().map(|name| (*name).to_owned()).collect(),
        limits: Some(config.limits()),
        ping_ms: config.ping_interval.as_millis() as u64,
        idle_ms: config.idle.as_millis() as u64,
        ..welcome()
    }
}

pub(crate) fn get_status() -> Request {
    Request {
        timeout_ms: 30_000,
        op: Some(Op::GetStatus(GetStatus {
            all: true,
            ..GetStatus::default()
        })),
        ..Request::default()
    }
}

pub(crate) fn failed(status: Status) -> Response {
    Response {
        status: Some(status),
        result: None,
    }
}
