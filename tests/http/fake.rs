//! A plugin that does what a test says, on a real link.

use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, watch};
use towline::{
    code::{CloseCode, Code, reason},
    connection::{self, BoxFuture, CancelSignal, Connection, LogSink, Peer},
    transport::{Dial, dial},
    wire::{
        ContainerRunning, ContainerState, CreateResult, DeleteResult, EventAck, LogChunk, LogPosition,
        LogsEnd, NodeStatus, PodEvent, PodEventType, PodRef, PodState, Presence, Register, Request, Response,
        SUBPROTOCOL_PROTO, Status, StatusResult, StreamLogs, container_state, feature, request, response,
    },
};

use super::client::{PATIENCE, Served};

/// What the hub asked of the plugin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Create { session: String },
    Delete { grace: Option<u64> },
    LogCancelled,
}

/// The test's end.
pub(crate) struct Fake {
    pub(crate) link: Connection,
    pub(crate) seen: mpsc::Receiver<Seen>,
    /// Creates, and the second half of the log `halves`, wait until this is true.
    pub(crate) open: watch::Sender<bool>,
    peer: Arc<Behaviour>,
}

struct Behaviour {
    seen: mpsc::Sender<Seen>,
    open: watch::Receiver<bool>,
    refuse: Mutex<Option<Status>>,
    pods: Mutex<Vec<PodState>>,
}

impl Fake {
    /// Dials, and waits until the hub lists it as ready.
    pub(crate) async fn join(hub: &Served, name: &str) -> Self {
        Self::join_as(hub, name, "instance-1").await
    }

    pub(crate) async fn join_as(hub: &Served, name: &str, instance: &str) -> Self {
        let (transport, _) = dial(&Dial::new(format!("ws://{}/ws", hub.addr), SUBPROTOCOL_PROTO))
            .await
            .unwrap();
        let register = Register {
            plugin: name.to_owned(),
            instance: instance.to_owned(),
            r#type: "fake".to_owned(),
            features: vec![feature::FLOW_CONTROL.to_owned(), feature::EVENTS.to_owned()],
            jobs_epoch: 1,
            outbox: Some(towline::wire::Outbox {
                epoch: 7,
                oldest_seq: 1,
                next_seq: 1,
                acked_seq: 0,
            }),
            node_status: Some(NodeStatus {
                ready: true,
                cpu: "8".to_owned(),
                ..NodeStatus::default()
            }),
            ..Register::default()
        };
        let (seen, seen_by_test) = mpsc::channel(64);
        let (open, is_open) = watch::channel(true);
        let peer = Arc::new(Behaviour {
            seen,
            open: is_open,
            refuse: Mutex::default(),
            pods: Mutex::default(),
        });
        let link = connection::register(transport, register)
            .await
            .unwrap()
            .start(peer.clone());
        let fake = Self {
            link,
            seen: seen_by_test,
            open,
            peer,
        };
        wait_for(hub, || hub.hub.ping(Some(name)).is_ok()).await;
        fake
    }

    /// Creates fail like this.
    pub(crate) fn refuse(&self, code: Code, word: &str, text: &str) {
        *self.peer.refuse.lock().unwrap() = Some(Status::new(code, word, text));
    }

    /// All containers of the pod run.
    pub(crate) fn running(&self, pod: PodRef, containers: &[&str]) {
        let state = ContainerState {
            ready: true,
            started: true,
            state: Some(container_state::State::Running(ContainerRunning {
                started_at: Some("2026-03-01T10:00:00Z".parse().unwrap()),
            })),
            ..ContainerState::default()
        };
        let containers = containers.iter().map(|name| ContainerState {
            name: (*name).to_owned(),
            ..state.clone()
        });
        let state = PodState {
            pod: Some(pod),
            job_id: "job-1".to_owned(),
            seq: 1,
            presence: Presence::Present.into(),
            containers: containers.collect(),
            observed_at: Some("2026-03-01T10:00:01Z".parse().unwrap()),
            ..PodState::default()
        };
        *self.peer.pods.lock().unwrap() = vec![state.clone()];
        let event = PodEvent {
            epoch: 7,
            seq: 1,
            r#type: PodEventType::Started.into(),
            state: Some(state),
            at: None,
        };
        assert!(self.link.send_event(event));
    }

    pub(crate) async fn next_seen(&mut self) -> Seen {
        tokio::time::timeout(PATIENCE, self.seen.recv())
            .await
            .expect("the hub calls")
            .unwrap()
    }
}

/// Waits until something holds; looks whenever the hub tells a change.
pub(crate) async fn wait_for(hub: &Served, holds: impl Fn() -> bool) {
    let (_, mut changes) = hub.hub.watch();
    let waiting = async {
        while !holds() {
            let _ = changes.recv().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("the hub gets there");
}

impl Peer for Behaviour {
    fn request(&self, request: Request, _cancel: CancelSignal) -> BoxFuture<Response> {
        let session = request
            .metadata
            .get("interlink-http-session")
            .cloned()
            .unwrap_or_default();
        let seen = self.seen.clone();
        match request.op {
            Some(request::Op::CreatePod(_)) => {
                let (mut open, refusal) = (self.open.clone(), self.refuse.lock().unwrap().clone());
                Box::pin(async move {
                    seen.send(Seen::Create { session }).await.unwrap();
                    open.wait_for(|open| *open).await.unwrap();
                    match refusal {
                        Some(status) => Response {
                            status: Some(status),
                            result: None,
                        },
                        None => good(response::Result::CreatePod(CreateResult {
                            job_id: "job-1".to_owned(),
                            existed: false,
                        })),
                    }
                })
            }
            Some(request::Op::DeletePod(delete)) => Box::pin(async move {
                seen.send(Seen::Delete {
                    grace: delete.grace_seconds,
                })
                .await
                .unwrap();
                good(response::Result::DeletePod(DeleteResult { existed: true }))
            }),
            Some(request::Op::GetStatus(_)) => {
                let pods = self.pods.lock().unwrap().clone();
                let page = StatusResult {
                    as_of: pods.len() as u64,
                    pods,
                    next_page_token: String::new(),
                };
                Box::pin(async move { good(response::Result::GetStatus(page)) })
            }
            _ => Box::pin(async {
                let status = Status::new(Code::Unimplemented, reason::NO_SUCH_OP, "not here");
                Response {
                    status: Some(status),
                    result: None,
                }
            }),
        }
    }

    /// The container's name says how its log behaves.
    fn stream_logs(&self, open: StreamLogs, mut sink: LogSink) -> BoxFuture<Result<LogsEnd, Status>> {
        let (seen, mut is_open) = (self.seen.clone(), self.open.clone());
        Box::pin(async move {
            match open.container.as_str() {
                "rotated" => {
                    let _ = sink.send(chunk(0, b"one\ntw")).await;
                    for (offset, data, gap_bytes) in [(106, &b"six\n"[..], 100), (115, b"end", 5)] {
                        let chunk = LogChunk {
                            gap_bytes,
                            ..chunk(offset, data)
                        };
                        let _ = sink.send(chunk).await;
                    }
                    Ok(LogsEnd {
                        next: Some(LogPosition {
                            epoch: 3,
                            offset: 118,
                        }),
                        eof: true,
                        reset: false,
                    })
                }
                "halves" => {
                    let text = b"the first half, the second half";
                    let mut from = open.start.map_or(0, |start| start.offset) as usize;
                    if from == 0 {
                        let _ = sink.send(chunk(0, &text[..16])).await;
                        from = 16;
                    }
                    is_open.wait_for(|open| *open).await.unwrap();
                    let _ = sink.send(chunk(from as u64, &text[from..])).await;
                    let next = LogPosition {
                        epoch: 3,
                        offset: text.len() as u64,
                    };
                    Ok(LogsEnd {
                        next: Some(next),
                        eof: true,
                        reset: false,
                    })
                }
                "quiet" => {
                    let _ = sink.send(chunk(0, b"")).await;
                    sink.cancelled().await;
                    seen.send(Seen::LogCancelled).await.unwrap();
                    Err(Status::new(Code::Cancelled, "", "cancelled"))
                }
                "broken" => {
                    let _ = sink.send(chunk(0, b"half of it")).await;
                    Err(Status::new(Code::DataLoss, reason::CORRUPT, "disk error"))
                }
                "none" => Err(Status::new(
                    Code::NotFound,
                    reason::NO_LOG,
                    "container none has no log",
                )),
                _ => {
                    let from = open.start.map_or(0, |start| start.offset);
                    let text = &b"one\ntwo\n\xff\xfe"[from as usize..];
                    let (first, second) = text.split_at(text.len() / 2);
                    let _ = sink.send(chunk(from, first)).await;
                    let _ = sink.send(chunk(from + first.len() as u64, second)).await;
                    let next = Some(LogPosition { epoch: 3, offset: 10 });
                    Ok(LogsEnd {
                        next,
                        eof: true,
                        reset: false,
                    })
                }
            }
        })
    }

    fn pod_event(&self, _event: PodEvent) {}
    fn event_ack(&self, _ack: EventAck) {}
    fn node_status(&self, _status: NodeStatus) {}
    fn going_away(&self, _code: CloseCode, _reason: &str, _retry_after: std::time::Duration) {}
}

fn good(result: response::Result) -> Response {
    Response {
        status: None,
        result: Some(result),
    }
}

fn chunk(offset: u64, data: &[u8]) -> LogChunk {
    LogChunk {
        at: Some(LogPosition { epoch: 3, offset }),
        next_offset: offset + data.len() as u64,
        data: data.to_vec().into(),
        ..LogChunk::default()
    }
}
