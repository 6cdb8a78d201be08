//! A REST plugin with endpoints of its own, which counts what it does.

use std::{
    convert::Infallible,
    io,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body_util::BodyExt;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::client::{Body, pieces, whole};

/// One piece of what is sent in bulk.
pub(crate) const PIECE: usize = 64 << 10;

/// What it has seen and done.
pub(crate) struct Seen {
    /// Method and target of each request but those of the hub's own calls.
    pub(crate) asked: Mutex<Vec<String>>,
    /// Requests under way.
    pub(crate) open: watch::Sender<usize>,
    /// Bytes that were taken from it.
    pub(crate) produced: AtomicU64,
    /// What `/ticks` sends next.
    ticks: Mutex<Option<mpsc::Receiver<io::Result<Bytes>>>>,
}

pub(crate) struct Upstream {
    pub(crate) address: String,
    pub(crate) seen: Arc<Seen>,
    pub(crate) ticks: mpsc::Sender<io::Result<Bytes>>,
    _task: JoinHandle<()>,
}

/// Counts a request while it is held.
struct Open(Arc<Seen>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

impl Upstream {
    /// On TCP, or on a Unix socket at this path.
    pub(crate) async fn start(at: Option<&Path>) -> Self {
        let (ticks, ticked) = mpsc::channel(1);
        let seen = Arc::new(Seen {
            asked: Mutex::default(),
            open: watch::Sender::new(0),
            produced: AtomicU64::new(0),
            ticks: Mutex::new(Some(ticked)),
        });
        let served = Arc::clone(&seen);
        let (address, task) = match at {
            Some(path) => {
                let listener = UnixListener::bind(path).unwrap();
                let task = tokio::spawn(async move {
                    loop {
                        let (socket, _) = listener.accept().await.unwrap();
                        connection(&served, socket);
                    }
                });
                (format!("unix://{}", path.display()), task)
            }
            None => {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = format!("http://{}", listener.local_addr().unwrap());
                let task = tokio::spawn(async move {
                    loop {
                        let (socket, _) = listener.accept().await.unwrap();
                        connection(&served, socket);
                    }
                });
                (address, task)
            }
        };
        Self {
            address,
            seen,
            ticks,
            _task: task,
        }
    }

    /// Waits until so many requests are under way.
    pub(crate) async fn until_open(&self, count: usize) {
        let mut open = self.seen.open.subscribe();
        let waiting = open.wait_for(|open| *open == count);
        let done = tokio::time::timeout(crate::site::PATIENCE, waiting).await;
        assert!(done.is_ok(), "never {count} requests under way");
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.seen.asked.lock().unwrap().clone()
    }
}

fn connection(seen: &Arc<Seen>, socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let seen = Arc::clone(seen);
    let service = service_fn(move |request| answer(Arc::clone(&seen), request));
    tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
}

/// The bytes of a bulk body: not the same everywhere.
pub(crate) fn bulk(bytes: usize) -> impl Iterator<Item = Bytes> {
    let piece = |n: usize| Bytes::from((0..PIECE).map(|i| ((i * 7 + n) % 251) as u8).collect::<Vec<_>>());
    (0..bytes / PIECE).map(piece)
}

async fn answer(seen: Arc<Seen>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let target = request.uri().to_string();
    let path = request.uri().path();
    let path = path.strip_prefix("/base").unwrap_or(path).to_owned();
    // The hub's own calls.
    if ["/create", "/status", "/delete"].contains(&path.as_str())
        && request.headers().contains_key("content-type")
    {
        let body: Value = serde_json::from_slice(&request.into_body().collect().await.unwrap().to_bytes())
            .unwrap_or_default();
        let uid = &body["pod"]["metadata"]["uid"];
        let text = match path.as_str() {
            "/create" => json!({"PodUID": uid, "PodJID": "42"}).to_string(),
            _ => "[]".to_owned(),
        };
        return Ok(Response::new(whole(text)));
    }
    seen.asked
        .lock()
        .unwrap()
        .push(format!("{} {target}", request.method()));
    seen.open.send_modify(|open| *open += 1);
    let open = Open(Arc::clone(&seen));
    let (head, mut body) = request.into_parts();
    let builder = Response::builder();
    let response = match path.as_str() {
        "/system-info" => builder
            .header("content-type", "application/json")
            .header("x-site", "lab")
            .body(whole(r#"{"nodes": 12}"#)),
        "/echo" => builder.body(pieces(held(
            open,
            body.into_data_stream()
                .map(|piece| piece.map_err(io::Error::other)),
        ))),
        "/sum" => {
            let (mut sum, mut count) = (Sha256::new(), 0);
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else {
                    seen.asked.lock().unwrap().push("cut off".to_owned());
                    break;
                };
                let bytes = frame.into_data().unwrap();
                sum.update(&bytes);
                count += bytes.len();
            }
            builder.body(whole(format!("{count} {:x?}", sum.finalize().as_slice())))
        }
        "/bulk" => {
            let bytes: usize = head.uri.query().unwrap().parse().unwrap();
            let sent = stream::iter(bulk(bytes)).map(move |piece| {
                seen.produced.fetch_add(piece.len() as u64, Ordering::Relaxed);
                Ok(piece)
            });
            builder
                .header("content-length", bytes)
                .body(pieces(held(open, sent)))
        }
        "/ticks" => {
            let ticks = seen.ticks.lock().unwrap().take().unwrap();
            let ticks = stream::unfold(ticks, |mut ticks| async move {
                ticks.recv().await.map(|tick| (tick, ticks))
            });
            builder
                .header("content-type", "text/event-stream")
                .body(pieces(held(open, ticks)))
        }
        "/hang" => {
            std::future::pending::<()>().await;
            drop(open);
            builder.body(whole(""))
        }
        "/fields" => {
            let fields: Vec<_> = head
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
                .collect();
            builder.body(whole(serde_json::to_string(&fields).unwrap()))
        }
        "/told" => builder
            .header("connection", "x-hop")
            .header("x-hop", "1")
            .header("keep-alive", "timeout=5")
            .header("set-cookie", "a=b")
            .header("www-authenticate", "Basic")
            .header("x-end", "2")
            .body(whole("told")),
        "/moved" => builder
            .status(302)
            .header("location", "/system-info")
            .body(whole("")),
        "/nothing" => builder.status(204).body(whole("")),
        "/same" => builder.status(304).header("etag", "\"1\"").body(whole("")),
        "/early" => builder.status(413).body(whole("too much")),
        "/fat" => builder.header("x-fat", "x".repeat(20_000)).body(whole("")),
        _ => builder.status(404).body(whole("404 page not found")),
    };
    Ok(response.unwrap())
}

/// The same, with the request counted until it ends.
fn held<S>(open: Open, stream: S) -> impl futures::Stream<Item = S::Item> + Send + Sync
where
    S: futures::Stream + Send + Sync,
{
    stream.map(move |item| {
        let _ = &open;
        item
    })
}
