//! Log readers: a stream at the plugin, opened again where it was when the link is lost.
//!
//! ```text
//! OPENING -first chunk-> FLOWING -loss-> DETACHED (at most log_hold) -opened again-> FLOWING
//!                           \-Response, limit reached, reader gone, idle-> CLOSED
//! ```
//!
//! Each reader has a pump: a task that reads the stream and hands pieces over through a short queue. The pump
//! stops reading while the queue is full, so credit runs out and the plugin waits.

use std::sync::{Arc, Mutex, atomic::AtomicI64};

use bytes::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    task::AbortHandle,
    time::{Instant, timeout},
};

use super::{
    CallMeta, Hub,
    log_place::Place,
    registry::{Route, lock},
};
use crate::{
    code::{Code, reason},
    connection::LogStream,
    limits,
    wire::{LogOptions, LogPosition, LogsEnd, PodRef, Status, StreamLogs},
};

/// Pieces between pump and reader.
const QUEUE: usize = 2;
/// Between two reads of a plugin that is polled, when nothing new came.
const PULL_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);
/// Bytes of one bounded read.
const PULL_BYTES: u64 = 1 << 20;

/// What to read of a log.
#[derive(Debug, Clone)]
pub struct LogQuery {
    /// Whose log.
    pub pod: PodRef,
    /// Container name; empty for the only one, or the first.
    pub container: String,
    /// kubectl's options.
    pub options: LogOptions,
    /// Go on from here; tail, since_time and previous are then ignored.
    pub start: Option<LogPosition>,
    /// Metadata of the call.
    pub meta: CallMeta,
}

/// A piece of a log.
#[derive(Debug, Clone)]
pub struct LogPiece {
    /// Position of its first raw byte.
    pub at: LogPosition,
    /// Raw offset after it.
    pub next_offset: u64,
    /// The bytes; may be empty.
    pub data: Bytes,
    /// Raw bytes lost before it; at least 1 when the log had to begin anew and nobody knows how many.
    pub gap_bytes: u64,
}

/// An open log. Dropping it cancels the stream at the plugin.
#[derive(Debug)]
pub struct LogViewer {
    pieces: mpsc::Receiver<Result<LogPiece, Status>>,
    end: Arc<Mutex<Option<LogsEnd>>>,
    pump: AbortHandle,
}

impl LogViewer {
    /// The next piece; `None` at the good end (LogsEnd in `end()`); an error when it cannot be finished (the HTTP
    /// body is then aborted). Cancel safe. Survives loss of the link for `log_hold`.
    pub async fn next(&mut self) -> Option<Result<LogPiece, Status>> {
        match self.pieces.recv().await {
            Some(piece) => Some(piece),
            None if lock(&self.end).is_some() => None,
            // The pump left without a word: the reader was idle, or the hub goes down.
            None => Some(Err(Status::new(
                Code::Cancelled,
                "",
                "the log reader was closed: it took no byte for too long",
            ))),
        }
    }

    /// How it ended, once `next` gave None.
    pub fn end(&self) -> Option<LogsEnd> {
        *lock(&self.end)
    }
}

impl Drop for LogViewer {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl Hub {
    /// Opens a log at the pod's plugin; see [`Hub::logs`].
    pub(crate) async fn open_log(
        self: &Arc<Self>,
        plugin: String,
        query: LogQuery,
    ) -> Result<LogViewer, Status> {
        let Ok(slot) = self.log_slots.clone().try_acquire_owned() else {
            self.metrics.refuse("log_streams");
            return Err(Status::new(
                Code::ResourceExhausted,
                reason::TOO_MANY_STREAMS,
                format!("{} logs are being read through this hub", self.max_log_streams()),
            ));
        };
        let route = self
            .registry
            .route(&plugin)
            .ok_or_else(|| self.registry.absence(&plugin))?;
        if !route.flow_control && query.start.is_none() {
            refuse_unbounded(&query.options)?;
        }
        let mut reading = Reading {
            hub: self.clone(),
            plugin,
            place: Place::new(query.start, query.options.limit_bytes),
            query,
            pull: !route.flow_control,
            open: OpenLog::new(self, slot),
        };
        let began = Instant::now();
        let first = reading.open(&route).await;
        self.metrics.call("logs", first.as_ref(), began.elapsed());
        let stream = first?;
        let (pieces, receiver) = mpsc::channel(QUEUE);
        let end = Arc::new(Mutex::new(None));
        let told = end.clone();
        let pump = tokio::spawn(async move { reading.pump(stream, pieces, told).await }).abort_handle();
        Ok(LogViewer {
            pieces: receiver,
            end,
            pump,
        })
    }
}

/// Counts an open log while it is held.
struct OpenLog {
    gauge: prometheus_client::metrics::gauge::Gauge<i64, AtomicI64>,
    _slot: OwnedSemaphorePermit,
}

impl OpenLog {
    fn new(hub: &Hub, slot: OwnedSemaphorePermit) -> Self {
        hub.metrics.log_streams.inc();
        Self {
            gauge: hub.metrics.log_streams.clone(),
            _slot: slot,
        }
    }
}

impl Drop for OpenLog {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

/// One reader's side of the pump.
struct Reading {
    hub: Arc<Hub>,
    plugin: String,
    query: LogQuery,
    place: Place,
    pull: bool,
    #[allow(dead_code)] // held for what its drop does
    open: OpenLog,
}

/// The reader has gone, or has been idle for too long.
struct Gone;

impl Reading {
    async fn pump(
        mut self,
        mut stream: LogStream,
        pieces: mpsc::Sender<Result<LogPiece, Status>>,
        told: Arc<Mutex<Option<LogsEnd>>>,
    ) {
        loop {
            let before = self.place.position();
            match self.drain(&mut stream, &pieces).await {
                Err(Gone) => return,
                Ok(Err(status)) if is_loss(&status) => {}
                Ok(Err(status)) => {
                    let _ = hand_over(&pieces, Err(status)).await;
                    return;
                }
                Ok(Ok(end)) => match self.after(end) {
                    Some(end) => {
                        *lock(&told) = Some(end);
                        return;
                    }
                    // A bounded read has ended, not the log. Wait only when it brought nothing.
                    None if self.place.position() == before => tokio::time::sleep(PULL_AGAIN).await,
                    None => {}
                },
            }
            drop(stream);
            stream = match self.reopen().await {
                Ok(stream) => stream,
                Err(status) => {
                    let _ = hand_over(&pieces, Err(status)).await;
                    return;
                }
            };
        }
    }

    /// Hands over chunks until the stream ends.
    async fn drain(
        &mut self,
        stream: &mut LogStream,
        pieces: &mpsc::Sender<Result<LogPiece, Status>>,
    ) -> Result<Result<LogsEnd, Status>, Gone> {
        loop {
            let chunk = tokio::select! {
                chunk = stream.next() => chunk,
                () = pieces.closed() => return Err(Gone),
            };
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(end) => return Ok(end),
            };
            let piece = match self.place.take(chunk, self.query.options.timestamps) {
                Ok(Some(piece)) => piece,
                Ok(None) => continue,
                Err(status) => return Ok(Err(status)),
            };
            self.hub.metrics.log_bytes.inc_by(piece.data.len() as u64);
            self.hub.metrics.log_gap_bytes.inc_by(piece.gap_bytes);
            hand_over(pieces, Ok(piece)).await?;
            if let Some(end) = self.place.at_limit() {
                return Ok(Ok(end));
            }
        }
    }

    /// What an end means: the end of the log, or of one bounded read only.
    fn after(&mut self, end: LogsEnd) -> Option<LogsEnd> {
        if !self.pull || end.eof {
            return Some(end);
        }
        if let Some(limit) = self.place.at_limit() {
            return Some(limit);
        }
        let before = self.place.position();
        if let Some(next) = end.next.filter(|next| next.epoch != 0) {
            self.place.move_to(next);
        }
        let at_end = self.place.position() == before && self.place.is_quiet();
        self.place.next_read();
        if at_end && !self.query.options.follow {
            Some(end)
        } else {
            None
        }
    }

    /// Waits for the plugin and opens the log where it was.
    async fn reopen(&mut self) -> Result<LogStream, Status> {
        let until = Instant::now() + self.hub.config.log_hold;
        loop {
            let Some(route) = self.hub.registry.routable(&self.plugin, until).await else {
                return Err(self.hub.registry.absence(&self.plugin));
            };
            if !self.pull {
                self.hub.metrics.log_resumes.inc();
            }
            match self.open(&route).await {
                Err(status) if is_loss(&status) && Instant::now() < until => {
                    // Where the link still stands the plugin asked for patience.
                    if route.connection.is_open() {
                        tokio::time::sleep(PULL_AGAIN).await;
                    }
                }
                opened => return opened,
            }
        }
    }

    async fn open(&mut self, route: &Route) -> Result<LogStream, Status> {
        let mut options = self.query.options;
        let start = self.place.start();
        if start.is_some() {
            options.tail = None;
            options.since_time = None;
            options.previous = false;
        }
        options.limit_bytes = self.place.limit_left();
        let mut open = StreamLogs {
            pod: Some(self.query.pod.clone()),
            container: self.query.container.clone(),
            options: Some(options),
            start,
            credit: limits::LOG_CREDIT,
            metadata: self.query.meta.to_metadata(),
            timeout_ms: u64::try_from(limits::LOG_OPEN_TIMEOUT.as_millis()).unwrap_or(u64::MAX),
        };
        if self.pull {
            options.follow = false;
            options.limit_bytes = Some(self.place.limit_left().unwrap_or(PULL_BYTES).min(PULL_BYTES));
            open.options = Some(options);
            open.start = Some(start.unwrap_or(LogPosition { epoch: 0, offset: 0 }));
        }
        self.place.opened(open.start);
        match timeout(limits::LOG_OPEN_TIMEOUT, route.connection.stream_logs(open)).await {
            Ok(opened) => opened,
            Err(_) => Err(Status::new(
                Code::DeadlineExceeded,
                "",
                "the plugin did not open the log in time",
            )),
        }
    }
}

/// A reader that takes nothing for ten minutes is closed.
async fn hand_over(
    pieces: &mpsc::Sender<Result<LogPiece, Status>>,
    piece: Result<LogPiece, Status>,
) -> Result<(), Gone> {
    match timeout(limits::VIEWER_IDLE, pieces.send(piece)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Gone),
    }
}

fn is_loss(status: &Status) -> bool {
    status.kind() == Code::Unavailable
}

/// A plugin without flow control is read by offset, from the beginning: it cannot be asked for the end.
fn refuse_unbounded(options: &LogOptions) -> Result<(), Status> {
    let asked = [
        ("tail", options.tail.is_some()),
        ("since", options.since_time.is_some()),
        ("previous", options.previous),
    ];
    match asked.iter().find(|(_, asked)| *asked) {
        None => Ok(()),
        Some((what, _)) => Err(Status::new(
            Code::Unimplemented,
            reason::NOT_SUPPORTED,
            format!("this plugin's logs can only be read from the beginning: leave out {what}"),
        )),
    }
}
