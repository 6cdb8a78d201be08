//! Two connections over a transport in memory: what callers, handlers and the two connection tasks add to the sessions
//! below them, the runtime's part included. One thread; no socket and no codec of WebSocket.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    runtime::{Builder, Runtime},
    task::LocalSet,
};
use towline::{
    code::CloseCode,
    connection::{BoxFuture, CancelSignal, Connection, LogSink, Peer, accept, register},
    limits,
    transport::memory,
    wire::{
        EventAck, LogsEnd, NodeStatus, PodEvent, Request, Response, Status, StreamLogs,
        response::Result as Answer,
    },
};

use super::{Operation, Scenario, pair, samples};

/// Callers at once, and the calls that each makes one after the other: starting a caller counts too.
const CALLERS: u32 = 64;
const ROUNDS: u32 = 8;
/// Chunks of one log.
const CHUNKS: u32 = 64;
const CHUNK: usize = 4 << 10;

pub(super) fn all() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "connection-call",
            unit: "call",
            per: 1,
            times: 500,
            prepare: |times| calls(times, 1, 1),
        },
        Scenario {
            name: "connection-64-calls",
            unit: "call",
            per: CALLERS * ROUNDS,
            times: 10,
            prepare: |times| calls(times, CALLERS, ROUNDS),
        },
        Scenario {
            name: "connection-log-4k",
            unit: "chunk",
            per: CHUNKS,
            times: 30,
            prepare: |_| logs(),
        },
    ]
}

/// Answers at once, and has its log ready: asking a handler is counted, and not what it does.
struct Answering {
    chunk: Bytes,
}

impl Answering {
    fn new() -> Arc<Self> {
        let chunk = samples::log(CHUNK);
        Arc::new(Self { chunk })
    }
}

impl Peer for Answering {
    fn request(&self, _: Request, _: CancelSignal) -> BoxFuture<Response> {
        Box::pin(async { samples::created() })
    }

    fn stream_logs(&self, _: StreamLogs, mut sink: LogSink) -> BoxFuture<Result<LogsEnd, Status>> {
        let data = self.chunk.clone();
        Box::pin(async move {
            for number in 0..u64::from(CHUNKS) {
                let chunk = samples::chunk(number * CHUNK as u64, data.clone());
                assert!(sink.send(chunk).await.is_ok(), "somebody reads");
            }
            Ok(LogsEnd::default())
        })
    }

    fn pod_event(&self, _: PodEvent) {}
    fn event_ack(&self, _: EventAck) {}
    fn node_status(&self, _: NodeStatus) {}
    fn going_away(&self, _: CloseCode, _: &str, _: Duration) {}
}

/// One thread with a link between a hub and a plugin on it; the hub's end makes the calls.
struct Link {
    runtime: Runtime,
    tasks: LocalSet,
    hub: Connection,
}

impl Link {
    fn open() -> Self {
        let runtime = Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime without sockets");
        let tasks = LocalSet::new();
        let hub = tasks.block_on(&runtime, async {
            let (near, far) = memory::pair(limits::MAX_MESSAGE);
            let plugin = async {
                let registered = register(near, pair::register()).await;
                registered.expect("the hub welcomes").start(Answering::new())
            };
            let hub = async {
                let accepted = accept(far).await.expect("the plugin registers");
                accepted.welcome(pair::welcome(), Answering::new())
            };
            tokio::join!(plugin, hub).1
        });
        Self { runtime, tasks, hub }
    }
}

/// So many callers at a time, each with so many calls, one after the other.
fn calls(times: u32, callers: u32, rounds: u32) -> Operation {
    let link = Link::open();
    let all = (times * callers * rounds) as usize;
    let requests = Rc::new(RefCell::new(vec![samples::small_create(); all]));
    Box::new(move || {
        let caller = || {
            let (hub, requests) = (link.hub.clone(), requests.clone());
            async move {
                for _ in 0..rounds {
                    let request = requests.borrow_mut().pop().expect("one for each call");
                    let answer = hub.call(request).await;
                    assert!(
                        matches!(&answer, Ok(Response { result: Some(Answer::CreatePod(created)), .. }) if created.job_id == "480123"),
                        "a call has another answer: {answer:?}"
                    );
                }
            }
        };
        link.tasks.block_on(&link.runtime, async {
            if callers == 1 {
                return caller().await;
            }
            let all: Vec<_> = (0..callers).map(|_| tokio::task::spawn_local(caller())).collect();
            for one in all {
                one.await.expect("a caller ends well");
            }
        });
    })
}

/// A whole log, read as it comes.
fn logs() -> Operation {
    let link = Link::open();
    Box::new(move || {
        let hub = link.hub.clone();
        link.tasks.block_on(&link.runtime, async {
            let mut log = hub
                .stream_logs(samples::open_logs())
                .await
                .expect("the plugin takes a log");
            let mut came = 0;
            while let Ok(chunk) = log.next().await {
                came += chunk.data.len();
            }
            assert_eq!(came, CHUNKS as usize * CHUNK, "a part of the log is lost");
        });
    })
}
