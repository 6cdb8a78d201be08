//! The connection task: reads, tells, writes, in that order, until the connection has ended.
//!
//! One task for both directions. Before it writes it yields once if other calls are in flight, so that callers
//! woken by what was just read join the same packet; a lone frame is never delayed (PERFORMANCE.md).

use std::{
    future::{Future, poll_fn},
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::FutureExt;
use tokio::time::Sleep;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    CancelSignal, Ended, LogSink, Peer, now,
    shared::{Inner, Pending, Running, Shared},
    yield_once,
};
use crate::{
    code::{CloseCode, Code, reason},
    session::Event,
    transport::{Message, Transport, TransportError},
    wire::{LogsEnd, Response, Status, StreamId, response},
};

/// Messages read before what they brought is told and answered.
const READ_BUDGET: usize = 64;
/// Packets written before the socket is read again.
const WRITE_BUDGET: usize = 16;
/// How long the closing handshake of the transport may take.
const CLOSE_GRACE: Duration = Duration::from_secs(2);

pub(super) struct Driver<T> {
    transport: T,
    shared: Arc<Shared>,
    peer: Arc<dyn Peer>,
    timer: Pin<Box<Sleep>>,
    armed: Option<Instant>,
    /// Bytes written when progress was last seen, and when; none while all is flushed.
    stall: Option<(u64, Instant)>,
    /// Cancelled when the connection has ended: drops every handler.
    over: CancellationToken,
    tasks: TaskTracker,
    retry_after: Duration,
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

    /// Reads what is there. True when the budget ended it.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
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
                Message::Binary(bytes) => inner.session.handle_packet(bytes, now),
                Message::Text(_) => inner
                    .session
                    .close(CloseCode::UNSUPPORTED, "this link takes binary messages"),
                Message::Ping(_) | Message::Pong(_) => inner.session.handle_transport_pong(now),
                Message::Close(code, reason) => {
                    return Err(Ended {
                        code: CloseCode(code),
                        reason,
                        by_peer: true,
                        retry_after: Duration::ZERO,
                    });
                }
            }
        }
        Ok(true)
    }

    /// Changes the session, runs its timers, and takes its events and what the round needs to know.
    fn collect(&mut self, change: impl FnOnce(&mut Inner)) -> (Vec<Event>, Standing) {
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

    /// Tells what happened, in order. Gives the close that the session wants.
    fn tell(&mut self, events: Vec<Event>) -> Option<(CloseCode, String)> {
        let mut close = None;
        for event in events {
            match event {
                Event::Request(id, request) => self.serve_request(id, request),
                Event::StreamLogs(id, open) => self.serve_logs(id, open),
                Event::PodEvent(event) => self.peer.pod_event(event),
                Event::EventAck(ack) => self.peer.event_ack(ack),
                Event::NodeStatus(status) => self.peer.node_status(status),
                Event::GoAway {
                    code,
                    reason,
                    retry_after,
                } => {
                    self.retry_after = retry_after;
                    self.peer.going_away(code, &reason, retry_after);
                }
                Event::Closed { code, reason } => close = Some((code, reason)),
                Event::Register(_) | Event::Welcome(_) => {}
                event => self.tell_stream(event),
            }
        }
        close
    }

    /// What concerns one stream goes to who waits for it.
    fn tell_stream(&self, event: Event) {
        let mut inner = self.shared.lock();
        match event {
            Event::Response(id, response) => match inner.pending.get_mut(&id) {
                Some(Pending::Call(_)) => {
                    if let Some(Pending::Call(answer)) = inner.pending.remove(&id) {
                        // A caller that has just gone needs no answer.
                        let _ = answer.send(response);
                    }
                }
                Some(Pending::Logs(reading)) => {
                    reading.end = Some(response);
                    wake(&mut reading.waker);
                }
                None => {}
            },
            Event::LogChunk(id, chunk) => {
                if let Some(Pending::Logs(reading)) = inner.pending.get_mut(&id) {
                    reading.chunks.push_back(chunk);
                    wake(&mut reading.waker);
                }
            }
            Event::Cancelled(id) => {
                if let Some(running) = inner.running.get_mut(&id) {
                    running.cancel.cancel();
                    wake(&mut running.writer);
                }
            }
            Event::Writable(id) => {
                if let Some(running) = inner.running.get_mut(&id) {
                    wake(&mut running.writer);
                }
            }
            _ => {}
        }
    }

    fn begin(&self, id: StreamId) -> CancelSignal {
        let cancel = self.over.child_token();
        self.shared.lock().running.insert(
            id,
            Running {
                cancel: cancel.clone(),
                writer: None,
            },
        );
        CancelSignal(cancel)
    }

    fn serve_request(&self, id: StreamId, request: crate::wire::Request) {
        let cancel = self.begin(id);
        let peer = self.peer.clone();
        let work = async move { peer.request(request, cancel).await };
        self.serve(id, Box::pin(work));
    }

    fn serve_logs(&self, id: StreamId, open: crate::wire::StreamLogs) {
        let cancel = self.begin(id);
        let sink = LogSink::new(self.shared.clone(), id, cancel);
        let peer = self.peer.clone();
        let work = async move {
            match peer.stream_logs(open, sink).await {
                Ok(end) => ended_log(end),
                Err(status) => Response {
                    status: Some(status),
                    result: None,
                },
            }
        };
        self.serve(id, Box::pin(work));
    }

    /// Polls a handler once here; one that is not ready goes to a task of its own.
    fn serve(&self, id: StreamId, work: Pin<Box<dyn Future<Output = Response> + Send>>) {
        let mut work = AssertUnwindSafe(work).catch_unwind();
        if let Some(outcome) = (&mut work).now_or_never() {
            return end_call(&self.shared, id, outcome);
        }
        let shared = self.shared.clone();
        let over = self.over.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                outcome = work => end_call(&shared, id, outcome),
                () = over.cancelled() => {}
            }
        });
    }

    /// Queues packets at the transport.
    fn write(&mut self) -> Result<(), TransportError> {
        if self.shared.lock().session.poll_transport_ping() {
            self.transport.start_send(Message::Ping(bytes::Bytes::new()))?;
        }
        for _ in 0..WRITE_BUDGET {
            let Some(packet) = self.shared.lock().session.poll_packet() else {
                break;
            };
            self.transport.start_send(Message::Binary(packet))?;
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

    async fn close_transport(&mut self, code: CloseCode, reason: &str) {
        let close = async {
            // GoAway and the like first.
            loop {
                poll_fn(|cx| self.transport.poll_ready(cx)).await?;
                let Some(packet) = self.shared.lock().session.poll_packet() else {
                    break;
                };
                self.transport.start_send(Message::Binary(packet))?;
            }
            self.transport
                .start_send(Message::Close(code.0, reason.to_owned()))?;
            poll_fn(|cx| self.transport.poll_flush(cx)).await?;
            // The peer's close, so that ours is not lost to a reset.
            while let Some(Ok(message)) = poll_fn(|cx| self.transport.poll_recv(cx)).await {
                if matches!(message, Message::Close(..)) {
                    break;
                }
            }
            Ok::<_, TransportError>(())
        };
        // However it goes, the connection ends here.
        let _ = tokio::time::timeout(CLOSE_GRACE, close).await;
    }

    fn finish(&mut self, mut ended: Ended) {
        let (events, _) = self.collect(|inner| inner.session.handle_lost());
        let _ = self.tell(events);
        if ended.by_peer {
            // Known only now when GoAway and the close came in one read.
            ended.retry_after = self.retry_after;
        }
        self.over.cancel();
        let mut inner = self.shared.lock();
        for (_, running) in inner.running.drain() {
            if let Some(waker) = running.writer {
                waker.wake();
            }
        }
        drop(inner);
        self.shared.end.send_replace(Some(ended));
    }
}

/// What a round needs to know of the session.
struct Standing {
    output: bool,
    crowded: bool,
    timeout: Option<Instant>,
}

fn wake(waker: &mut Option<std::task::Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

fn broken(error: &TransportError) -> Ended {
    let code = match error {
        TransportError::TooLarge { .. } => CloseCode::TOO_BIG,
        TransportError::Protocol(_) => CloseCode::PROTOCOL,
        TransportError::Io(_) => CloseCode::ABNORMAL,
    };
    let mut reason = error.to_string();
    if let Some(source) = std::error::Error::source(error) {
        reason = format!("{reason}: {source}");
    }
    Ended {
        code,
        reason,
        by_peer: false,
        retry_after: Duration::ZERO,
    }
}

fn ended_log(end: LogsEnd) -> Response {
    Response {
        status: None,
        result: Some(response::Result::LogsEnd(end)),
    }
}

fn end_call(shared: &Shared, id: StreamId, outcome: std::thread::Result<Response>) {
    let response = outcome.unwrap_or_else(|_| {
        let status = Status::new(
            Code::Internal,
            reason::PLUGIN_ERROR,
            "the handler of this call panicked",
        );
        Response {
            status: Some(status),
            result: None,
        }
    });
    shared.with(|inner| {
        inner.running.remove(&id);
        inner.session.respond(id, response);
    });
}
