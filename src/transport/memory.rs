//! [`pair`]: two transports joined in memory, with faults, for tests.
//!
//! No clock and no randomness: what happens is decided by the test alone, so it works under paused time.

use std::{
    collections::VecDeque,
    io::{Error as IoError, ErrorKind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use super::{Message, Transport, TransportError};

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
        Faults {
            sends: self.out.clone(),
            other: self.into.clone(),
        }
    }
}

/// Faults in one direction: in what one end sends.
#[derive(Debug, Clone)]
pub struct Faults {
    sends: Lane,
    other: Lane,
}

impl Faults {
    /// Breaks both directions as soon as this many bytes in all were sent; the message that holds that byte
    /// and all later ones are lost.
    pub fn cut_at_byte(&self, byte: u64) {
        let mut state = self.sends.lock();
        state.cut_at_byte = Some(byte);
        state.wake();
    }

    /// Breaks both directions once this many messages in all were sent and taken: later ones are lost.
    pub fn cut_at_message(&self, message: u64) {
        let mut state = self.sends.lock();
        state.cut_at_message = Some(message);
        state.wake();
    }

    /// Breaks both directions now. Messages under way are lost.
    pub fn cut(&self) {
        for lane in [&self.sends, &self.other] {
            let mut state = lane.lock();
            state.queue.clear();
            state.broken = true;
            state.wake();
        }
    }

    /// From now on messages are taken but do not arrive, until [`Faults::release`].
    pub fn hold(&self) {
        self.sends.lock().held = true;
    }

    /// Lets what was held arrive.
    pub fn release(&self) {
        let mut state = self.sends.lock();
        state.held = false;
        state.wake();
    }

    /// Makes the link half-open: from now on messages are taken and lost, and nobody is told.
    pub fn drop_silently(&self) {
        self.sends.lock().dropping = true;
    }

    /// Stops taking messages, as a peer that does not read; `false` ends that.
    pub fn stall(&self, stalled: bool) {
        let mut state = self.sends.lock();
        state.stalled = stalled;
        state.wake();
    }

    /// Messages taken from this end so far.
    pub fn messages(&self) -> u64 {
        self.sends.lock().messages
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

/// One direction.
#[derive(Debug, Clone)]
struct Lane(Arc<Mutex<LaneState>>);

#[derive(Debug, Default)]
struct LaneState {
    queue: VecDeque<Message>,
    capacity: usize,
    bytes: u64,
    messages: u64,
    cut_at_byte: Option<u64>,
    cut_at_message: Option<u64>,
    held: bool,
    stalled: bool,
    dropping: bool,
    /// A close frame was sent: nothing follows it.
    closed: bool,
    /// The sending end was dropped: the queue is still read, then it is broken.
    gone: bool,
    broken: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Lane {
    fn new(capacity: usize) -> Self {
        Self(Arc::new(Mutex::new(LaneState {
            capacity: capacity.max(1),
            ..LaneState::default()
        })))
    }

    fn lock(&self) -> MutexGuard<'_, LaneState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LaneState {
    fn push(&mut self, message: Message) {
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
    fn cut_reached(&self) -> bool {
        self.gone
            || self.cut_at_byte.is_some_and(|cut| self.bytes >= cut)
            || self.cut_at_message.is_some_and(|cut| self.messages >= cut)
    }

    fn wake(&mut self) {
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

fn lost() -> TransportError {
    IoError::new(ErrorKind::ConnectionReset, "connection lost").into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::future::poll_fn;

    use bytes::Bytes;
    use futures::FutureExt;

    use super::*;

    async fn send(end: &mut Memory, text: &'static str) -> Result<(), TransportError> {
        poll_fn(|cx| end.poll_ready(cx)).await?;
        end.start_send(Message::Binary(Bytes::from_static(text.as_bytes())))?;
        poll_fn(|cx| end.poll_flush(cx)).await
    }

    async fn recv(end: &mut Memory) -> Option<Result<Message, TransportError>> {
        poll_fn(|cx| end.poll_recv(cx)).await
    }

    fn is(message: Option<Result<Message, TransportError>>, text: &'static str) -> bool {
        matches!(message, Some(Ok(Message::Binary(bytes))) if bytes == text)
    }

    #[tokio::test]
    async fn messages_arrive_in_order_and_a_close_ends_in_good_order() {
        let (mut a, mut b) = pair(100);
        send(&mut a, "one").await.unwrap();
        send(&mut a, "two").await.unwrap();
        a.start_send(Message::Close(1000, "done".to_owned())).unwrap();
        drop(a);
        assert!(is(recv(&mut b).await, "one"));
        assert!(is(recv(&mut b).await, "two"));
        assert!(matches!(recv(&mut b).await, Some(Ok(Message::Close(1000, _)))));
        assert!(recv(&mut b).await.is_none());
        assert!(send(&mut b, "late").await.is_err());
    }

    #[tokio::test]
    async fn a_dropped_end_is_a_lost_connection_after_what_it_sent() {
        let (mut a, mut b) = pair(100);
        send(&mut a, "one").await.unwrap();
        drop(a);
        assert!(is(recv(&mut b).await, "one"));
        assert!(matches!(recv(&mut b).await, Some(Err(TransportError::Io(_)))));
        assert!(recv(&mut b).await.is_none());
    }

    #[tokio::test]
    async fn a_cut_loses_the_message_it_falls_into_and_breaks_both_ways() {
        let (mut a, mut b) = pair(100);
        a.faults().cut_at_byte(5);
        send(&mut a, "one").await.unwrap();
        send(&mut a, "two").await.unwrap();
        assert!(is(recv(&mut b).await, "one"));
        assert!(recv(&mut b).await.unwrap().is_err());
        assert!(recv(&mut a).await.unwrap().is_err());

        let (mut a, mut b) = pair(100);
        a.faults().cut_at_message(1);
        send(&mut a, "one").await.unwrap();
        assert!(is(recv(&mut b).await, "one"));
        assert!(recv(&mut b).await.unwrap().is_err());
    }

    #[tokio::test]
    async fn held_messages_arrive_when_released_and_dropped_ones_never() {
        let (mut a, mut b) = pair(100);
        let faults = a.faults();
        faults.hold();
        send(&mut a, "one").await.unwrap();
        assert!(recv(&mut b).now_or_never().is_none());
        faults.release();
        assert!(is(recv(&mut b).await, "one"));
        faults.drop_silently();
        send(&mut a, "two").await.unwrap();
        drop(a);
        assert!(recv(&mut b).now_or_never().is_none(), "half-open: nobody is told");
        assert_eq!(faults.messages(), 2);
    }

    #[tokio::test]
    async fn a_full_or_stalled_lane_makes_the_writer_wait() {
        let (mut a, mut b) = pair_with(100, 1);
        send(&mut a, "one").await.unwrap();
        assert!(send(&mut a, "two").now_or_never().is_none());
        assert!(is(recv(&mut b).await, "one"));
        send(&mut a, "two").await.unwrap();
        assert!(is(recv(&mut b).await, "two"));
        a.faults().stall(true);
        assert!(send(&mut a, "three").now_or_never().is_none());
        a.faults().stall(false);
        send(&mut a, "three").await.unwrap();
    }

    #[tokio::test]
    async fn a_message_over_the_limit_is_refused_with_1009() {
        let (mut a, mut b) = pair(3);
        send(&mut a, "four").await.unwrap();
        assert!(matches!(
            recv(&mut b).await,
            Some(Err(TransportError::TooLarge { limit: 3 }))
        ));
        assert!(matches!(recv(&mut a).await, Some(Ok(Message::Close(1009, _)))));
    }
}
