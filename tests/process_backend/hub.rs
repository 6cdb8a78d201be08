//! The hub's end of a link with a process backend behind it, as a test drives it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use towline::{
    backend::{ProcessBackend, ProcessConfig, process::supervisor},
    code::CloseCode,
    connection::{BoxFuture, CancelSignal, Connection, LogSink, Peer, accept},
    limits,
    plugin::{CancellationToken, DialFailure, Dialer, Plugin, PluginConfig},
    transport::memory::{self, Memory},
    wire::{
        ContainerState, ContainerTerminated, CreatePod, DeletePod, EventAck, GetStatus, LogOptions, LogsEnd,
        NodeStatus, PodEvent, PodEventType, PodRef, PodState, Request, Response, Status, StreamLogs, Welcome,
        container_state::State, feature, request::Op, response,
    },
};

pub(crate) const UID: &str = "3f0c9d0e-8f0b-4c53-9e1b-5d2f9a4b7c11";
/// Nothing here takes this long; it only keeps a failing test from hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Listener(mpsc::Sender<PodEvent>, watch::Sender<NodeStatus>);

impl Peer for Listener {
    fn request(&self, _: Request, _: CancelSignal) -> BoxFuture<Response> {
        Box::pin(async { Response::default() })
    }
    fn stream_logs(&self, _: StreamLogs, _: LogSink) -> BoxFuture<Result<LogsEnd, Status>> {
        Box::pin(async { Ok(LogsEnd::default()) })
    }
    fn pod_event(&self, event: PodEvent) {
        self.0.try_send(event).unwrap();
    }
    fn event_ack(&self, _: EventAck) {}
    fn node_status(&self, status: NodeStatus) {
        self.1.send_replace(status);
    }
    fn going_away(&self, _: CloseCode, _: &str, _: Duration) {}
}

/// Gives the one transport that it has.
struct Once(Mutex<Option<Memory>>);

impl Dialer for Once {
    type Transport = Memory;
    async fn dial(&self) -> Result<Memory, DialFailure> {
        self.0
            .lock()
            .unwrap()
            .take()
            .ok_or_else(|| DialFailure::new("only once").slow())
    }
}

/// A hub's end of the link, with the backend behind it.
pub(crate) struct Hub {
    link: Connection,
    pub(crate) events: mpsc::Receiver<PodEvent>,
    pub(crate) seen: Vec<(PodEventType, PodState)>,
    /// As it was registered.
    pub(crate) node: NodeStatus,
    /// As it was told last.
    pub(crate) nodes: watch::Receiver<NodeStatus>,
    /// What was told last.
    pub(crate) told: EventAck,
    plugin: Option<tokio::task::JoinHandle<()>>,
    shutdown: CancellationToken,
}

impl Hub {
    pub(crate) async fn start(dir: &Path) -> Self {
        let config = PluginConfig::new("ws://127.0.0.1:1/ws", "p1");
        Self::start_with(dir, config, EventAck::default()).await
    }

    /// One whose plugin keeps a journal, as `towline plugin` does, for a hub that has applied so much of its events.
    pub(crate) async fn start_kept(dir: &Path, applied: EventAck) -> Self {
        let mut config = PluginConfig::new("ws://127.0.0.1:1/ws", "p1");
        config.state_dir = Some(dir.join("link"));
        Self::start_with(dir, config, applied).await
    }

    async fn start_with(dir: &Path, link: PluginConfig, applied: EventAck) -> Self {
        let mut config = ProcessConfig::new(dir).unwrap();
        config.program = PathBuf::from(env!("CARGO_BIN_EXE_towline"));
        config.node_interval = Duration::from_millis(20);
        // The former backend of a test lets its directory go when its tasks have ended.
        let opening = async {
            loop {
                match ProcessBackend::open(config.clone()).await {
                    Ok(backend) => return backend,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        };
        let backend = tokio::time::timeout(PATIENCE, opening).await.unwrap();
        let (ours, theirs) = memory::pair(limits::MAX_MESSAGE);
        let shutdown = CancellationToken::new();
        let plugin = Plugin::new(link, backend);
        let running = plugin.run_with(Once(Mutex::new(Some(theirs))), shutdown.clone());
        let plugin = tokio::spawn(async move { running.await.unwrap() });
        let accepted = accept(ours).await.unwrap();
        let node = accepted.register.node_status.clone().unwrap();
        let features = vec![feature::FLOW_CONTROL.to_owned(), feature::EVENTS.to_owned()];
        let (tell, events) = mpsc::channel(1000);
        let (tell_node, nodes) = watch::channel(node.clone());
        let link = accepted.welcome(
            Welcome {
                features,
                applied: Some(applied),
                ..Welcome::default()
            },
            Arc::new(Listener(tell, tell_node)),
        );
        Self {
            link,
            events,
            seen: Vec::new(),
            node,
            nodes,
            told: applied,
            plugin: Some(plugin),
            shutdown,
        }
    }

    /// Ends the plugin and its backend as far as one process can; supervisors live on.
    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        self.plugin.take().unwrap().await.unwrap();
    }

    /// Ends the plugin, which tells what it still has to tell, and gives what was not heard yet.
    pub(crate) async fn finish(mut self) -> Vec<PodEvent> {
        self.shutdown.cancel();
        self.plugin.take().unwrap().await.unwrap();
        self.link.ended().await;
        std::iter::from_fn(|| self.events.try_recv().ok()).collect()
    }

    /// Acknowledges all that was told, and waits until the plugin has taken that in.
    pub(crate) async fn ack(&self) {
        self.link.send_ack(self.told);
        self.state().await;
    }

    async fn call(&self, op: Op) -> Result<response::Result, Status> {
        let request = Request {
            op: Some(op),
            timeout_ms: 30_000,
            ..Request::default()
        };
        Ok(self.link.call(request).await?.result.unwrap())
    }

    /// (existed, job)
    pub(crate) async fn create(&self, spec: Value) -> Result<(bool, String), Status> {
        let op = Op::CreatePod(CreatePod {
            pod: Some(pod()),
            payload: payload(spec).to_string().into(),
        });
        match self.call(op).await? {
            response::Result::CreatePod(created) => Ok((created.existed, created.job_id)),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn delete(&self, grace_seconds: Option<u64>) -> bool {
        let op = Op::DeletePod(DeletePod {
            pod: Some(pod()),
            grace_seconds,
            ..DeletePod::default()
        });
        match self.call(op).await.unwrap() {
            response::Result::DeletePod(deleted) => deleted.existed,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn state(&self) -> PodState {
        let op = Op::GetStatus(GetStatus {
            pods: vec![pod()],
            ..GetStatus::default()
        });
        match self.call(op).await.unwrap() {
            response::Result::GetStatus(mut status) => status.pods.remove(0),
            other => panic!("{other:?}"),
        }
    }

    /// Waits for an event that fits; what came is kept in `seen`.
    pub(crate) async fn event(&mut self, fits: impl Fn(PodEventType, &PodState) -> bool) -> PodState {
        let waiting = async {
            loop {
                let event = self.events.recv().await.unwrap();
                self.told = EventAck {
                    epoch: event.epoch,
                    seq: event.seq,
                };
                let (word, state) = (event.r#type(), event.state.unwrap());
                self.seen.push((word, state.clone()));
                if fits(word, &state) {
                    return state;
                }
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(state) => state,
            Err(_) => panic!("not among the events: {:?}", self.seen),
        }
    }

    pub(crate) async fn ended(&mut self) -> PodState {
        self.event(|word, _| matches!(word, PodEventType::Finished | PodEventType::Failed))
            .await
    }

    pub(crate) async fn log(&self, container: &str) -> Result<String, Status> {
        let open = StreamLogs {
            pod: Some(pod()),
            container: container.to_owned(),
            options: Some(LogOptions::default()),
            credit: limits::LOG_CREDIT,
            timeout_ms: 30_000,
            ..StreamLogs::default()
        };
        let mut stream = self.link.stream_logs(open).await?;
        let mut bytes = Vec::new();
        loop {
            match stream.next().await {
                Ok(chunk) => bytes.extend_from_slice(&chunk.data),
                Err(end) => {
                    end?;
                    return Ok(String::from_utf8(bytes).unwrap());
                }
            }
        }
    }
}

pub(crate) fn pod() -> PodRef {
    PodRef::new(UID, "ns", "pod-1")
}

/// What a plugin gets for a pod with this spec.
pub(crate) fn payload(spec: Value) -> Value {
    json!({
        "pod": {"metadata": {"name": "pod-1", "namespace": "ns", "uid": UID, "labels": {"app": "demo"}},
            "spec": spec},
        "container": [{"name": "main",
            "configMaps": [{"metadata": {"name": "cm"}, "data": {"greeting": "hello from the map"}}],
            "secrets": [{"metadata": {"name": "sec"}, "data": {"key": "czNjcjN0"}}]}]
    })
}

pub(crate) fn sh(name: &str, script: &str) -> Value {
    json!({"name": name, "image": "none", "command": ["/bin/sh", "-c", script]})
}

pub(crate) fn with(mut container: Value, more: Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        container[key] = value.clone();
    }
    container
}

pub(crate) fn ended(container: &ContainerState) -> &ContainerTerminated {
    match container.state.as_ref().unwrap() {
        State::Terminated(ended) => ended,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn is_running(container: &ContainerState) -> bool {
    matches!(container.state, Some(State::Running(_)))
}

pub(crate) fn can_mount() -> bool {
    supervisor::probe(Path::new(env!("CARGO_BIN_EXE_towline")))
        .mounts
        .is_ok()
}
