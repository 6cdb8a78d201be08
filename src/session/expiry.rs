//! Deadlines of calls, in both directions.

use std::time::Instant;

use super::{Session, streams::OutgoingState};
use crate::{code::Code, wire::Status};

impl Session {
    pub(super) fn expire_calls(&mut self, now: Instant) {
        if self.streams.next_deadline.is_none_or(|at| at > now) {
            return;
        }
        let due = |deadline: Option<Instant>| deadline.is_some_and(|at| at <= now);
        for id in self.streams.outgoing.ids(|_, stream| due(stream.deadline)) {
            if self
                .streams
                .outgoing
                .get(&id)
                .is_some_and(|s| s.state == OutgoingState::Cancelling)
            {
                self.streams.remove_outgoing(id);
                self.schedule.forget_control(id);
                self.codec.forget(id);
            } else {
                self.end_outgoing(
                    id,
                    Status::new(Code::DeadlineExceeded, "", "no answer in time"),
                    now,
                );
            }
        }
        for id in self.streams.incoming.ids(|_, stream| due(stream.deadline)) {
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
