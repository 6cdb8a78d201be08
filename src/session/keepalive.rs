//! Whether the peer still lives (PROTOCOL.md, liveness).
//!
//! Only frames count as life: a proxy answers the transport's pings for a dead plugin (kubernetes#128314). One
//! exception: while a call is open and the transport's pongs come, a silent peer may be busy in that call (a
//! single-threaded plugin inside `sbatch`) and has until the call's deadline.

use std::time::{Duration, Instant};

use super::{Config, Session, streams::Unanswered};
use crate::{code::CloseCode, wire::Side};

#[derive(Debug)]
pub(crate) struct Keepalive {
    last_frame: Instant,
    /// When reading began again after a pause of this side's choice: no silence before counts.
    listening: Instant,
    last_socket: Instant,
    /// When the next regular ping is due; none when this side sends none, as the dialling side by default.
    next_ping: Option<Instant>,
    /// When a ping was sent that nothing has followed.
    pinged: Option<Instant>,
    /// No probe for a waiting call before.
    probe_from: Instant,
    next_id: u64,
    pub(crate) idle: Duration,
    /// Of the regular pings.
    interval: Option<Duration>,
    timeout: Duration,
    probe: Duration,
}

/// What is to be done now.
enum Verdict {
    Fine,
    Ping,
    Dead(&'static str),
}

impl Keepalive {
    pub(crate) fn new(config: &Config, side: Side, now: Instant) -> Self {
        let interval = match side {
            Side::Hub => Some(config.ping_interval),
            Side::Plugin => config.dial_ping_interval,
        };
        Self {
            last_frame: now,
            listening: now,
            last_socket: now,
            next_ping: interval.map(|interval| now + interval),
            pinged: None,
            probe_from: now,
            next_id: 1,
            idle: config.idle,
            interval,
            timeout: config.ping_timeout,
            probe: config.call_probe,
        }
    }

    pub(crate) fn heard_frame(&mut self, now: Instant) {
        self.last_frame = now;
        self.last_socket = now;
        self.pinged = None;
    }

    pub(crate) fn heard_socket(&mut self, now: Instant) {
        self.last_socket = now;
    }

    pub(crate) fn last_frame(&self) -> Instant {
        self.last_frame
    }

    /// This side reads again after a pause: what the peer said meanwhile is still to come.
    pub(crate) fn listens(&mut self, now: Instant) {
        self.listening = now;
        if let Some(at) = &mut self.pinged {
            *at = now;
        }
    }

    fn quiet_since(&self) -> Instant {
        self.last_frame.max(self.listening)
    }

    /// When to look again. `waiting_since` is when the oldest unanswered call began.
    pub(crate) fn next(&self, waiting_since: Option<Instant>) -> Instant {
        let mut next = self.quiet_since() + self.idle;
        if let Some(at) = self.pinged {
            next = next.min(at + self.timeout);
        } else if let Some(since) = waiting_since {
            next = next.min((since + self.probe).max(self.probe_from));
        }
        if let Some(at) = self.next_ping {
            next = next.min(at);
        }
        // A busy peer is past its idle limit and still fine: look at it once a second.
        next.max(self.probe_from)
    }

    /// `reads` is false while this side takes nothing from the peer: then silence says nothing.
    fn judge(&mut self, unanswered: Option<Unanswered>, reads: bool, now: Instant) -> Verdict {
        // The transport's pong came after the last frame, and lately: the process is there, its hands are full.
        let pongs = self.last_socket > self.last_frame && now < self.last_socket + self.timeout * 3;
        let busy = pongs && unanswered.is_some_and(|calls| now < calls.until);
        let excused = busy || !reads;
        if now >= self.quiet_since() + self.idle && !excused {
            return Verdict::Dead("nothing was heard for too long");
        }
        if let Some(at) = self.pinged {
            if now >= at + self.timeout && !excused {
                return Verdict::Dead("no answer to a ping");
            }
        } else if unanswered.is_some_and(|calls| now >= (calls.since + self.probe).max(self.probe_from)) {
            return Verdict::Ping;
        }
        match self.next_ping {
            Some(at) if at <= now => Verdict::Ping,
            _ => Verdict::Fine,
        }
    }

    fn ping(&mut self, now: Instant) -> u64 {
        self.pinged.get_or_insert(now);
        self.next_ping = self.interval.map(|interval| now + interval);
        let id = self.next_id;
        self.next_id += 1;
        id
    }
}

impl Session {
    pub(super) fn keep_alive(&mut self, now: Instant) {
        let unanswered = self.streams.unanswered();
        self.streams.waiting_since = unanswered.map(|calls| calls.since);
        let reads = self.may_read(now);
        match self.keepalive.judge(unanswered, reads, now) {
            Verdict::Fine => {}
            Verdict::Ping => {
                let id = self.keepalive.ping(now);
                self.schedule.ping(id);
                self.socket_ping = true;
            }
            Verdict::Dead(why) => return self.close(CloseCode::IDLE, why),
        }
        self.keepalive.probe_from = now + Duration::from_secs(1);
    }
}

impl Session {
    /// Whether the transport should send a ping of its own beside the Ping frame, once.
    pub fn poll_transport_ping(&mut self) -> bool {
        std::mem::take(&mut self.socket_ping)
    }
}
