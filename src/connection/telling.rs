//! What happened on the session goes to who waits for it, and calls of the peer to their handlers.

use std::{future::Future, panic::AssertUnwindSafe, pin::Pin};

use bytes::Bytes;
use futures::FutureExt;

use super::{
    BodyReader, BodySink, CancelSignal, LogSink,
    driver::Driver,
    shared::{Pending, Receiving, Running, Shared, wake},
};
use crate::{
    code::{CloseCode, Code, reason},
    limits,
    session::{Event, streams_body},
    transport::Transport,
    wire::{LogsEnd, Request, Response, Status, StreamId, StreamLogs, response},
};

impl<T: Transport> Driver<T> {
    /// Tells what happened, in order. Gives the close that the session wants.
    pub(super) fn tell(&mut self, events: Vec<Event>) -> Option<(CloseCode, String)> {
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
                Some(Pending::Body(exchange)) => {
                    exchange.end = Some(response);
                    wake(&mut exchange.writer);
                    wake(&mut exchange.body.waker);
                }
                None => {}
            },
            Event::LogChunk(id, mut chunk) => {
                if let Some(Pending::Logs(reading)) = inner.pending.get_mut(&id) {
                    chunk.data = of_its_own(chunk.data);
                    reading.chunks.push_back(chunk);
                    wake(&mut reading.waker);
                }
            }
            Event::Data(id, mut data) => {
                data.data = of_its_own(data.data);
                let inner = &mut *inner;
                let body = match inner.pending.get_mut(&id) {
                    Some(Pending::Body(exchange)) => Some(&mut exchange.body),
                    _ => (inner.running.get_mut(&id)).and_then(|running| running.body.as_deref_mut()),
                };
                // What nobody reads is dropped, and its credit never comes back: the first grant bounds it.
                if let Some(body) = body {
                    body.take(data);
                }
            }
            Event::Cancelled(id) => {
                if let Some(running) = inner.running.get_mut(&id) {
                    running.cancel.cancel();
                    running.wake();
                }
            }
            Event::Writable(id) => {
                let inner = &mut *inner;
                if let Some(Pending::Body(exchange)) = inner.pending.get_mut(&id) {
                    wake(&mut exchange.writer);
                } else if let Some(running) = inner.running.get_mut(&id) {
                    wake(&mut running.writer);
                }
            }
            _ => {}
        }
    }

    fn begin(&self, id: StreamId, body: Option<Box<Receiving>>) -> CancelSignal {
        let cancel = self.over.child_token();
        self.shared.lock().running.insert(
            id,
            Running {
                cancel: cancel.clone(),
                writer: None,
                body,
            },
        );
        CancelSignal(cancel)
    }

    fn serve_request(&self, id: StreamId, request: Request) {
        let peer = self.peer.clone();
        if !streams_body(&request) {
            let cancel = self.begin(id, None);
            let work = async move { peer.request(request, cancel).await };
            return self.serve(id, Box::pin(work));
        }
        let cancel = self.begin(id, Some(Box::default()));
        let reader = BodyReader::new(self.shared.clone(), id, cancel.clone());
        let sink = BodySink::of_handler(self.shared.clone(), id);
        let work = async move { peer.exchange(request, reader, sink, cancel).await };
        self.serve(id, Box::pin(work));
    }

    fn serve_logs(&self, id: StreamId, open: StreamLogs) {
        let cancel = self.begin(id, None);
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

/// Small bytes are copied out of the message that they came in, of up to 128 KiB: credit counts the bytes of a chunk, and a
/// reader that stands still would keep a whole message for each line.
fn of_its_own(data: Bytes) -> Bytes {
    if data.len() < limits::LOG_CHUNK / 2 {
        Bytes::copy_from_slice(&data)
    } else {
        data
    }
}
