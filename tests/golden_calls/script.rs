//! What a plugin does in these calls, whichever way it is reached: as a REST plugin, and as one with a link of its own.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use towline::{
    code::{Code, reason},
    connection::LogSink,
    interlink::{PingResponse, PodStatus},
    plugin::{Create, Created, Delete, Deleted, Events, Handler, LogRequest, Which},
    wire::{
        Accelerator, AcceleratorList, LogsEnd, NodeStatus, PodEventType, PodState, Status, Taint, TaintList,
    },
};

static ASKED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Whether a sample was ever taken.
pub(crate) fn used(name: &str) -> bool {
    ASKED.lock().unwrap().contains(name)
}

/// The file as it is.
pub(crate) fn sample(name: &str) -> Bytes {
    ASKED.lock().unwrap().insert(name.to_owned());
    let path = format!("{}/tests/payloads/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{path}: {error}"))
        .into()
}

pub(crate) fn json_of(name: &str) -> Value {
    serde_json::from_slice(&sample(name)).unwrap()
}

/// What it answers now.
#[derive(Debug, Default)]
struct Answers {
    ping: Bytes,
    status: Bytes,
    create: Option<(u16, Bytes)>,
    delete: Option<(u16, Bytes)>,
    log: Bytes,
    /// Creates and deletes that came, as JSON.
    asked: Vec<(String, Value)>,
    pings: BTreeSet<Bytes>,
}

/// A plugin.
#[derive(Debug)]
pub(crate) struct Script {
    answers: Mutex<Answers>,
    /// Status calls with pods.
    polls: watch::Sender<u64>,
    /// Of a plugin with its own link.
    events: OnceLock<Events>,
}

impl Script {
    pub(crate) fn new() -> Arc<Self> {
        let answers = Answers {
            ping: sample("ping_resp.apptainer.txt"),
            status: Bytes::from_static(b"[]"),
            log: Bytes::from_static(b"text \"quoted\"\n\xff\xfe\x00 not text\ngr\xc3\xbc\xc3\x9fe\n"),
            ..Answers::default()
        };
        Arc::new(Self {
            answers: Mutex::new(answers),
            polls: watch::Sender::new(0),
            events: OnceLock::new(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap()
    }

    pub(crate) fn ping(&self, body: Bytes) {
        self.lock().ping = body.clone();
        if let Some(events) = self.events.get() {
            events.node(node(&body));
        }
    }

    /// Gives this for an answer to a status call from now on. `news`: it says something of a pod.
    pub(crate) async fn status(&self, body: Bytes, news: bool) {
        self.lock().status = body.clone();
        match self.events.get() {
            Some(events) if news => {
                let said: Vec<PodStatus> = serde_json::from_slice(&body).unwrap();
                events.pod(PodEventType::Updated, PodState::from(&said[0]));
            }
            Some(_) => {}
            // The second call from now comes when the first was taken in.
            None => {
                let mut polls = self.polls.subscribe();
                let now = *polls.borrow_and_update();
                let polled = polls.wait_for(|polls| *polls >= now + 3);
                tokio::time::timeout(crate::kubelet::PATIENCE, polled)
                    .await
                    .expect("it is asked for status")
                    .unwrap();
            }
        }
    }

    pub(crate) fn create(&self, answer: Option<(u16, Bytes)>) {
        self.lock().create = answer;
    }

    pub(crate) fn delete(&self, answer: Option<(u16, Bytes)>) {
        self.lock().delete = answer;
    }

    pub(crate) fn asked(&self) -> Vec<(String, Value)> {
        self.lock().asked.clone()
    }

    pub(crate) fn pings(&self) -> BTreeSet<Bytes> {
        self.lock().pings.clone()
    }

    fn note(&self, what: &str, body: &[u8]) {
        let body = serde_json::from_slice(body).unwrap();
        self.lock().asked.push((what.to_owned(), body));
    }

    /// Serves it as a REST plugin.
    pub(crate) async fn serve(self: Arc<Self>) -> (String, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let script = self.clone();
                connections.spawn(async move {
                    let service = service_fn(|request| script.clone().answer(request));
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
        });
        (address, task)
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let what = format!("{} {}", request.method(), request.uri().path());
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let read: Value = serde_json::from_slice(&body).unwrap();
        let (code, answer) = match what.as_str() {
            "POST /create" => {
                self.note("create", &body);
                let took = json!({"PodUID": read["pod"]["metadata"]["uid"], "PodJID": "428817"});
                self.lock()
                    .create
                    .clone()
                    .unwrap_or((200, took.to_string().into()))
            }
            "POST /delete" => {
                self.note("delete", &body);
                self.lock()
                    .delete
                    .clone()
                    .unwrap_or((200, sample("delete_resp.slurm.txt")))
            }
            "GET /status" if read == json!([]) => {
                let mut answers = self.lock();
                answers.pings.insert(body);
                (200, answers.ping.clone())
            }
            "GET /status" => {
                let answer = self.lock().status.clone();
                self.polls.send_modify(|polls| *polls += 1);
                (200, answer)
            }
            "GET /getLogs" if read["Opts"]["Previous"] == true => (404, "no former run".into()),
            "GET /getLogs" => (200, self.lock().log.clone()),
            _ => (404, "404 page not found".into()),
        };
        let mut response = Response::new(Full::new(answer));
        *response.status_mut() = code.try_into().unwrap();
        Ok(response)
    }
}

/// What an error body says: FastAPI's is unwrapped.
fn said(body: &[u8]) -> String {
    match serde_json::from_slice::<Value>(body) {
        Ok(read) if read["detail"].is_string() => read["detail"].as_str().unwrap().to_owned(),
        _ => String::from_utf8(body.to_vec()).unwrap(),
    }
}

fn node(ping: &[u8]) -> NodeStatus {
    let ready = NodeStatus {
        ready: true,
        ..NodeStatus::default()
    };
    let Ok(said) = serde_json::from_slice::<PingResponse>(ping) else {
        return ready;
    };
    let Some(has) = said.resources else { return ready };
    let accelerators = has.accelerators.unwrap_or_default().into_iter();
    let taints = said.taints.unwrap_or_default().into_iter();
    NodeStatus {
        cpu: has.cpu,
        memory: has.memory,
        pods: has.pods,
        accelerators: Some(AcceleratorList {
            items: accelerators
                .map(|item| Accelerator {
                    available: item.available.parse().unwrap(),
                    resource_type: item.resource_type,
                })
                .collect(),
        }),
        taints: Some(TaintList {
            items: taints
                .map(|taint| Taint {
                    key: taint.key,
                    value: taint.value,
                    effect: taint.effect,
                })
                .collect(),
        }),
        ..ready
    }
}

/// The same as a plugin of its own.
pub(crate) struct Native(pub(crate) Arc<Script>);

impl Handler for Native {
    async fn create(&self, create: Create) -> Result<Created, Status> {
        self.0.note("create", &create.payload);
        match self.0.lock().create.clone() {
            Some((code, body)) if code >= 300 => Err(Status::new(
                Code::FailedPrecondition,
                reason::SUBMIT_REJECTED,
                said(&body),
            )),
            _ => Ok(Created {
                job_id: "428817".into(),
                existed: false,
            }),
        }
    }

    async fn delete(&self, delete: Delete) -> Result<Deleted, Status> {
        self.0.note("delete", &delete.pod_json);
        match self.0.lock().delete.clone() {
            Some((404, _)) => {}
            Some((code, body)) if code >= 300 => {
                return Err(Status::new(Code::Internal, reason::PLUGIN_ERROR, said(&body)));
            }
            _ => {}
        }
        let events = self.0.events.get().unwrap();
        events.pod(PodEventType::Deleted, PodState::absent(delete.pod));
        Ok(Deleted { existed: true })
    }

    async fn status(&self, _which: Which) -> Result<Vec<PodState>, Status> {
        Ok(Vec::new())
    }

    async fn logs(&self, request: LogRequest, sink: LogSink) -> Result<LogsEnd, Status> {
        if request.options.previous {
            return Err(Status::new(Code::NotFound, reason::NO_LOG, "no former run"));
        }
        let log = self.0.lock().log.clone();
        request.answer(log, sink).await
    }

    async fn node(&self) -> NodeStatus {
        node(&self.0.lock().ping)
    }

    fn attach(&self, events: Events) {
        assert!(self.0.events.set(events).is_ok(), "attached twice");
    }
}
