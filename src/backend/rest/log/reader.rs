//! One read of a log after the other, each from where the former ended.

use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use tokio::time::timeout;

use super::{
    Gone,
    ends::{Done, Stop},
    grown::{Found, Hole, Leaving, Search},
    marks::Sum,
    passing::{Passing, Place},
    until_gone,
    view::View,
};
use crate::{
    backend::rest::Shared,
    limits,
    plugin::{LogRequest, LogSink},
    upstream::{Answer, Ask, Failed},
    wire::{LogChunk, LogPosition, LogsEnd, PodRef},
};

/// A reader's place in a log.
pub(super) struct Reader<'a> {
    shared: &'a Shared,
    pod: PodRef,
    view: View,
    generation: u16,
    place: Place,
    /// Of the log as it is now, what this reader does not get.
    hole: Option<Hole>,
    /// Lines to show from the end; the plugin is asked once for how many there are.
    tail: Option<u64>,
    /// Lines to pass over at the begin.
    lines: u64,
    /// Bytes that may still be sent.
    left: Option<u64>,
    follow: bool,
    opened: bool,
    /// Opened, though there is no log yet.
    waiting: bool,
    reset_due: bool,
    reset: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(shared: &'a Shared, request: &LogRequest, container: &str) -> Self {
        let options = &request.options;
        let start = request.start.filter(|start| start.epoch != 0);
        let known = start
            .as_ref()
            .and_then(|start| View::of(&request.pod, container, options, start));
        let foreign = start.is_some() && known.is_none();
        let (view, asked) = match known {
            Some((view, generation)) => (view, Some(generation)),
            None => (View::new(&request.pod, container, options), None),
        };
        let generation = shared.logs.generation(&view, asked);
        let same = asked == Some(generation);
        let offset = start.filter(|_| same).map_or(0, |start| start.offset);
        let reset = foreign || asked.is_some() && !same;
        Self {
            shared,
            place: Place {
                offset,
                sum: (offset == 0).then_some(Sum::EMPTY),
                known: shared.logs.known(&view, generation, offset),
            },
            hole: shared.logs.hole(&view, generation),
            pod: request.pod.clone(),
            generation,
            tail: options.tail.filter(|_| start.is_none()),
            lines: 0,
            left: options.limit_bytes,
            follow: options.follow && shared.config.follow,
            opened: false,
            waiting: false,
            reset_due: reset,
            reset,
            view,
        }
    }

    /// Whether nothing was sent yet, so that an error can still be told as one.
    pub(super) fn is_silent(&self) -> bool {
        !self.opened
    }

    /// Whether nothing will be added to the log.
    pub(super) fn is_of_former_run(&self) -> bool {
        self.view.previous
    }

    /// Where it stands.
    pub(super) fn end(&self, eof: bool) -> LogsEnd {
        LogsEnd {
            next: Some(self.position()),
            eof,
            reset: self.reset,
        }
    }

    /// The log is another one: the next read sends it from its begin.
    pub(super) fn begin_anew(&mut self) {
        tracing::info!(pod = %self.pod, "a log has been replaced: it is read from its begin");
        self.generation = self.shared.logs.replaced(&self.view, self.generation);
        self.place = Place::begin();
        self.hole = None;
        self.lines = 0;
        self.reset_due = true;
        self.reset = true;
    }

    /// Opens a log that is not there yet.
    pub(super) async fn wait(&mut self, sink: &mut LogSink) -> Result<(), Gone> {
        if self.opened {
            return Ok(());
        }
        self.opened = true;
        self.waiting = true;
        self.tail = None;
        sink.send(self.chunk(LogPosition::default(), Bytes::new()))
            .await
            .map_err(|_| Gone)
    }

    /// Sends what is there after the place.
    pub(super) async fn read(&mut self, sink: &mut LogSink) -> Result<Done, Stop> {
        match self.read_once(sink).await? {
            Done::Changed if self.has_grown(sink).await? => self.read_once(sink).await,
            done => Ok(done),
        }
    }

    /// Whether the log differs from what was sent only by what was put in front of some of it. That is left out then.
    async fn has_grown(&mut self, sink: &LogSink) -> Result<bool, Stop> {
        let (logs, offset) = (&self.shared.logs, self.place.offset);
        let head = logs.head(&self.view, self.generation, offset);
        if head.is_empty() {
            return Ok(false);
        }
        let mut search = Search::new(head);
        let mut answer = self.open(sink, false).await?;
        let hole = loop {
            let Some(bytes) = until_gone(sink, next(&mut answer, false)).await?? else {
                return Ok(false);
            };
            match search.feed(&bytes) {
                None => {}
                Some(Found::Other) => return Ok(false),
                Some(Found::Grown(hole)) => break hole,
            }
        };
        if self.hole == Some(hole) {
            return Ok(false);
        }
        tracing::debug!(pod = %self.pod, at = hole.at, bytes = hole.len, "a log has grown in front of what was sent");
        logs.grown(&self.view, self.generation, hole);
        self.hole = Some(hole);
        Ok(true)
    }

    async fn read_once(&mut self, sink: &mut LogSink) -> Result<Done, Stop> {
        if let Some(tail) = self.tail {
            self.lines = self.count_lines(sink).await?.saturating_sub(tail);
            self.tail = None;
        }
        let mut answer = self.open(sink, self.follow).await?;
        if self.lines == 0 {
            self.acknowledge(sink).await?;
        }
        let mut passing = Passing::new();
        let mut leaving = Leaving::out(self.hole);
        let begin = self.place.offset;
        while let Some(bytes) = until_gone(sink, next(&mut answer, self.follow)).await?? {
            for mut bytes in leaving.split(bytes) {
                if !passing.over(&mut bytes, &mut self.place) {
                    return Ok(Done::Changed);
                }
                self.pass_lines(&mut bytes, &mut passing);
                if self.lines == 0 {
                    self.acknowledge(sink).await?;
                }
                self.send(bytes, &mut passing, sink).await?;
                if self.left == Some(0) {
                    return Ok(Done::Limit);
                }
            }
        }
        self.shared.upstream.done(answer);
        self.lines = 0;
        self.acknowledge(sink).await?;
        if passing.at < self.place.offset {
            return Ok(Done::Shorter {
                empty: passing.at == 0,
            });
        }
        Ok(Done::Read(self.place.offset - begin))
    }

    /// Sends bytes up to the reader's limit.
    async fn send(
        &mut self,
        mut bytes: Bytes,
        passing: &mut Passing,
        sink: &mut LogSink,
    ) -> Result<(), Gone> {
        while !bytes.is_empty() && self.left != Some(0) {
            let most = self.left.map_or(limits::LOG_CHUNK, |left| {
                usize::try_from(left)
                    .unwrap_or(limits::LOG_CHUNK)
                    .min(limits::LOG_CHUNK)
            });
            let data = bytes.split_to(most.min(bytes.len()));
            self.deliver(data, passing, sink).await?;
        }
        Ok(())
    }

    async fn deliver(&mut self, data: Bytes, passing: &mut Passing, sink: &mut LogSink) -> Result<(), Gone> {
        let at = self.position();
        self.remember(&data);
        passing.add(&data);
        self.place.reached(passing);
        self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
        self.shared
            .logs
            .mark(&self.view, self.generation, passing.at, passing.sum);
        let chunk = self.chunk(at, data);
        sink.send(chunk).await.map_err(|_| Gone)
    }

    /// Passes over the lines that a reader of the tail does not want.
    fn pass_lines(&mut self, bytes: &mut Bytes, passing: &mut Passing) {
        while self.lines > 0 && !bytes.is_empty() {
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let line = bytes.split_to(end.map_or(bytes.len(), |end| end + 1));
            self.remember(&line);
            passing.add(&line);
            self.place.reached(passing);
            self.lines -= u64::from(end.is_some());
        }
    }

    /// These bytes stand at the place.
    fn remember(&self, bytes: &[u8]) {
        let logs = &self.shared.logs;
        logs.begins(&self.view, self.generation, self.place.offset, bytes);
    }

    /// How many lines there are, the last one without an end included.
    async fn count_lines(&self, sink: &LogSink) -> Result<u64, Stop> {
        let mut answer = self.open(sink, false).await?;
        let (mut lines, mut open) = (0, false);
        while let Some(bytes) = until_gone(sink, next(&mut answer, false)).await?? {
            lines += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
            open = bytes.last().map_or(open, |last| *last != b'\n');
        }
        self.shared.upstream.done(answer);
        Ok(lines + u64::from(open))
    }

    async fn open(&self, sink: &LogSink, follow: bool) -> Result<Answer, Stop> {
        let request = self.view.request(&self.pod, follow);
        let ask = Ask {
            method: Method::GET,
            path: "/getLogs",
            body: serde_json::to_vec(&request).unwrap_or_default().into(),
            within: self.shared.config.answer_timeout,
            repeatable: true,
            metadata: None,
        };
        let upstream = &self.shared.upstream;
        let answer = until_gone(sink, upstream.open(&ask)).await??;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let whole = until_gone(sink, timeout(ask.within, upstream.read(answer))).await?;
        Err(match whole {
            Ok(whole) => Stop::Refused(whole?),
            Err(_) => Stop::Failed(Failed::Silent(ask.within)),
        })
    }

    /// The first chunk tells where the log begins for this reader.
    async fn acknowledge(&mut self, sink: &mut LogSink) -> Result<(), Gone> {
        if self.opened {
            return Ok(());
        }
        self.opened = true;
        let chunk = self.chunk(self.position(), Bytes::new());
        sink.send(chunk).await.map_err(|_| Gone)
    }

    fn position(&self) -> LogPosition {
        if self.waiting && self.place.offset == 0 {
            return LogPosition::default();
        }
        LogPosition {
            epoch: self.view.epoch(self.generation),
            offset: self.place.offset,
        }
    }

    fn chunk(&mut self, at: LogPosition, data: Bytes) -> LogChunk {
        // Bytes always have an epoch.
        let epoch = if data.is_empty() {
            at.epoch
        } else {
            self.view.epoch(self.generation)
        };
        LogChunk {
            at: Some(LogPosition { epoch, ..at }),
            next_offset: at.offset + data.len() as u64,
            data,
            gap_bytes: 0,
            reset: std::mem::take(&mut self.reset_due),
        }
    }
}

/// A log that the plugin follows may be quiet for as long as it likes.
async fn next(answer: &mut Answer, follow: bool) -> Result<Option<Bytes>, Failed> {
    const EVER: Duration = Duration::from_secs(u32::MAX as u64);
    let patience = if follow { EVER } else { limits::UPSTREAM_STALL };
    match timeout(patience, answer.next()).await {
        Ok(next) => next,
        Err(_) => Err(Failed::Silent(patience)),
    }
}
