//! A plugin without any feature: it answers bounded log reads and nothing else of note.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use tokio::task::JoinHandle;
use towline::{
    code::{CloseCode, Code, reason},
    connection::{BoxFuture, CancelSignal, Config, Connection, LogSink, Peer, register_as},
    hub::{Hub, Identity},
    wire::{
        EventAck, LogChunk, LogPosition, LogsEnd, NodeStatus, PodEvent, Register, Request, Response, Status,
        StatusResult, StreamLogs, response,
    },
};

use crate::fake::registration;
use crate::fakes::carrier::{Faults, Pair, pair};

/// What stands before each line when times are asked for.
pub(crate) const STAMP: &str = "2026-01-02T03:04:05.000000000Z ";

/// What one read does instead of answering as it should.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    Refuse(Status),
    /// Sends without end.
    Flood,
    /// Opens and falls silent.
    Hang,
    /// Leaves the position out.
    NoPosition,
}

/// The log of the one container, run by run.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) runs: Vec<Vec<u8>>,
    pub(crate) ended: bool,
    /// Written by the container at each read.
    pub(crate) chatter: Vec<u8>,
    pub(crate) faults: VecDeque<Fault>,
    pub(crate) opens: Vec<StreamLogs>,
}

/// The plugin's own records: they outlive a link.
#[derive(Debug, Clone, Default)]
pub(crate) struct Puller(Arc<Mutex<Log>>);

impl Puller {
    pub(crate) fn with(log: impl Into<Vec<u8>>) -> Self {
        let puller = Self::default();
        puller.log().runs.push(log.into());
        puller
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap()
    }

    pub(crate) fn fail(&self, fault: Fault) {
        self.log().faults.push_back(fault);
    }

    pub(crate) fn reads(&self) -> usize {
        self.log().opens.len()
    }

    pub(crate) async fn connect(&self, hub: &Arc<Hub>) -> PullLink {
        self.connect_with(hub, &[]).await
    }

    pub(crate) async fn connect_with(&self, hub: &Arc<Hub>, features: &[&str]) -> PullLink {
        let Pair {
            hub: theirs,
            plugin: ours,
            up: faults,
            ..
        } = pair(crate::CARRIER, 16 << 20).await;
        let identity = Identity {
            plugin: None,
            remote: "test".into(),
            way: towline::hub::Way::Link,
        };
        let served = tokio::spawn(hub.clone().serve_link_as(theirs, identity, crate::FORM));
        let with = Register {
            features: features.iter().map(|name| (*name).to_owned()).collect(),
            outbox: None,
            ..registration("one")
        };
        let registered = register_as(ours, with, Config::dialling(), crate::FORM)
            .await
            .unwrap();
        let connection = registered.start(Arc::new(self.clone()));
        PullLink {
            connection,
            faults,
            served,
        }
    }
}

/// A link of it.
pub(crate) struct PullLink {
    #[allow(dead_code)] // keeps the link
    connection: Connection,
    faults: Faults,
    served: JoinHandle<()>,
}

impl PullLink {
    /// Cuts the socket and waits until the hub has noticed.
    pub(crate) async fn cut(self) {
        self.faults.cut();
        self.served.await.unwrap();
    }
}

impl Peer for Puller {
    fn request(&self, _: Request, _: CancelSignal) -> BoxFuture<Response> {
        let no_pods = response::Result::GetStatus(StatusResult::default());
        Box::pin(async {
            Response {
                status: None,
                result: Some(no_pods),
            }
        })
    }

    fn stream_logs(&self, open: StreamLogs, sink: LogSink) -> BoxFuture<Result<LogsEnd, Status>> {
        let fault = {
            let mut log = self.log();
            log.opens.push(open.clone());
            let chatter = log.chatter.clone();
            if let Some(last) = log.runs.last_mut() {
                last.extend(chatter);
            }
            log.faults.pop_front()
        };
        let puller = self.clone();
        Box::pin(async move {
            match fault {
                Some(Fault::Refuse(status)) => Err(status),
                Some(fault) => break_off(fault, sink).await,
                None => puller.answer(open, sink).await,
            }
        })
    }

    fn pod_event(&self, _: PodEvent) {}
    fn event_ack(&self, _: EventAck) {}
    fn node_status(&self, _: NodeStatus) {}
    fn going_away(&self, _: CloseCode, _: &str, _: Duration) {}
}

impl Puller {
    /// One bounded read, as docs/PROTOCOL.md section 8 wants it.
    async fn answer(&self, open: StreamLogs, mut sink: LogSink) -> Result<LogsEnd, Status> {
        let (chunks, end) = self.read(&open)?;
        for chunk in chunks {
            if sink.send(chunk).await.is_err() {
                break;
            }
        }
        Ok(end)
    }

    fn read(&self, open: &StreamLogs) -> Result<(Vec<LogChunk>, LogsEnd), Status> {
        let log = self.log();
        let options = open.options.unwrap();
        let Some(present) = log.runs.len().checked_sub(1) else {
            return Ok((vec![LogChunk::default()], LogsEnd::default()));
        };
        let mut reset = false;
        let (run, mut offset) = match open.start {
            Some(start) => {
                let run = usize::try_from(start.epoch).unwrap().wrapping_sub(1);
                let offset = usize::try_from(start.offset).unwrap();
                reset = log.runs.get(run).is_none_or(|run| offset > run.len());
                if reset { (present, 0) } else { (run, offset) }
            }
            None if options.previous => match present.checked_sub(1) {
                Some(previous) => (previous, 0),
                None => return Err(Status::new(Code::NotFound, reason::NO_LOG, "it ran only once")),
            },
            None => (
                present,
                options.tail.map_or(0, |lines| tail(&log.runs[present], lines)),
            ),
        };
        let whole = &log.runs[run];
        let epoch = run as u64 + 1;
        let mut left = usize::try_from(options.limit_bytes.unwrap()).unwrap();
        let mut chunks = Vec::new();
        loop {
            let (data, next) = piece(whole, offset, left.min(32 << 10), options.timestamps);
            if data.is_empty() && !chunks.is_empty() {
                break;
            }
            left -= data.len();
            chunks.push(LogChunk {
                at: Some(LogPosition {
                    epoch,
                    offset: offset as u64,
                }),
                next_offset: next as u64,
                data,
                reset: reset && chunks.is_empty(),
                gap_bytes: 0,
            });
            offset = next;
        }
        let end = LogsEnd {
            next: Some(LogPosition {
                epoch,
                offset: offset as u64,
            }),
            eof: offset == whole.len() && (log.ended || run != present),
            reset,
        };
        Ok((chunks, end))
    }
}

/// Where the last so many lines begin.
fn tail(log: &[u8], lines: u64) -> usize {
    let starts = std::iter::once(0).chain((1..log.len()).filter(|at| log[at - 1] == b'\n'));
    let starts: Vec<usize> = starts.collect();
    starts[starts.len() - usize::try_from(lines).unwrap().min(starts.len())]
}

/// What fits into `room` from here, a prefix never without the byte after it; and where it ends.
fn piece(log: &[u8], from: usize, room: usize, timestamps: bool) -> (Bytes, usize) {
    let mut data = Vec::new();
    let mut at = from;
    while at < log.len() && data.len() < room {
        if timestamps && (at == 0 || log[at - 1] == b'\n') {
            if data.len() + STAMP.len() >= room {
                break;
            }
            data.extend(STAMP.as_bytes());
        }
        data.push(log[at]);
        at += 1;
    }
    (data.into(), at)
}

async fn break_off(fault: Fault, mut sink: LogSink) -> Result<LogsEnd, Status> {
    let place = LogPosition { epoch: 1, offset: 0 };
    let first = LogChunk {
        at: Some(place),
        ..LogChunk::default()
    };
    match fault {
        Fault::Hang => {
            let _ = sink.send(first).await;
            sink.cancelled().await;
        }
        Fault::NoPosition => {
            let chunk = LogChunk {
                data: "hello\n".into(),
                ..LogChunk::default()
            };
            let _ = sink.send(chunk).await;
        }
        _ => while sink.send(first.clone()).await.is_ok() {},
    }
    Ok(LogsEnd::default())
}
