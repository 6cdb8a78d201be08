//! The Python example against a hub's end of the link, with real processes.
//!
//! Runs only when TOWLINE_PYTHON names a Python that has `examples/stubs/python/requirements.txt` installed.
#![cfg(feature = "net")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::{path::Path, process::Stdio, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    sync::mpsc,
};
use towline::{
    code::{CloseCode, Code, reason},
    connection::{self, BoxFuture, CancelSignal, Connection, LogSink, Peer},
    transport::{Io, Listener, WebSocket, accept_key},
    wire::{
        CreatePod, DeletePod, EventAck, GetStatus, LogOptions, LogPosition, LogsEnd, NodeStatus, PodEvent,
        PodEventType, PodRef, Presence, Register, Request, Response, Status, StreamLogs, Welcome,
        container_state::State, request::Op, response,
    },
};

const UID: &str = "2ee53299-7980-4016-8fef-a045282aecd1";

/// Takes what the plugin pushes.
struct HubEnd(mpsc::UnboundedSender<PodEvent>);

impl Peer for HubEnd {
    fn request(&self, _: Request, _: CancelSignal) -> BoxFuture<Response> {
        Box::pin(async { Response::default() })
    }
    fn stream_logs(&self, _: StreamLogs, _: LogSink) -> BoxFuture<Result<LogsEnd, Status>> {
        Box::pin(async { Ok(LogsEnd::default()) })
    }
    fn pod_event(&self, event: PodEvent) {
        let _the_test_has_ended = self.0.send(event);
    }
    fn event_ack(&self, _: EventAck) {}
    fn node_status(&self, _: NodeStatus) {}
    fn going_away(&self, _: CloseCode, _: &str, _: Duration) {}
}

struct Link {
    connection: Connection,
    register: Register,
    events: mpsc::UnboundedReceiver<PodEvent>,
}

async fn accept(listener: &mut Listener, applied: EventAck) -> Link {
    let (mut io, _) = listener.accept().await;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(io.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.contains("towline.v1.proto"), "{head}");
    let key = head
        .lines()
        .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))
        .unwrap();
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {}\r\n\
         Sec-WebSocket-Protocol: towline.v1.proto\r\n\r\n",
        accept_key(key)
    );
    io.write_all(answer.as_bytes()).await.unwrap();
    let transport: WebSocket<Io> = WebSocket::accepted(io, 16 << 20).await;
    let accepted = connection::accept(transport).await.unwrap();
    let register = accepted.register.clone();
    let (sender, events) = mpsc::unbounded_channel();
    let welcome = Welcome {
        session: "test".to_owned(),
        features: register.features.clone(),
        ping_ms: 20_000,
        idle_ms: 60_000,
        applied: Some(applied),
        ..Welcome::default()
    };
    Link {
        connection: accepted.welcome(welcome, Arc::new(HubEnd(sender))),
        register,
        events,
    }
}

fn pod() -> PodRef {
    PodRef {
        uid: UID.to_owned(),
        namespace: "vk".to_owned(),
        name: "demo".to_owned(),
    }
}

fn request(op: Op) -> Request {
    Request {
        timeout_ms: 30_000,
        op: Some(op),
        ..Request::default()
    }
}

fn create(uid: &str, script: &str) -> Request {
    let container =
        serde_json::json!({"name": "main", "image": "none", "command": ["/bin/sh", "-c", script]});
    let payload = serde_json::json!({"pod": {"spec": {"containers": [container]}}}).to_string();
    request(Op::CreatePod(CreatePod {
        pod: Some(PodRef {
            uid: uid.to_owned(),
            ..pod()
        }),
        payload: Bytes::from(payload),
    }))
}

impl Link {
    async fn create(&self, script: &str) -> bool {
        match self.connection.call(create(UID, script)).await.unwrap().result {
            Some(response::Result::CreatePod(result)) => result.existed,
            other => panic!("{other:?}"),
        }
    }

    /// The next event of this type, which need not be the next event: states replace each other.
    async fn event(&mut self, wanted: PodEventType) -> PodEvent {
        loop {
            let event = self.events.recv().await.expect("the link ended");
            self.connection.send_ack(EventAck {
                epoch: event.epoch,
                seq: event.seq,
            });
            if event.r#type() == wanted {
                return event;
            }
        }
    }

    async fn ended(&mut self) -> PodEvent {
        loop {
            let event = self.event(PodEventType::Updated).await;
            let containers = &event.state.as_ref().unwrap().containers;
            if containers
                .iter()
                .all(|c| matches!(c.state, Some(State::Terminated(_))))
            {
                return event;
            }
        }
    }

    async fn log(&self, follow: bool, start: Option<LogPosition>) -> (Vec<u8>, LogsEnd) {
        let open = StreamLogs {
            pod: Some(pod()),
            options: Some(LogOptions {
                follow,
                ..LogOptions::default()
            }),
            start,
            credit: 256 << 10,
            timeout_ms: 30_000,
            ..StreamLogs::default()
        };
        let mut stream = self.connection.stream_logs(open).await.unwrap();
        let mut all = Vec::new();
        loop {
            match stream.next().await {
                Ok(chunk) => all.extend_from_slice(&chunk.data),
                Err(Ok(end)) => return (all, end),
                Err(Err(status)) => panic!("{status:?}"),
            }
        }
    }
}

fn start(python: &str, dir: &Path, hub: &str) -> Child {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/stubs/python");
    let stubs = dir.join("stubs");
    let made = std::process::Command::new(here.join("generate.sh"))
        .arg(python)
        .arg(&stubs)
        .status()
        .unwrap();
    assert!(
        made.success(),
        "generate.sh failed: are the requirements installed in {python}?"
    );
    Command::new(python)
        .arg(here.join("plugin.py"))
        .args([
            "--hub",
            &format!("ws://{hub}/ws"),
            "--name",
            "snake",
            "--state-dir",
        ])
        .arg(dir.join("state"))
        .env("PYTHONPATH", stubs)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn the_python_plugin_runs_pods_over_the_link() {
    let Ok(python) = std::env::var("TOWLINE_PYTHON") else {
        eprintln!("skipped: TOWLINE_PYTHON is not set");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let mut listener = Listener::bind("127.0.0.1:0", None).await.unwrap();
    let mut child = start(&python, dir.path(), &listener.local_addr());
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, scenario(&mut listener))
        .await
        .expect("in time");
    terminate(&child);
    tokio::time::timeout(limit, child.wait())
        .await
        .expect("ends on SIGTERM")
        .unwrap();
}

/// SIGTERM through `kill`: the standard library can only send SIGKILL.
fn terminate(child: &Child) {
    let pid = child.id().unwrap().to_string();
    assert!(
        std::process::Command::new("kill")
            .arg(pid)
            .status()
            .unwrap()
            .success()
    );
}

async fn scenario(listener: &mut Listener) {
    let mut link = accept(listener, EventAck::default()).await;
    assert_eq!(
        (link.register.plugin.as_str(), link.register.r#type.as_str()),
        ("snake", "python")
    );
    assert!(link.register.node_status.as_ref().unwrap().ready);

    // More than the credit, then the exit code.
    let script = "i=0; while [ $i -lt 50000 ]; do echo line $i; i=$((i+1)); done; exit 3";
    assert!(!link.create(script).await);
    assert!(link.create(script).await, "a second create starts nothing");
    let (log, end) = link.log(true, None).await;
    let want: String = (0..50_000).map(|i| format!("line {i}\n")).collect();
    assert!(
        log == want.as_bytes(),
        "byte-exact, {} of {} bytes",
        log.len(),
        want.len()
    );
    assert!(end.eof && !end.reset);
    let state = link.ended().await.state.unwrap();
    assert_eq!(state.presence(), Presence::Present);
    let Some(State::Terminated(how)) = &state.containers[0].state else {
        panic!("{state:?}")
    };
    assert_eq!((how.exit_code, how.reason.as_str()), (3, "Error"));

    // From a position; and from one that does not exist.
    let position = |epoch, offset| Some(LogPosition { epoch, offset });
    let (tail, _) = link.log(false, position(1, want.len() as u64 - 11)).await;
    assert_eq!(tail, b"line 49999\n");
    let (again, end) = link.log(false, position(7, 5)).await;
    assert!(again.len() == want.len() && end.reset);

    // What cannot be run is refused, what is not known is said so.
    let status = link
        .connection
        .call(create(UID.replace('2', "3").as_str(), ""))
        .await;
    assert!(status.is_ok(), "an empty script is a command");
    let bare = CreatePod {
        pod: Some(PodRef {
            uid: UID.replace('2', "4"),
            ..pod()
        }),
        payload: Bytes::from("{}"),
    };
    let status = link
        .connection
        .call(request(Op::CreatePod(bare)))
        .await
        .unwrap_err();
    assert_eq!(
        (status.code, status.reason.as_str()),
        (Code::FailedPrecondition as i32, reason::BAD_POD)
    );
    let status = link
        .connection
        .call(Request {
            timeout_ms: 30_000,
            ..Request::default()
        })
        .await
        .unwrap_err();
    assert_eq!(status.code, Code::Unimplemented as i32);
    let all = GetStatus {
        all: true,
        ..GetStatus::default()
    };
    let answer = link.connection.call(request(Op::GetStatus(all))).await.unwrap();
    let Some(response::Result::GetStatus(states)) = answer.result else {
        panic!("{answer:?}")
    };
    assert_eq!(states.pods.len(), 2);
    assert!(
        states
            .pods
            .iter()
            .all(|state| state.pod.as_ref().is_some_and(|pod| pod.name == "demo"))
    );

    // After a lost link it comes back, with its pods, and goes on.
    let before = link.register.clone();
    link.connection.close(CloseCode::DRAIN, "test");
    link.connection.ended().await;
    let applied = EventAck {
        epoch: before.outbox.unwrap().epoch,
        seq: states.as_of,
    };
    let mut link = accept(listener, applied).await;
    assert_eq!(link.register.instance, before.instance);
    assert!(link.create(script).await, "still known");
    let op = DeletePod {
        pod: Some(pod()),
        grace_seconds: Some(1),
        ..DeletePod::default()
    };
    link.connection.call(request(Op::DeletePod(op))).await.unwrap();
    let gone = link.event(PodEventType::Deleted).await.state.unwrap();
    assert_eq!(gone.presence(), Presence::Absent);
    let op = DeletePod {
        pod: Some(pod()),
        ..DeletePod::default()
    };
    link.connection
        .call(request(Op::DeletePod(op)))
        .await
        .expect("deleting nothing succeeds");

    // A running pod is ended by its delete.
    assert!(
        !link
            .create("trap 'exit 7' TERM; echo up; while :; do sleep 0.1; done")
            .await
    );
    link.event(PodEventType::Started).await;
    let op = DeletePod {
        pod: Some(pod()),
        grace_seconds: Some(60),
        ..DeletePod::default()
    };
    link.connection.call(request(Op::DeletePod(op))).await.unwrap();
    link.event(PodEventType::Deleted).await;
}
