//! Calls: opened, answered, cancelled, expired.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{
    Event, Session, State,
    credit::{RecvWindow, SendCredit, cost},
    streams::{Incoming, IncomingState, Kind, Outgoing, OutgoingState},
};
use crate::{
    code::{Code, reason},
    limits,
    wire::{
        Request, Response, Status, StreamId, StreamLogs, codec::encoded_len, feature, frame::Body,
        request::Op,
    },
};

/// What a deadline is when the caller named none.
fn default_timeout(op: Option<&Op>) -> Duration {
    match op {
        Some(Op::CreatePod(_)) => limits::CREATE_TIMEOUT,
        Some(Op::DeletePod(_)) => limits::DELETE_TIMEOUT,
        _ => limits::STATUS_TIMEOUT,
    }
}

/// A deadline that cannot overflow: what lies beyond a day is a day.
fn deadline(now: Instant, timeout_ms: u64, default: Duration) -> Instant {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let timeout = match timeout_ms {
        0 => default,
        ms => Duration::from_millis(ms).min(DAY),
    };
    now + timeout
}

fn failed(status: Status) -> Response {
    Response {
        status: Some(status),
        result: None,
    }
}

impl Session {
    /// Opens a call. Its one [`Event::Response`] comes by the deadline at the latest.
    ///
    /// # Errors
    /// Nothing was begun: the link is not open, the peer takes no more calls, or the request is too large.
    pub fn open_call(&mut self, request: Request, now: Instant) -> Result<StreamId, Status> {
        let metadata: usize = request
            .metadata
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        if metadata > limits::MAX_METADATA {
            let text = format!(
                "metadata of {metadata} bytes is over the limit of {} bytes",
                limits::MAX_METADATA
            );
            return Err(Status::new(Code::InvalidArgument, "", text).not_started());
        }
        let deadline = deadline(now, request.timeout_ms, default_timeout(request.op.as_ref()));
        self.open(Kind::Call, Body::Request(request), deadline, None, now)
    }

    /// Opens a log stream. Chunks come as [`Event::LogChunk`], its end as the one [`Event::Response`]. Credit is
    /// filled in.
    ///
    /// # Errors
    /// As [`Session::open_call`]; UNIMPLEMENTED when the peer has no flow control and the request is not bounded.
    pub fn open_logs(&mut self, mut open: StreamLogs, now: Instant) -> Result<StreamId, Status> {
        let recv = if self.has_feature(feature::FLOW_CONTROL) {
            open.credit = limits::LOG_CREDIT;
            Some(RecvWindow::new(limits::LOG_CREDIT))
        } else {
            let options = open.options.unwrap_or_default();
            let Some(limit) = options.limit_bytes.filter(|_| !options.follow) else {
                let text = "the peer has no flow control: only bounded log requests may be sent";
                return Err(Status::new(Code::Unimplemented, reason::NOT_SUPPORTED, text).not_started());
            };
            Some(RecvWindow::bounded(limit))
        };
        let deadline = deadline(now, open.timeout_ms, limits::LOG_OPEN_TIMEOUT);
        self.open(Kind::Logs, Body::StreamLogs(open), deadline, recv, now)
    }

    fn open(
        &mut self,
        kind: Kind,
        body: Body,
        deadline: Instant,
        recv: Option<RecvWindow>,
        now: Instant,
    ) -> Result<StreamId, Status> {
        let refuse = |code, word, text: String| Err(Status::new(code, word, text).not_started());
        match self.state {
            State::Open if self.peer_drains => {
                return refuse(
                    Code::Unavailable,
                    reason::DRAINING,
                    "the peer is going away".into(),
                );
            }
            State::Open => {}
            State::Draining => {
                return refuse(
                    Code::Unavailable,
                    reason::DRAINING,
                    "this side is going away".into(),
                );
            }
            _ => {
                return refuse(
                    Code::Unavailable,
                    reason::SESSION_LOST,
                    "the link is not open".into(),
                );
            }
        }
        let (max, word) = match kind {
            Kind::Call => (self.peer_limits.max_calls, reason::TOO_MANY_CALLS),
            Kind::Logs => (self.peer_limits.max_log_streams, reason::TOO_MANY_STREAMS),
        };
        if self.streams.outgoing_count(kind) >= max as usize {
            return refuse(
                Code::ResourceExhausted,
                word,
                format!("the peer takes {max} at once, and all are in use"),
            );
        }
        let Some(id) = self.streams.next else {
            return refuse(
                Code::Unavailable,
                reason::SESSION_LOST,
                "the link has used up its stream ids".into(),
            );
        };
        let size = encoded_len(id, &body) as u64;
        if size > self.peer_limits.max_message_bytes {
            let text = format!(
                "the call has {size} bytes, and the peer takes {}",
                self.peer_limits.max_message_bytes
            );
            return refuse(Code::ResourceExhausted, reason::MESSAGE_TOO_LARGE, text);
        }
        self.streams.next = id.next();
        let stream = Outgoing {
            kind,
            state: OutgoingState::Queued,
            deadline: Some(deadline),
            since: now,
            send: SendCredit::default(),
            recv: recv.or_else(|| (kind == Kind::Call).then(|| RecvWindow::new(0))),
            queue: VecDeque::new(),
        };
        self.streams.insert_outgoing(id, stream);
        self.schedule.call(id, body);
        Ok(id)
    }

    /// Gives up on a call of this side. Its owner gets no event any more. An unwritten call is simply removed; a
    /// written one keeps its slot until the peer has answered, or 30 s (CVE-2023-44487).
    pub fn cancel(&mut self, id: StreamId, now: Instant) {
        match self.streams.outgoing.get(&id).map(|stream| stream.state) {
            Some(OutgoingState::Queued) => {
                self.streams.remove_outgoing(id);
                self.schedule.forget_call(id);
                self.check_drained();
            }
            Some(OutgoingState::Sent) => self.begin_cancel(id, now),
            Some(OutgoingState::Cancelling) | None => {}
        }
    }

    fn begin_cancel(&mut self, id: StreamId, now: Instant) {
        let until = now + limits::CANCEL_LINGER;
        if let Some(stream) = self.streams.outgoing.get_mut(&id) {
            stream.state = OutgoingState::Cancelling;
            stream.deadline = Some(until);
            stream.queue.clear();
            self.streams.note_deadline(until);
            self.schedule.cancel(id);
        }
        self.check_drained();
    }

    /// Ends a call of this side for its owner with a local status.
    pub(super) fn end_outgoing(&mut self, id: StreamId, mut status: Status, now: Instant) {
        match self.streams.outgoing.get(&id).map(|stream| stream.state) {
            Some(OutgoingState::Queued) => {
                status.not_started = true;
                self.schedule.forget_call(id);
                self.lose_outgoing(id, status);
            }
            Some(OutgoingState::Sent) => {
                self.events.push_back(Event::Response(id, failed(status)));
                self.begin_cancel(id, now);
            }
            Some(OutgoingState::Cancelling) | None => {}
        }
    }

    /// Answers a call of the peer, once; a log stream's answer leaves behind its chunks.
    pub fn respond(&mut self, id: StreamId, mut response: Response) {
        let Some(stream) = self.streams.incoming.get_mut(&id) else {
            return;
        };
        match stream.state {
            IncomingState::Running | IncomingState::Cancelled => {}
            IncomingState::Expired => {
                // Answered when it expired; if that answer has left, this was all that was waited for.
                if stream.queue.is_empty() {
                    self.streams.remove_incoming(id);
                } else {
                    stream.state = IncomingState::Ending;
                }
                return self.check_drained();
            }
            IncomingState::Ending => return,
        }
        let max = self.peer_limits.max_message_bytes;
        let body = Body::Response(response);
        let size = encoded_len(id, &body) as u64;
        response = match body {
            Body::Response(_) if size > max => failed(Status::new(
                Code::ResourceExhausted,
                reason::MESSAGE_TOO_LARGE,
                format!("the answer has {size} bytes, and the peer takes {max}"),
            )),
            Body::Response(response) => response,
            _ => return,
        };
        stream.state = IncomingState::Ending;
        stream.queue.push_back(Body::Response(response));
        let kind = stream.kind;
        let alone = stream.queue.len() == 1;
        self.schedule.answer(id, kind, alone);
    }

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
                let cost = cost(chunk.data.len());
                self.handle_bytes(id, chunk.data.len(), cost, now, |id| Event::LogChunk(id, chunk));
            }
            Some(Body::Data(data)) => {
                let cost = cost(data.data.len());
                self.handle_bytes(id, data.data.len(), cost, now, |id| Event::Data(id, data));
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
                if self.admit(id, Kind::Call, at, 0) {
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
                if self.admit(id, Kind::Logs, at, credit) {
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
    fn admit(&mut self, id: StreamId, kind: Kind, deadline: Instant, credit: u64) -> bool {
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
                send: SendCredit::new(credit),
                recv: (kind == Kind::Call).then(|| RecvWindow::new(0)),
                queue: VecDeque::new(),
                queued_bytes: 0,
                begun: false,
                blocked: false,
            },
        );
        true
    }

    fn turn_away(&mut self, id: StreamId, status: Status) {
        if !self.schedule.refusal(id, failed(status.not_started())) {
            self.close(
                crate::code::CloseCode::OVERLOADED,
                "too many refused calls wait to be written",
            );
        }
    }

    fn handle_response(&mut self, id: StreamId, response: Response) {
        let Some(stream) = self.streams.remove_outgoing(id) else {
            self.stats.ignored += 1;
            return;
        };
        if stream.state != OutgoingState::Cancelling {
            self.events.push_back(Event::Response(id, response));
        }
        self.schedule.forget_control(id);
        self.check_drained();
    }

    fn handle_cancel(&mut self, id: StreamId) {
        let Some(stream) = self.streams.incoming.get_mut(&id) else {
            self.stats.ignored += 1;
            return;
        };
        if stream.state == IncomingState::Running {
            stream.state = IncomingState::Cancelled;
            stream.queue.clear();
            stream.queued_bytes = 0;
            self.events.push_back(Event::Cancelled(id));
        }
    }

    /// Ends a call of the peer with a status while its owner still works on it.
    pub(super) fn expire_incoming(&mut self, id: StreamId, status: Status) {
        let Some(stream) = self.streams.incoming.get_mut(&id) else {
            return;
        };
        if !matches!(stream.state, IncomingState::Running | IncomingState::Cancelled) {
            return;
        }
        if stream.state == IncomingState::Running {
            self.events.push_back(Event::Cancelled(id));
        }
        stream.state = IncomingState::Expired;
        stream.deadline = None;
        stream.queue.push_back(Body::Response(failed(status)));
        let (kind, alone) = (stream.kind, stream.queue.len() == 1);
        self.schedule.answer(id, kind, alone);
    }

    pub(super) fn expire_calls(&mut self, now: Instant) {
        if self.streams.next_deadline.is_none_or(|at| at > now) {
            return;
        }
        let due = |deadline: Option<Instant>| deadline.is_some_and(|at| at <= now);
        let ours: Vec<StreamId> = self
            .streams
            .outgoing
            .iter()
            .filter(|(_, s)| due(s.deadline))
            .map(|(id, _)| *id)
            .collect();
        for id in ours {
            if self
                .streams
                .outgoing
                .get(&id)
                .is_some_and(|s| s.state == OutgoingState::Cancelling)
            {
                self.streams.remove_outgoing(id);
                self.schedule.forget_control(id);
            } else {
                self.end_outgoing(
                    id,
                    Status::new(Code::DeadlineExceeded, "", "no answer in time"),
                    now,
                );
            }
        }
        let theirs: Vec<StreamId> = self
            .streams
            .incoming
            .iter()
            .filter(|(_, s)| due(s.deadline))
            .map(|(id, _)| *id)
            .collect();
        for id in theirs {
            self.expire_incoming(id, Status::new(Code::DeadlineExceeded, "", "not done in time"));
        }
        let open = self.streams.outgoing.values().map(|s| s.deadline);
        self.streams.next_deadline = open
            .chain(self.streams.incoming.values().map(|s| s.deadline))
            .flatten()
            .min();
        self.check_drained();
    }
}
