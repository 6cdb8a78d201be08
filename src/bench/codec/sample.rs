//! The frames that a link mostly carries, made of what real plugins and virtual kubelets sent.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::logs::Kind;
use crate::{
    interlink::{PodStatus, RetrievedPodData},
    wire::{
        CreatePod, GetStatus, LogChunk, LogPosition, PodEvent, PodEventType, PodRef, PodState, Request,
        Response, StatusResult, StreamLogs, Timestamp, frame::Body, request::Op, response,
    },
};

/// One frame, and the same as a body of JSON with types.
#[derive(Debug)]
pub struct Sample {
    /// For tables.
    pub name: &'static str,
    /// The frame that opened its stream, where the form of the frame depends on it.
    pub opened_by: Option<Body>,
    /// The frame.
    pub body: Body,
    /// What a service that speaks JSON with types would send.
    pub typed: Typed,
    /// What it carries for its user in bytes: the figure behind MB/s.
    pub payload: u64,
}

/// A body of JSON.
#[derive(Debug, Clone, PartialEq)]
pub enum Typed {
    /// POST /create to a plugin.
    Create(Box<RetrievedPodData>),
    /// The answer of GET /status, and what an event would be.
    Status(Vec<PodStatus>),
    /// A part of a log.
    Log(LogBody),
}

/// A part of a log as JSON with types would have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogBody {
    epoch: u64,
    offset: u64,
    next_offset: u64,
    data: String,
}

const CREATE: &str = include_str!("../../../tests/payloads/golden/create_req.microservice.json");
const STATUS: &str = include_str!("../../../tests/payloads/golden/status_resp.running.json");

/// All of them.
///
/// # Errors
/// A sample file that is not what it was.
pub fn samples() -> anyhow::Result<Vec<Sample>> {
    Ok(vec![
        create()?,
        status("status answer, 1 pod", 1)?,
        status("status answer, 100 pods", 100)?,
        event()?,
        log("log chunk 256 B", 256),
        log("log chunk 4 KiB", 4 << 10),
        log("log chunk 64 KiB", 64 << 10),
    ])
}

fn create() -> anyhow::Result<Sample> {
    let typed: RetrievedPodData = serde_json::from_str(CREATE)?;
    let payload = serde_json::to_vec(&typed)?;
    Ok(Sample {
        name: "create",
        opened_by: None,
        payload: payload.len() as u64,
        body: Body::Request(Box::new(Request {
            op_key: "01J8Z6Q5T3".to_owned(),
            attempt: 1,
            timeout_ms: 110_000,
            sensitive: true,
            op: Some(Op::CreatePod(CreatePod {
                pod: Some(typed.pod.pod_ref()),
                payload: payload.into(),
            })),
            ..Request::default()
        })),
        typed: Typed::Create(Box::new(typed)),
    })
}

/// So many pods, each as a plugin answered it.
fn states(count: usize) -> anyhow::Result<Vec<PodStatus>> {
    let one: Vec<PodStatus> = serde_json::from_str(STATUS)?;
    let all = one.into_iter().cycle().take(count).enumerate();
    Ok(all
        .map(|(n, pod)| PodStatus {
            uid: format!("3f0c9d0e-8f0b-4c53-9e1b-{n:012x}"),
            name: format!("{}-{n}", pod.name),
            jid: format!("{}", 480_000 + n),
            ..pod
        })
        .collect())
}

fn status(name: &'static str, count: usize) -> anyhow::Result<Sample> {
    let typed = states(count)?;
    Ok(Sample {
        name,
        opened_by: Some(Body::Request(Box::new(Request {
            op: Some(Op::GetStatus(GetStatus::default())),
            ..Request::default()
        }))),
        payload: serde_json::to_vec(&typed)?.len() as u64,
        body: Body::Response(Box::new(Response {
            status: None,
            result: Some(response::Result::GetStatus(StatusResult {
                pods: typed.iter().map(PodState::from).collect(),
                ..StatusResult::default()
            })),
        })),
        typed: Typed::Status(typed),
    })
}

fn event() -> anyhow::Result<Sample> {
    let typed = states(1)?;
    Ok(Sample {
        name: "pod event",
        opened_by: None,
        payload: serde_json::to_vec(&typed)?.len() as u64,
        body: Body::PodEvent(Box::new(PodEvent {
            epoch: 77_120_934,
            seq: 4_711,
            r#type: PodEventType::Updated.into(),
            state: typed
                .first()
                .map(PodState::from)
                .map(|state| PodState { seq: 4_711, ..state }),
            at: Some(Timestamp {
                seconds: 1_790_000_000,
                nanos: 120_000_000,
            }),
        })),
        typed: Typed::Status(typed),
    })
}

fn log(name: &'static str, size: usize) -> Sample {
    let data = Kind::Text.bytes(size);
    let (offset, next_offset) = (9_000_000, 9_000_000 + size as u64);
    Sample {
        name,
        opened_by: Some(Body::StreamLogs(Box::new(StreamLogs {
            pod: Some(PodRef::new(
                "3f0c9d0e-8f0b-4c53-9e1b-5d2f9a4b7c11",
                "lab",
                "train-0",
            )),
            container: "train".to_owned(),
            ..StreamLogs::default()
        }))),
        payload: size as u64,
        typed: Typed::Log(LogBody {
            epoch: 1,
            offset,
            next_offset,
            data: String::from_utf8_lossy(&data).into_owned(),
        }),
        body: Body::LogChunk(LogChunk {
            at: Some(LogPosition { epoch: 1, offset }),
            next_offset,
            data: Bytes::from(data),
            ..LogChunk::default()
        }),
    }
}
