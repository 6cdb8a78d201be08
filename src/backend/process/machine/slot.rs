//! One container of a pod and where it stands.

use std::time::{Duration, Instant, SystemTime};

use super::restart::Backoff;
use crate::backend::process::spec::Exit;

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
    pub(super) backoff: Backoff,
    /// It ran at some time.
    pub(super) has_run: bool,
    /// By when it was told to have stopped.
    pub(super) stopped: Option<Instant>,
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
    /// present one. The present one is then told by [`super::Machine::observe`].
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

    pub(super) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Running { .. })
    }

    /// It will not run again.
    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended(_))
    }
}
