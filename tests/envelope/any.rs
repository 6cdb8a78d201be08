//! Any frame that JSON can carry.

use std::collections::HashMap;

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};
use towline::wire::{
    Accelerator, AcceleratorList, CancelStream, ContainerRunning, ContainerState, ContainerTerminated,
    ContainerWaiting, CreatePod, CreateResult, Credit, DeletePod, DeleteResult, EventAck, GetStatus, GoAway,
    Limits, LogChunk, LogOptions, LogPosition, LogsEnd, NodeStatus, Outbox, Ping, PodEvent, PodRef, PodState,
    Pong, Register, Request, Response, Status, StatusResult, StreamLogs, Taint, TaintList, Timestamp,
    Welcome, container_state::State, frame::Body, request::Op, response,
};

/// Text with all that needs escaping.
fn text() -> impl Strategy<Value = String> {
    "[ -~\\PC\n\t\"\\\\\u{0}\u{7f}\u{1f600}]{0,12}"
}

fn texts() -> impl Strategy<Value = HashMap<String, String>> {
    proptest::collection::hash_map("[a-z-]{1,8}", text(), 0..3)
}

fn time() -> impl Strategy<Value = Timestamp> {
    (0..4_000_000_000_i64, 0..1_000_000_000).prop_map(|(seconds, nanos)| Timestamp { seconds, nanos })
}

fn pod_ref() -> impl Strategy<Value = PodRef> {
    (text(), text(), text()).prop_map(|(uid, namespace, name)| PodRef::new(uid, namespace, name))
}

fn position() -> impl Strategy<Value = LogPosition> {
    (any::<u64>(), any::<u64>()).prop_map(|(epoch, offset)| LogPosition { epoch, offset })
}

fn terminated() -> impl Strategy<Value = ContainerTerminated> {
    let numbers = (any::<i32>(), any::<i32>());
    (numbers, text(), text(), option::of(time()), option::of(time())).prop_map(
        |((exit_code, signal), reason, message, started_at, finished_at)| ContainerTerminated {
            exit_code,
            signal,
            reason,
            message,
            started_at,
            finished_at,
        },
    )
}

fn container() -> impl Strategy<Value = ContainerState> {
    let state = prop_oneof![
        (text(), text()).prop_map(|(reason, message)| State::Waiting(ContainerWaiting { reason, message })),
        option::of(time()).prop_map(|started_at| State::Running(ContainerRunning { started_at })),
        terminated().prop_map(State::Terminated),
    ];
    let words = (text(), text(), text(), text());
    let flags = (any::<bool>(), any::<bool>(), any::<u32>());
    (words, flags, option::of(state), option::of(terminated())).prop_map(
        |(
            (name, image, image_id, container_id),
            (ready, started, restart_count),
            state,
            last_termination,
        )| {
            ContainerState {
                name,
                image,
                image_id,
                container_id,
                ready,
                started,
                restart_count,
                state,
                last_termination,
            }
        },
    )
}

fn pod_state() -> impl Strategy<Value = PodState> {
    let lists = (vec(container(), 0..3), vec(container(), 0..2));
    (
        pod_ref(),
        text(),
        1..u64::MAX,
        0..4_i32,
        lists,
        option::of(time()),
    )
        .prop_map(
            |(pod, job_id, seq, presence, (containers, init_containers), observed_at)| PodState {
                pod: Some(pod),
                job_id,
                seq,
                presence,
                containers,
                init_containers,
                observed_at,
            },
        )
}

fn node() -> impl Strategy<Value = NodeStatus> {
    let accelerator = (text(), any::<u64>()).prop_map(|(resource_type, available)| Accelerator {
        resource_type,
        available,
    });
    let taint = (text(), text(), text()).prop_map(|(key, value, effect)| Taint { key, value, effect });
    let lists = (option::of(vec(accelerator, 0..3)), option::of(vec(taint, 0..3)));
    (any::<bool>(), text(), text(), text(), text(), lists).prop_map(
        |(ready, reason, cpu, memory, pods, (accelerators, taints))| NodeStatus {
            ready,
            reason,
            cpu,
            memory,
            pods,
            accelerators: accelerators.map(|items| AcceleratorList { items }),
            taints: taints.map(|items| TaintList { items }),
        },
    )
}

fn limits() -> impl Strategy<Value = Limits> {
    (any::<u64>(), any::<u32>(), any::<u32>(), any::<u32>()).prop_map(|(bytes, calls, logs, events)| Limits {
        max_message_bytes: bytes,
        max_calls: calls,
        max_log_streams: logs,
        max_unacked_events: events,
    })
}

fn status() -> impl Strategy<Value = Status> {
    let numbers = (
        prop_oneof![
            1..=16_i32,
            any::<i32>().prop_filter("a failure", |code| *code != 0)
        ],
        any::<u64>(),
    );
    (numbers, text(), text(), any::<bool>(), texts()).prop_map(
        |((code, retry_after_ms), reason, message, not_started, details)| Status {
            code,
            reason,
            message,
            not_started,
            retry_after_ms,
            details,
        },
    )
}

/// JSON of somebody else, which must come through byte for byte.
fn payload() -> impl Strategy<Value = Bytes> {
    vec((text(), any::<i32>()), 0..4).prop_map(|pairs| {
        let inner: Vec<String> = pairs
            .iter()
            .map(|(key, number)| {
                format!(
                    "{{ {} :  [{number}, 1e2,1.50]}}",
                    serde_json::Value::from(key.as_str())
                )
            })
            .collect();
        Bytes::from(format!("{{\"pod\":[{}]}}", inner.join(" , ")))
    })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (pod_ref(), payload()).prop_map(|(pod, payload)| Op::CreatePod(CreatePod {
            pod: Some(pod),
            payload
        })),
        (
            pod_ref(),
            option::of(any::<u64>()),
            prop_oneof![payload(), Just(Bytes::new())]
        )
            .prop_map(|(pod, grace_seconds, pod_json)| {
                Op::DeletePod(DeletePod {
                    pod: Some(pod),
                    grace_seconds,
                    pod_json,
                })
            }),
        vec(pod_ref(), 0..4).prop_map(|pods| Op::GetStatus(GetStatus {
            pods,
            ..GetStatus::default()
        })),
        (any::<u32>(), text()).prop_map(|(page_size, page_token)| Op::GetStatus(GetStatus {
            all: true,
            page_size,
            page_token,
            ..GetStatus::default()
        })),
    ]
}

pub(crate) fn request() -> impl Strategy<Value = Request> {
    let head = (text(), any::<u32>(), any::<u64>(), any::<bool>());
    (head, texts(), op()).prop_map(
        |((op_key, attempt, timeout_ms, sensitive), metadata, op)| Request {
            op_key,
            attempt,
            timeout_ms,
            metadata,
            sensitive,
            op: Some(op),
        },
    )
}

/// An answer that fits the request.
pub(crate) fn answer(request: &Request) -> BoxedStrategy<Response> {
    let good = match request.op {
        Some(Op::CreatePod(_)) => (text(), any::<bool>())
            .prop_map(|(job_id, existed)| response::Result::CreatePod(CreateResult { job_id, existed }))
            .boxed(),
        Some(Op::DeletePod(_)) => any::<bool>()
            .prop_map(|existed| response::Result::DeletePod(DeleteResult { existed }))
            .boxed(),
        _ => (any::<u64>(), vec(pod_state(), 0..3), text())
            .prop_map(|(as_of, pods, next_page_token)| {
                response::Result::GetStatus(StatusResult {
                    as_of,
                    pods,
                    next_page_token,
                })
            })
            .boxed(),
    };
    prop_oneof![
        good.prop_map(|result| Response {
            status: None,
            result: Some(result)
        }),
        status().prop_map(|status| Response {
            status: Some(status),
            result: None
        }),
    ]
    .boxed()
}

pub(crate) fn open() -> impl Strategy<Value = StreamLogs> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let counts = (option::of(any::<u64>()), option::of(any::<u64>()));
    let options = (counts, flags, option::of(time())).prop_map(
        |((tail, limit_bytes), (timestamps, follow, previous), since_time)| LogOptions {
            tail,
            limit_bytes,
            timestamps,
            follow,
            previous,
            since_time,
        },
    );
    let numbers = (any::<u64>(), any::<u64>());
    (
        pod_ref(),
        text(),
        option::of(options),
        option::of(position()),
        numbers,
        texts(),
    )
        .prop_map(
            |(pod, container, options, start, (credit, timeout_ms), metadata)| StreamLogs {
                pod: Some(pod),
                container,
                options,
                start,
                credit,
                metadata,
                timeout_ms,
            },
        )
}

pub(crate) fn end() -> impl Strategy<Value = LogsEnd> {
    (option::of(position()), any::<bool>(), any::<bool>()).prop_map(|(next, eof, reset)| LogsEnd {
        next,
        eof,
        reset,
    })
}

/// Bytes that are text, and bytes that are not.
pub(crate) fn chunk() -> impl Strategy<Value = LogChunk> {
    let data = prop_oneof![
        vec(any::<u8>(), 0..64).prop_map(Bytes::from),
        text().prop_map(Bytes::from),
        vec(0..32_u8, 5_000..5_100).prop_map(Bytes::from),
    ];
    (position(), any::<u64>(), data, any::<u64>(), any::<bool>()).prop_map(
        |(at, next_offset, data, gap_bytes, reset)| LogChunk {
            at: Some(at),
            next_offset,
            data,
            gap_bytes,
            reset,
        },
    )
}

/// What travels on stream 0, and small things of a stream.
pub(crate) fn plain() -> impl Strategy<Value = (u32, Body)> {
    let outbox =
        (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(epoch, oldest, next, acked)| {
            Outbox {
                epoch,
                oldest_seq: oldest,
                next_seq: next,
                acked_seq: acked,
            }
        });
    let words = (0..3_i32, text(), text(), text(), text());
    let register = (
        words,
        vec(text(), 0..3),
        option::of(limits()),
        option::of(outbox),
        any::<u64>(),
        texts(),
        option::of(node()),
    )
        .prop_map(
            |(
                (role, plugin, instance, kind, software),
                features,
                limits,
                outbox,
                jobs_epoch,
                labels,
                node_status,
            )| {
                Body::Register(
                    Register {
                        role,
                        plugin,
                        instance,
                        r#type: kind,
                        software,
                        features,
                        limits,
                        outbox,
                        jobs_epoch,
                        labels,
                        node_status,
                    }
                    .into(),
                )
            },
        );
    let ack = (any::<u64>(), any::<u64>()).prop_map(|(epoch, seq)| EventAck { epoch, seq });
    let welcome = (
        text(),
        vec(text(), 0..3),
        option::of(limits()),
        any::<u64>(),
        any::<u64>(),
        option::of(ack),
        text(),
    )
        .prop_map(
            |(session, features, limits, ping_ms, idle_ms, applied, hub_version)| {
                Body::Welcome(
                    Welcome {
                        session,
                        features,
                        limits,
                        ping_ms,
                        idle_ms,
                        applied,
                        hub_version,
                    }
                    .into(),
                )
            },
        );
    let event = (
        any::<u64>(),
        any::<u64>(),
        0..8_i32,
        pod_state(),
        option::of(time()),
    )
        .prop_map(|(epoch, seq, kind, state, at)| {
            Body::PodEvent(
                PodEvent {
                    epoch,
                    seq,
                    r#type: kind,
                    state: Some(state),
                    at,
                }
                .into(),
            )
        });
    let away = (any::<u32>(), text(), any::<u32>(), any::<u64>(), any::<u64>()).prop_map(
        |(code, reason, last_stream, grace_ms, retry_after_ms)| {
            Body::GoAway(GoAway {
                code,
                reason,
                last_stream,
                grace_ms,
                retry_after_ms,
            })
        },
    );
    let ack = (any::<u64>(), any::<u64>()).prop_map(|(epoch, seq)| Body::EventAck(EventAck { epoch, seq }));
    let link = prop_oneof![
        register,
        welcome,
        event,
        away,
        ack,
        node().prop_map(|status| Body::NodeStatus(status.into())),
        any::<u64>().prop_map(|id| Body::Ping(Ping { id })),
        any::<u64>().prop_map(|id| Body::Pong(Pong { id })),
    ];
    let stream = prop_oneof![
        any::<u64>().prop_map(|bytes| Body::Credit(Credit { bytes })),
        text().prop_map(|reason| Body::CancelStream(CancelStream { reason })),
        chunk().prop_map(Body::LogChunk),
        open().prop_map(|open| Body::StreamLogs(open.into())),
    ];
    prop_oneof![link.prop_map(|body| (0, body)), (1..u32::MAX, stream),]
}
