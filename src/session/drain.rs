//! How a link ends: drain, close, loss.

use std::time::{Duration, Instant};

use super::{
    Event, Session, State,
    streams::{IncomingState, Kind, OutgoingState},
};
use crate::{
    code::{CloseCode, Code, reason},
    limits,
    wire::{GoAway, Response, Side, Status, StreamId},
};

impl Session {
    /// Says GoAway, takes no new call, ends log streams (they go on elsewhere by position), lets calls finish for
    /// `grace`, then closes with `code`.
    pub fn drain(
        &mut self,
        code: CloseCode,
        why: &str,
        grace: Duration,
        retry_after: Duration,
        now: Instant,
    ) {
        match self.state {
            State::Open => {}
            State::Closed | State::Draining => return,
            _ => return self.close(code, why),
        }
        self.state = State::Draining;
        self.closing = Some((code, limits::cut(why, limits::MAX_CLOSE_REASON).to_owned()));
        self.drain_deadline = Some(now + grace);
        self.said = Some(code);
        self.schedule.go_away(GoAway {
            code: u32::from(code.0),
            reason: why.to_owned(),
            last_stream: self.streams.last_peer.0,
            grace_ms: grace.as_millis() as u64,
            retry_after_ms: retry_after.as_millis() as u64,
        });
        let draining = || Status::new(Code::Unavailable, reason::DRAINING, "the peer is going away");
        let logs = |kind: Kind| kind == Kind::Logs;
        for id in self.streams.outgoing.ids(|_, stream| logs(stream.kind)) {
            self.end_outgoing(id, draining(), now);
        }
        for id in self.streams.incoming.ids(|_, stream| logs(stream.kind)) {
            self.expire_incoming(id, draining());
        }
        self.check_drained();
    }

    /// Closes when draining is through.
    pub(super) fn check_drained(&mut self) {
        if self.state != State::Draining {
            return;
        }
        let busy_out = self
            .streams
            .outgoing
            .values()
            .any(|s| s.state != OutgoingState::Cancelling);
        let busy_in =
            self.streams.incoming.values().any(|s| {
                matches!(s.state, IncomingState::Running | IncomingState::Ending) || !s.send.is_empty()
            });
        if !busy_out && !busy_in {
            self.finish_drain();
        }
    }

    pub(super) fn finish_drain(&mut self) {
        let (code, why) = self.closing.take().unwrap_or((CloseCode::DRAIN, String::new()));
        self.close(code, &why);
    }

    pub(super) fn handle_go_away(&mut self, go_away: GoAway) {
        let code = CloseCode(u16::try_from(go_away.code).unwrap_or(CloseCode::DRAIN.0));
        self.peer_drains = true;
        let untaken = (self.streams.outgoing)
            .ids(|id, stream| id.0 > go_away.last_stream || stream.state == OutgoingState::Queued);
        for id in untaken {
            let status =
                Status::new(Code::Unavailable, reason::DRAINING, "the peer is going away").not_started();
            self.lose_outgoing(id, status);
        }
        self.events.push_back(Event::GoAway {
            code,
            reason: go_away.reason,
            retry_after: Duration::from_millis(go_away.retry_after_ms),
        });
        self.check_drained();
    }

    /// Ends the session now: every open call ends locally, [`Event::Closed`] comes last.
    pub fn close(&mut self, code: CloseCode, why: &str) {
        if self.state == State::Closed {
            return;
        }
        self.end_all();
        let reason = limits::cut(why, limits::MAX_CLOSE_REASON).to_owned();
        self.events.push_back(Event::Closed { code, reason });
    }

    /// Says GoAway with the code of a close, unless one said it: for a transport whose close has no code. A plugin that was
    /// not welcomed may say nothing, and its end says enough.
    pub fn farewell(&mut self, code: CloseCode, why: &str) {
        let silent = self.side == Side::Plugin && self.handshake_deadline.is_some();
        if silent || self.said == Some(code) {
            return;
        }
        self.said = Some(code);
        self.schedule.go_away(GoAway {
            code: u32::from(code.0),
            reason: limits::cut(why, limits::MAX_CLOSE_REASON).to_owned(),
            // As any close, it says nothing of calls: each of them may have begun.
            last_stream: u32::MAX,
            grace_ms: 0,
            retry_after_ms: 0,
        });
    }

    /// The transport has ended by itself or by the peer: every open call ends locally.
    pub fn handle_lost(&mut self) {
        if self.state != State::Closed {
            self.end_all();
        }
    }

    fn end_all(&mut self) {
        self.state = State::Closed;
        for id in self.streams.outgoing.ids(|_, _| true) {
            let mut status = Status::new(
                Code::Unavailable,
                reason::SESSION_LOST,
                "the connection ended before the answer",
            );
            let stream = self.streams.outgoing.get(&id);
            status.not_started = stream.is_some_and(|stream| stream.state == OutgoingState::Queued);
            self.lose_outgoing(id, status);
        }
        for id in self.streams.incoming.ids(|_, _| true) {
            if let Some(stream) = self.streams.remove_incoming(id)
                && stream.state == IncomingState::Running
            {
                self.events.push_back(Event::Cancelled(id));
            }
        }
        self.schedule.clear_streams();
    }

    /// Removes a call of ours and tells its owner, unless it was told before.
    pub(super) fn lose_outgoing(&mut self, id: StreamId, status: Status) {
        if let Some(stream) = self.streams.remove_outgoing(id)
            && stream.state != OutgoingState::Cancelling
        {
            self.events
                .push_back(Event::Response(id, Response::failed(status).into()));
        }
    }
}
