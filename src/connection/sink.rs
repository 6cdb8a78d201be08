//! The writing end of a body, of either side.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

use super::{
    now,
    shared::{Inner, Pending, Shared, wake},
};
use crate::{
    code::Code,
    limits,
    session::Offer,
    wire::{Data, HttpResponse, Response, Status, StreamId},
};

/// The call has ended or was cancelled: nobody reads or writes the body any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the call has ended")]
pub struct CallGone;

/// Where one side writes its body.
#[derive(Debug)]
pub struct BodySink {
    shared: Arc<Shared>,
    id: StreamId,
    /// What becomes of an unfinished body: the caller's cancels the call, the handler's ends with its Response.
    of_caller: bool,
    finished: bool,
}

impl BodySink {
    pub(super) fn of_caller(shared: Arc<Shared>, id: StreamId) -> Self {
        Self {
            shared,
            id,
            of_caller: true,
            finished: false,
        }
    }

    pub(super) fn of_handler(shared: Arc<Shared>, id: StreamId) -> Self {
        Self {
            shared,
            id,
            of_caller: false,
            finished: false,
        }
    }

    /// Queues the head of an HTTP answer: what the answering side sends first, once.
    ///
    /// # Errors
    /// As [`BodySink::send`]; also for a head that counts more than a chunk may.
    pub async fn head(&mut self, head: HttpResponse) -> Result<(), CallGone> {
        self.queue(Data {
            head: Some(head),
            ..Data::default()
        })
        .await
    }

    /// Queues all of `bytes`, waiting for credit; what was queued is taken off its front.
    ///
    /// # Errors
    /// [`CallGone`] when the call has ended, was cancelled, or the connection was lost.
    ///
    /// # Cancel safety
    /// When the future is dropped, `bytes` holds what was not queued.
    pub async fn send(&mut self, bytes: &mut Bytes) -> Result<(), CallGone> {
        while !bytes.is_empty() {
            let piece = bytes.slice(..bytes.len().min(limits::LOG_CHUNK));
            let taken = piece.len();
            self.queue(Data {
                data: piece,
                ..Data::default()
            })
            .await?;
            // No wait between the two: a dropped future has done both or neither.
            let _ = bytes.split_to(taken);
        }
        Ok(())
    }

    /// Ends this side's body. A caller without a body does so at once.
    ///
    /// # Errors
    /// As [`BodySink::send`].
    pub async fn finish(mut self) -> Result<(), CallGone> {
        let end = Data {
            end: true,
            ..Data::default()
        };
        self.queue(end).await?;
        self.finished = true;
        Ok(())
    }

    async fn queue(&mut self, data: Data) -> Result<(), CallGone> {
        let mut waiting = Some(data);
        let queued = poll_fn(|cx| self.poll_queue(&mut waiting, cx)).await;
        // There is nothing left to cancel: the answer is here, though perhaps not yet told to who waits for it.
        self.finished |= queued.is_err();
        queued
    }

    fn poll_queue(&self, waiting: &mut Option<Data>, cx: &mut Context<'_>) -> Poll<Result<(), CallGone>> {
        let Some(data) = waiting.take() else {
            return Poll::Ready(Ok(()));
        };
        let mut inner = self.shared.lock();
        match inner.session.send_data(self.id, data) {
            Offer::Taken => {
                drop(inner);
                self.shared.wake();
                Poll::Ready(Ok(()))
            }
            Offer::Gone => Poll::Ready(Err(CallGone)),
            Offer::Full(data) => {
                *waiting = Some(data);
                match self.writer(&mut inner) {
                    Some(writer) => {
                        *writer = Some(cx.waker().clone());
                        Poll::Pending
                    }
                    None => Poll::Ready(Err(CallGone)),
                }
            }
        }
    }

    fn writer<'a>(&self, inner: &'a mut Inner) -> Option<&'a mut Option<Waker>> {
        if self.of_caller {
            match inner.pending.get_mut(&self.id) {
                Some(Pending::Body(exchange)) => Some(&mut exchange.writer),
                _ => None,
            }
        } else {
            inner.running.get_mut(&self.id).map(|running| &mut running.writer)
        }
    }
}

impl Drop for BodySink {
    fn drop(&mut self) {
        if self.finished || !self.of_caller {
            return;
        }
        self.shared.with(|inner| {
            if let Some(Pending::Body(exchange)) = inner.pending.get_mut(&self.id)
                && exchange.end.is_none()
            {
                let status = Status::new(Code::Cancelled, "", "the caller gave its body up");
                exchange.end = Some(Response::failed(status).into());
                wake(&mut exchange.body.waker);
                inner.session.cancel(self.id, now());
            }
        });
    }
}
