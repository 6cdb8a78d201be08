//! The connection task: reads, tells, writes, in that order, until the connection has ended.
//!
//! One task for both directions. Before it writes it yields once if other calls are in flight, so that callers
//! woken by what was just read join the same packet, and wake nobody for it; a lone frame is never delayed. What is
//! frequent here takes no timer, no log line, and one lock for all that came in one read (docs/BENCHMARKS.md).

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use super::{
    CancelSignal, Ended, Peer,
    ending::broken,
    form, now,
    shared::{Inner, Shared},
    telling::Tidings,
};
use crate::{
    code::CloseCode,
    session::Event,
    transport::{Message, Transport, TransportError},
};

/// Messages read before what they brought is told and answered.
const READ_BUDGET: usize = 64;
/// So long after the last call room for calls is given back, or a moment later: long enough that who makes one call after
/// the other does not see it, and short beside the time between two pings.
const REST: Duration = Duration::from_millis(250);
/// Packets written before the socket is read again.
const WRITE_BUDGET: usize = 16;

pub(super) struct Driver<T> {
    pub(super) transport: T,
    pub(super) shared: Arc<Shared>,
    pub(super) peer: Arc<dyn Peer>,
    /// The peer started more than it may: nothing is taken from the transport until the session says so.
    paused: bool,
    /// Others were let go first, and this task writes next.
    yielded: bool,
    /// What happened and was not told.
    pub(super) events: VecDeque<Event>,
    pub(super) told: Tidings,
    /// Of a call that was answered at once, for the next one.
    pub(super) unused: Option<CancelSignal>,
    timer: Pin<Box<Sleep>>,
    armed: Option<Instant>,
    /// When to look whether room for calls is to be given back; none while there is none.
    rest: Option<Instant>,
    /// Bytes written when progress was last seen, and when; none while all is flushed.
    stall: Option<(u64, Instant)>,
    /// How long that may last.
    write_stall: Duration,
    /// Cancelled when the connection has ended: drops every handler. None before the first one that takes its time.
    pub(super) over: Option<CancellationToken>,
    pub(super) retry_after: Duration,
    /// What the peer's last GoAway said.
    pub(super) going: Option<(CloseCode, String)>,
}

/// What comes after a round.
enum Round {
    /// Another one.
    Again,
    /// Another one, when the tasks that are ready have run.
    Yield,
    /// Nothing, until somebody wakes this task.
    Wait,
}

/// Why the task ends.
pub(super) enum End {
    /// The transport has ended.
    Lost(Ended),
    /// The session wants the transport closed.
    Close(CloseCode, String),
}

impl From<TransportError> for End {
    fn from(error: TransportError) -> Self {
        Self::Lost(broken(&error))
    }
}

impl<T: Transport> Driver<T> {
    pub(super) fn new(transport: T, shared: Arc<Shared>, peer: Arc<dyn Peer>) -> Self {
        let write_stall = shared.look(|inner| inner.session.write_stall());
        Self {
            transport,
            shared,
            peer,
            paused: false,
            yielded: false,
            events: VecDeque::new(),
            told: Tidings::default(),
            unused: None,
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            armed: None,
            rest: None,
            stall: None,
            write_stall,
            over: None,
            retry_after: Duration::ZERO,
            going: None,
        }
    }

    /// The task. No `async fn`, which would hold the driver twice: as it was given, and as it is worked with. The end is
    /// boxed, for it comes once.
    #[allow(clippy::manual_async_fn)]
    pub(super) fn run(mut self) -> impl Future<Output = ()> + Send {
        async move {
            let ended = match poll_fn(|cx| self.poll_caught(cx)).await {
                End::Lost(ended) => {
                    Box::pin(self.tell_fault(&ended)).await;
                    ended
                }
                End::Close(code, reason) => {
                    Box::pin(self.close_transport(code, &reason)).await;
                    Ended {
                        code,
                        reason,
                        by_peer: false,
                        retry_after: Duration::ZERO,
                    }
                }
            };
            self.finish(ended);
        }
    }

    /// A panic, of whom is told or of this task, ends the connection: else its callers would wait for ever.
    fn poll_caught(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let polled = catch_unwind(AssertUnwindSafe(|| self.poll_end(cx)));
        polled.unwrap_or_else(|_| {
            let reason = "the connection's task has panicked";
            tracing::error!("{reason}");
            Poll::Ready(End::Lost(Ended {
                code: CloseCode::ABNORMAL,
                reason: reason.into(),
                by_peer: false,
                retry_after: Duration::ZERO,
            }))
        })
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.shared.set_coming(false);
        self.shared.task.register(cx.waker());
        loop {
            match self.round(cx) {
                Ok(Round::Again) => {}
                Ok(Round::Yield) => {
                    self.shared.set_coming(true);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Ok(Round::Wait) => return Poll::Pending,
                Err(end) => return Poll::Ready(end),
            }
        }
    }

    /// Reads, tells and writes, once.
    fn round(&mut self, cx: &mut Context<'_>) -> Result<Round, End> {
        let more = self.read(cx).map_err(End::Lost)?;
        self.collect(|_| ());
        let woke = self.tell()?;
        let standing = self.settle();
        if standing.room && self.rest.is_none() {
            self.rest = Some(now() + REST);
        }
        let (mut again, mut timeout) = (more, standing.timeout);
        // Several that were woken here are likely to send something next. So are others when one that was woken here,
        // or has just woken this task, is not the only one with a call. The answers that were made here at once wait
        // for nobody.
        let others = woke > 1 || (standing.output && standing.crowded && (woke > 0 || standing.waited));
        if others && !std::mem::replace(&mut self.yielded, true) {
            return Ok(Round::Yield);
        }
        self.yielded = false;
        if standing.output && matches!(self.transport.poll_ready(cx), Poll::Ready(Ok(()))) {
            let written = self.write()?;
            again |= written.again;
            timeout = written.timeout;
        }
        self.flush(cx)?;
        if again || self.poll_timer(cx, timeout).is_ready() {
            return Ok(Round::Again);
        }
        Ok(Round::Wait)
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

    /// Changes the session, runs its timers, and takes its events.
    pub(super) fn collect(&mut self, change: impl FnOnce(&mut Inner)) {
        let mut inner = self.shared.lock();
        change(&mut inner);
        let now = now();
        if inner.session.poll_timeout().is_some_and(|at| at <= now) {
            inner.session.handle_timeout(now);
        }
        inner.session.swap_events(&mut self.events);
        self.shared.set_open(inner.session.is_open());
    }

    /// Hands in the answers that were made at once; says how the session then stands.
    fn settle(&mut self) -> Standing {
        let mut inner = self.shared.lock();
        let waited = inner.session.has_output();
        for (id, response) in self.told.answers.drain(..) {
            inner.answer(id, response);
        }
        Standing {
            waited,
            output: inner.session.has_output(),
            crowded: inner.session.calls_in_flight() > 1,
            room: inner.holds_room(),
            timeout: inner.session.poll_timeout(),
        }
    }

    /// Queues packets at the transport.
    fn write(&mut self) -> Result<Written, TransportError> {
        if self.shared.lock().session.poll_transport_ping() {
            self.transport.start_send(Message::Ping(bytes::Bytes::new()))?;
        }
        for _ in 0..WRITE_BUDGET {
            let mut inner = self.shared.lock();
            let Some(message) = form::next(&mut inner.session) else {
                return Ok(Written {
                    again: inner.session.has_events(),
                    timeout: inner.session.poll_timeout(),
                });
            };
            drop(inner);
            self.transport.start_send(message)?;
            // More is queued only where the transport takes it at once.
            let mut cx = Context::from_waker(std::task::Waker::noop());
            if !matches!(self.transport.poll_ready(&mut cx), Poll::Ready(Ok(()))) {
                break;
            }
        }
        Ok(Written {
            again: true,
            timeout: None,
        })
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
                        if now >= since + self.write_stall {
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

    /// Ready when a timer is due, or was: one that moves on is left where it is, and set anew when it fires.
    fn poll_timer(&mut self, cx: &mut Context<'_>, timeout: Option<Instant>) -> Poll<()> {
        let stall = self.stall.map(|(_, since)| since + self.write_stall);
        let Some(at) = [timeout, stall, self.rest].into_iter().flatten().min() else {
            return Poll::Pending;
        };
        if self.armed.is_none_or(|armed| at < armed) {
            self.timer.as_mut().reset(at.into());
            self.armed = Some(at);
        }
        let due = self.timer.as_mut().poll(cx).map(|()| self.armed = None);
        if due.is_ready() {
            self.rest();
        }
        due
    }

    /// Gives back what room is empty, when it is time: an idle link keeps the half of what it has in a call.
    fn rest(&mut self) {
        if self.rest.is_some_and(|at| at <= now()) {
            self.rest = None;
            self.shared.rest();
            self.events.shrink_to_fit();
            self.told.rest();
        }
    }
}

/// What a round needs to know of the session.
struct Standing {
    /// Something was to be written before this round's own answers.
    waited: bool,
    output: bool,
    crowded: bool,
    /// Room for calls is held.
    room: bool,
    timeout: Option<Instant>,
}

/// What became of a write.
struct Written {
    /// There is more to write or to tell.
    again: bool,
    timeout: Option<Instant>,
}
