//! One direction of a pair: a queue, and what a test has done to it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use crate::transport::Message;

/// One direction.
#[derive(Debug, Clone)]
pub(super) struct Lane(Arc<Mutex<LaneState>>);

#[derive(Debug, Default)]
pub(super) struct LaneState {
    pub(super) queue: VecDeque<Message>,
    pub(super) capacity: usize,
    pub(super) bytes: u64,
    pub(super) messages: u64,
    pub(super) cut_at_byte: Option<u64>,
    pub(super) cut_at_message: Option<u64>,
    pub(super) held: bool,
    pub(super) stalled: bool,
    pub(super) dropping: bool,
    /// A close frame was sent: nothing follows it.
    pub(super) closed: bool,
    /// The sending end was dropped: the queue is still read, then it is broken.
    pub(super) gone: bool,
    pub(super) broken: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
}

impl Lane {
    pub(super) fn new(capacity: usize) -> Self {
        Self(Arc::new(Mutex::new(LaneState {
            capacity: capacity.max(1),
            ..LaneState::default()
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, LaneState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LaneState {
    pub(super) fn push(&mut self, message: Message) {
        if self.closed {
            return;
        }
        self.closed = matches!(message, Message::Close(..));
        let end = self.bytes + size(&message) as u64;
        let arrives = !self.cut_reached() && self.cut_at_byte.is_none_or(|cut| end <= cut) && !self.dropping;
        self.bytes = end;
        self.messages += 1;
        if arrives {
            self.queue.push_back(message);
        }
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    /// Whether the point of a cut was passed; the reader takes what came before it first.
    pub(super) fn cut_reached(&self) -> bool {
        self.gone
            || self.cut_at_byte.is_some_and(|cut| self.bytes >= cut)
            || self.cut_at_message.is_some_and(|cut| self.messages >= cut)
    }

    pub(super) fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

/// Bytes of a message as it counts for limits and cuts: at least one, so that empty ones count too.
fn size(message: &Message) -> usize {
    match message {
        Message::Binary(bytes) | Message::Text(bytes) | Message::Ping(bytes) | Message::Pong(bytes) => {
            bytes.len().max(1)
        }
        Message::Close(_, reason) => 2 + reason.len(),
    }
}
