//! Both ends of a log stream.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::mpsc;

use super::{
    now,
    shared::{Pending, Shared, lost},
};
use crate::{
    limits,
    planted::{self, Bug},
    session::Offer,
    wire::{LogChunk, LogsEnd, Response, Status, StreamId, response},
};

/// Credit is given back in steps of this many bytes: one lock a step, not one a chunk.
const STEP: u64 = 64 << 10;

/// The reading end of a log stream. Dropping it cancels the stream at the peer.
#[derive(Debug)]
pub struct LogStream {
    shared: Arc<Shared>,
    id: StreamId,
    /// Taken over from the connection, not read yet.
    chunks: VecDeque<LogChunk>,
    /// Cost of the chunks that were read and not told.
    consumed: u64,
    end: Option<Result<LogsEnd, Status>>,
}

impl LogStream {
    pub(super) fn new(shared: Arc<Shared>, id: StreamId) -> Self {
        Self {
            shared,
            id,
            chunks: VecDeque::new(),
            consumed: 0,
            end: None,
        }
    }

    /// Waits for the open acknowledgement.
    pub(super) async fn opened(&mut self) -> Result<(), Status> {
        poll_fn(|cx| self.poll_fill(cx)).await;
        match &self.end {
            Some(Err(status)) if self.chunks.is_empty() => Err(status.clone()),
            _ => Ok(()),
        }
    }

    /// The next chunk, or how the stream ended (then only that again). Credit is given back as chunks are taken.
    /// Cancel safe.
    ///
    /// # Errors
    /// `Err(Ok(end))` when the log ended in good order, `Err(Err(status))` otherwise; SESSION_LOST when the
    /// connection ended.
    pub async fn next(&mut self) -> Result<LogChunk, Result<LogsEnd, Status>> {
        loop {
            if let Some(chunk) = self.chunks.pop_front() {
                self.consumed += chunk.data.len() as u64 + limits::CHUNK_OVERHEAD;
                if self.consumed >= STEP {
                    self.tell_consumed();
                }
                return Ok(chunk);
            }
            if let Some(end) = &self.end {
                return Err(end.clone());
            }
            self.tell_consumed();
            poll_fn(|cx| self.poll_fill(cx)).await;
        }
    }

    fn tell_consumed(&mut self) {
        let consumed = std::mem::take(&mut self.consumed);
        if consumed > 0 && self.end.is_none() && !planted::is(Bug::CreditNotReturned) {
            self.shared
                .with(|inner| inner.session.consumed(self.id, consumed));
        }
    }

    /// Takes over what has come; ready when there is something to read or the stream has ended.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.chunks.is_empty() || self.end.is_some() {
            return Poll::Ready(());
        }
        let mut inner = self.shared.lock();
        let Some(Pending::Logs(reading)) = inner.pending.get_mut(&self.id) else {
            self.end = Some(Err(lost()));
            return Poll::Ready(());
        };
        std::mem::swap(&mut self.chunks, &mut reading.chunks);
        if let Some(response) = reading.end.take() {
            inner.pending.remove(&self.id);
            self.end = Some(logs_end(*response));
        } else if self.chunks.is_empty() {
            reading.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

fn logs_end(response: Response) -> Result<LogsEnd, Status> {
    Ok(match response.into_result()?.result {
        Some(response::Result::LogsEnd(end)) => end,
        _ => LogsEnd::default(),
    })
}

impl Drop for LogStream {
    fn drop(&mut self) {
        if self.end.is_none() {
            self.shared.with(|inner| {
                inner.pending.remove(&self.id);
                inner.session.cancel(self.id, now());
            });
        }
    }
}

/// The reader of a log stream went away; end the future with anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the reader has gone")]
pub struct ReaderGone;

/// The writing end of a log stream: on a link, or to a reader in this process ([`local_log`]).
#[derive(Debug)]
pub struct LogSink(Way);

#[derive(Debug)]
enum Way {
    Link(OnLink),
    Local(mpsc::Sender<LogChunk>),
}

#[derive(Debug)]
struct OnLink {
    shared: Arc<Shared>,
    id: StreamId,
    cancel: super::CancelSignal,
}

/// A log stream within this process: what is sent waits until it is read, at most [`limits::LOCAL_LOG_CHUNKS`] chunks.
/// It ends when the sink is dropped; the sink's [`ReaderGone`] comes when the reader is.
pub fn local_log() -> (LogSink, mpsc::Receiver<LogChunk>) {
    let (sink, reader) = mpsc::channel(limits::LOCAL_LOG_CHUNKS);
    (LogSink(Way::Local(sink)), reader)
}

impl LogSink {
    pub(super) fn new(shared: Arc<Shared>, id: StreamId, cancel: super::CancelSignal) -> Self {
        Self(Way::Link(OnLink { shared, id, cancel }))
    }

    /// Queues a chunk, waiting for credit. `data` is at most [`limits::MAX_LOG_CHUNK`] bytes.
    ///
    /// # Errors
    /// [`ReaderGone`] when the stream was cancelled or the connection has ended.
    ///
    /// # Cancel safety
    /// Dropping the future before it is ready means that the chunk was not queued.
    pub async fn send(&mut self, chunk: LogChunk) -> Result<(), ReaderGone> {
        match &self.0 {
            Way::Link(link) => {
                let mut waiting = Some(chunk);
                poll_fn(|cx| link.poll_send(&mut waiting, cx)).await
            }
            Way::Local(reader) => reader.send(chunk).await.map_err(|_| ReaderGone),
        }
    }

    /// Waits until the stream is cancelled. Cancel safe.
    pub async fn cancelled(&self) {
        match &self.0 {
            Way::Link(link) => link.cancel.cancelled().await,
            Way::Local(reader) => reader.closed().await,
        }
    }
}

impl OnLink {
    fn poll_send(
        &self,
        waiting: &mut Option<LogChunk>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ReaderGone>> {
        let Some(chunk) = waiting.take() else {
            return Poll::Ready(Ok(()));
        };
        let mut inner = self.shared.lock();
        match inner.session.send_chunk(self.id, chunk) {
            Offer::Taken => {
                drop(inner);
                self.shared.wake();
                Poll::Ready(Ok(()))
            }
            Offer::Gone => Poll::Ready(Err(ReaderGone)),
            Offer::Full(chunk) => {
                *waiting = Some(chunk);
                match inner.running.get_mut(&self.id) {
                    Some(running) => {
                        running.writer = Some(cx.waker().clone());
                        Poll::Pending
                    }
                    None => Poll::Ready(Err(ReaderGone)),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn chunk(text: &'static str) -> LogChunk {
        LogChunk {
            data: text.into(),
            ..LogChunk::default()
        }
    }

    #[tokio::test]
    async fn a_local_reader_that_does_not_read_holds_its_writer_up_and_one_that_goes_ends_it() {
        let (mut sink, mut reader) = local_log();
        for _ in 0..limits::LOCAL_LOG_CHUNKS {
            assert_eq!(sink.send(chunk("a")).await, Ok(()));
        }
        assert!(sink.send(chunk("b")).now_or_never().is_none());
        // What was not queued is not sent.
        for _ in 0..limits::LOCAL_LOG_CHUNKS {
            assert_eq!(reader.recv().await, Some(chunk("a")));
        }
        assert_eq!(sink.send(chunk("c")).await, Ok(()));
        assert_eq!(reader.recv().await, Some(chunk("c")));
        drop(reader);
        sink.cancelled().await;
        assert_eq!(sink.send(chunk("d")).await, Err(ReaderGone));
    }
}
