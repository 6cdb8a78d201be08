//! `packets/`: every message of the contract once, and the forms that readers get wrong.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use prost::Message as _;
use towline::{
    code::{Code, reason},
    wire::{
        Accelerator, AcceleratorList, CancelStream, CreatePod, Credit, Data, DeletePod, DeleteResult,
        EventAck, GetStatus, GoAway, HttpHeader, HttpRequest, HttpResponse, LogChunk, LogOptions,
        LogPosition, NodeStatus, Packet, Ping, PodEventType, PodState, Pong, Presence, Request, Response,
        Status, StatusResult, StreamLogs, Taint, TaintList,
        codec::{compress_packet, decode_packet},
        frame::Body,
        request::Op,
        response,
    },
};

use crate::{
    contract::{Contract, hex},
    golden::Golden,
    messages::{
        at, chunk, create, created, ended, event, follow, logs_end, packet, pod, register, running, welcome,
    },
};

/// Every message of the contract, and the forms that readers get wrong.
pub(crate) fn packets() -> BTreeMap<&'static str, Bytes> {
    let request = |op| {
        Body::Request(
            Request {
                op: Some(op),
                timeout_ms: 30_000,
                ..Request::default()
            }
            .into(),
        )
    };
    let answer = |result| {
        Body::Response(
            Response {
                status: None,
                result: Some(result),
            }
            .into(),
        )
    };
    let refusal = Status {
        retry_after_ms: 500,
        ..Status::new(
            Code::ResourceExhausted,
            reason::TOO_MANY_CALLS,
            "at most 64 at once",
        )
    };
    let lists = NodeStatus {
        ready: false,
        reason: "slurmctld does not answer".into(),
        accelerators: Some(AcceleratorList {
            items: vec![Accelerator {
                resource_type: "nvidia.com/gpu".into(),
                available: 4,
            }],
        }),
        taints: Some(TaintList {
            items: vec![Taint {
                key: "site".into(),
                value: "a".into(),
                effect: "NoSchedule".into(),
            }],
        }),
        ..NodeStatus::default()
    };
    let empty_lists = NodeStatus {
        ready: true,
        accelerators: Some(AcceleratorList::default()),
        taints: Some(TaintList::default()),
        ..NodeStatus::default()
    };
    let delete = DeletePod {
        pod: pod(),
        grace_seconds: Some(0),
        pod_json: Bytes::new(),
    };
    let status = GetStatus {
        pods: pod().into_iter().collect(),
        ..GetStatus::default()
    };
    let all = GetStatus {
        all: true,
        page_size: 1_000,
        ..GetStatus::default()
    };
    let absent = PodState {
        pod: pod(),
        presence: Presence::Absent as i32,
        ..PodState::default()
    };
    let http = HttpRequest {
        method: "GET".into(),
        path: "/system-info".into(),
        headers: vec![HttpHeader {
            name: "accept".into(),
            value: Bytes::from_static(b"text/plain"),
        }],
        has_body: false,
    };
    let resume = StreamLogs {
        start: Some(LogPosition { epoch: 1, offset: 6 }),
        credit: 262_144,
        ..follow()
    };
    let timed = StreamLogs {
        options: Some(LogOptions {
            tail: Some(0),
            limit_bytes: Some(1_000),
            timestamps: true,
            since_time: at(3),
            ..LogOptions::default()
        }),
        credit: 262_144,
        ..follow()
    };
    let go_away = GoAway {
        code: 4000,
        reason: "restart".into(),
        last_stream: 6,
        grace_ms: 8_000,
        retry_after_ms: 2_000,
    };
    let large = packet([(
        2,
        Body::Request(
            Request {
                sensitive: false,
                op: Some(Op::CreatePod(CreatePod {
                    pod: pod(),
                    payload: vec![b' '; 4_096].into(),
                })),
                ..Request::default()
            }
            .into(),
        ),
    )]);
    // Field 99 of Frame, and a Packet field 50: both must be skipped.
    let unknown_body = Bytes::from_static(b"\x0a\x06\x08\x02\x9a\x06\x01x");
    let mut unknown_fields = BytesMut::from(&packet([(0, Body::Ping(Ping { id: 9 }))])[..]);
    unknown_fields.extend_from_slice(b"\x92\x03\x02hi");
    let mut joined = BytesMut::from(&packet([(0, Body::Ping(Ping { id: 1 }))])[..]);
    joined.extend_from_slice(&packet([(0, Body::Ping(Ping { id: 2 }))]));
    BTreeMap::from([
        ("register", packet([(0, Body::Register(register().into()))])),
        ("welcome", packet([(0, Body::Welcome(welcome().into()))])),
        ("ping", packet([(0, Body::Ping(Ping { id: 1 }))])),
        ("pong", packet([(0, Body::Pong(Pong { id: 1 }))])),
        (
            "pod_event",
            packet([(0, Body::PodEvent(event(PodEventType::Started, running(1)).into()))]),
        ),
        (
            "event_ack",
            packet([(0, Body::EventAck(EventAck { epoch: 77, seq: 1 }))]),
        ),
        ("node_status_lists", packet([(0, Body::NodeStatus(lists.into()))])),
        (
            "node_status_empty_lists",
            packet([(0, Body::NodeStatus(empty_lists.into()))]),
        ),
        ("go_away", packet([(0, Body::GoAway(go_away))])),
        ("create_request", packet([(2, Body::Request(create().into()))])),
        ("create_response", packet([(2, Body::Response(created().into()))])),
        ("delete_request", packet([(4, request(Op::DeletePod(delete)))])),
        (
            "delete_response",
            packet([(
                4,
                answer(response::Result::DeletePod(DeleteResult { existed: true })),
            )]),
        ),
        ("status_request", packet([(6, request(Op::GetStatus(status)))])),
        ("status_request_all", packet([(6, request(Op::GetStatus(all)))])),
        (
            "status_response",
            packet([(
                6,
                answer(response::Result::GetStatus(StatusResult {
                    as_of: 3,
                    pods: vec![ended(3), absent],
                    next_page_token: "2".into(),
                })),
            )]),
        ),
        (
            "refusal",
            packet([(
                8,
                Body::Response(
                    Response {
                        status: Some(refusal.not_started()),
                        result: None,
                    }
                    .into(),
                ),
            )]),
        ),
        (
            "stream_logs_follow",
            packet([(10, Body::StreamLogs(follow().into()))]),
        ),
        (
            "stream_logs_resume",
            packet([(10, Body::StreamLogs(resume.into()))]),
        ),
        (
            "stream_logs_options",
            packet([(10, Body::StreamLogs(timed.into()))]),
        ),
        ("log_chunk_open", packet([(10, Body::LogChunk(chunk(0, b"")))])),
        ("log_chunk", packet([(10, Body::LogChunk(chunk(0, b"hello\n")))])),
        (
            "log_chunk_gap",
            packet([(
                10,
                Body::LogChunk(LogChunk {
                    gap_bytes: 100,
                    ..chunk(100, b"x")
                }),
            )]),
        ),
        ("logs_end", packet([(10, Body::Response(logs_end().into()))])),
        ("credit", packet([(10, Body::Credit(Credit { bytes: 65_536 }))])),
        (
            "cancel_stream",
            packet([(
                10,
                Body::CancelStream(CancelStream {
                    reason: "reader gone".into(),
                }),
            )]),
        ),
        ("http_request", packet([(12, request(Op::HttpRequest(http)))])),
        (
            "http_response",
            packet([(
                12,
                Body::Data(Data {
                    head: Some(HttpResponse {
                        status: 200,
                        headers: vec![HttpHeader {
                            name: "content-type".into(),
                            value: Bytes::from_static(b"text/plain"),
                        }],
                    }),
                    ..Data::default()
                }),
            )]),
        ),
        (
            "data",
            packet([(
                12,
                Body::Data(Data {
                    data: Bytes::from_static(b"body"),
                    end: true,
                    ..Data::default()
                }),
            )]),
        ),
        ("two_packets_joined", joined.freeze()),
        ("zstd", compress_packet(&large, 1).unwrap()),
        ("unknown_body", unknown_body),
        ("unknown_fields", unknown_fields.freeze()),
    ])
}

#[test]
fn golden_packets_are_what_the_code_writes() {
    let contract = Contract::read();
    let mut files = Golden::new("packets");
    for (name, packet) in packets() {
        files.add(format!("{name}.bin"), &packet);
        let json = contract.json(&packet).unwrap();
        files.add(format!("{name}.json"), format!("{json}\n").as_bytes());
    }
    files.settle();
}

#[test]
fn packets_decode_and_encode_to_themselves() {
    for (name, packet) in packets() {
        let frames = decode_packet(packet.clone(), 1 << 20).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!frames.is_empty(), "{name}");
        if !name.starts_with("unknown") && name != "zstd" {
            let again = Packet {
                frames,
                zstd: Bytes::new(),
            }
            .encode_to_vec();
            assert_eq!(hex(&again), hex(&packet), "{name}");
        }
    }
}
