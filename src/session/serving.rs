//! Calls of the peer: let in or turned away, answered, cancelled.

use std::time::Instant;

use super::{
    Event, Session, State,
    calls::{deadline, default_timeout},
    credit::{RecvWindow, SendCredit, cost},
    sending::{Answer, Sending},
    streams::{Incoming, IncomingState, Kind},
};
use crate::{
    code::{CloseCode, Code, reason},
    limits,
    wire::{Response, Status, StreamId, feature, frame::Body},
};

impl Session {
    pub(super) fn handle_stream(&mut self, id: StreamId, body: Option<Body>, now: Instant) {
        let from_peer = id.opener() != self.side;
        if from_peer && id > self.streams.last_peer {
            return self.handle_new(id, body, now);
        }
        match body {
            Some(Body::Request(_) | Body::StreamLogs(_)) if from_peer => {
                self.violation("a stream id was used again");
            }
            Some(Body::Request(_) | Body::StreamLogs(_)) => {
                self.violation("a stream id of the other parity was opened")
            }
            Some(Body::Response(response)) if !from_peer => self.handle_response(id, response),
            Some(Body::LogChunk(chunk)) if !from_peer => {
                self.handle_bytes(id, Kind::Logs, chunk.data.len(), now, |id| {
                    Event::LogChunk(id, chunk)
                });
            }
            Some(Body::Data(data)) => {
                self.handle_bytes(id, Kind::Call, data.counts(), now, |id| Event::Data(id, data));
            }
            Some(Body::Credit(credit)) => self.handle_credit(id, credit.bytes),
            Some(Body::CancelStream(_)) if from_peer => self.handle_cancel(id),
            _ => self.stats.ignored += 1,
        }
    }

    /// The first frame on a stream of the peer's parity.
    fn handle_new(&mut self, id: StreamId, body: Option<Body>, now: Instant) {
        match body {
            Some(Body::Request(request)) => {
                self.streams.last_peer = id;
                let at = deadline(now, request.timeout_ms, default_timeout(request.op.as_ref()));
                if self.admit(id, Kind::Call, at, limits::BODY_CREDIT, request.sensitive) {
                    self.events.push_back(Event::Request(id, request));
                }
            }
            Some(Body::StreamLogs(open)) => {
                self.streams.last_peer = id;
                let at = deadline(now, open.timeout_ms, limits::LOG_OPEN_TIMEOUT);
                let credit = if self.has_feature(feature::FLOW_CONTROL) {
                    open.credit
                } else {
                    u64::MAX
                };
                if self.admit(id, Kind::Logs, at, credit, false) {
                    self.events.push_back(Event::StreamLogs(id, open));
                }
            }
            None => {
                // A kind of call of a later version: it must get an answer, or its caller hangs.
                self.streams.last_peer = id;
                let text = "this kind of call is not known here";
                self.turn_away(id, Status::new(Code::Unimplemented, reason::NO_SUCH_OP, text));
            }
            Some(_) => self.stats.ignored += 1,
        }
    }

    /// Takes a call of the peer into the table, or answers it at once.
    fn admit(&mut self, id: StreamId, kind: Kind, deadline: Instant, credit: u64, sensitive: bool) -> bool {
        let (max, word) = match kind {
            Kind::Call => (self.config.max_calls, reason::TOO_MANY_CALLS),
            Kind::Logs => (self.config.max_log_streams, reason::TOO_MANY_STREAMS),
        };
        let refusal = if self.state == State::Draining {
            Some(Status::new(Code::Unavailable, reason::DRAINING, "going away"))
        } else if self.streams.incoming_count(kind) >= max as usize {
            let text = format!("at most {max} at once");
            Some(Status::new(Code::ResourceExhausted, word, text))
        } else if kind == Kind::Logs && credit < cost(limits::MAX_LOG_CHUNK) {
            let text = format!(
                "initial credit must be at least {} bytes",
                cost(limits::MAX_LOG_CHUNK)
            );
            Some(Status::new(Code::InvalidArgument, "", text))
        } else {
            None
        };
        if let Some(status) = refusal {
            self.turn_away(id, status);
            return false;
        }
        self.streams.insert_incoming(
            id,
            Incoming {
                kind,
                state: IncomingState::Running,
                deadline: Some(deadline),
                send: Sending::new(SendCredit::new(credit)),
                recv: (kind == Kind::Call).then(RecvWindow::body),
                sensitive,
            },
        );
        true
    }

    fn turn_away(&mut self, id: StreamId, status: Status) {
        if !self.schedule.refusal(id, Response::failed(status.not_started())) {
            self.close(CloseCode::OVERLOADED, "too many refused calls wait to be written");
        }
    }

    /// Answers a call of the peer, once; a log stream's answer leaves behind its chunks.
    pub fn respond(&mut self, id: StreamId, response: impl Into<Box<Response>>) {
        let Some(stream) = self.streams.incoming.get_mut(&id) else {
            return;
        };
        match stream.state {
            IncomingState::Running | IncomingState::Cancelled => {}
            IncomingState::Expired => {
                // Answered when it expired; if that answer has left, this was all that was waited for.
                if stream.send.is_empty() {
                    self.streams.remove_incoming(id);
                } else {
                    stream.state = IncomingState::Ending;
                }
                return self.check_drained();
            }
            IncomingState::Ending => return,
        }
        let answer = Answer::new(
            &*self.codec,
            id,
            response.into(),
            self.peer_limits.max_message_bytes,
        );
        stream.state = IncomingState::Ending;
        stream.send.end(answer);
        self.schedule.answer(id, stream.kind, &mut stream.send);
    }

    fn handle_cancel(&mut self, id: StreamId) {
        let Some(stream) = self.streams.incoming.get_mut(&id) else {
            self.stats.ignored += 1;
            return;
        };
        if stream.state == IncomingState::Running {
            stream.state = IncomingState::Cancelled;
            stream.send.clear();
            self.events.push_back(Event::Cancelled(id));
        }
    }

    /// Ends a call of the peer with a status while its owner still works on it.
    pub(super) fn expire_incoming(&mut self, id: StreamId, status: Status) {
        let Some(stream) = self.streams.incoming.get_mut(&id) else {
            return;
        };
        // Also of one that has its answer, which waits to be written: else it would be due for ever.
        stream.deadline = None;
        if !matches!(stream.state, IncomingState::Running | IncomingState::Cancelled) {
            return;
        }
        if stream.state == IncomingState::Running {
            self.events.push_back(Event::Cancelled(id));
        }
        stream.state = IncomingState::Expired;
        stream.send.end(Answer::failed(&*self.codec, id, status));
        self.schedule.answer(id, stream.kind, &mut stream.send);
    }
}
