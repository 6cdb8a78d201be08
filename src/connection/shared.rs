//! What handles and the connection task share, under one lock that is never held over a wait.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use futures::task::AtomicWaker;
use tokio::sync::oneshot;

use super::{CancelSignal, Ended, told::Told};
use crate::{
    code::{Code, reason},
    session::Session,
    wire::{Data, LogChunk, Response, Status, StreamMap},
};

#[derive(Debug)]
pub(super) struct Shared {
    inner: Mutex<Inner>,
    /// Of the connection task.
    pub(super) task: AtomicWaker,
    pub(super) end: Told<Option<Ended>>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) session: Session,
    /// Calls of this side.
    pub(super) pending: StreamMap<Pending>,
    /// Calls of the peer.
    pub(super) running: StreamMap<Running>,
}

/// Who waits for a call of this side.
#[derive(Debug)]
pub(super) enum Pending {
    Call(oneshot::Sender<Box<Response>>),
    Logs(Box<Reading>),
    Body(Box<Exchanging>),
}

/// A call of this side with a body in either direction.
#[derive(Debug, Default)]
pub(super) struct Exchanging {
    pub(super) body: Receiving,
    pub(super) end: Option<Box<Response>>,
    /// Of a sink that waits for room.
    pub(super) writer: Option<Waker>,
}

/// Body bytes that came and were not read; credit bounds them.
#[derive(Debug, Default)]
pub(super) struct Receiving {
    pub(super) chunks: VecDeque<Data>,
    pub(super) waker: Option<Waker>,
    ended: bool,
}

impl Receiving {
    /// What follows the end is no part of the body.
    pub(super) fn take(&mut self, data: Data) {
        if !self.ended {
            self.ended = data.end;
            self.chunks.push_back(data);
        }
    }
}

/// A log stream that this side reads.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) chunks: VecDeque<LogChunk>,
    pub(super) end: Option<Box<Response>>,
    pub(super) waker: Option<Waker>,
}

/// A call of the peer at work.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) cancel: CancelSignal,
    /// Of a sink that waits for room.
    pub(super) writer: Option<Waker>,
    /// None when the call has no body, or nobody reads it.
    pub(super) body: Option<Box<Receiving>>,
}

impl Running {
    /// Who waits finds that the call was cancelled.
    pub(super) fn cancel(&mut self) {
        self.cancel.cancel();
        wake(&mut self.writer);
        if let Some(body) = &mut self.body {
            wake(&mut body.waker);
        }
    }
}

impl Shared {
    pub(super) fn new(session: Session) -> Self {
        Self {
            inner: Mutex::new(Inner {
                session,
                pending: StreamMap::default(),
                running: StreamMap::default(),
            }),
            task: AtomicWaker::new(),
            end: Told::new(None),
        }
    }

    /// The state, whatever became of a thread that panicked with it: every change is whole.
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes the connection task if there is something to write or tell.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let result = change(&mut self.lock());
        self.task.wake();
        result
    }

    /// Looks at the state, or changes what the connection task need not know.
    pub(super) fn look<T>(&self, look: impl FnOnce(&mut Inner) -> T) -> T {
        look(&mut self.lock())
    }
}

pub(super) fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// The status of a call whose connection has gone.
pub(super) fn lost() -> Status {
    Status::new(
        Code::Unavailable,
        reason::SESSION_LOST,
        "the connection ended before the answer",
    )
}
