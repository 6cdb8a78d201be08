//! Log readers: a stream at the plugin, opened again where it was when the link is lost; or, from a plugin without
//! flow control, one bounded read after the other.
//!
//! ```text
//! OPENING -first chunk-> FLOWING -loss-> DETACHED (at most log_hold) -opened again-> FLOWING
//!                         |   |^
//!                         |   \-bounded read over-> BETWEEN READS (not at all, or a pause when following)
//!                         \-Response, limit reached, reader gone, idle-> CLOSED
//! ```
//!
//! Knows the registry's routes and positions in logs; must not know HTTP, nor how a plugin keeps its logs. Learn
//! [`LogViewer`], the reader's end.
//!
//! | file | question it answers |
//! |---|---|
//! | `pump` | how bytes get from the plugin to the reader, over lost links |
//! | `place` | where the reader is: what is new, repeated, missing (pure) |
//! | `pull` | what a plugin without flow control is asked, and when again (pure) |
//!
//! Each reader has a pump: a task that reads the stream and hands pieces over through a short queue. The pump
//! stops reading while the queue is full, so credit runs out and the plugin waits.

mod place;
mod pull;
mod pump;

use std::sync::{Arc, Mutex, atomic::AtomicI64};

use bytes::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    task::AbortHandle,
};

use self::pump::Reading;
use super::{CallMeta, Hub, registry::lock};
use crate::{
    code::{Code, reason},
    planted::{self, Bug},
    wire::{LogOptions, LogPosition, LogsEnd, PodRef, Status},
};

/// Pieces between pump and reader.
const QUEUE: usize = 2;

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
                format!(
                    "{} logs are being read through this hub, as many as it has memory for: try again when one has ended",
                    self.config.max_log_streams()
                ),
            ));
        };
        let mut reading = Reading::new(self.clone(), plugin, query, OpenLog::new(self, slot));
        let stream = reading.begin().await?;
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
        if !planted::is(Bug::LogSlotLeaked) {
            self.gauge.dec();
        }
    }
}
