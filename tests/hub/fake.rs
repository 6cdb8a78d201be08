//! A plugin whose answers a test gives by hand.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use serde_json::json;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{Instant, sleep},
};
use towline::{
    code::CloseCode,
    connection::{BoxFuture, CancelSignal, Connection, LogSink, Peer, register},
    hub::{CallMeta, Hub, HubConfig, Identity},
    interlink::{Pod, PodCreateRequests},
    transport::memory::{Faults, pair},
    wire::{
        ContainerRunning, ContainerState, ContainerTerminated, CreateResult, DeleteResult, EventAck,
        LogChunk, LogPosition, LogsEnd, NodeStatus, Outbox, PodEvent, PodRef, PodState, Presence, Register,
        Request, Response, Role, Status, StatusResult, StreamLogs, Welcome, container_state::State,
        request::Op, response,
    },
};

pub(crate) const UID: &str = "11111111-2222-3333-4444-555555555555";

pub(crate) fn hub() -> Arc<Hub> {
    Hub::new(HubConfig::default()).unwrap()
}

pub(crate) fn meta() -> CallMeta {
    CallMeta {
        session: "CreatePod#1".into(),
        traceparent: None,
    }
}

pub(crate) fn pod() -> Pod {
    Pod::from_value(json!({
        "metadata": {"uid": UID, "namespace": "default", "name": "demo"},
        "spec": {"containers": [{"name": "main", "image": "image"}]}
    }))
    .unwrap()
}

pub(crate) fn body() -> PodCreateRequests {
    PodCreateRequests::new(pod())
}

pub(crate) fn running(seq: u64) -> PodState {
    with(seq, State::Running(ContainerRunning::default()))
}

pub(crate) fn ended(seq: u64) -> PodState {
    with(seq, State::Terminated(ContainerTerminated::default()))
}

fn with(seq: u64, state: State) -> PodState {
    PodState {
        pod: Some(PodRef::new(UID, "default", "demo")),
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

/// A create or delete that waits for its answer.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) request: Request,
    answer: oneshot::Sender<Response>,
}

impl Asked {
    pub(crate) fn created(self, job_id: &str) {
        let result = response::Result::CreatePod(CreateResult {
            job_id: job_id.into(),
            existed: false,
        });
        self.ok(result);
    }

    pub(crate) fn deleted(self) {
        self.ok(response::Result::DeletePod(DeleteResult { existed: true }));
    }

    pub(crate) fn fail(self, status: Status) {
        let _ = self.answer.send(Response {
            status: Some(status),
            result: None,
        });
    }

    pub(crate) fn is_create(&self) -> bool {
        matches!(self.request.op, Some(Op::CreatePod(_)))
    }

    fn ok(self, result: response::Result) {
        let _ = self.answer.send(Response {
            status: None,
            result: Some(result),
        });
    }
}

/// What outlives a link: the plugin's own records.
#[derive(Debug, Default)]
pub(crate) struct Site {
    pub(crate) pods: Mutex<HashMap<String, PodState>>,
    pub(crate) log: Mutex<Vec<u8>>,
    /// No more will be written.
    pub(crate) log_is_whole: Mutex<bool>,
    pub(crate) opens: Mutex<Vec<StreamLogs>>,
    pub(crate) acks: Mutex<Vec<EventAck>>,
    pub(crate) reads: Mutex<usize>,
}

#[derive(Debug)]
struct Fake {
    site: Arc<Site>,
    asked: mpsc::UnboundedSender<Asked>,
}

impl Fake {
    fn status(&self, what: &towline::wire::GetStatus) -> Response {
        *self.site.reads.lock().unwrap() += 1;
        let pods = self.site.pods.lock().unwrap();
        let absent = |pod: &PodRef| PodState {
            pod: Some(pod.clone()),
            presence: Presence::Absent.into(),
            ..PodState::default()
        };
        let states = if what.all {
            pods.values().cloned().collect()
        } else {
            what.pods
                .iter()
                .map(|pod| pods.get(&pod.uid).cloned().unwrap_or_else(|| absent(pod)))
                .collect()
        };
        let page = StatusResult {
            as_of: 0,
            pods: states,
            next_page_token: String::new(),
        };
        Response {
            status: None,
            result: Some(response::Result::GetStatus(page)),
        }
    }
}

impl Peer for Fake {
    fn request(&self, request: Request, _: CancelSignal) -> BoxFuture<Response> {
        if let Some(Op::GetStatus(what)) = &request.op {
            let response = self.status(what);
            return Box::pin(async { response });
        }
        let (answer, answered) = oneshot::channel();
        let _ = self.asked.send(Asked { request, answer });
        Box::pin(async {
            match answered.await {
                Ok(response) => response,
                Err(_) => std::future::pending().await,
            }
        })
    }

    fn stream_logs(&self, open: StreamLogs, mut sink: LogSink) -> BoxFuture<Result<LogsEnd, Status>> {
        let site = self.site.clone();
        site.opens.lock().unwrap().push(open.clone());
        Box::pin(async move {
            let mut offset = open.start.map_or(0, |start| start.offset);
            let mut first = true;
            loop {
                let piece: Bytes = {
                    let log = site.log.lock().unwrap();
                    let from = usize::try_from(offset).unwrap();
                    Bytes::copy_from_slice(&log[from..log.len().min(from + 1000)])
                };
                let whole = *site.log_is_whole.lock().unwrap();
                if !piece.is_empty() || first {
                    first = false;
                    let at = LogPosition { epoch: 1, offset };
                    offset += piece.len() as u64;
                    let chunk = LogChunk {
                        at: Some(at),
                        next_offset: offset,
                        data: piece,
                        ..LogChunk::default()
                    };
                    if sink.send(chunk).await.is_err() {
                        return Ok(LogsEnd::default());
                    }
                } else if whole {
                    return Ok(LogsEnd {
                        next: Some(LogPosition { epoch: 1, offset }),
                        eof: true,
                        reset: false,
                    });
                } else {
                    tokio::select! {
                        () = sleep(Duration::from_millis(100)) => {}
                        () = sink.cancelled() => return Ok(LogsEnd::default()),
                    }
                }
            }
        })
    }

    fn pod_event(&self, _: PodEvent) {}
    fn event_ack(&self, ack: EventAck) {
        self.site.acks.lock().unwrap().push(ack);
    }
    fn node_status(&self, _: NodeStatus) {}
    fn going_away(&self, _: CloseCode, _: &str, _: Duration) {}
}

/// A link of the fake plugin.
#[derive(Debug)]
pub(crate) struct Linked {
    pub(crate) connection: Connection,
    pub(crate) asked: mpsc::UnboundedReceiver<Asked>,
    pub(crate) faults: Faults,
    pub(crate) welcome: Welcome,
    pub(crate) served: JoinHandle<()>,
}

impl Linked {
    /// The next create or delete.
    pub(crate) async fn next(&mut self) -> Asked {
        tokio::time::timeout(Duration::from_secs(300), self.asked.recv())
            .await
            .expect("a call")
            .expect("a link")
    }

    /// Cuts the socket and waits until the hub has noticed.
    pub(crate) async fn cut(self) {
        self.faults.cut();
        self.served.await.unwrap();
    }
}

pub(crate) fn registration(instance: &str) -> Register {
    Register {
        role: Role::Plugin.into(),
        plugin: "p".into(),
        instance: instance.into(),
        r#type: "fake".into(),
        features: vec!["flow_control".into(), "events".into()],
        outbox: Some(Outbox {
            epoch: 7,
            oldest_seq: 1,
            next_seq: 1,
            acked_seq: 0,
        }),
        jobs_epoch: 1,
        node_status: Some(NodeStatus {
            ready: true,
            cpu: "4".into(),
            ..NodeStatus::default()
        }),
        ..Register::default()
    }
}

pub(crate) async fn connect(hub: &Arc<Hub>, site: &Arc<Site>) -> Linked {
    connect_as(hub, site, registration("one")).await
}

pub(crate) async fn connect_as(hub: &Arc<Hub>, site: &Arc<Site>, with: Register) -> Linked {
    let (ours, theirs) = pair(16 << 20);
    let faults = ours.faults();
    let identity = Identity {
        plugin: None,
        remote: "test".into(),
    };
    let served = tokio::spawn(hub.clone().serve_link(theirs, identity));
    let registered = register(ours, with).await.unwrap();
    let welcome = registered.welcome.clone();
    let (sender, asked) = mpsc::unbounded_channel();
    let connection = registered.start(Arc::new(Fake {
        site: site.clone(),
        asked: sender,
    }));
    Linked {
        connection,
        asked,
        faults,
        welcome,
        served,
    }
}

/// Waits in virtual time until something is so.
pub(crate) async fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(900), "never: {what}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Starts a create in a task.
pub(crate) fn create(hub: &Arc<Hub>) -> JoinHandle<Result<towline::interlink::CreateStruct, Status>> {
    let hub = hub.clone();
    tokio::spawn(async move { hub.create(Some("p"), body(), meta()).await })
}

/// Starts a delete in a task.
pub(crate) fn delete(hub: &Arc<Hub>) -> JoinHandle<Result<(), Status>> {
    let hub = hub.clone();
    tokio::spawn(async move { hub.delete(Some("p"), pod(), None, meta()).await })
}

/// A metric's value in the text.
pub(crate) fn metric(hub: &Hub, name: &str) -> String {
    let text = hub.metrics_text();
    let line = text
        .lines()
        .find(|line| line.starts_with(&format!("{name} ")))
        .unwrap_or("absent absent");
    line.split(' ').nth(1).unwrap().to_owned()
}
