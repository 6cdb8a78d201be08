//! The connection task: reads, tells, writes, in that order, until the connection has ended.
//!
//! One task for both directions. Before it writes it yields once if other calls are in flight, so that callers
//! woken by what was just read join the same packet; a lone frame is never delayed (PERFORMANCE.md).

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::Sleep;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Ended, Peer,
    ending::broken,
    form, now,
    shared::{Inner, Shared},
    yield_once,
};
use crate::{
    code::CloseCode,
    session::Event,
    transport::{Message, Transport, TransportError},
};

/// Messages read before what they brought is told and answered.
const READ_BUDGET: usize = 64;
/// Packets written before the socket is read again.
const WRITE_BUDGET: usize = 16;

pub(super) struct Driver<T> {
    pub(super) transport: T,
    pub(super) shared: Arc<Shared>,
    pub(super) peer: Arc<dyn Peer>,
    /// The peer started more than it may: nothing is taken from the transport until the session says so.
    paused: bool,
    timer: Pin<Box<Sleep>>,
    armed: Option<Instant>,
    /// Bytes written when progress was last seen, and when; none while all is flushed.
    stall: Option<(u64, Instant)>,
    /// Cancelled when the connection has ended: drops every handler.
    pub(super) over: CancellationToken,
    pub(super) tasks: TaskTracker,
    pub(super) retry_after: Duration,
}

/// What one round of the task came to.
enum Round {
    /// Something is to be written; other calls are in flight.
    Write { crowded: bool },
    /// The transport has ended.
    Lost(Ended),
    /// The session wants the transport closed.
    Close(CloseCode, String),
}

impl<T: Transport> Driver<T> {
    pub(super) fn new(transport: T, shared: Arc<Shared>, peer: Arc<dyn Peer>) -> Self {
        Self {
            transport,
            shared,
            peer,
            paused: false,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            armed: None,
            stall: None,
            over: CancellationToken::new(),
            tasks: TaskTracker::new(),
            retry_after: Duration::ZERO,
        }
    }

    pub(super) async fn run(mut self) {
        let ended = loop {
            match poll_fn(|cx| self.poll_round(cx)).await {
                Round::Write { crowded } => {
                    if crowded {
                        yield_once().await;
                    }
                    if let Err(error) = self.write() {
                        break broken(&error);
                    }
                }
                Round::Lost(ended) => break ended,
                Round::Close(code, reason) => {
                    self.close_transport(code, &reason).await;
                    break Ended {
                        code,
                        reason,
                        by_peer: false,
                        retry_after: Duration::ZERO,
                    };
                }
            }
        };
        self.finish(ended);
    }

    /// Reads and tells until there is something to write or the end.
    fn poll_round(&mut self, cx: &mut Context<'_>) -> Poll<Round> {
        self.shared.task.register(cx.waker());
        loop {
            let read = self.read(cx);
            let more = match read {
                Ok(more) => more,
                Err(ended) => return Poll::Ready(Round::Lost(ended)),
            };
            let (events, state) = self.collect(|_| ());
            if let Some((code, reason)) = self.tell(events) {
                return Poll::Ready(Round::Close(code, reason));
            }
            // Telling may have answered calls: look again whether there is output.
            let output = state.output || self.shared.look(|inner| inner.session.has_output());
            if output && self.transport.poll_ready(cx).map(|ready| ready.is_ok()) == Poll::Ready(true) {
                return Poll::Ready(Round::Write {
                    crowded: state.crowded,
                });
            }
            if let Err(error) = self.flush(cx) {
                return Poll::Ready(Round::Lost(broken(&error)));
            }
            if more {
                continue;
            }
            match self.poll_timer(cx, state.timeout) {
                Poll::Ready(()) => continue,
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Reads what is there, and no more than the peer may start. True when the budget ended it.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
        if self.paused && !self.shared.look(|inner| inner.session.may_read(now())) {
            return Ok(false);
        }
        self.paused = false;
        for _ in 0..READ_BUDGET {
            let message = match self.transport.poll_recv(cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(None) => {
                    return Err(Ended {
                        code: CloseCode::ABNORMAL,
                        reason: "the peer ended the connection".into(),
                        by_peer: true,
                        retry_after: Duration::ZERO,
                    });
                }
                Poll::Ready(Some(Err(error))) => return Err(broken(&error)),
                Poll::Ready(Some(Ok(message))) => message,
            };
            let now = now();
            let mut inner = self.shared.lock();
            match message {
                Message::Binary(_) | Message::Text(_) => form::take(&mut inner.session, message, now),
                Message::Ping(_) => inner.session.handle_transport_ping(now),
                Message::Pong(_) => inner.session.handle_transport_pong(now),
                Message::Close(code, reason) => {
                    return Err(Ended {
                        code: CloseCode(code),
                        reason,
                        by_peer: true,
                        retry_after: Duration::ZERO,
                    });
                }
            }
            if !inner.session.may_read(now) {
                self.paused = true;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Changes the session, runs its timers, and takes its events and what the round needs to know.
    pub(super) fn collect(&mut self, change: impl FnOnce(&mut Inner)) -> (Vec<Event>, Standing) {
        let mut inner = self.shared.lock();
        change(&mut inner);
        let now = now();
        if inner.session.poll_timeout().is_some_and(|at| at <= now) {
            inner.session.handle_timeout(now);
        }
        let mut events = Vec::new();
        while let Some(event) = inner.session.poll_event() {
            events.push(event);
        }
        let standing = Standing {
            output: inner.session.has_output(),
            crowded: inner.session.calls_in_flight() > 1,
            timeout: inner.session.poll_timeout(),
        };
        (events, standing)
    }

    /// Queues packets at the transport.
    fn write(&mut self) -> Result<(), TransportError> {
        if self.shared.lock().session.poll_transport_ping() {
            self.transport.start_send(Message::Ping(bytes::Bytes::new()))?;
        }
        for _ in 0..WRITE_BUDGET {
            let Some(message) = form::next(&mut self.shared.lock().session) else {
                break;
            };
            self.transport.start_send(message)?;
            // More is queued only where the transport takes it at once.
            let mut cx = Context::from_waker(std::task::Waker::noop());
            if !matches!(self.transport.poll_ready(&mut cx), Poll::Ready(Ok(()))) {
                break;
            }
        }
        Ok(())
    }

    /// Pushes bytes out and watches that they move.
    fn flush(&mut self, cx: &mut Context<'_>) -> Result<(), TransportError> {
        match self.transport.poll_flush(cx) {
            Poll::Ready(result) => {
                self.stall = None;
                result
            }
            Poll::Pending => {
                let written = self.transport.written();
                let now = now();
                match self.stall {
                    Some((before, since)) if before == written => {
                        let limit = self.shared.look(|inner| inner.session.write_stall());
                        if now >= since + limit {
                            self.shared
                                .lock()
                                .session
                                .close(CloseCode::SLOW, "the peer takes no bytes");
                        }
                    }
                    _ => self.stall = Some((written, now)),
                }
                Ok(())
            }
        }
    }

    /// Ready when a timer is due.
    fn poll_timer(&mut self, cx: &mut Context<'_>, timeout: Option<Instant>) -> Poll<()> {
        let stall = self
            .stall
            .map(|(_, since)| since + self.shared.look(|inner| inner.session.write_stall()));
        let Some(at) = [timeout, stall].into_iter().flatten().min() else {
            return Poll::Pending;
        };
        if self.armed != Some(at) {
            self.timer.as_mut().reset(at.into());
            self.armed = Some(at);
        }
        self.timer.as_mut().poll(cx).map(|()| self.armed = None)
    }
}

/// What a round needs to know of the session.
pub(super) struct Standing {
    output: bool,
    crowded: bool,
    timeout: Option<Instant>,
}
