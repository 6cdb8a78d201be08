//! Calls of this side: opened, given up, ended.

use std::time::{Duration, Instant};

use super::{
    Event, Session, State,
    credit::{RecvWindow, SendCredit},
    sending::{Queued, Sending},
    streams::{Kind, Outgoing, OutgoingState},
};
use crate::{
    code::{CloseCode, Code, reason},
    limits,
    wire::{Request, Response, Status, StreamId, StreamLogs, feature, frame::Body, request::Op},
};

/// What a deadline is when the caller named none.
pub(super) fn default_timeout(op: Option<&Op>) -> Duration {
    match op {
        Some(Op::CreatePod(_)) => limits::CREATE_TIMEOUT,
        Some(Op::DeletePod(_)) => limits::DELETE_TIMEOUT,
        _ => limits::STATUS_TIMEOUT,
    }
}

/// Whether a body may travel with a call, in either direction, as Data.
pub fn streams_body(request: &Request) -> bool {
    matches!(request.op, Some(Op::HttpRequest(_)))
}

/// A deadline that cannot overflow: what lies beyond a day is a day.
pub(super) fn deadline(now: Instant, timeout_ms: u64, default: Duration) -> Instant {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let timeout = match timeout_ms {
        0 => default,
        ms => Duration::from_millis(ms).min(DAY),
    };
    now + timeout
}

impl Session {
    /// Opens a call. Its one [`Event::Response`] comes by the deadline at the latest.
    ///
    /// # Errors
    /// Nothing was begun: the link is not open, the peer takes no more calls, or the request is too large.
    pub fn open_call(&mut self, request: impl Into<Box<Request>>, now: Instant) -> Result<StreamId, Status> {
        let request = request.into();
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
        if streams_body(&request)
            && !(self.has_feature(feature::HTTP) && self.has_feature(feature::FLOW_CONTROL))
        {
            let text = "the peer takes no HTTP requests (features `http` and `flow_control`)";
            return Err(Status::new(Code::Unimplemented, reason::NOT_SUPPORTED, text).not_started());
        }
        let most = self.peer_limits.max_calls / limits::BODY_CALLS_SHARE;
        if streams_body(&request) && self.streams.outgoing_bodies() >= most as usize {
            let text = if most == 0 {
                let (takes, needed) = (self.peer_limits.max_calls, limits::BODY_CALLS_SHARE);
                format!("the peer takes {takes} calls at once; HTTP requests need one that takes {needed}")
            } else {
                format!("{most} HTTP requests to the peer are under way, as many as may be at once")
            };
            return Err(Status::new(Code::ResourceExhausted, reason::TOO_MANY_CALLS, text).not_started());
        }
        let recv = Some(RecvWindow::body());
        let of_a_pod = matches!(request.op, Some(Op::CreatePod(_) | Op::DeletePod(_)));
        let opened = self.open(Kind::Call, Body::Request(request), deadline, recv, now)?;
        if of_a_pod {
            self.intake.asked();
        }
        Ok(opened)
    }

    /// Opens a log stream. Chunks come as [`Event::LogChunk`], its end as the one [`Event::Response`]. Credit is
    /// filled in.
    ///
    /// # Errors
    /// As [`Session::open_call`]; UNIMPLEMENTED when the peer has no flow control and the request is not bounded.
    pub fn open_logs(&mut self, mut open: StreamLogs, now: Instant) -> Result<StreamId, Status> {
        let recv = if self.has_feature(feature::FLOW_CONTROL) {
            open.credit = limits::LOG_CREDIT;
            Some(RecvWindow::logs())
        } else {
            let options = open.options.unwrap_or_default();
            let Some(limit) = options.limit_bytes.filter(|_| !options.follow) else {
                let text = "the peer has no flow control: only bounded log requests may be sent";
                return Err(Status::new(Code::Unimplemented, reason::NOT_SUPPORTED, text).not_started());
            };
            Some(RecvWindow::bounded(limit))
        };
        let deadline = deadline(now, open.timeout_ms, limits::LOG_OPEN_TIMEOUT);
        self.open(Kind::Logs, Body::StreamLogs(open.into()), deadline, recv, now)
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
        let (max, what, word) = match kind {
            Kind::Call => (self.peer_limits.max_calls, "calls", reason::TOO_MANY_CALLS),
            Kind::Logs => (
                self.peer_limits.max_log_streams,
                "log streams",
                reason::TOO_MANY_STREAMS,
            ),
        };
        if self.streams.outgoing_count(kind) >= max as usize {
            return refuse(
                Code::ResourceExhausted,
                word,
                format!("the peer takes {max} {what} at once, and all are in use"),
            );
        }
        let Some(id) = self.streams.next else {
            return refuse(
                Code::Unavailable,
                reason::SESSION_LOST,
                "the link has used up its stream ids".into(),
            );
        };
        let size = self.codec.size(id, &body).map_err(Status::not_started)?;
        if size as u64 > self.peer_limits.max_message_bytes {
            let text = format!(
                "the call has {size} bytes, and the peer takes {}",
                self.peer_limits.max_message_bytes
            );
            return refuse(Code::ResourceExhausted, reason::MESSAGE_TOO_LARGE, text);
        }
        self.streams.next = id.next();
        let credit = match kind {
            Kind::Call => limits::BODY_CREDIT,
            Kind::Logs => 0,
        };
        let sensitive = matches!(&body, Body::Request(request) if request.sensitive);
        let carries_body = matches!(&body, Body::Request(request) if streams_body(request));
        let stream = Outgoing {
            kind,
            state: OutgoingState::Queued,
            deadline: Some(deadline),
            body: carries_body,
            since: now,
            send: Sending::new(SendCredit::new(credit)),
            recv,
            sensitive,
        };
        self.streams.insert_outgoing(id, stream);
        self.schedule.call(id, Queued { body, size });
        if self.streams.next.is_none() {
            // This was the last call of this link, so the peer has to make another one.
            let text = "the link has used up its stream ids";
            self.drain(
                CloseCode::DRAIN,
                text,
                limits::CREATE_TIMEOUT,
                Duration::ZERO,
                now,
            );
        }
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
            stream.send.clear();
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
                self.events
                    .push_back(Event::Response(id, Response::failed(status).into()));
                self.begin_cancel(id, now);
            }
            Some(OutgoingState::Cancelling) | None => {}
        }
    }

    pub(super) fn handle_response(&mut self, id: StreamId, response: Box<Response>) {
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
}
