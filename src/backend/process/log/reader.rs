//! A log as chunks: where it starts, what a chunk holds, when it ends.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;

use super::{
    lines::{plain, stamped},
    source::{Found, Source},
    start::{self, epochs, run_dir, unreadable},
};
use crate::{
    code::{Code, reason},
    limits::LOG_CHUNK,
    wire::{LogChunk, LogOptions, LogPosition, LogsEnd, Status},
};

/// How soon new bytes are seen: after some, and when it has been quiet for a while.
const LOOK_MIN: Duration = Duration::from_millis(5);
const LOOK_MAX: Duration = Duration::from_millis(100);

/// Reads the log of one container.
pub(crate) struct LogReader<L> {
    inner: Option<Inner>,
    live: L,
    pause: Duration,
}

impl<L: Fn() -> bool + Send + Sync> LogReader<L> {
    /// Finds the log and the place to start.
    pub(crate) async fn open(
        container_dir: &Path,
        options: LogOptions,
        start: Option<LogPosition>,
        live: L,
    ) -> Result<Self, Status> {
        let dir = container_dir.to_owned();
        let inner = blocking(move || Inner::open(dir, options, start)).await?;
        Ok(Self {
            inner: Some(inner),
            live,
            pause: LOOK_MIN,
        })
    }

    /// The next chunk; the first comes at once, perhaps empty. None at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<LogChunk>, Status> {
        loop {
            // Asked before the files, so that a start in between is not missed.
            let live = (self.live)();
            let Some(mut inner) = self.inner.take() else {
                return Ok(None);
            };
            let (inner, step) = blocking(move || {
                let step = inner.step(live);
                Ok((inner, step))
            })
            .await?;
            self.inner = Some(inner);
            match step? {
                Step::Chunk(chunk) => {
                    self.pause = LOOK_MIN;
                    return Ok(Some(chunk));
                }
                Step::End => return Ok(None),
                Step::Wait => {
                    tokio::time::sleep(self.pause).await;
                    self.pause = (self.pause * 2).min(LOOK_MAX);
                }
            }
        }
    }

    /// Where it stands.
    pub(crate) fn end(&self) -> LogsEnd {
        self.inner
            .as_ref()
            .map_or_else(LogsEnd::default, |inner| LogsEnd {
                next: Some(inner.position()),
                eof: inner.eof,
                reset: inner.reset,
            })
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| {
        Err(Status::new(
            Code::Internal,
            reason::PLUGIN_ERROR,
            "reading the log failed",
        ))
    })
}

enum Step {
    Chunk(LogChunk),
    Wait,
    End,
}

struct Inner {
    container_dir: PathBuf,
    /// None while the container has not started.
    source: Option<Source>,
    timestamps: bool,
    follow: bool,
    left: Option<u64>,
    /// The next raw byte begins a line.
    line_start: bool,
    /// The first chunk was made.
    opened: bool,
    /// The first chunk has still to say so.
    reset_due: bool,
    reset: bool,
    gap: u64,
    eof: bool,
}

impl Inner {
    fn open(container_dir: PathBuf, options: LogOptions, asked: Option<LogPosition>) -> Result<Self, Status> {
        let start::Start {
            at,
            reset,
            line_start,
        } = start::find(&container_dir, &options, asked)?;
        let source = at.map(|(epoch, offset)| Source::new(&run_dir(&container_dir, epoch), epoch, offset));
        Ok(Self {
            container_dir,
            source,
            timestamps: options.timestamps,
            follow: options.follow,
            left: options.limit_bytes,
            line_start,
            opened: false,
            reset_due: reset,
            reset,
            gap: 0,
            eof: false,
        })
    }

    fn position(&self) -> LogPosition {
        self.source
            .as_ref()
            .map_or(LogPosition { epoch: 0, offset: 0 }, |source| LogPosition {
                epoch: source.epoch,
                offset: source.position,
            })
    }

    fn step(&mut self, live: bool) -> Result<Step, Status> {
        if self.source.is_none() {
            let first = epochs(&self.container_dir)
                .map_err(|error| unreadable(&error))?
                .last()
                .copied();
            self.source = first.map(|epoch| Source::new(&run_dir(&self.container_dir, epoch), epoch, 0));
        }
        let Some(source) = &mut self.source else {
            return Ok(if !self.opened {
                self.chunk(self.position(), Bytes::new())
            } else if live && self.follow {
                Step::Wait
            } else {
                self.eof = !live;
                Step::End
            });
        };
        let want = self.left.map_or(LOG_CHUNK, |left| {
            usize::try_from(left).unwrap_or(LOG_CHUNK).min(LOG_CHUNK)
        });
        // With nothing left one byte is still looked for, to tell the end from the limit.
        let mut buffer = vec![0; want.max(1)];
        loop {
            let at = LogPosition {
                epoch: source.epoch,
                offset: source.position,
            };
            match source.look(&mut buffer).map_err(|error| unreadable(&error))? {
                Found::Gap(bytes) => {
                    self.gap += bytes;
                    self.line_start = true;
                }
                Found::Bytes(_) if want == 0 => return Ok(self.quiet(at, Step::End)),
                Found::Bytes(read) => {
                    buffer.truncate(read);
                    let data = if self.timestamps {
                        stamped(source, &buffer, &mut self.line_start, want)
                    } else {
                        plain(source, buffer)
                    };
                    if let Some(left) = &mut self.left {
                        *left -= data.len() as u64;
                    }
                    return Ok(self.chunk(at, data));
                }
                Found::Nothing => {
                    let step = if self.follow && want > 0 {
                        Step::Wait
                    } else {
                        Step::End
                    };
                    return Ok(self.quiet(at, step));
                }
                Found::End => {
                    let step = self.quiet(at, Step::End);
                    self.eof = matches!(step, Step::End);
                    return Ok(step);
                }
            }
        }
    }

    /// Nothing to send: but the first chunk and a gap at the end are told.
    fn quiet(&mut self, at: LogPosition, step: Step) -> Step {
        if self.opened && self.gap == 0 {
            step
        } else {
            self.chunk(at, Bytes::new())
        }
    }

    fn chunk(&mut self, at: LogPosition, data: Bytes) -> Step {
        self.opened = true;
        Step::Chunk(LogChunk {
            at: Some(at),
            next_offset: self.position().offset,
            data,
            gap_bytes: std::mem::take(&mut self.gap),
            reset: std::mem::take(&mut self.reset_due),
        })
    }
}
