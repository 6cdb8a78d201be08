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

use std::time::{Duration, Instant, SystemTime};

pub(crate) use super::ending::Ending;
use super::{
    ending::{late, put_to_rest},
    restart::{Backoff, restarts},
    spec::{Exit, RunState},
};
use crate::interlink::RestartPolicy;

/// Sidecars get at least this long when the main containers have used up the grace period, as in the kubelet.
const SIDECAR_GRACE: Duration = Duration::from_secs(2);

/// A longer grace is as good as this one: a week.
const MAX_GRACE: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a container is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Runs to its end before the next one.
    Init,
    /// An init container with `restartPolicy: Always`: runs beside the others until they have ended.
    Sidecar,
    /// One of `spec.containers`.
    Main,
}

/// Where a container stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its turn has not come.
    Waiting,
    /// A run was begun.
    Starting,
    /// The command runs, and its postStart hook has returned.
    Running {
        /// When the command was started.
        started_at: SystemTime,
    },
    /// The last run has ended; the next one follows.
    Backoff {
        /// When the next one starts.
        until: Instant,
        /// How long this delay is in all.
        delay: Duration,
    },
    /// It will not run again.
    Ended(Exit),
}

/// One container of the pod.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    /// Name in the pod spec.
    pub(crate) name: String,
    /// What it is for.
    pub(crate) kind: Kind,
    /// Where it stands.
    pub(crate) phase: Phase,
    /// How many runs were begun: the epoch of the present or last one.
    pub(crate) runs: u64,
    /// How the run before the present one ended; in backoff, the last one.
    pub(crate) last: Option<Exit>,
    backoff: Backoff,
    /// It ran at some time.
    has_run: bool,
    /// By when it was told to have stopped.
    stopped: Option<Instant>,
}

impl Slot {
    /// A container that has not run.
    pub(crate) fn new(name: &str, kind: Kind) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            phase: Phase::Waiting,
            runs: 0,
            last: None,
            backoff: Backoff::default(),
            has_run: false,
            stopped: None,
        }
    }

    /// A container whose runs were found on disk: `runs` were begun, and `last` is the end of the one before the
    /// present one. The present one is then told by [`Machine::observe`].
    pub(crate) fn resume(name: &str, kind: Kind, runs: u64, last: Option<Exit>) -> Self {
        let mut slot = Self::new(name, kind);
        if runs > 0 {
            slot.phase = Phase::Starting;
            slot.runs = runs;
            slot.has_run = last.as_ref().is_some_and(|exit| exit.started);
            slot.last = last;
            for _ in 1..runs.min(10) {
                slot.backoff.after(Duration::ZERO);
            }
        }
        slot
    }

    fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Running { .. })
    }

    /// It will not run again.
    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }
}

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

    fn wind_down(&mut self, why: &Ending, by: Instant, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if !slot.is_live() {
                put_to_rest(slot, why);
            } else if slot.kind != Kind::Sidecar {
                actions.extend(stop(slot, index, by, by.saturating_duration_since(now)));
            }
        }
        let others_ended = self
            .slots
            .iter()
            .all(|slot| slot.kind == Kind::Sidecar || slot.is_ended());
        let last = self
            .slots
            .iter_mut()
            .enumerate()
            .rev()
            .find(|(_, slot)| slot.is_live());
        if let (true, Some((index, slot))) = (others_ended, last) {
            let floor = if self.at_once {
                Duration::ZERO
            } else {
                SIDECAR_GRACE
            };
            actions.extend(stop(
                slot,
                index,
                by,
                by.saturating_duration_since(now).max(floor),
            ));
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

/// Tells a run to stop, unless it was told so already with no later an end.
fn stop(slot: &mut Slot, index: usize, by: Instant, left: Duration) -> Option<Action> {
    if slot.stopped.is_some_and(|told| told <= by) {
        return None;
    }
    slot.stopped = Some(by);
    let grace_seconds = left.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX);
    Some(Action::Stop {
        slot: index,
        grace_seconds,
    })
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
