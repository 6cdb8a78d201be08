//! postStart and preStop.

use std::{
    fs::{self, File},
    process::Stdio,
};

use nix::sys::wait::WaitStatus;

use super::{Hook, Phase, TARGET, Watch, spawn, stage};

/// Bytes of a hook's output that its message holds.
const HOOK_TEXT: usize = 300;

impl Watch {
    pub(super) fn start_hook(&mut self, hook: Hook) {
        let spawned = File::create(self.dir.join("hook.log")).and_then(|said| {
            let name = match hook {
                Hook::PostStart => "post_start",
                Hook::PreStop => "pre_stop",
            };
            let mut command = stage(&self.dir, name);
            command
                .env(TARGET, self.main.to_string())
                .stdin(Stdio::null())
                .stdout(said.try_clone()?)
                .stderr(said);
            spawn(command)
        });
        match spawned {
            Ok(pid) => self.hook = Some((pid, hook)),
            Err(error) => self.hook_ended(hook, Some(error.to_string())),
        }
    }

    pub(super) fn hook_ended(&mut self, hook: Hook, failed: Option<String>) {
        match (hook, failed) {
            (Hook::PostStart, None) => self.tell_started(true),
            (Hook::PostStart, Some(why)) => {
                // One that was stopped meanwhile ends anyway.
                if self.phase == Phase::Running {
                    self.fault = Some(("PostStartHookError", format!("postStart hook: {why}")));
                    self.end(self.spec.grace_seconds);
                }
            }
            (Hook::PreStop, _) => {
                if let Phase::PreStop { until } = self.phase {
                    self.terminate_after_hook(until);
                }
            }
        }
    }

    /// Why a hook has failed; none when it has not.
    pub(super) fn hook_failure(&self, status: WaitStatus) -> Option<String> {
        match status {
            WaitStatus::Exited(_, 0) => None,
            WaitStatus::Exited(_, code) => Some(format!("exit code {code}{}", self.hook_said())),
            WaitStatus::Signaled(_, signal, _) => Some(format!("ended by {signal}{}", self.hook_said())),
            _ => Some("ended".to_owned()),
        }
    }

    fn hook_said(&self) -> String {
        let said = fs::read(self.dir.join("hook.log")).unwrap_or_default();
        let said = String::from_utf8_lossy(&said[..said.len().min(HOOK_TEXT)])
            .trim()
            .replace('\n', " ");
        if said.is_empty() {
            said
        } else {
            format!(": {said}")
        }
    }
}
