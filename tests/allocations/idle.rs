//! What an idle link keeps at the hub: bounded, for there are thousands of them.
//!
//! The plugins run on a thread of their own and only the kernel is between them and the hub, so what the hub's thread
//! allocated and did not free is the hub's.

use std::{
    os::unix::net::UnixStream,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::time::sleep;
use towline::{
    connection::{BoxFuture, CancelSignal, LogSink, Peer, register},
    hub::{Hub, HubConfig, Identity, Way},
    limits,
    transport::{Io, WebSocket},
    wire::{
        EventAck, LogsEnd, NodeStatus, Outbox, PodEvent, Register, Request, Response, Status, StatusResult,
        StreamLogs, feature, response,
    },
};

use super::{LIVE, on_one_thread};

/// Links of the test.
const LINKS: usize = 64;
/// Bytes a link, as they are asked of the allocator, in a debug build.
const BOUND: i64 = 6_500;

/// Has no pods.
struct Idle;

impl Peer for Idle {
    fn request(&self, _: Request, _: CancelSignal) -> BoxFuture<Response> {
        Box::pin(async {
            Response {
                status: None,
                result: Some(response::Result::GetStatus(StatusResult::default())),
            }
        })
    }

    fn stream_logs(&self, _: StreamLogs, _: LogSink) -> BoxFuture<Result<LogsEnd, Status>> {
        Box::pin(async { Ok(LogsEnd::default()) })
    }

    fn pod_event(&self, _: PodEvent) {}
    fn event_ack(&self, _: EventAck) {}
    fn node_status(&self, _: NodeStatus) {}
    fn going_away(&self, _: towline::code::CloseCode, _: &str, _: Duration) {}
}

fn wrapped(socket: UnixStream) -> Io {
    socket.set_nonblocking(true).unwrap();
    tokio::net::UnixStream::from_std(socket).unwrap().into()
}

/// Runs them to the end of the process.
fn plugins(sockets: Vec<UnixStream>) {
    on_one_thread(async {
        let mut connections = Vec::new();
        for (number, socket) in sockets.into_iter().enumerate() {
            let transport = WebSocket::dialled(wrapped(socket), Bytes::new(), limits::MAX_MESSAGE).await;
            let features = [
                feature::FLOW_CONTROL,
                feature::EVENTS,
                feature::ZSTD,
                feature::HTTP,
            ];
            let words = Register {
                plugin: format!("site-{number:05}"),
                instance: "0192f0c1-7a5e-4c1b-8d2e-000000000000".into(),
                software: "towline/0.1.0".into(),
                features: features.map(str::to_owned).to_vec(),
                node_status: Some(NodeStatus {
                    ready: true,
                    ..NodeStatus::default()
                }),
                outbox: Some(Outbox {
                    epoch: 7,
                    ..Outbox::default()
                }),
                ..Register::default()
            };
            let registered = register(transport, words).await.unwrap();
            connections.push(registered.start(Arc::new(Idle)));
        }
        std::future::pending::<()>().await;
    });
}

#[test]
fn an_idle_link_keeps_no_more_at_the_hub_than_it_did() {
    on_one_thread(async {
        let hub = Hub::new(HubConfig::default()).unwrap();
        let (near, far): (Vec<_>, Vec<_>) = (0..LINKS).map(|_| UnixStream::pair().unwrap()).unzip();
        std::thread::spawn(|| plugins(far));
        let before = LIVE.get();
        for socket in near {
            let transport = WebSocket::accepted(wrapped(socket), limits::MAX_MESSAGE).await;
            let identity = Identity {
                plugin: None,
                remote: "127.0.0.1:54321".into(),
                way: Way::Link,
            };
            tokio::spawn(hub.clone().serve_link(transport, identity));
        }
        // What the beginning needed is given back soon after it.
        let patience = Instant::now() + Duration::from_secs(60);
        let mut each = i64::MAX;
        while each > BOUND && Instant::now() < patience {
            sleep(Duration::from_millis(50)).await;
            let connected = hub.plugins().iter().filter(|plugin| plugin.connected).count();
            if connected == LINKS {
                each = (LIVE.get() - before) / LINKS as i64;
            }
        }
        println!("{each} bytes a link");
        assert!(each <= BOUND, "an idle link keeps {each} bytes, {BOUND} at most");
    });
}
