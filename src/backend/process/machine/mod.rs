//! The life of a pod, pure: which container starts, which is stopped, when it is over.
//!
//! ```text
//!             start                 run seen             exit, no restart
//!  Waiting ----------> Starting ----------------> Running ----------------> Ended
//!                          ^  \______ exit ______/   |                        ^
//!                          |                         | exit, restart          |
//!                          +------- Backoff <--------+       the pod ends ----+
//! ```
//!
//! Init containers start one after the other, each when the former has ended with 0; a native sidecar lets the next
//! one go as soon as it runs. Then all main containers. When the pod ends, main containers are stopped together and
//! then the sidecars, the last one first.
//!
//! Knows runs by what they report; knows nothing of processes, files or the wire. Learn [`Machine`] and [`Slot`].

mod ending;
mod restart;
mod slot;
mod stopping;

use std::time::{Duration, Instant};

#[cfg(test)]
pub(crate) use self::restart::BACKOFF_FIRST;
pub(crate) use self::{
    ending::Ending,
    slot::{Kind, Phase, Slot},
};
use self::{ending::late, restart::restarts};
use super::spec::{Exit, RunState};
use crate::interlink::RestartPolicy;

/// A longer grace is as good as this one: a week.
const MAX_GRACE: Duration = Duration::from_secs(7 * 24 * 3600);

/// What is to be done; an index says to which container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Begin run number `epoch`.
    Start {
        /// Which container.
        slot: usize,
        /// Which run, from 1.
        epoch: u64,
    },
    /// End the present run.
    Stop {
        /// Which container.
        slot: usize,
        /// Seconds until SIGKILL.
        grace_seconds: u64,
    },
}

/// A pod's containers and what becomes of them.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    /// Init containers (sidecars included) in order, then the main ones.
    pub(crate) slots: Vec<Slot>,
    policy: RestartPolicy,
    grace: Duration,
    deadline: Option<(Instant, u64)>,
    /// Why it ends, and by when.
    ending: Option<(Ending, Instant)>,
    /// It ends without any grace.
    at_once: bool,
}

impl Machine {
    /// A pod with these containers; `deadline` is when `activeDeadlineSeconds` (given beside it) will have passed.
    pub(crate) fn new(
        slots: Vec<Slot>,
        policy: RestartPolicy,
        grace: Duration,
        deadline: Option<(Instant, u64)>,
    ) -> Self {
        Self {
            slots,
            policy,
            grace,
            deadline,
            ending: None,
            at_once: false,
        }
    }

    /// Begins the end of the pod. A delete overrules every other reason; it may only shorten the grace.
    pub(crate) fn end(&mut self, why: Ending, grace: Option<Duration>, now: Instant) {
        let grace = grace.unwrap_or(self.grace).min(MAX_GRACE);
        let by = now + grace;
        self.at_once |= grace.is_zero();
        self.ending = Some(match self.ending.take() {
            None => (why, by),
            Some((Ending::Deleted, before)) => (Ending::Deleted, before.min(by)),
            Some((Ending::Done, _)) => (why, by),
            Some((_, before)) if why == Ending::Deleted => (why, before.min(by)),
            Some(before) => before,
        });
    }

    /// Takes in what became of a container's present run.
    pub(crate) fn observe(&mut self, index: usize, state: RunState, now: Instant) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        if !slot.is_live() {
            return;
        }
        match state {
            RunState::Starting => {}
            RunState::Running { started_at } => {
                slot.has_run = true;
                slot.phase = Phase::Running { started_at };
            }
            RunState::Exited(exit) => self.exited(index, exit, now),
        }
    }

    fn exited(&mut self, index: usize, exit: Exit, now: Instant) {
        let ending = self.ending.is_some();
        let policy = self.policy;
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        slot.has_run |= exit.started;
        slot.stopped = None;
        let again = !ending
            && match slot.kind {
                Kind::Sidecar => true,
                Kind::Init => exit.exit_code != 0 && policy != RestartPolicy::Never,
                Kind::Main => restarts(policy, exit.exit_code),
            };
        if again {
            let ran = exit
                .started_at
                .and_then(|at| exit.finished_at.duration_since(at).ok())
                .unwrap_or_default();
            let delay = slot.backoff.after(ran);
            slot.phase = Phase::Backoff {
                until: now + delay,
                delay,
            };
            slot.last = Some(exit);
            return;
        }
        let failed_init = !ending && slot.kind == Kind::Init && exit.exit_code != 0;
        let said = format!(
            "init container {} ended with exit code {}",
            slot.name, exit.exit_code
        );
        let exit = match &self.ending {
            Some((Ending::Deadline(seconds), _)) => late(exit, *seconds),
            _ => exit,
        };
        slot.phase = Phase::Ended(exit);
        if failed_init {
            self.end(Ending::InitFailed(said), None, now);
        }
    }

    /// What is to be done now. Containers that are told to start are taken as started.
    pub(crate) fn actions(&mut self, now: Instant) -> Vec<Action> {
        if self.ending.is_none() {
            if let Some((at, seconds)) = self.deadline
                && now >= at
                && !self.mains_ended()
            {
                self.end(Ending::Deadline(seconds), None, now);
            } else if self.mains_ended() {
                self.end(Ending::Done, None, now);
            }
        }
        match self.ending.clone() {
            Some((why, by)) => self.wind_down(&why, by, now),
            None => self.go_on(now),
        }
    }

    fn go_on(&mut self, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let due = match slot.phase {
                Phase::Waiting => true,
                Phase::Backoff { until, .. } => now >= until,
                _ => false,
            };
            if due {
                slot.runs += 1;
                slot.phase = Phase::Starting;
                actions.push(Action::Start {
                    slot: index,
                    epoch: slot.runs,
                });
            }
            let next_may_go = match slot.kind {
                Kind::Init => slot.is_ended(),
                Kind::Sidecar => slot.has_run,
                Kind::Main => true,
            };
            if !next_may_go {
                break;
            }
        }
        actions
    }

    /// When [`Machine::actions`] has something to do though nothing was observed.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        if self.ending.is_some() {
            return None;
        }
        let backoffs = self.slots.iter().filter_map(|slot| match slot.phase {
            Phase::Backoff { until, .. } => Some(until),
            _ => None,
        });
        backoffs.chain(self.deadline.map(|(at, _)| at)).min()
    }

    /// Whether every container has ended for good.
    pub(crate) fn is_over(&self) -> bool {
        self.slots.iter().all(Slot::is_ended)
    }

    /// Whether every main container ended with 0, and the pod was not cut short.
    pub(crate) fn succeeded(&self) -> bool {
        self.slots.iter().all(|slot| match (&slot.phase, slot.kind) {
            (_, Kind::Sidecar) => true,
            (Phase::Ended(exit), _) => exit.exit_code == 0,
            _ => false,
        })
    }

    fn mains_ended(&self) -> bool {
        self.slots
            .iter()
            .filter(|slot| slot.kind == Kind::Main)
            .all(Slot::is_ended)
    }
}

#[cfg(test)]
mod tests;
