//! A REST plugin as they are: what it does well, and the ways in which it does not.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    HeaderMap, Request, Response,
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use towline::transport::{Io, Listener, ServerTls};

/// How it is not like the others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Quirks {
    /// What a create that worked is answered with: code and body; 200 and the usual when none.
    pub(crate) created: Option<(u16, &'static str)>,
    /// What a call is refused with.
    pub(crate) refuse_create: Option<(u16, &'static str)>,
    pub(crate) refuse_delete: Option<(u16, &'static str)>,
    pub(crate) refuse_logs: Option<(u16, &'static str)>,
    /// A status call that asks about this pod is an error for all of them.
    pub(crate) spoiled_by: Option<String>,
    /// `[]` ends the connection without an answer.
    pub(crate) dies_of_ping: bool,
    /// What a ping is answered with.
    pub(crate) ping: Option<(u16, &'static str)>,
    /// Answers a status call with the pods of the call before.
    pub(crate) stale: bool,
    /// Answers a status call for the first pod alone.
    pub(crate) first_only: bool,
    /// It follows a log itself.
    pub(crate) follows: bool,
    /// Takes a create and never answers it.
    pub(crate) hangs_on_create: bool,
    /// Takes a status call and never answers it.
    pub(crate) hangs_on_status: bool,
    /// Takes a create and ends the connection.
    pub(crate) dies_of_create: bool,
}

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) what: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

#[derive(Debug, Default)]
struct Inner {
    quirks: Quirks,
    /// Container states of the pods by uid.
    pods: BTreeMap<String, Value>,
    logs: BTreeMap<String, Vec<u8>>,
    calls: Vec<Call>,
    last_asked: Vec<String>,
}

/// What outlives a restart of it.
#[derive(Debug)]
pub(crate) struct Plugin {
    inner: Arc<Mutex<Inner>>,
    /// Counts calls and changes of logs.
    changed: watch::Sender<u64>,
    /// Held by each stream, and once here.
    streams: Arc<()>,
}

impl Plugin {
    fn new(quirks: Quirks) -> Self {
        let inner = Inner {
            quirks,
            ..Inner::default()
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
            changed: watch::Sender::new(0),
            streams: Arc::new(()),
        }
    }
}

/// A plugin that is served.
pub(crate) struct Upstream {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) address: String,
    task: JoinHandle<()>,
}

type Body = BoxBody<Bytes, Infallible>;

impl Upstream {
    pub(crate) async fn start(quirks: Quirks) -> Self {
        Self::serve(Arc::new(Plugin::new(quirks)), "127.0.0.1:0").await
    }

    /// On a Unix socket.
    pub(crate) async fn start_unix(path: &std::path::Path) -> Self {
        let address = format!("unix://{}", path.display());
        let listener = Listener::bind(&address, None).await.unwrap();
        Self::on(listener, Arc::new(Plugin::new(Quirks::default())), address)
    }

    /// On https, as localhost; its certificate is in `ca.pem`.
    pub(crate) async fn start_tls(dir: &std::path::Path) -> Self {
        let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (cert_file, key_file) = (dir.join("ca.pem"), dir.join("key.pem"));
        std::fs::write(&cert_file, signed.cert.pem()).unwrap();
        std::fs::write(&key_file, signed.signing_key.serialize_pem()).unwrap();
        let shown = ServerTls { cert_file, key_file };
        let tls = Some(shown.server_config().unwrap());
        let listener = Listener::bind("127.0.0.1:0", tls).await.unwrap();
        let address = listener.local_addr().replace("127.0.0.1", "https://localhost");
        Self::on(listener, Arc::new(Plugin::new(Quirks::default())), address)
    }

    async fn serve(plugin: Arc<Plugin>, address: &str) -> Self {
        let listener = loop {
            // The former one lets its port go when its task has ended.
            match Listener::bind(address, None).await {
                Ok(listener) => break listener,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let address = format!("http://{}", listener.local_addr());
        Self::on(listener, plugin, address)
    }

    fn on(mut listener: Listener, plugin: Arc<Plugin>, address: String) -> Self {
        let served = plugin.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await;
                connections.spawn(served.clone().connection(socket));
            }
        });
        Self {
            plugin,
            address,
            task,
        }
    }

    /// Ends it as a kill does.
    pub(crate) async fn kill(self) -> (Arc<Plugin>, String) {
        self.task.abort();
        let _ = self.task.await;
        (self.plugin, self.address.trim_start_matches("http://").to_owned())
    }

    pub(crate) async fn again((plugin, address): (Arc<Plugin>, String)) -> Self {
        Self::serve(plugin, &address).await
    }
}

impl Plugin {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Quirks)) {
        change(&mut self.lock().quirks);
    }

    pub(crate) fn has(&self, uid: &str) -> bool {
        self.lock().pods.contains_key(uid)
    }

    /// Sets the state of a pod's one container; none takes the pod away.
    pub(crate) fn state(&self, uid: &str, state: Option<Value>) {
        let mut inner = self.lock();
        match state {
            Some(state) => inner.pods.insert(uid.to_owned(), state),
            None => inner.pods.remove(uid),
        };
    }

    pub(crate) fn log(&self, uid: &str, change: impl FnOnce(&mut Vec<u8>)) {
        change(self.lock().logs.entry(uid.to_owned()).or_default());
        self.changed.send_modify(|count| *count += 1);
    }

    pub(crate) fn follows(&self) -> bool {
        self.lock().quirks.follows
    }

    /// Followed logs that are being sent.
    pub(crate) fn streams(&self) -> usize {
        Arc::strong_count(&self.streams) - 1
    }

    /// The calls so far of this kind, for example `GET /status`.
    pub(crate) fn calls(&self, what: &str) -> Vec<Call> {
        let inner = self.lock();
        inner
            .calls
            .iter()
            .filter(|call| call.what == what)
            .cloned()
            .collect()
    }

    /// Waits until so many calls of a kind have come.
    pub(crate) async fn called(&self, what: &str, count: usize) {
        let mut changed = self.changed.subscribe();
        let waiting = changed.wait_for(|_| self.calls(what).len() >= count);
        tokio::time::timeout(crate::kubelet::PATIENCE, waiting)
            .await
            .unwrap_or_else(|_| panic!("only {} of {count} {what}", self.calls(what).len()))
            .unwrap();
    }

    async fn connection(self: Arc<Self>, socket: Io) {
        let service = service_fn(move |request| self.clone().answer(request));
        let _ = http1::Builder::new()
            .serve_connection(TokioIo::new(socket), service)
            .await;
    }

    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, std::io::Error> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        let call = Call {
            what: format!("{} {}", parts.method, parts.uri.path()),
            headers: parts.headers,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        };
        let (what, body) = (call.what.clone(), call.body.clone());
        self.lock().calls.push(call);
        self.changed.send_modify(|count| *count += 1);
        let quirks = self.lock().quirks.clone();
        match what.as_str() {
            "POST /create" => {
                let body = if let Value::Array(mut list) = body {
                    list.remove(0)
                } else {
                    body
                };
                let uid = body["pod"]["metadata"]["uid"].as_str().unwrap().to_owned();
                if let Some((code, text)) = quirks.refuse_create {
                    return Ok(text_of(code, text));
                }
                self.state(&uid, Some(json!({"waiting": {}})));
                if quirks.hangs_on_create {
                    std::future::pending::<()>().await;
                }
                if quirks.dies_of_create {
                    return Err(std::io::Error::other("died"));
                }
                Ok(match quirks.created {
                    Some((code, text)) => text_of(code, text),
                    None => text_of(200, &json!({"PodUID": uid, "PodJID": "42"}).to_string()),
                })
            }
            "POST /delete" => {
                if let Some((code, text)) = quirks.refuse_delete {
                    return Ok(text_of(code, text));
                }
                self.state(body["metadata"]["uid"].as_str().unwrap(), None);
                Ok(text_of(200, "deleted"))
            }
            "GET /status" => {
                if quirks.hangs_on_status {
                    std::future::pending::<()>().await;
                }
                let asked: Vec<Value> = body.as_array().unwrap().clone();
                if asked.is_empty() {
                    return match quirks.ping {
                        _ if quirks.dies_of_ping => Err(std::io::Error::other("died")),
                        Some((code, text)) => Ok(text_of(code, text)),
                        None => Ok(text_of(200, "plugin running")),
                    };
                }
                Ok(self.status(&asked, &quirks))
            }
            "GET /getLogs" => Ok(self.logs(&body, &quirks)),
            _ => Ok(text_of(404, "404 page not found")),
        }
    }

    fn status(&self, asked: &[Value], quirks: &Quirks) -> Response<Body> {
        let mut inner = self.lock();
        let mut uids: Vec<String> = asked
            .iter()
            .map(|pod| pod["metadata"]["uid"].as_str().unwrap().to_owned())
            .collect();
        if quirks.spoiled_by.as_ref().is_some_and(|bad| uids.contains(bad)) {
            return text_of(500, r#"{"detail": "KeyError"}"#);
        }
        if quirks.stale {
            std::mem::swap(&mut uids, &mut inner.last_asked);
        }
        if quirks.first_only {
            uids.truncate(1);
        }
        let told = uids.iter().filter_map(|uid| {
            let state = inner.pods.get(uid)?;
            Some(json!({"name": "p", "UID": uid, "namespace": "vk", "JID": "42", "initContainers": null,
                "containers": [{"name": "main", "state": state, "lastState": {}, "ready": true, "restartCount": 0}]}))
        });
        text_of(200, &Value::Array(told.collect()).to_string())
    }

    fn logs(&self, body: &Value, quirks: &Quirks) -> Response<Body> {
        let uid = body["PodUID"].as_str().unwrap().to_owned();
        if let Some((code, text)) = quirks.refuse_logs {
            return text_of(code, text);
        }
        let Some(log) = self.lock().logs.get(&uid).cloned() else {
            return text_of(404, "no log yet");
        };
        if !(quirks.follows && body["Opts"]["Follow"] == true) {
            return Response::new(Full::new(Bytes::from(log)).boxed());
        }
        let (inner, held) = (self.inner.clone(), self.streams.clone());
        let changed = self.changed.subscribe();
        let pieces = stream::unfold((0, changed, held), move |(at, mut changed, held)| {
            let (inner, uid) = (inner.clone(), uid.clone());
            async move {
                loop {
                    changed.borrow_and_update();
                    let (log, over) = {
                        let inner = inner.lock().unwrap();
                        let over = inner
                            .pods
                            .get(&uid)
                            .is_none_or(|state| state.get("terminated").is_some());
                        (inner.logs[&uid].clone(), over)
                    };
                    if log.len() > at {
                        let piece = Bytes::copy_from_slice(&log[at..]);
                        return Some((Ok(Frame::data(piece)), (log.len(), changed, held)));
                    }
                    if over || changed.changed().await.is_err() {
                        return None;
                    }
                }
            }
        });
        Response::new(StreamBody::new(pieces).boxed())
    }
}

fn text_of(code: u16, text: &str) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())).boxed());
    *response.status_mut() = code.try_into().unwrap();
    response
}
