//! [`pair`]: two transports joined in memory: two ends of a link in one process. Tests put faults on it.
//!
//! What is under way is bounded in messages, and a writer waits for room. No clock and no randomness: what happens is decided by the test alone, so it works under paused time.

mod faults;
mod lane;
#[cfg(test)]
mod tests;

use std::{
    io::{Error as IoError, ErrorKind},
    task::{Context, Poll},
};

pub use faults::Faults;

use super::{Message, Transport, TransportError};
use lane::Lane;

/// Two joined ends that take messages up to `limit` bytes and hold 64 messages each way.
pub fn pair(limit: usize) -> (Memory, Memory) {
    pair_with(limit, 64)
}

/// As [`pair`], holding at most `capacity` messages each way; a writer waits beyond that.
pub fn pair_with(limit: usize, capacity: usize) -> (Memory, Memory) {
    let (there, back) = (Lane::new(capacity), Lane::new(capacity));
    let left = Memory {
        out: there.clone(),
        into: back.clone(),
        limit,
        ended: false,
    };
    let right = Memory {
        out: back,
        into: there,
        limit,
        ended: false,
    };
    (left, right)
}

/// One end of a [`pair`]. Dropping it ends the other end with an error, as a lost socket does.
#[derive(Debug)]
pub struct Memory {
    out: Lane,
    into: Lane,
    limit: usize,
    ended: bool,
}

impl Memory {
    /// Control over what this end sends. The handle outlives the end.
    pub fn faults(&self) -> Faults {
        Faults::new(self.out.clone(), self.into.clone())
    }
}

impl Transport for Memory {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, TransportError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let mut state = self.into.lock();
        if let Some(message) = if state.held { None } else { state.queue.pop_front() } {
            if let Some(waker) = state.writer.take() {
                waker.wake();
            }
            drop(state);
            if matches!(&message, Message::Binary(data) | Message::Text(data) if data.len() > self.limit) {
                self.ended = true;
                let reason = format!("message over the limit of {} bytes", self.limit);
                self.out.lock().push(Message::Close(1009, reason));
                return Poll::Ready(Some(Err(TransportError::TooLarge { limit: self.limit })));
            }
            return Poll::Ready(Some(Ok(message)));
        }
        let cut = state.cut_reached() && !state.held;
        if !(state.broken || cut || (state.closed && !state.held)) {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let good = state.closed && !state.broken;
        drop(state);
        if cut {
            self.faults().cut();
        }
        self.ended = true;
        Poll::Ready(if good { None } else { Some(Err(lost())) })
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        let mut state = self.out.lock();
        if state.broken || state.closed || self.ended {
            return Poll::Ready(Err(lost()));
        }
        if state.stalled || state.queue.len() >= state.capacity {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn start_send(&mut self, message: Message) -> Result<(), TransportError> {
        let mut state = self.out.lock();
        if state.broken || state.closed || self.ended {
            return Err(lost());
        }
        state.push(message);
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        let mut state = self.out.lock();
        if state.broken {
            return Poll::Ready(Err(lost()));
        }
        if state.stalled && !state.queue.is_empty() {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn written(&self) -> u64 {
        self.out.lock().bytes
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let mut into = self.into.lock();
        into.broken = true;
        into.queue.clear();
        into.wake();
        drop(into);
        let mut out = self.out.lock();
        // A half-open link tells nobody that this end has gone.
        if !out.dropping && !out.closed {
            out.gone = true;
            out.broken = out.queue.is_empty();
        }
        out.wake();
    }
}

fn lost() -> TransportError {
    IoError::new(ErrorKind::ConnectionReset, "connection lost").into()
}
