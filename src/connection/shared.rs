//! What handles and the connection task share, under one lock that is never held over a wait.
//!
//! The connection task holds that lock while it takes in or writes a whole packet. So that callers do not wait for it,
//! nor for each other, they leave their calls in an inbox; whoever locks next takes them in first, in their order.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
};

use futures::task::AtomicWaker;
use tokio::sync::oneshot;

use super::{CancelSignal, Ended, now, told::Told};
use crate::{
    code::{Code, reason},
    session::Session,
    wire::{Data, LogChunk, Request, Response, Status, StreamId, StreamMap},
};

#[derive(Debug)]
pub(super) struct Shared {
    inner: Mutex<Inner>,
    inbox: Mutex<Vec<Note>>,
    /// Whether something is in the inbox. This and the two below are written by one thread and read by another after
    /// the reverse, and one of them must see the other: sequentially consistent.
    mail: AtomicBool,
    /// The connection task has let others go first and comes by itself.
    coming: AtomicBool,
    /// The connection task has ended: who leaves something sees to it alone.
    over: AtomicBool,
    /// Whether calls are taken, as of the last change: asked often, and must not wait for a packet to be read.
    open: AtomicBool,
    /// Of the connection task.
    pub(super) task: AtomicWaker,
    pub(super) end: Told<Option<Ended>>,
}

/// What is left for the session.
#[derive(Debug)]
pub(super) enum Note {
    /// A call to open, and who waits for its answer.
    Call(Box<Request>, oneshot::Sender<Box<Response>>),
    /// What a call of the peer has ended with.
    Answer(StreamId, Box<Response>),
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) session: Session,
    /// Calls of this side.
    pub(super) pending: StreamMap<Pending>,
    /// Calls of the peer.
    pub(super) running: StreamMap<Running>,
    /// The other half of the inbox: the two change places when it is emptied.
    emptied: Vec<Note>,
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
        self.wake();
    }

    fn wake(&mut self) {
        wake(&mut self.writer);
        if let Some(body) = &mut self.body {
            wake(&mut body.waker);
        }
    }
}

impl Shared {
    pub(super) fn new(session: Session) -> Self {
        Self {
            open: AtomicBool::new(session.is_open()),
            inner: Mutex::new(Inner {
                session,
                pending: StreamMap::default(),
                running: StreamMap::default(),
                emptied: Vec::new(),
            }),
            inbox: Mutex::default(),
            mail: AtomicBool::new(false),
            coming: AtomicBool::new(false),
            over: AtomicBool::new(false),
            task: AtomicWaker::new(),
            end: Told::new(None),
        }
    }

    /// The state, with all that was left for it; whatever became of a thread that panicked with it: every change is
    /// whole.
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if self.mail.load(Ordering::SeqCst) {
            let mut notes = std::mem::take(&mut inner.emptied);
            {
                let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::swap(&mut notes, &mut inbox);
                self.mail.store(false, Ordering::SeqCst);
            }
            inner.take_in(&mut notes);
            inner.emptied = notes;
        }
        inner
    }

    /// Leaves something for the session; the first of several wakes the connection task.
    pub(super) fn leave(&self, note: Note) {
        let first = {
            let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
            inbox.push(note);
            !self.mail.swap(true, Ordering::SeqCst)
        };
        if self.over.load(Ordering::SeqCst) {
            drop(self.lock());
        } else if first {
            self.wake();
        }
    }

    /// Changes the state and wakes the connection task if there is something to write or tell.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.lock();
        let result = change(&mut inner);
        self.set_open(inner.session.is_open());
        drop(inner);
        self.wake();
        result
    }

    /// Whether calls are taken.
    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// To be said while the state is locked.
    pub(super) fn set_open(&self, open: bool) {
        self.open.store(open, Ordering::Release);
    }

    /// The connection task has something to do.
    pub(super) fn wake(&self) {
        if !self.coming.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }

    /// Whether the connection task comes by itself, so that nobody needs to wake it.
    pub(super) fn set_coming(&self, coming: bool) {
        self.coming.store(coming, Ordering::SeqCst);
    }

    /// The connection task has ended, and takes in what was left until now.
    pub(super) fn set_over(&self) {
        self.over.store(true, Ordering::SeqCst);
        drop(self.lock());
    }

    /// Gives back what room is empty.
    pub(super) fn rest(&self) {
        self.lock().rest();
        let mut inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner);
        inbox.shrink_to_fit();
    }

    /// Looks at the state, or changes what the connection task need not know.
    pub(super) fn look<T>(&self, look: impl FnOnce(&mut Inner) -> T) -> T {
        look(&mut self.lock())
    }
}

impl Inner {
    fn take_in(&mut self, notes: &mut Vec<Note>) {
        let now = now();
        for note in notes.drain(..) {
            match note {
                // Who has gone before anything was begun needs no call.
                Note::Call(_, answer) if answer.is_closed() => {}
                Note::Call(request, answer) => match self.session.open_call(request, now) {
                    Ok(id) => {
                        self.pending.insert(id, Pending::Call(answer));
                    }
                    Err(refused) => {
                        let _ = answer.send(Response::failed(refused).into());
                    }
                },
                Note::Answer(id, response) => self.answer(id, response),
            }
        }
    }

    /// Whether room is held that is needed only while calls run.
    pub(super) fn holds_room(&self) -> bool {
        self.emptied.capacity() > 0
            || self.pending.capacity() > 0
            || self.running.capacity() > 0
            || self.session.holds_room()
    }

    /// Gives back what room is empty.
    pub(super) fn rest(&mut self) {
        self.emptied = Vec::new();
        self.pending.shrink_to_fit();
        self.running.shrink_to_fit();
        self.session.rest();
    }

    /// A call of the peer has ended.
    pub(super) fn answer(&mut self, id: StreamId, response: Box<Response>) {
        if let Some(mut running) = self.running.remove(&id) {
            // Ends of it that the handler gave to others find that the call is over.
            running.wake();
        }
        self.session.respond(id, response);
    }

    /// Gives up the calls whose callers have gone.
    pub(super) fn give_up(&mut self) {
        let gone = |pending: &Pending| matches!(pending, Pending::Call(answer) if answer.is_closed());
        for id in self.pending.ids(|_, pending| gone(pending)) {
            self.pending.remove(&id);
            self.session.cancel(id, now());
        }
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
