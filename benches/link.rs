//! CPU per unary call over one connection: the link on loopback WebSocket, against HTTP/1.1 with keep-alive.
//!
//! Both peers live in this process and answer about 200 bytes with about 200 bytes, so the figure holds client, server
//! and kernel. It is CPU time (getrusage), not wall time: the machine may be shared. Run: `cargo bench --bench link`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use nix::sys::resource::{UsageWho, getrusage};
use towline::{
    connection::{BoxFuture, CancelSignal, Connection, LogSink, Peer, accept, register},
    limits,
    transport::WebSocket,
    wire::{
        CreatePod, CreateResult, EventAck, LogChunk, LogPosition, LogsEnd, NodeStatus, PodEvent, PodRef,
        Register, Request, Response, Status, StreamLogs, Welcome, feature, request::Op, response,
    },
};

const CALLS: usize = 20_000;
const REPEATS: usize = 5;
const LOG_BYTES: u64 = 64 << 20;

/// Answers every call at once, and streams logs in chunks whose size is the stream's limit_bytes.
struct Echo;

impl Peer for Echo {
    fn request(&self, _: Request, _: CancelSignal) -> BoxFuture<Response> {
        let result = CreateResult {
            job_id: "j".repeat(180),
            existed: false,
        };
        Box::pin(async {
            Response {
                status: None,
                result: Some(response::Result::CreatePod(result)),
            }
        })
    }

    fn stream_logs(&self, open: StreamLogs, mut sink: LogSink) -> BoxFuture<Result<LogsEnd, Status>> {
        let size = open
            .options
            .and_then(|options| options.limit_bytes)
            .unwrap_or(4_096);
        Box::pin(async move {
            let data = Bytes::from(vec![b'x'; size as usize]);
            let mut offset = 0;
            while offset < LOG_BYTES {
                let at = Some(LogPosition { epoch: 1, offset });
                offset += size;
                let chunk = LogChunk {
                    at,
                    next_offset: offset,
                    data: data.clone(),
                    ..LogChunk::default()
                };
                if sink.send(chunk).await.is_err() {
                    break;
                }
            }
            Ok(LogsEnd::default())
        })
    }

    fn pod_event(&self, _: PodEvent) {}
    fn event_ack(&self, _: EventAck) {}
    fn node_status(&self, _: NodeStatus) {}
    fn going_away(&self, _: towline::code::CloseCode, _: &str, _: Duration) {}
}

/// A link whose plugin answers: gives the hub's end.
async fn link() -> Connection {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (dialled, accepted) = tokio::join!(tokio::net::TcpStream::connect(at), listener.accept());
    let (dialled, accepted) = (dialled.unwrap(), accepted.unwrap().0);
    dialled.set_nodelay(true).unwrap();
    accepted.set_nodelay(true).unwrap();
    let plugin = async {
        let transport = WebSocket::dialled(dialled, Bytes::new(), limits::MAX_MESSAGE).await;
        register(transport, Register::default())
            .await
            .unwrap()
            .start(Arc::new(Echo))
    };
    let hub = async {
        let transport = WebSocket::accepted(accepted, limits::MAX_MESSAGE).await;
        let features = vec![feature::FLOW_CONTROL.to_owned()];
        let welcome = Welcome {
            features,
            ..Welcome::default()
        };
        accept(transport).await.unwrap().welcome(welcome, Arc::new(Echo))
    };
    tokio::join!(plugin, hub).1
}

fn request() -> Request {
    let create = CreatePod {
        pod: Some(PodRef::new("u", "ns", "n")),
        payload: vec![b'p'; 180].into(),
    };
    Request {
        op: Some(Op::CreatePod(create)),
        timeout_ms: 30_000,
        ..Request::default()
    }
}

async fn over_link(hub: Connection, callers: usize) {
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let hub = hub.clone();
            tokio::spawn(async move {
                for _ in 0..CALLS / callers {
                    hub.call(request()).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// An HTTP server that parses nothing and answers 180 bytes.
async fn http() -> std::net::SocketAddr {
    let app = axum::Router::new().fallback(|body: Bytes| async move {
        assert_eq!(body.len(), 180);
        "j".repeat(180)
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            socket.set_nodelay(true).unwrap();
            let service = hyper_util::service::TowerToHyperService::new(app.clone());
            let io = hyper_util::rt::TokioIo::new(socket);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
        }
    });
    at
}

/// One connection a caller: HTTP/1.1 has no other way to have several requests open.
async fn over_http(at: std::net::SocketAddr, callers: usize) {
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            tokio::spawn(async move {
                let socket = tokio::net::TcpStream::connect(at).await.unwrap();
                socket.set_nodelay(true).unwrap();
                let io = hyper_util::rt::TokioIo::new(socket);
                let (mut send, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
                tokio::spawn(connection);
                for _ in 0..CALLS / callers {
                    let body = Full::new(Bytes::from(vec![b'p'; 180]));
                    let request = hyper::Request::post("/create")
                        .header("host", "x")
                        .body(body)
                        .unwrap();
                    let answer = send.send_request(request).await.unwrap();
                    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes().len(), 180);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn logs(hub: Connection, size: u64) {
    let mut open = StreamLogs::default();
    open.options.get_or_insert_default().limit_bytes = Some(size);
    let mut stream = hub.stream_logs(open).await.unwrap();
    let mut got = 0;
    while let Ok(chunk) = stream.next().await {
        got += chunk.data.len() as u64;
    }
    assert!(got >= LOG_BYTES);
}

/// CPU time of this process so far.
fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let of =
        |time: nix::sys::time::TimeVal| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1_000);
    of(usage.user_time()) + of(usage.system_time())
}

async fn cost(work: impl Future<Output = ()>) -> Duration {
    let before = cpu();
    work.await;
    cpu() - before
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let at = http().await;
        println!("unary, ~200 B each way, CPU us per call, median of {REPEATS}: link, HTTP/1.1, ratio");
        for callers in [1, 16, 64] {
            let (mut ours, mut peer) = (Vec::new(), Vec::new());
            for _ in 0..REPEATS {
                ours.push(cost(over_link(link().await, callers)).await);
                peer.push(cost(over_http(at, callers)).await);
            }
            let us = |time: Duration| time.as_secs_f64() * 1e6 / CALLS as f64;
            let (ours, peer) = (us(median(ours)), us(median(peer)));
            println!("  c={callers:<3} {ours:6.2} {peer:6.2}  {:.2}", ours / peer);
        }
        println!("log stream plugin -> hub with credit, CPU ns per byte, median of {REPEATS}");
        for size in [256, 4_096, 65_536] {
            let mut times = Vec::new();
            for _ in 0..REPEATS {
                times.push(cost(logs(link().await, size)).await);
            }
            println!(
                "  {size:>6} B chunks {:6.2}",
                median(times).as_secs_f64() * 1e9 / LOG_BYTES as f64
            );
        }
    });
}
