//! Real pods through the process backend, driven over a link as the hub drives it.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::sync::mpsc;
use towline::{
    backend::{ProcessBackend, ProcessConfig, process::supervisor},
    code::CloseCode,
    connection::{BoxFuture, CancelSignal, Connection, LogSink, Peer, accept},
    limits,
    plugin::{CancellationToken, DialFailure, Dialer, Plugin, PluginConfig},
    transport::memory::{self, Memory},
    wire::{
        ContainerState, ContainerTerminated, CreatePod, DeletePod, EventAck, GetStatus, LogOptions, LogsEnd,
        NodeStatus, PodEvent, PodEventType, PodRef, PodState, Presence, Request, Response, Status,
        StreamLogs, Welcome, container_state::State, feature, request::Op, response,
    },
};

const UID: &str = "3f0c9d0e-8f0b-4c53-9e1b-5d2f9a4b7c11";
/// Nothing here takes this long; it only keeps a failing test from hanging.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Listener(mpsc::Sender<PodEvent>);

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
    fn node_status(&self, _: NodeStatus) {}
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
struct Hub {
    link: Connection,
    events: mpsc::Receiver<PodEvent>,
    seen: Vec<(PodEventType, PodState)>,
    node: NodeStatus,
    plugin: Option<tokio::task::JoinHandle<()>>,
    shutdown: CancellationToken,
}

impl Hub {
    async fn start(dir: &Path) -> Self {
        let mut config = ProcessConfig::new(dir).unwrap();
        config.program = PathBuf::from(env!("CARGO_BIN_EXE_towline"));
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
        let plugin = Plugin::new(PluginConfig::new("ws://127.0.0.1:1/ws", "p1"), backend);
        let running = plugin.run_with(Once(Mutex::new(Some(theirs))), shutdown.clone());
        let plugin = tokio::spawn(async move { running.await.unwrap() });
        let accepted = accept(ours).await.unwrap();
        let node = accepted.register.node_status.clone().unwrap();
        let features = vec![feature::FLOW_CONTROL.to_owned(), feature::EVENTS.to_owned()];
        let (tell, events) = mpsc::channel(1000);
        let link = accepted.welcome(
            Welcome {
                features,
                ..Welcome::default()
            },
            Arc::new(Listener(tell)),
        );
        Self {
            link,
            events,
            seen: Vec::new(),
            node,
            plugin: Some(plugin),
            shutdown,
        }
    }

    /// Ends the plugin and its backend as far as one process can; supervisors live on.
    async fn stop(mut self) {
        self.shutdown.cancel();
        self.plugin.take().unwrap().await.unwrap();
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
    async fn create(&self, spec: Value) -> Result<(bool, String), Status> {
        let payload = json!({
            "pod": {"metadata": {"name": "pod-1", "namespace": "ns", "uid": UID, "labels": {"app": "demo"}},
                "spec": spec},
            "container": [{"name": "main",
                "configMaps": [{"metadata": {"name": "cm"}, "data": {"greeting": "hello from the map"}}],
                "secrets": [{"metadata": {"name": "sec"}, "data": {"key": "czNjcjN0"}}]}]
        });
        let op = Op::CreatePod(CreatePod {
            pod: Some(pod()),
            payload: payload.to_string().into(),
        });
        match self.call(op).await? {
            response::Result::CreatePod(created) => Ok((created.existed, created.job_id)),
            other => panic!("{other:?}"),
        }
    }

    async fn delete(&self, grace_seconds: Option<u64>) -> bool {
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

    async fn state(&self) -> PodState {
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
    async fn event(&mut self, fits: impl Fn(PodEventType, &PodState) -> bool) -> PodState {
        let waiting = async {
            loop {
                let event = self.events.recv().await.unwrap();
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

    async fn ended(&mut self) -> PodState {
        self.event(|word, _| matches!(word, PodEventType::Finished | PodEventType::Failed))
            .await
    }

    async fn log(&self, container: &str) -> Result<String, Status> {
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

fn pod() -> PodRef {
    PodRef::new(UID, "ns", "pod-1")
}

fn sh(name: &str, script: &str) -> Value {
    json!({"name": name, "image": "none", "command": ["/bin/sh", "-c", script]})
}

fn with(mut container: Value, more: Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        container[key] = value.clone();
    }
    container
}

fn ended(container: &ContainerState) -> &ContainerTerminated {
    match container.state.as_ref().unwrap() {
        State::Terminated(ended) => ended,
        other => panic!("{other:?}"),
    }
}

fn is_running(container: &ContainerState) -> bool {
    matches!(container.state, Some(State::Running(_)))
}

fn can_mount() -> bool {
    supervisor::probe(Path::new(env!("CARGO_BIN_EXE_towline")))
        .mounts
        .is_ok()
}

#[tokio::test]
async fn init_runs_first_then_both_containers_with_their_config_map() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start(dir.path()).await;
    assert!(hub.node.ready, "{}", hub.node.reason);
    assert!(hub.node.cpu.ends_with('m') && hub.node.memory.ends_with("Ki") && hub.node.pods == "110");
    let spec = json!({
        "restartPolicy": "Never",
        "volumes": [{"name": "text", "configMap": {"name": "cm"}}, {"name": "shared", "emptyDir": {}}],
        "initContainers": [sh("prepare", "echo prepared > $TOWLINE_VOLUMES/shared/made; echo init done")],
        "containers": [
            with(sh("main", "cat $TOWLINE_VOLUMES/text/greeting; echo; cat $TOWLINE_VOLUMES/shared/made; echo $HOSTNAME"),
                json!({})),
            sh("other", "echo from other >&2"),
        ]
    });
    let (existed, job) = hub.create(spec.clone()).await.unwrap();
    assert!(!existed && job == UID);
    let state = hub.ended().await;
    assert_eq!(hub.create(spec).await.unwrap(), (true, UID.to_owned()));
    assert_eq!(hub.seen.last().unwrap().0, PodEventType::Finished);
    assert_eq!(
        state
            .containers
            .iter()
            .map(|c| ended(c).exit_code)
            .collect::<Vec<_>>(),
        [0, 0]
    );
    let init = ended(&state.init_containers[0]);
    let main = ended(&state.containers[0]);
    assert_eq!(
        (init.reason.as_str(), main.reason.as_str()),
        ("Completed", "Completed")
    );
    let nanos = |at: &towline::wire::Timestamp| (at.seconds, at.nanos);
    assert!(nanos(init.finished_at.as_ref().unwrap()) <= nanos(main.started_at.as_ref().unwrap()));
    assert_eq!(
        hub.log("").await.unwrap(),
        "hello from the map\nprepared\npod-1\n"
    );
    assert_eq!(hub.log("other").await.unwrap(), "from other\n");
    assert_eq!(hub.log("prepare").await.unwrap(), "init done\n");
    let refused = hub.log("nobody").await.unwrap_err();
    assert!(
        refused.message.contains("it has prepare, main, other"),
        "{refused}"
    );
    assert!(hub.delete(None).await);
    let gone = hub.event(|word, _| word == PodEventType::Deleted).await;
    assert_eq!(gone.presence(), Presence::Absent);
    assert!(!dir.path().join("pods").join(UID).exists());
    assert_eq!(hub.state().await.presence(), Presence::Absent);
    assert!(!hub.delete(None).await);
}

#[tokio::test]
async fn exit_codes_and_signals_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start(dir.path()).await;
    // In a pod spec $$ stands for one dollar.
    let missing = json!({"name": "missing", "command": ["/no/such/program"]});
    let spec = json!({"restartPolicy": "Never",
        "containers": [sh("seven", "exit 7"), sh("killed", "kill -9 $$$$"), missing]});
    hub.create(spec).await.unwrap();
    let state = hub.ended().await;
    assert_eq!(hub.seen.last().unwrap().0, PodEventType::Failed);
    assert_eq!(ended(&state.containers[0]).exit_code, 7);
    let killed = ended(&state.containers[1]);
    assert_eq!((killed.exit_code, killed.signal), (137, 9));
    let missing = ended(&state.containers[2]);
    assert!(
        (126..=128).contains(&missing.exit_code) && !missing.message.is_empty(),
        "{missing:?}"
    );
}

#[tokio::test]
async fn a_failed_container_waits_in_backoff_and_the_pod_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start(dir.path()).await;
    hub.create(json!({"restartPolicy": "OnFailure", "containers": [sh("main", "exit 3")]}))
        .await
        .unwrap();
    let state = hub
        .event(|_, state| state.containers[0].last_termination.is_some())
        .await;
    match state.containers[0].state.as_ref().unwrap() {
        State::Waiting(waiting) => assert_eq!(waiting.reason, "CrashLoopBackOff"),
        other => panic!("{other:?}"),
    }
    assert_eq!(
        state.containers[0].last_termination.as_ref().unwrap().exit_code,
        3
    );
    assert!(hub.delete(Some(0)).await);
    hub.event(|word, _| word == PodEventType::Deleted).await;
}

#[tokio::test]
async fn a_sidecar_runs_beside_and_is_stopped_after_the_main_container() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start(dir.path()).await;
    let side = with(
        sh(
            "side",
            "trap 'echo side stops; exit 0' TERM; echo up > $TOWLINE_VOLUMES/v/up; while :; do sleep 0.1; done",
        ),
        json!({"restartPolicy": "Always"}),
    );
    let wait = "until [ -e $TOWLINE_VOLUMES/v/up ]; do sleep 0.05; done";
    let spec = json!({"restartPolicy": "Never", "volumes": [{"name": "v", "emptyDir": {}}],
        "initContainers": [side], "containers": [sh("main", wait)]});
    hub.create(spec).await.unwrap();
    let state = hub.ended().await;
    assert_eq!(hub.seen.last().unwrap().0, PodEventType::Finished);
    assert_eq!(ended(&state.containers[0]).exit_code, 0);
    // The shell also says that its sleep was ended.
    assert!(hub.log("side").await.unwrap().ends_with("side stops\n"));
    assert_eq!(state.init_containers[0].restart_count, 0);
}

#[tokio::test]
async fn a_failed_init_container_fails_the_whole_pod() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start(dir.path()).await;
    let spec = json!({"restartPolicy": "Never", "initContainers": [sh("init", "exit 4")],
        "containers": [sh("main", "true")]});
    hub.create(spec).await.unwrap();
    let state = hub.ended().await;
    assert_eq!(hub.seen.last().unwrap().0, PodEventType::Failed);
    let main = ended(&state.containers[0]);
    assert_ne!(main.exit_code, 0);
    assert_eq!(
        main.message,
        "not started: init container init ended with exit code 4"
    );
}

#[tokio::test]
async fn hooks_run_after_the_start_and_before_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start(dir.path()).await;
    let mark = dir.path().join("marks");
    let note = |word: &str| json!({"exec": {"command": ["/bin/sh", "-c", format!("echo {word} >> {}", mark.display())]}});
    let main = with(
        sh("main", "trap 'exit 0' TERM; while :; do sleep 0.1; done"),
        json!({"lifecycle": {"postStart": note("post"), "preStop": note("pre")}}),
    );
    hub.create(json!({"containers": [main]})).await.unwrap();
    let state = hub.event(|_, state| is_running(&state.containers[0])).await;
    assert!(state.containers[0].started && state.containers[0].ready);
    assert_eq!(std::fs::read_to_string(&mark).unwrap(), "post\n");
    assert!(hub.delete(Some(20)).await);
    hub.event(|word, _| word == PodEventType::Deleted).await;
    assert_eq!(std::fs::read_to_string(&mark).unwrap(), "post\npre\n");
}

#[tokio::test]
async fn a_delete_answers_before_the_grace_is_over_and_kills_what_does_not_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start(dir.path()).await;
    hub.create(json!({"containers": [sh("main", "trap '' TERM; while :; do sleep 0.1; done")]}))
        .await
        .unwrap();
    hub.event(|_, state| is_running(&state.containers[0])).await;
    assert!(hub.delete(Some(3600)).await);
    assert_eq!(hub.state().await.presence(), Presence::Present);
    let refused = hub
        .create(json!({"containers": [sh("main", "true")]}))
        .await
        .unwrap_err();
    assert_eq!(refused.reason, "DELETED");
    assert!(hub.delete(Some(0)).await);
    hub.event(|word, _| word == PodEventType::Deleted).await;
}

#[tokio::test]
async fn a_deadline_ends_the_pod() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start(dir.path()).await;
    let main = sh("main", "trap 'exit 0' TERM; while :; do sleep 0.1; done");
    hub.create(json!({"activeDeadlineSeconds": 1, "containers": [main]}))
        .await
        .unwrap();
    let state = hub.ended().await;
    let main = ended(&state.containers[0]);
    assert_ne!(main.exit_code, 0);
    assert!(main.message.starts_with("DeadlineExceeded"), "{main:?}");
}

#[tokio::test]
async fn a_pod_that_cannot_run_here_is_refused_and_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(dir.path()).await;
    let nfs = json!([{"name": "v", "nfs": {"server": "s", "path": "/"}}]);
    let mount = json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]});
    let cases = [
        (
            json!({"containers": [{"name": "main", "image": "nginx"}]}),
            "container main has no command",
        ),
        (
            json!({"volumes": nfs, "containers": [with(sh("main", "true"), mount)]}),
            "kind nfs is not supported",
        ),
        (json!({"containers": []}), "no containers"),
    ];
    for (spec, text) in cases {
        let refused = hub.create(spec).await.unwrap_err();
        assert_eq!(
            (refused.code, refused.reason.as_str()),
            (9, "BAD_POD"),
            "{refused}"
        );
        assert!(refused.message.contains(text), "{refused}");
    }
    assert_eq!(std::fs::read_dir(dir.path().join("pods")).unwrap().count(), 0);
}

#[tokio::test]
async fn volumes_are_mounted_where_the_machine_allows_it_and_refused_where_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start(dir.path()).await;
    let mounts = json!({"volumeMounts": [
        {"name": "text", "mountPath": "/towline-test/config"},
        {"name": "work", "mountPath": "/towline-test/work"},
        {"name": "secret", "mountPath": "/towline-test/key", "subPath": "key"}]});
    let script = "cat /towline-test/config/greeting /towline-test/key; echo x > /towline-test/work/x && \
                  ! echo x 2>/dev/null > /towline-test/config/x";
    let spec = json!({"restartPolicy": "Never", "containers": [with(sh("main", script), mounts)],
        "volumes": [{"name": "text", "configMap": {"name": "cm"}}, {"name": "work", "emptyDir": {}},
            {"name": "secret", "secret": {"secretName": "sec"}}]});
    let created = hub.create(spec).await;
    if can_mount() {
        created.unwrap();
        let state = hub.ended().await;
        assert_eq!(hub.log("main").await.unwrap(), "hello from the maps3cr3t");
        assert_eq!(ended(&state.containers[0]).exit_code, 0, "{state:?}");
    } else {
        let refused = created.unwrap_err();
        assert!(refused.message.contains("$TOWLINE_VOLUMES/text"), "{refused}");
    }
    assert!(!Path::new("/towline-test").exists());
}

#[tokio::test]
async fn a_pod_outlives_the_plugin_and_is_taken_up_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut hub = Hub::start(dir.path()).await;
    let go = dir.path().join("go");
    let script = format!(
        "echo begun; until [ -e {} ]; do sleep 0.05; done; echo ended; exit 5",
        go.display()
    );
    hub.create(json!({"restartPolicy": "Never", "containers": [sh("main", &script)]}))
        .await
        .unwrap();
    hub.event(|_, state| is_running(&state.containers[0])).await;
    hub.stop().await;
    let mut hub = Hub::start(dir.path()).await;
    let state = hub.event(|_, state| is_running(&state.containers[0])).await;
    assert_eq!(state.containers[0].restart_count, 0);
    std::fs::write(&go, "").unwrap();
    let state = hub.ended().await;
    assert_eq!(ended(&state.containers[0]).exit_code, 5);
    assert_eq!(hub.log("").await.unwrap(), "begun\nended\n");
    hub.stop().await;
    let hub = Hub::start(dir.path()).await;
    assert_eq!(ended(&hub.state().await.containers[0]).exit_code, 5);
}
