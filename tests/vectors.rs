//! Golden packets and a whole transcript in `proto/vectors`, for this crate and for plugins in any language.
//!
//! `packets/NAME.bin` is one WebSocket message, `packets/NAME.json` the same in protobuf's JSON mapping.
//! `transcripts/NAME.jsonl` is a conversation: one message a line, who sent it, its bytes in hex, and its JSON.
//! `make vectors` writes them anew; otherwise a difference is a failure.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage};
use towline::{
    code::{CloseCode, Code, reason},
    session::{Config, Event, Offer, Session, State},
    wire::{
        Accelerator, AcceleratorList, CancelStream, ContainerRunning, ContainerState, ContainerTerminated,
        CreatePod, CreateResult, Credit, Data, DeletePod, DeleteResult, EventAck, GetStatus, GoAway,
        HttpHeader, HttpRequest, HttpResponse, Limits, LogChunk, LogOptions, LogPosition, LogsEnd,
        NodeStatus, Outbox, Packet, Ping, PodEvent, PodEventType, PodRef, PodState, Pong, Presence, Register,
        Request, Response, Role, Status, StatusResult, StreamId, StreamLogs, Taint, TaintList, Timestamp,
        Welcome,
        codec::{compress_packet, decode_packet, encode_frame},
        container_state,
        frame::Body,
        request::Op,
        response,
    },
};

const UID: &str = "3f0c9d0e-8f0b-4c53-9e1b-5d2f9a4b7c11";

fn pod() -> Option<PodRef> {
    Some(PodRef::new(UID, "default", "hello"))
}

fn at(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp {
        seconds: 1_790_000_000 + seconds,
        nanos: 0,
    })
}

fn register() -> Register {
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

fn welcome() -> Welcome {
    Welcome {
        session: "s-1".into(),
        features: vec!["flow_control".into(), "events".into()],
        applied: Some(EventAck::default()),
        hub_version: "0.1.0".into(),
        ..Welcome::default()
    }
}

fn create() -> Request {
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

fn created() -> Response {
    Response {
        status: None,
        result: Some(response::Result::CreatePod(CreateResult {
            job_id: "4711".into(),
            existed: false,
        })),
    }
}

fn state(seq: u64, state: container_state::State) -> PodState {
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

fn running(seq: u64) -> PodState {
    state(
        seq,
        container_state::State::Running(ContainerRunning { started_at: at(0) }),
    )
}

fn ended(seq: u64) -> PodState {
    let end = ContainerTerminated {
        reason: "Completed".into(),
        started_at: at(0),
        finished_at: at(9),
        ..ContainerTerminated::default()
    };
    state(seq, container_state::State::Terminated(end))
}

fn event(kind: PodEventType, state: PodState) -> PodEvent {
    PodEvent {
        epoch: 77,
        seq: state.seq,
        r#type: kind as i32,
        at: state.observed_at,
        state: Some(state),
    }
}

fn chunk(offset: u64, text: &'static [u8]) -> LogChunk {
    LogChunk {
        at: Some(LogPosition { epoch: 1, offset }),
        next_offset: offset + text.len() as u64,
        data: Bytes::from_static(text),
        ..LogChunk::default()
    }
}

fn logs_end() -> Response {
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

fn follow() -> StreamLogs {
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

fn packet(frames: impl IntoIterator<Item = (u32, Body)>) -> Bytes {
    let mut out = BytesMut::new();
    for (stream, body) in frames {
        encode_frame(&mut out, StreamId(stream), body);
    }
    out.freeze()
}

/// Every message of the contract, and the forms that readers get wrong.
fn packets() -> BTreeMap<&'static str, Bytes> {
    let request = |op| {
        Body::Request(Request {
            op: Some(op),
            timeout_ms: 30_000,
            ..Request::default()
        })
    };
    let answer = |result| {
        Body::Response(Response {
            status: None,
            result: Some(result),
        })
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
        Body::Request(Request {
            sensitive: false,
            op: Some(Op::CreatePod(CreatePod {
                pod: pod(),
                payload: vec![b' '; 4_096].into(),
            })),
            ..Request::default()
        }),
    )]);
    // Field 99 of Frame, and a Packet field 50: both must be skipped.
    let unknown_body = Bytes::from_static(b"\x0a\x06\x08\x02\x9a\x06\x01x");
    let mut unknown_fields = BytesMut::from(&packet([(0, Body::Ping(Ping { id: 9 }))])[..]);
    unknown_fields.extend_from_slice(b"\x92\x03\x02hi");
    let mut joined = BytesMut::from(&packet([(0, Body::Ping(Ping { id: 1 }))])[..]);
    joined.extend_from_slice(&packet([(0, Body::Ping(Ping { id: 2 }))]));
    BTreeMap::from([
        ("register", packet([(0, Body::Register(register()))])),
        ("welcome", packet([(0, Body::Welcome(welcome()))])),
        ("ping", packet([(0, Body::Ping(Ping { id: 1 }))])),
        ("pong", packet([(0, Body::Pong(Pong { id: 1 }))])),
        (
            "pod_event",
            packet([(0, Body::PodEvent(event(PodEventType::Started, running(1))))]),
        ),
        (
            "event_ack",
            packet([(0, Body::EventAck(EventAck { epoch: 77, seq: 1 }))]),
        ),
        ("node_status_lists", packet([(0, Body::NodeStatus(lists))])),
        (
            "node_status_empty_lists",
            packet([(0, Body::NodeStatus(empty_lists))]),
        ),
        ("go_away", packet([(0, Body::GoAway(go_away))])),
        ("create_request", packet([(2, Body::Request(create()))])),
        ("create_response", packet([(2, Body::Response(created()))])),
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
                Body::Response(Response {
                    status: Some(refusal.not_started()),
                    result: None,
                }),
            )]),
        ),
        ("stream_logs_follow", packet([(10, Body::StreamLogs(follow()))])),
        ("stream_logs_resume", packet([(10, Body::StreamLogs(resume))])),
        ("stream_logs_options", packet([(10, Body::StreamLogs(timed))])),
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
        ("logs_end", packet([(10, Body::Response(logs_end()))])),
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
                answer(response::Result::HttpResponse(HttpResponse {
                    status: 200,
                    headers: Vec::new(),
                })),
            )]),
        ),
        (
            "data",
            packet([(
                12,
                Body::Data(Data {
                    data: Bytes::from_static(b"body"),
                    end: true,
                }),
            )]),
        ),
        ("two_packets_joined", joined.freeze()),
        ("zstd", compress_packet(&large).unwrap()),
        ("unknown_body", unknown_body),
        ("unknown_fields", unknown_fields.freeze()),
    ])
}

/// A whole conversation of two sessions: who sent which message.
fn transcript() -> Vec<(&'static str, Bytes)> {
    let mut now = Instant::now();
    let mut talk = Talk {
        hub: Session::accept(Config::default(), now),
        plugin: Session::dial(Config::default(), register(), now),
        lines: Vec::new(),
    };
    talk.carry(now);
    talk.hub.welcome(welcome(), now);
    talk.carry(now);
    let create = talk.hub.open_call(create(), now).unwrap();
    talk.carry(now);
    talk.plugin.respond(create, created());
    talk.plugin.send_event(event(PodEventType::Started, running(1)));
    talk.carry(now);
    talk.hub.send_ack(EventAck { epoch: 77, seq: 1 });
    let logs = talk.hub.open_logs(follow(), now).unwrap();
    talk.carry(now);
    assert_eq!(talk.plugin.send_chunk(logs, chunk(0, b"")), Offer::Taken);
    talk.carry(now);
    assert_eq!(talk.plugin.send_chunk(logs, chunk(0, b"hello\n")), Offer::Taken);
    assert_eq!(talk.plugin.send_chunk(logs, chunk(6, b"world\n")), Offer::Taken);
    talk.plugin.send_event(event(PodEventType::Finished, ended(2)));
    talk.plugin.respond(logs, logs_end());
    talk.carry(now);
    talk.hub.send_ack(EventAck { epoch: 77, seq: 2 });
    talk.carry(now);
    now += Duration::from_secs(20);
    talk.hub.handle_timeout(now);
    talk.carry(now);
    talk.plugin.drain(
        CloseCode::DRAIN,
        "done",
        Duration::from_secs(8),
        Duration::ZERO,
        now,
    );
    talk.carry(now);
    assert_eq!(talk.plugin.state(), State::Closed);
    talk.lines
}

struct Talk {
    hub: Session,
    plugin: Session,
    lines: Vec<(&'static str, Bytes)>,
}

impl Talk {
    fn carry(&mut self, now: Instant) {
        loop {
            let before = self.lines.len();
            while let Some(packet) = self.plugin.poll_packet() {
                self.hub.handle_packet(packet.clone(), now);
                self.lines.push(("plugin", packet));
            }
            while let Some(packet) = self.hub.poll_packet() {
                self.plugin.handle_packet(packet.clone(), now);
                self.lines.push(("hub", packet));
            }
            if self.lines.len() == before {
                return;
            }
        }
    }
}

/// Reads packets by the contract alone, without the generated code.
struct Reader(DescriptorPool);

impl Reader {
    fn new() -> Self {
        let files = protox::compile(["proto/towline/v1/link.proto"], ["proto"]).unwrap();
        Self(DescriptorPool::from_file_descriptor_set(files).unwrap())
    }

    fn json(&self, packet: &Bytes) -> String {
        let kind = self.0.get_message_by_name("towline.v1.Packet").unwrap();
        let message = DynamicMessage::decode(kind, packet.clone()).unwrap();
        serde_json::to_string(&sorted(serde_json::to_value(&message).unwrap())).unwrap()
    }
}

/// JSON objects with their keys in order, so that files do not change without reason.
fn sorted(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(map) => {
            let ordered: BTreeMap<_, _> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            serde_json::Value::Object(ordered.into_iter().collect())
        }
        serde_json::Value::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// Compares with a file, or writes it.
fn golden(path: &str, content: &[u8]) {
    let path = PathBuf::from("proto/vectors").join(path);
    if std::env::var("TOWLINE_VECTORS").is_ok_and(|mode| mode == "write") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        return;
    }
    let have = std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run `make vectors`", path.display()));
    assert!(
        have == content,
        "{} differs from what the code writes; `make vectors` and look at the diff",
        path.display()
    );
}

#[test]
fn golden_packets_are_what_the_code_writes() {
    let reader = Reader::new();
    for (name, packet) in packets() {
        golden(&format!("packets/{name}.bin"), &packet);
        golden(
            &format!("packets/{name}.json"),
            format!("{}\n", reader.json(&packet)).as_bytes(),
        );
    }
}

#[test]
fn golden_packets_decode_and_encode_to_themselves() {
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

#[test]
fn the_transcript_is_what_two_sessions_say() {
    let reader = Reader::new();
    let mut text = String::new();
    for (from, packet) in transcript() {
        let json = reader.json(&packet);
        writeln!(
            text,
            "{{\"from\":\"{from}\",\"hex\":\"{}\",\"packet\":{json}}}",
            hex(&packet)
        )
        .unwrap();
    }
    golden("transcripts/pod.jsonl", text.as_bytes());
}

#[test]
fn a_replayed_transcript_breaks_no_rule() {
    let now = Instant::now();
    let mut hub = Session::accept(Config::default(), now);
    let mut seen = Vec::new();
    for (from, packet) in transcript() {
        if from == "plugin" {
            hub.handle_packet(packet, now);
            while let Some(event) = hub.poll_event() {
                if let Event::Register(_) = &event {
                    hub.welcome(welcome(), now);
                }
                seen.push(event);
            }
        }
    }
    assert_eq!(hub.state(), State::Open, "{seen:?}");
    assert!(
        seen.iter()
            .any(|event| matches!(event, Event::PodEvent(event) if event.seq == 2))
    );
    assert!(seen.iter().any(|event| matches!(
        event,
        Event::GoAway {
            code: CloseCode::DRAIN,
            ..
        }
    )));
}
