//! The reading ends of bodies: Data between Request and Response, under credit.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;

use super::{
    CallGone, CancelSignal, now,
    shared::{Pending, Shared, lost, wake},
};
use crate::{
    code::{Code, reason},
    limits,
    wire::{Data, HttpResponse, Response, Status, StreamId},
};

/// Credit is given back in steps of this many bytes: one lock a step, not one a chunk.
const STEP: u64 = 32 << 10;

/// What was taken over from the connection and is not read yet, and what is owed for it.
#[derive(Debug, Default)]
struct Unread {
    chunks: VecDeque<Data>,
    consumed: u64,
    ended: bool,
}

impl Unread {
    /// The next bytes, if there are some; never none of them.
    fn pop(&mut self) -> Option<Bytes> {
        while let Some(chunk) = self.chunks.pop_front() {
            self.consumed += chunk.counts() as u64 + limits::CHUNK_OVERHEAD;
            self.ended |= chunk.end;
            if !chunk.data.is_empty() {
                return Some(chunk.data);
            }
        }
        None
    }

    fn tell_consumed(&mut self, shared: &Shared, id: StreamId, least: u64) {
        if self.consumed >= least.max(1) {
            let consumed = std::mem::take(&mut self.consumed);
            shared.with(|inner| inner.session.consumed(id, consumed));
        }
    }
}

/// The caller's view of a call with bodies: the bytes of the other side, then its Response. Dropping it cancels the
/// call at the peer.
#[derive(Debug)]
pub struct Answer {
    shared: Arc<Shared>,
    id: StreamId,
    unread: Unread,
    end: Option<Result<Response, Status>>,
}

impl Answer {
    pub(super) fn new(shared: Arc<Shared>, id: StreamId) -> Self {
        Self {
            shared,
            id,
            unread: Unread::default(),
            end: None,
        }
    }

    /// The head of an HTTP answer, which comes before its body. Cancel safe.
    ///
    /// # Errors
    /// How the call ended, when it did without a head; INTERNAL for an answer that does not begin with one.
    pub async fn head(&mut self) -> Result<HttpResponse, Status> {
        loop {
            if let Some(first) = self.unread.chunks.front_mut() {
                let counts = first.counts();
                let head = first.head.take();
                self.unread.consumed += (counts - first.data.len()) as u64;
                return head.ok_or_else(no_head);
            }
            match &self.end {
                None => poll_fn(|cx| self.poll_fill(cx)).await,
                Some(Ok(_)) => return Err(no_head()),
                Some(Err(status)) => return Err(status.clone()),
            }
        }
    }

    /// The next bytes of the body, or how the call ended (then only that again). Credit is given back as bytes are
    /// taken. Cancel safe.
    ///
    /// # Errors
    /// `Err(Ok(response))` when the call succeeded, `Err(Err(status))` otherwise, as [`super::Connection::call`].
    pub async fn next(&mut self) -> Result<Bytes, Result<Response, Status>> {
        loop {
            let bytes = self.unread.pop();
            if let (None, Some(end)) = (&bytes, &self.end) {
                return Err(end.clone());
            }
            if self.end.is_none() {
                let least = if bytes.is_some() { STEP } else { 1 };
                self.unread.tell_consumed(&self.shared, self.id, least);
            }
            match bytes {
                Some(bytes) => return Ok(bytes),
                None => poll_fn(|cx| self.poll_fill(cx)).await,
            }
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.shared.lock();
        let Some(Pending::Body(exchange)) = inner.pending.get_mut(&self.id) else {
            self.end = Some(Err(lost()));
            return Poll::Ready(());
        };
        std::mem::swap(&mut self.unread.chunks, &mut exchange.body.chunks);
        if let Some(response) = exchange.end.take() {
            inner.pending.remove(&self.id);
            self.end = Some(response.into_result());
        } else if self.unread.chunks.is_empty() {
            exchange.body.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

fn no_head() -> Status {
    let text = "the peer answered an HTTP request without a head";
    Status::new(Code::Internal, reason::PLUGIN_ERROR, text)
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.end.is_some() {
            return;
        }
        self.shared.with(|inner| {
            if let Some(Pending::Body(mut exchange)) = inner.pending.remove(&self.id) {
                wake(&mut exchange.writer);
            }
            inner.session.cancel(self.id, now());
        });
    }
}

/// The handler's view of the caller's body. Dropping it gives the rest of the body up.
#[derive(Debug)]
pub struct BodyReader {
    shared: Arc<Shared>,
    id: StreamId,
    cancel: CancelSignal,
    unread: Unread,
}

impl BodyReader {
    pub(super) fn new(shared: Arc<Shared>, id: StreamId, cancel: CancelSignal) -> Self {
        Self {
            shared,
            id,
            cancel,
            unread: Unread::default(),
        }
    }

    /// The next bytes, none at the end of the body. Credit is given back as bytes are taken. Cancel safe.
    ///
    /// # Errors
    /// [`CallGone`] when the call was cancelled, has ended, or the connection was lost: the body is not whole.
    pub async fn next(&mut self) -> Result<Option<Bytes>, CallGone> {
        loop {
            let bytes = self.unread.pop();
            if bytes.is_none() && self.unread.ended {
                return Ok(None);
            }
            let least = if bytes.is_some() { STEP } else { 1 };
            self.unread.tell_consumed(&self.shared, self.id, least);
            match bytes {
                Some(bytes) => return Ok(Some(bytes)),
                None => poll_fn(|cx| self.poll_fill(cx)).await?,
            }
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CallGone>> {
        let mut inner = self.shared.lock();
        let running = inner.running.get_mut(&self.id);
        let Some(body) = running.and_then(|running| running.body.as_deref_mut()) else {
            return Poll::Ready(Err(CallGone));
        };
        if self.cancel.is_cancelled() {
            return Poll::Ready(Err(CallGone));
        }
        std::mem::swap(&mut self.unread.chunks, &mut body.chunks);
        if self.unread.chunks.is_empty() {
            body.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for BodyReader {
    fn drop(&mut self) {
        self.shared.look(|inner| {
            if let Some(running) = inner.running.get_mut(&self.id) {
                running.body = None;
            }
        });
    }
}
