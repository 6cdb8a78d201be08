//! How often a call and a log chunk allocate, in the steady state of a link, and what an idle link keeps: bounded, so that
//! nobody adds to it unseen.
//!
//! Of calls and chunks both ends count, and the caller's and the handler's own work too, over WebSocket in memory.
#![allow(clippy::unwrap_used, unsafe_code)]

#[cfg(all(feature = "hub", unix))]
#[path = "allocations/idle.rs"]
mod idle;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use towline::{
    code::CloseCode,
    connection::{BoxFuture, CancelSignal, Connection, LogSink, Peer, accept, register},
    limits,
    transport::WebSocket,
    wire::{
        DeletePod, DeleteResult, EventAck, LogChunk, LogPosition, LogsEnd, NodeStatus, PodEvent, PodRef,
        Register, Request, Response, Status, StreamLogs, Welcome, feature, request::Op, response,
    },
};

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    /// Bytes that this thread has allocated, less those that it has freed.
    static LIVE: Cell<i64> = const { Cell::new(0) };
}

fn count(bytes: usize) {
    // A thread that ends has no counter any more, and nobody asks for it.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
    let _ = LIVE.try_with(|live| live.set(live.get() + bytes as i64));
}

fn freed(bytes: usize) {
    let _ = LIVE.try_with(|live| live.set(live.get() - bytes as i64));
}

// SAFETY: every call goes to the system's allocator as it is; counting touches no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        freed(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        freed(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Answers at once, and sends logs of limit_bytes chunks.
struct Answering;

const LINE: usize = 256;

impl Peer for Answering {
    fn request(&self, _: Request, _: CancelSignal) -> BoxFuture<Response> {
        Box::pin(async {
            Response {
                status: None,
                result: Some(response::Result::DeletePod(DeleteResult { existed: true })),
            }
        })
    }

    fn stream_logs(&self, open: StreamLogs, mut sink: LogSink) -> BoxFuture<Result<LogsEnd, Status>> {
        let chunks = open.options.and_then(|options| options.limit_bytes).unwrap();
        Box::pin(async move {
            let data = Bytes::from(vec![b'x'; LINE]);
            for number in 0..chunks {
                let offset = number * LINE as u64;
                let chunk = LogChunk {
                    at: Some(LogPosition { epoch: 1, offset }),
                    next_offset: offset + LINE as u64,
                    data: data.clone(),
                    ..LogChunk::default()
                };
                sink.send(chunk).await.unwrap();
            }
            Ok(LogsEnd::default())
        })
    }

    fn pod_event(&self, _: PodEvent) {}
    fn event_ack(&self, _: EventAck) {}
    fn node_status(&self, _: NodeStatus) {}
    fn going_away(&self, _: CloseCode, _: &str, _: Duration) {}
}

async fn link() -> Connection {
    let (near, far) = tokio::io::duplex(256 << 10);
    let plugin = async {
        let transport = WebSocket::dialled(near, Bytes::new(), limits::MAX_MESSAGE).await;
        register(transport, Register::default())
            .await
            .unwrap()
            .start(Arc::new(Answering))
    };
    let hub = async {
        let transport = WebSocket::accepted(far, limits::MAX_MESSAGE).await;
        let welcome = Welcome {
            features: vec![feature::FLOW_CONTROL.to_owned()],
            ..Welcome::default()
        };
        accept(transport)
            .await
            .unwrap()
            .welcome(welcome, Arc::new(Answering))
    };
    tokio::join!(plugin, hub).1
}

fn delete() -> Request {
    let delete = DeletePod {
        pod: Some(PodRef::new("uid", "namespace", "name")),
        ..DeletePod::default()
    };
    Request {
        op: Some(Op::DeletePod(delete)),
        ..Request::default()
    }
}

/// Allocations of this thread meanwhile.
async fn allocations(work: impl Future<Output = ()>) -> u64 {
    let before = COUNT.get();
    work.await;
    COUNT.get() - before
}

fn on_one_thread<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

/// Makes `calls` calls, `callers` of them at a time.
async fn calls(hub: &Connection, calls: usize, callers: usize) {
    for _ in 0..calls / callers {
        let together = (0..callers).map(|_| hub.call(delete()));
        for answer in futures::future::join_all(together).await {
            answer.unwrap();
        }
    }
}

async fn log(hub: &Connection, chunks: u64) {
    let mut open = StreamLogs::default();
    open.options.get_or_insert_default().limit_bytes = Some(chunks);
    let mut stream = hub.stream_logs(open).await.unwrap();
    let mut bytes = 0;
    while let Ok(chunk) = stream.next().await {
        bytes += chunk.data.len() as u64;
    }
    assert_eq!(bytes, chunks * LINE as u64);
}

#[test]
fn a_call_allocates_no_more_than_it_did() {
    on_one_thread(async {
        let hub = link().await;
        calls(&hub, 1_000, 1).await;
        // The request's three texts are made twice (by the caller, and as they come), and both sides' frames, futures and
        // answers once each, and so is each message as it comes.
        for (callers, bound) in [(1, 20), (50, 14)] {
            let each = allocations(calls(&hub, 1_000, callers)).await / 1_000;
            println!("{callers} at a time: {each} allocations a call");
            assert!(
                each <= bound,
                "{callers} at a time: {each} allocations a call, {bound} at most"
            );
        }
    });
}

#[test]
fn a_log_chunk_allocates_next_to_nothing() {
    on_one_thread(async {
        let hub = link().await;
        log(&hub, 1_000).await;
        let all = allocations(log(&hub, 10_000)).await;
        println!("{all} allocations for 10,000 chunks");
        // A few a message of 64 KiB, none for a chunk by itself.
        assert!(all <= 1_000, "{all} allocations for 10,000 chunks, 1,000 at most");
    });
}
