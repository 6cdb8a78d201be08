//! Golden calls: what the virtual kubelet asks is answered alike, code and body, whether the plugin's link is binary or
//! JSON, or it is a REST plugin behind a bridge or behind the hub itself; and the plugin is asked the same. Over real
//! sockets, with the samples of `tests/payloads/golden`.
#![cfg(all(feature = "hub", feature = "plugin"))]
#![allow(clippy::unwrap_used)]

#[allow(dead_code)] // shared with the tests of the HTTP edge
#[path = "http/client.rs"]
mod client;
#[cfg(feature = "cli")]
#[allow(dead_code)] // shared with the tests of the bridge
#[path = "rest_bridge/kubelet.rs"]
mod kubelet;
#[cfg(feature = "cli")]
#[path = "golden_calls/legs.rs"]
mod legs;
#[cfg(feature = "cli")]
#[path = "golden_calls/script.rs"]
mod script;
#[cfg(feature = "cli")]
#[allow(dead_code)] // shared with the tests of the two ways
#[path = "dual_hub/site.rs"]
mod site;

use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::timeout;
use towline::{
    code::{Code, reason},
    connection::LogSink,
    interlink::PodStatus,
    plugin::{
        CancellationToken, Create, Created, Delete, Deleted, Events, Handler, LogRequest, Plugin,
        PluginConfig, Which,
    },
    wire::{
        LogChunk, LogPosition, LogsEnd, NodeStatus, PodEventType, PodState, Status, Subprotocol, Taint,
        TaintList,
    },
};

use client::{PATIENCE, Served, served};

fn sample(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/payloads/golden/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn json_of(name: &str) -> Value {
    serde_json::from_slice(&sample(name)).unwrap()
}

/// Does what its pods say, and notes what it is asked.
#[derive(Default)]
struct Recorder {
    events: OnceLock<Events>,
    asked: Mutex<Vec<String>>,
}

impl Recorder {
    fn note(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }
}

impl Handler for Recorder {
    async fn create(&self, create: Create) -> Result<Created, Status> {
        let Create {
            pod,
            payload,
            attempt,
            ..
        } = create;
        let text = String::from_utf8(payload.to_vec()).unwrap();
        self.note(format!("create {pod} {attempt} {text}"));
        let read: Value = serde_json::from_str(&text).unwrap();
        match read["pod"]["metadata"]["annotations"]["test/refuse"].as_str() {
            Some(refusal) => {
                let (code, word) = refusal.split_once(' ').unwrap();
                let code = Code::from_number(code.parse().unwrap());
                Err(Status::new(
                    code,
                    word,
                    "sbatch: \"<no>\" such 'queue' \u{1f600}\nsecond line\t",
                ))
            }
            None => Ok(Created {
                job_id: format!("job of {}", pod.name),
                existed: false,
            }),
        }
    }

    async fn delete(&self, delete: Delete) -> Result<Deleted, Status> {
        let text = String::from_utf8(delete.pod_json.to_vec()).unwrap();
        self.note(format!("delete {} {:?} {text}", delete.pod, delete.grace_seconds));
        Ok(Deleted { existed: false })
    }

    async fn status(&self, _which: Which) -> Result<Vec<PodState>, Status> {
        Ok(Vec::new())
    }

    async fn logs(&self, request: LogRequest, mut sink: LogSink) -> Result<LogsEnd, Status> {
        self.note(format!("{request:?}"));
        if request.options.previous {
            return Err(Status::new(Code::NotFound, reason::NO_LOG, "no former run"));
        }
        let mut offset = 0;
        for data in [
            &b""[..],
            b"text \"quoted\"\n",
            b"\xff\xfe\x00 not text",
            "gr\u{fc}\u{df}e\n".as_bytes(),
        ] {
            let chunk = LogChunk {
                at: Some(LogPosition { epoch: 1, offset }),
                next_offset: offset + data.len() as u64,
                data: Bytes::from_static(data),
                ..LogChunk::default()
            };
            offset = chunk.next_offset;
            if sink.send(chunk).await.is_err() {
                break;
            }
        }
        Ok(LogsEnd {
            next: Some(LogPosition { epoch: 1, offset }),
            eof: true,
            reset: false,
        })
    }

    async fn node(&self) -> NodeStatus {
        NodeStatus {
            ready: true,
            cpu: "64".into(),
            memory: "256Gi".into(),
            taints: Some(TaintList {
                items: vec![Taint {
                    key: "site/slow".into(),
                    value: "true".into(),
                    effect: "NoSchedule".into(),
                }],
            }),
            ..NodeStatus::default()
        }
    }

    fn attach(&self, events: Events) {
        assert!(self.events.set(events).is_ok(), "attached twice");
    }
}

/// One answer to the virtual kubelet: what was asked, code, body.
type Answered = (String, u16, Bytes);

struct Asking {
    hub: Served,
    answers: Vec<Answered>,
}

impl Asking {
    async fn ask(&mut self, what: &str, method: &str, path: &str, body: Vec<u8>) -> (u16, String) {
        let answer = self.hub.ask(method, path, &[], body).await;
        self.answers
            .push((what.to_owned(), answer.status, answer.body.clone()));
        (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// Waits until the hub tells this of the pod.
    async fn until(&self, word: &str, body: &[u8]) {
        let (_, mut changes) = self.hub.hub.watch();
        let told = async {
            while !self
                .hub
                .ask("GET", "/status", &[], body.to_vec())
                .await
                .text()
                .contains(word)
            {
                let _ = changes.recv().await;
            }
        };
        timeout(PATIENCE, told)
            .await
            .unwrap_or_else(|_| panic!("never {word}"));
    }
}

/// A pod of the plugin's leg as the virtual kubelet sends it.
fn create_of(pod: &Value) -> Vec<u8> {
    json!({"pod": pod, "configmaps": null, "secrets": null, "projectedvolumesmaps": null, "jobscriptURL": ""})
        .to_string()
        .into_bytes()
}

/// The samples, through a plugin that speaks like this.
async fn golden(codec: Subprotocol) -> (Vec<Answered>, Vec<String>) {
    let hub = served().await;
    let recorder = Arc::new(Recorder::default());
    let config = PluginConfig {
        codec,
        ..PluginConfig::new(format!("ws://{}/ws", hub.addr), "site-a")
    };
    let stop = CancellationToken::new();
    let running = tokio::spawn(Plugin::new(config, recorder.clone()).run(stop.clone()));
    let mut vk = Asking {
        hub,
        answers: Vec::new(),
    };
    let (_, mut changes) = vk.hub.hub.watch();
    let ready = async {
        while vk.hub.hub.ping(Some("site-a")).is_err() {
            let _ = changes.recv().await;
        }
    };
    timeout(PATIENCE, ready).await.expect("the plugin registers");

    vk.ask("ping", "POST", "/pinglink", Vec::new()).await;
    let micro = sample("vk_create_req.microservice");
    let (status, text) = vk.ask("create", "POST", "/create", micro.clone()).await;
    assert_eq!(status, 200, "{text}");
    vk.ask("create again", "POST", "/create", micro.clone()).await;
    for name in ["current_object", "gpu", "projected", "microservice"] {
        let pod = json_of(&format!("create_req.{name}"))["pod"].clone();
        vk.ask(name, "POST", "/create", create_of(&pod)).await;
    }
    refusals(&mut vk).await;

    let pod = serde_json::from_slice::<Value>(&micro).unwrap()["pod"].clone();
    let asked = json!([pod]).to_string().into_bytes();
    for (name, word) in [
        ("waiting", "waiting"),
        ("running", "running"),
        ("failed_timeout", "time limit"),
    ] {
        let states: Vec<PodStatus> = serde_json::from_slice(&sample(&format!("status_resp.{name}"))).unwrap();
        let events = recorder.events.get().unwrap();
        events.pod(PodEventType::Updated, PodState::from(&states[0]));
        vk.until(word, &asked).await;
        vk.ask(name, "GET", "/status", asked.clone()).await;
    }
    vk.ask("status of an unknown pod", "GET", "/status", sample("status_req"))
        .await;
    vk.ask("status of none", "GET", "/status", b"[]".to_vec()).await;

    for name in [
        "logs_req",
        "logs_req.follow_tail",
        "logs_req.invalid_tail_and_bytes",
        "logs_req.invalid_uid",
    ] {
        vk.ask(name, "GET", "/getLogs", sample(name)).await;
    }
    let mut previous = json_of("logs_req");
    previous["Opts"]["Previous"] = json!(true);
    vk.ask(
        "logs of no former run",
        "GET",
        "/getLogs",
        previous.to_string().into_bytes(),
    )
    .await;
    vk.ask("delete", "DELETE", "/delete", sample("delete_req")).await;
    vk.ask(
        "delete what runs",
        "DELETE",
        "/delete",
        pod.to_string().into_bytes(),
    )
    .await;

    stop.cancel();
    timeout(PATIENCE, running)
        .await
        .expect("it stops")
        .unwrap()
        .unwrap();
    let asked = recorder.asked.lock().unwrap().clone();
    (vk.answers, asked)
}

/// What a plugin may say no with, but for what the hub tries again for minutes.
async fn refusals(vk: &mut Asking) {
    let refusals = [
        (Code::InvalidArgument, reason::BAD_POD),
        (Code::NotFound, reason::POD_NOT_FOUND),
        (Code::PermissionDenied, ""),
        (Code::ResourceExhausted, reason::MESSAGE_TOO_LARGE),
        (Code::FailedPrecondition, reason::SUBMIT_REJECTED),
        (Code::Aborted, ""),
        (Code::OutOfRange, ""),
        (Code::Unimplemented, reason::NOT_SUPPORTED),
        (Code::Internal, reason::PLUGIN_ERROR),
        (Code::Internal, ""),
        (Code::DataLoss, reason::CORRUPT),
        (Code::Unauthenticated, ""),
    ];
    for (n, (code, word)) in refusals.into_iter().enumerate() {
        let mut pod = json_of("create_req.gpu")["pod"].clone();
        pod["metadata"]["uid"] = json!(format!("00000000-0000-4000-8000-{n:012x}"));
        pod["metadata"]["annotations"] = json!({"test/refuse": format!("{} {word}", code as i32)});
        let what = format!("refused {code} {word}");
        let (status, text) = vk.ask(&what, "POST", "/create", create_of(&pod)).await;
        assert!(status >= 400 && text.contains("queue"), "{what}: {status} {text}");
    }
}

#[tokio::test]
async fn a_plugin_in_json_and_a_binary_one_are_asked_and_answer_alike() {
    let (binary, asked_binary) = golden(Subprotocol::Proto).await;
    let (text, asked_text) = golden(Subprotocol::Json).await;
    assert_eq!(binary.len(), text.len());
    for (one, other) in binary.iter().zip(&text) {
        assert_eq!(one, other);
    }
    assert_eq!(asked_binary, asked_text);
    assert!(asked_text.len() > 20 && asked_text.iter().any(|asked| asked.starts_with("delete")));
    let log = text.iter().find(|(what, ..)| what == "logs_req").unwrap();
    assert_eq!(
        (log.1, &log.2[..]),
        (
            200,
            &b"text \"quoted\"\n\xff\xfe\x00 not textgr\xc3\xbc\xc3\x9fe\n"[..]
        )
    );
}
