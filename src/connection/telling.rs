//! What happened on the session goes to who waits for it, and calls of the peer to their handlers.

use std::{
    panic::AssertUnwindSafe,
    task::{Context, Poll, Waker},
};

use futures::{
    FutureExt,
    future::{CatchUnwind, Either, Ready, ready},
};
use tokio::sync::oneshot;

use super::{
    BodyReader, BodySink, BoxFuture, CancelSignal, LogSink,
    driver::{Driver, End},
    shared::{Inner, Note, Pending, Receiving, Running},
};
use crate::{
    code::{Code, reason},
    session::{Event, streams_body},
    transport::Transport,
    wire::{LogsEnd, Request, Response, Status, StreamId, StreamLogs, response},
};

/// What came out of a round for others, until its locks are free.
#[derive(Debug, Default)]
pub(super) struct Tidings {
    /// Answers of handlers that were ready at once.
    pub(super) answers: Vec<(StreamId, Box<Response>)>,
    responses: Vec<(oneshot::Sender<Box<Response>>, Box<Response>)>,
    wakers: Vec<Waker>,
}

impl Tidings {
    /// Gives back what room is empty.
    pub(super) fn rest(&mut self) {
        self.answers.shrink_to_fit();
        self.responses.shrink_to_fit();
        self.wakers.shrink_to_fit();
    }

    /// Wakes who waits; says how many.
    fn deliver(&mut self) -> usize {
        let count = self.responses.len() + self.wakers.len();
        for (answer, response) in self.responses.drain(..) {
            // A caller that has just gone needs no answer.
            let _ = answer.send(response);
        }
        for waker in self.wakers.drain(..) {
            waker.wake();
        }
        count
    }

    /// What concerns one stream goes to who waits for it.
    fn note(&mut self, inner: &mut Inner, event: Event) {
        match event {
            Event::Response(id, response) => self.note_response(inner, id, response),
            Event::LogChunk(id, chunk) => {
                if let Some(Pending::Logs(reading)) = inner.pending.get_mut(&id) {
                    reading.chunks.push_back(chunk);
                    self.wakers.extend(reading.waker.take());
                }
            }
            Event::Data(id, data) => {
                let body = match inner.pending.get_mut(&id) {
                    Some(Pending::Body(exchange)) => Some(&mut exchange.body),
                    _ => (inner.running.get_mut(&id)).and_then(|running| running.body.as_deref_mut()),
                };
                // What nobody reads is dropped, and its credit never comes back: the first grant bounds it.
                if let Some(body) = body {
                    body.take(data);
                    self.wakers.extend(body.waker.take());
                }
            }
            Event::Cancelled(id) => {
                if let Some(running) = inner.running.get_mut(&id) {
                    running.cancel();
                }
            }
            Event::Writable(id) => {
                if let Some(Pending::Body(exchange)) = inner.pending.get_mut(&id) {
                    self.wakers.extend(exchange.writer.take());
                } else if let Some(running) = inner.running.get_mut(&id) {
                    self.wakers.extend(running.writer.take());
                }
            }
            _ => {}
        }
    }

    fn note_response(&mut self, inner: &mut Inner, id: StreamId, response: Box<Response>) {
        match inner.pending.get_mut(&id) {
            Some(Pending::Call(_)) => {
                if let Some(Pending::Call(answer)) = inner.pending.remove(&id) {
                    self.responses.push((answer, response));
                }
            }
            Some(Pending::Logs(reading)) => {
                reading.end = Some(response);
                self.wakers.extend(reading.waker.take());
            }
            Some(Pending::Body(exchange)) => {
                exchange.end = Some(response);
                self.wakers.extend(exchange.writer.take());
                self.wakers.extend(exchange.body.waker.take());
            }
            None => {}
        }
    }
}

fn is_of_a_stream(event: &Event) -> bool {
    matches!(
        event,
        Event::Response(..)
            | Event::LogChunk(..)
            | Event::Data(..)
            | Event::Cancelled(_)
            | Event::Writable(_)
    )
}

impl<T: Transport> Driver<T> {
    /// Tells what happened, in order. How many were woken; an error when the session wants to close.
    pub(super) fn tell(&mut self) -> Result<usize, End> {
        let mut close = None;
        while let Some(event) = self.events.pop_front() {
            match event {
                Event::Request(id, request) => self.serve_request(id, *request),
                Event::StreamLogs(id, open) => self.serve_logs(id, *open),
                Event::PodEvent(event) => self.peer.pod_event(*event),
                Event::EventAck(ack) => self.peer.event_ack(ack),
                Event::NodeStatus(status) => self.peer.node_status(*status),
                Event::GoAway {
                    code,
                    reason,
                    retry_after,
                } => {
                    // The last one counts, but for the wish of one before it.
                    self.retry_after = self.retry_after.max(retry_after);
                    self.going = Some((code, reason.clone()));
                    self.peer.going_away(code, &reason, retry_after);
                }
                Event::Closed { code, reason } => close = Some(End::Close(code, reason)),
                Event::Register(_) | Event::Welcome(_) => {}
                event => {
                    let mut inner = self.shared.lock();
                    self.told.note(&mut inner, event);
                    // One lock for all that stand in a row.
                    while self.events.front().is_some_and(is_of_a_stream)
                        && let Some(event) = self.events.pop_front()
                    {
                        self.told.note(&mut inner, event);
                    }
                }
            }
        }
        let woke = self.told.deliver();
        close.map_or(Ok(woke), Err)
    }

    /// The peer's call is at work: from now on it can be cancelled, and wait for room or bytes.
    fn begin(&self, id: StreamId, cancel: &CancelSignal, body: Option<Box<Receiving>>) {
        let running = Running {
            cancel: cancel.clone(),
            writer: None,
            body,
        };
        self.shared.lock().running.insert(id, running);
    }

    fn serve_request(&mut self, id: StreamId, request: Request) {
        let cancel = self.unused.take().unwrap_or_default();
        if streams_body(&request) {
            self.begin(id, &cancel, Some(Box::default()));
            let reader = BodyReader::new(self.shared.clone(), id, cancel.clone());
            let sink = BodySink::of_handler(self.shared.clone(), id);
            let peer = &self.peer;
            let work = start(|| peer.exchange(request, reader, sink, cancel));
            return self.serve(id, work);
        }
        let peer = &self.peer;
        let mut work = start(|| peer.request(request, cancel.clone()));
        match first(&mut work) {
            Some(response) => {
                self.told.answers.push((id, response));
                self.unused = Some(cancel).filter(CancelSignal::is_alone);
            }
            None => {
                self.begin(id, &cancel, None);
                self.go_on(id, work);
            }
        }
    }

    fn serve_logs(&mut self, id: StreamId, open: StreamLogs) {
        let cancel = CancelSignal::default();
        self.begin(id, &cancel, None);
        let sink = LogSink::new(self.shared.clone(), id, cancel);
        let peer = &self.peer;
        let work = start(|| {
            let work = peer.stream_logs(open, sink);
            Box::pin(async { work.await.map_or_else(Response::failed, ended_log) })
        });
        self.serve(id, work);
    }

    /// Polls a handler once here; one that is not ready goes to a task of its own.
    fn serve(&mut self, id: StreamId, mut work: Work) {
        match first(&mut work) {
            Some(response) => self.told.answers.push((id, response)),
            None => self.go_on(id, work),
        }
    }

    fn go_on(&mut self, id: StreamId, work: Work) {
        let shared = self.shared.clone();
        let over = self.over.get_or_insert_default().clone();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                outcome = work => {
                    let response = outcome.unwrap_or_else(|_| panicked());
                    shared.leave(Note::Answer(id, response.into()));
                }
                () = over.cancelled() => {}
            }
        });
    }
}

/// A handler at work; an error is its panic.
type Work = Either<CatchUnwind<AssertUnwindSafe<BoxFuture<Response>>>, Ready<std::thread::Result<Response>>>;

/// Calls a handler: what it panics with before it has made its future counts too.
fn start(handler: impl FnOnce() -> BoxFuture<Response>) -> Work {
    match std::panic::catch_unwind(AssertUnwindSafe(handler)) {
        Ok(work) => Either::Left(AssertUnwindSafe(work).catch_unwind()),
        Err(panic) => Either::Right(ready(Err(panic))),
    }
}

/// Its answer goes to where it stays at once: each step that it would take by value copies it.
fn first(work: &mut Work) -> Option<Box<Response>> {
    let mut cx = Context::from_waker(Waker::noop());
    match work.poll_unpin(&mut cx) {
        Poll::Ready(Ok(response)) => Some(Box::new(response)),
        Poll::Ready(Err(_)) => Some(panicked().into()),
        Poll::Pending => None,
    }
}

fn panicked() -> Response {
    let text = "the handler of this call panicked";
    Response::failed(Status::new(Code::Internal, reason::PLUGIN_ERROR, text))
}

fn ended_log(end: LogsEnd) -> Response {
    Response {
        status: None,
        result: Some(response::Result::LogsEnd(end)),
    }
}
