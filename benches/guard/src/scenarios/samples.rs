//! The messages of all scenarios.

use bytes::Bytes;
use towline::{
    interlink::{Pod, PodCreateRequests, parse},
    wire::{
        ContainerRunning, ContainerState, CreatePod, CreateResult, GetStatus, LogChunk, LogPosition,
        NodeStatus, PodEvent, PodEventType, PodRef, PodState, Presence, Request, Response, StatusResult,
        StreamLogs, Timestamp, container_state::State, frame::Body, request::Op, response,
    },
};

/// A create as the virtual kubelet sends it.
pub(super) const CREATE: &[u8] = include_bytes!("../../../../tests/payloads/create.vk.json");
/// The same as a plugin gets it.
pub(super) const CREATED: &[u8] =
    include_bytes!("../../../../tests/payloads/create.plugin.json").trim_ascii();

const UID: &str = "3f0c9d0e-8f0b-4c53-9e1b-5d2f9a4b7c11";
const TIME: Timestamp = Timestamp {
    seconds: 1_790_000_000,
    nanos: 120_000_000,
};

pub(super) fn create(payload: Bytes) -> Request {
    Request {
        op_key: "01J8Z6Q5T3".to_owned(),
        attempt: 1,
        timeout_ms: 110_000,
        sensitive: true,
        op: Some(Op::CreatePod(CreatePod {
            pod: Some(PodRef::new(UID, "lab", "train-0")),
            payload,
        })),
        ..Request::default()
    }
}

/// Of 200 bytes.
pub(super) fn small_create() -> Request {
    create(Bytes::from(vec![b'{'; 200]))
}

pub(super) fn created() -> Response {
    Response {
        status: None,
        result: Some(response::Result::CreatePod(CreateResult {
            job_id: "480123".to_owned(),
            existed: false,
        })),
    }
}

pub(super) fn status_request() -> Request {
    Request {
        op: Some(Op::GetStatus(GetStatus {
            pods: vec![PodRef::new(UID, "lab", "train-0")],
            ..GetStatus::default()
        })),
        ..Request::default()
    }
}

pub(super) fn status_answer() -> Response {
    Response {
        status: None,
        result: Some(response::Result::GetStatus(StatusResult {
            as_of: 4_711,
            pods: vec![state(PodRef::new(UID, "lab", "train-0"), &["train"])],
            ..StatusResult::default()
        })),
    }
}

/// Of a pod whose containers run.
pub(super) fn state(pod: PodRef, containers: &[&str]) -> PodState {
    let running = |name: &&str| ContainerState {
        name: (*name).to_owned(),
        image: "registry.example.org/lab/train:1.4".to_owned(),
        ready: true,
        state: Some(State::Running(ContainerRunning {
            started_at: Some(TIME),
        })),
        ..ContainerState::default()
    };
    let mut state = PodState {
        pod: Some(pod),
        job_id: "480123".to_owned(),
        seq: 4_711,
        containers: containers.iter().map(running).collect(),
        ..PodState::default()
    };
    state.set_presence(Presence::Present);
    state
}

pub(super) fn event(seq: u64) -> PodEvent {
    PodEvent {
        epoch: 77_120_934,
        seq,
        r#type: PodEventType::Updated.into(),
        state: Some(state(PodRef::new(UID, "lab", "train-0"), &["train"])),
        at: Some(TIME),
    }
}

pub(super) fn node_status() -> NodeStatus {
    NodeStatus {
        ready: true,
        cpu: "128".to_owned(),
        memory: "512Gi".to_owned(),
        pods: "1000".to_owned(),
        ..NodeStatus::default()
    }
}

pub(super) fn open_logs() -> StreamLogs {
    StreamLogs {
        pod: Some(PodRef::new(UID, "lab", "train-0")),
        container: "train".to_owned(),
        ..StreamLogs::default()
    }
}

pub(super) fn chunk(offset: u64, data: Bytes) -> LogChunk {
    LogChunk {
        at: Some(LogPosition { epoch: 1, offset }),
        next_offset: offset + data.len() as u64,
        data,
        ..LogChunk::default()
    }
}

/// Lines of a log, `len` bytes of them.
pub(super) fn log(len: usize) -> Bytes {
    let lines =
        (0..).flat_map(|n| format!("2026-03-04T05:06:10Z epoch {n} loss 0.{:04}\n", n % 9_973).into_bytes());
    lines.take(len).collect::<Vec<u8>>().into()
}

pub(super) fn request(request: Request) -> Body {
    Body::Request(Box::new(request))
}

pub(super) fn response(response: Response) -> Body {
    Body::Response(Box::new(response))
}

/// So many pods of a create, with their states.
pub(super) fn pods(count: usize) -> Vec<(Pod, PodState)> {
    let create: PodCreateRequests = parse(CREATE).expect("the fixture is a create");
    let pod = create.pod;
    let containers: Vec<&str> = pod
        .spec()
        .containers
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    let state = state(pod.pod_ref(), &containers);
    vec![(pod.clone(), state); count]
}
