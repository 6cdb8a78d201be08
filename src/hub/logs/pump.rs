//! One reader's pump: from the plugin's stream, or its bounded reads, to the reader's queue.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    LogPiece, LogQuery, OpenLog,
    place::Place,
    pull::{self, Next, Pace},
};
use crate::{
    code::{Code, reason},
    connection::LogStream,
    hub::{
        Hub,
        call::Called,
        registry::{Route, lock},
    },
    limits,
    planted::{self, Bug},
    wire::{LogChunk, LogsEnd, Status, StreamLogs},
};

/// Between two tries to open a log again at a plugin that asked for patience and did not say how much.
const AGAIN: Duration = Duration::from_secs(1);

/// One reader's side of the pump.
pub(super) struct Reading {
    hub: Arc<Hub>,
    plugin: String,
    query: LogQuery,
    place: Place,
    /// The plugin that the present stream is from has no flow control.
    pull: bool,
    pace: Pace,
    /// Some read could not go on where it was to.
    reset: bool,
    #[allow(dead_code)] // held for what its drop does
    open: OpenLog,
}

/// The reader has gone, or has been idle for too long.
struct Gone;

impl Reading {
    pub(super) fn new(hub: Arc<Hub>, plugin: String, query: LogQuery, open: OpenLog) -> Self {
        Self {
            hub,
            plugin,
            place: Place::new(query.start, query.options.limit_bytes),
            query,
            pull: false,
            pace: Pace::new(),
            reset: false,
            open,
        }
    }

    /// Opens the log. One who follows a pod whose create is under way waits for it.
    pub(super) async fn begin(&mut self) -> Result<LogStream, Status> {
        let until = Instant::now() + limits::LOG_OPEN_TIMEOUT;
        loop {
            let Some(route) = self.hub.registry.route(&self.plugin) else {
                return Err(self.hub.registry.absence(&self.plugin));
            };
            let opened = self.open(&route, until).await;
            let status = match opened {
                Err(status)
                    if status.kind() == Code::NotFound && self.hub.is_in_hand(&self.query.pod.uid) =>
                {
                    status
                }
                opened => return opened,
            };
            if !self.query.options.follow || Instant::now() + AGAIN >= until {
                let text = format!("{}: its create is under way", status.message);
                return Err(Status::new(Code::NotFound, &status.reason, text));
            }
            sleep(AGAIN).await;
        }
    }

    pub(super) async fn pump(
        mut self,
        mut stream: LogStream,
        pieces: mpsc::Sender<Result<LogPiece, Status>>,
        told: Arc<Mutex<Option<LogsEnd>>>,
    ) {
        loop {
            let lost = match self.drain(&mut stream, &pieces).await {
                Err(Gone) => return,
                Ok(Err(status)) if status.kind() == Code::Unavailable => true,
                Ok(Err(status)) => {
                    let _ = hand_over(&pieces, Err(status)).await;
                    return;
                }
                Ok(Ok(end)) => match self.after(end) {
                    Next::End(end) => {
                        *lock(&told) = Some(end);
                        return;
                    }
                    Next::Read(pause) => {
                        tokio::select! {
                            biased;
                            () = sleep(pause) => {}
                            () = pieces.closed() => return,
                        }
                        false
                    }
                },
            };
            drop(stream);
            stream = match self.reopen(lost).await {
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
                biased;
                chunk = next_chunk(stream, self.pull) => chunk,
                () = pieces.closed() => return Err(Gone),
            };
            let chunk = match chunk {
                Ok(chunk) => chunk,
                Err(end) => return Ok(end),
            };
            let before = self.place.position();
            let piece = match self.place.take(chunk, self.query.options.timestamps) {
                Ok(Some(piece)) => piece,
                Ok(None) => continue,
                Err(status) => return Ok(Err(status)),
            };
            self.hub.metrics.log_bytes.inc_by(piece.data.len() as u64);
            self.hub.metrics.log_gap_bytes.inc_by(piece.gap_bytes);
            // The acknowledgement of every further read: no news to a reader.
            if piece.data.is_empty() && piece.gap_bytes == 0 && self.place.position() == before {
                continue;
            }
            hand_over(pieces, Ok(piece)).await?;
            if let Some(end) = self.place.at_limit() {
                return Ok(Ok(end));
            }
        }
    }

    /// What an end means: the end of the log, or of one bounded read only.
    fn after(&mut self, mut end: LogsEnd) -> Next {
        self.reset |= end.reset;
        end.reset = self.reset;
        if self.pull {
            self.pace.next(end, &self.place, self.query.options.follow)
        } else {
            Next::End(end)
        }
    }

    /// Waits for the plugin and opens the log where it was.
    async fn reopen(&mut self, mut lost: bool) -> Result<LogStream, Status> {
        let until = Instant::now() + self.hub.config.log_hold;
        loop {
            // Between two reads nothing tells that the link was lost.
            lost |= self.hub.registry.route(&self.plugin).is_none();
            let Some(route) = self.hub.registry.routable(&self.plugin, until).await else {
                return Err(self.hub.registry.absence(&self.plugin));
            };
            if std::mem::take(&mut lost) {
                self.hub.metrics.log_resumes.inc();
            }
            let status = match self.open(&route, Instant::now() + limits::LOG_OPEN_TIMEOUT).await {
                Ok(stream) => return Ok(stream),
                Err(status) => status,
            };
            if status.kind() == Code::OutOfRange && self.place.start().is_some() {
                self.place.begin_anew();
            } else if !is_passing(&status) || Instant::now() >= until {
                return Err(status);
            } else if route.connection.is_open() {
                // The link still stands: the plugin asked for patience.
                let wish = Duration::from_millis(status.retry_after_ms).max(AGAIN);
                sleep(wish.min(until.saturating_duration_since(Instant::now()))).await;
            } else {
                lost = true;
            }
        }
    }

    async fn open(&mut self, route: &Route, until: Instant) -> Result<LogStream, Status> {
        let mut options = self.query.options;
        let mut start = self.place.start();
        if planted::is(Bug::LogResumedAtStart)
            && let Some(start) = &mut start
        {
            start.offset = 0;
        }
        // Also of a log that was opened before its container started: what came since is all new.
        if start.is_some() || self.place.position().is_some() {
            options.tail = None;
            options.since_time = None;
            options.previous &= start.is_none();
        }
        options.limit_bytes = self.place.limit_left();
        self.pull = !route.flow_control;
        if self.pull {
            pull::bound(&mut options);
        }
        let open = StreamLogs {
            pod: Some(self.query.pod.clone()),
            container: self.query.container.clone(),
            options: Some(options),
            start,
            credit: limits::LOG_CREDIT,
            metadata: self.query.meta.to_metadata(),
            timeout_ms: u64::try_from(limits::LOG_OPEN_TIMEOUT.as_millis()).unwrap_or(u64::MAX),
        };
        self.place.opened(start);
        let began = Instant::now();
        let opened = match timeout_at(until, route.connection.stream_logs(open)).await {
            Ok(opened) => opened,
            Err(_) => Err(Status::new(
                Code::DeadlineExceeded,
                "",
                "the plugin did not open the log in time",
            )),
        };
        let meta = &self.query.meta;
        let called = Called {
            op: "logs",
            plugin: &self.plugin,
            way: route.way,
            session: &meta.session,
            traceparent: meta.traceparent.as_deref().unwrap_or_default(),
            began,
        };
        called.ended(&self.hub.metrics, opened.as_ref());
        opened
    }
}

/// The next chunk of a stream. A bounded read has no reason to pause, a followed log has every one.
async fn next_chunk(stream: &mut LogStream, pull: bool) -> Result<LogChunk, Result<LogsEnd, Status>> {
    if !pull {
        return stream.next().await;
    }
    match timeout(limits::LOG_OPEN_TIMEOUT, stream.next()).await {
        Ok(chunk) => chunk,
        Err(_) => Err(Err(Status::new(
            Code::DeadlineExceeded,
            "",
            "the plugin began to send the log and did not go on",
        ))),
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

/// What a reader that is in the middle of a log waits for.
fn is_passing(status: &Status) -> bool {
    match status.kind() {
        Code::Unavailable | Code::DeadlineExceeded => true,
        Code::ResourceExhausted => status.reason != reason::MESSAGE_TOO_LARGE,
        _ => false,
    }
}
