//! How a run is brought to its end.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};

use super::{Hook, Phase, Watch, children};
use crate::backend::process::spec::{self, Stop};

/// What SIGTERM gets at least when preStop has used up the grace period (as the kubelet).
const LAST_GRACE: Duration = Duration::from_secs(2);
/// How long leftover processes may take to die after SIGKILL; one in a dead file system never does.
const REAP_PATIENCE: Duration = Duration::from_secs(10);

impl Watch {
    pub(super) fn take_stop(&mut self) {
        match spec::read_record::<Stop>(&self.dir, spec::STOP) {
            Ok(Some(stop)) => self.stop(stop.grace_seconds),
            Ok(None) => {}
            // Someone wanted an end and how is not known.
            Err(_) => self.stop(self.spec.grace_seconds),
        }
    }

    pub(super) fn stop(&mut self, grace_seconds: u64) {
        self.stopped = true;
        self.end(grace_seconds);
    }

    pub(super) fn end(&mut self, grace_seconds: u64) {
        let until = Instant::now() + Duration::from_secs(grace_seconds.min(u64::from(u32::MAX)));
        if grace_seconds == 0 {
            return self.kill();
        }
        match &mut self.phase {
            Phase::Running if self.spec.pre_stop.is_some() && self.started_at.is_some() => {
                self.phase = Phase::PreStop { until };
                self.start_hook(Hook::PreStop);
            }
            Phase::Running => self.terminate(until),
            Phase::PreStop { until: set } | Phase::Terminating { until: set } => *set = until.min(*set),
            Phase::Killing => {}
        }
    }

    /// To the command alone, as PID 1 of a container would get it: what becomes of its children is its affair until
    /// it has ended or the grace is over.
    fn terminate(&mut self, until: Instant) {
        self.phase = Phase::Terminating { until };
        // Not reaped yet, so the number is still its own.
        if self.ended.is_none() {
            let _ = kill(self.main, Signal::SIGTERM);
        }
    }

    pub(super) fn terminate_after_hook(&mut self, until: Instant) {
        self.terminate(until.max(Instant::now() + LAST_GRACE));
    }

    /// Everything: the command's process group at once, what has left it when the command is reaped.
    pub(super) fn kill(&mut self) {
        self.phase = Phase::Killing;
        // Before it has a group, the process.
        if self.ended.is_none() && killpg(self.main, Signal::SIGKILL).is_err() {
            let _ = kill(self.main, Signal::SIGKILL);
        }
    }

    pub(super) fn timers(&mut self) {
        let now = Instant::now();
        match self.phase {
            Phase::PreStop { until } if until <= now => self.terminate_after_hook(until),
            Phase::Terminating { until } if until <= now => {
                self.overdue = true;
                self.kill();
            }
            _ => {}
        }
    }

    /// True when none is left.
    pub(super) fn end_leftovers(&mut self) -> bool {
        let begun = Instant::now();
        while children::kill_all() {
            if begun.elapsed() > REAP_PATIENCE {
                return false;
            }
            while children::reap().is_some() {}
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }
}
