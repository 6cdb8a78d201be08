//! What is said of the end.

use std::fs;

use nix::sys::{signal::Signal, wait::WaitStatus};

use super::{Phase, Watch};
use crate::backend::process::{
    spec::{Exit, LOG},
    termination,
};

impl Watch {
    /// The exit record; `clean` says that no process is left.
    pub(super) fn exit(self, clean: bool) -> Exit {
        let oom_killed = self
            .oom_kills
            .zip(oom_kills())
            .is_some_and(|(before, now)| now > before);
        let (exit_code, signal) = match self.ended {
            Some(WaitStatus::Exited(_, code)) => (code, 0),
            Some(WaitStatus::Signaled(_, signal, _)) => (128 + signal as i32, signal as i32),
            _ => (137, 0),
        };
        let killed_by_kernel = signal == Signal::SIGKILL as i32 && self.phase != Phase::Killing && oom_killed;
        let mut exit = match &self.failure {
            Some(failure) => Exit::not_started(failure.exit_code, &failure.reason, failure.message.clone()),
            None => {
                let reason = if exit_code == 0 { "Completed" } else { "Error" };
                Exit {
                    signal,
                    started_at: self.started_at,
                    started: self.started_at.is_some(),
                    ..Exit::not_started(exit_code, reason, "")
                }
            }
        };
        if killed_by_kernel {
            exit.reason = "OOMKilled".into();
            exit.message = "the kernel killed it for want of memory".into();
        }
        if self.overdue {
            exit.message = "still there when the grace period after SIGTERM was over: killed".into();
        }
        if let Some((reason, message)) = &self.fault {
            exit.reason = (*reason).to_owned();
            exit.message.clone_from(message);
        }
        self.add_termination_message(&mut exit);
        if !clean {
            exit.message = format!("{} (some of its processes could not be killed)", exit.message)
                .trim_start()
                .to_owned();
        }
        exit.oom_killed = killed_by_kernel;
        exit.stopped = self.stopped;
        exit.log_end = self.log.end();
        exit.log_lost = self.log.lost();
        exit
    }
}

impl Watch {
    /// What the container says of its own end follows what we say, as in the kubelet.
    fn add_termination_message(&self, exit: &mut Exit) {
        let Some(message) = self.spec.termination.as_ref().filter(|_| exit.started) else {
            return;
        };
        let mut said = message.read(&self.dir);
        if said.is_empty() && message.or_log && exit.exit_code != 0 {
            said = termination::last_words(&self.dir.join(LOG));
        }
        if said.is_empty() {
            return;
        }
        if !exit.message.is_empty() {
            exit.message.push_str(": ");
        }
        exit.message.push_str(&said);
    }
}

/// How many processes of this control group were killed for want of memory (cgroup v2, memory.events).
pub(super) fn oom_kills() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let events = fs::read_to_string(format!("/sys/fs/cgroup{group}/memory.events")).ok()?;
    events
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "))?
        .trim()
        .parse()
        .ok()
}
