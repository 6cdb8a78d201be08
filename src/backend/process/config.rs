//! What the process backend is told, and what of it can be wrong.

use std::{path::PathBuf, time::Duration};

use super::Capacity;

/// Settings of a [`super::ProcessBackend`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProcessConfig {
    /// Where pods are kept; made with mode 0700 if need be. One plugin each.
    pub state_dir: PathBuf,
    /// A binary that has the hidden `supervise DIR` subcommand.
    pub program: PathBuf,
    /// Processors to announce, in thousandths; what this machine has when none.
    pub cpu_millis: Option<u64>,
    /// Memory to announce, in bytes; what this machine has when none.
    pub memory: Option<u64>,
    /// Pods to announce. Kubernetes holds to it; the backend itself takes up to [`MAX_PODS`].
    pub pods: u32,
    /// Most bytes of log kept of one run.
    pub log_cap: u64,
    /// Bytes in one log segment.
    pub log_segment: u64,
    /// How often the node is looked at; a change is told to the hub.
    pub node_interval: Duration,
}

/// Pods announced unless set: the kubelet's default.
pub const PODS: u32 = 110;

/// How often the node is looked at: a full disk is told before the next create meets it.
const NODE_INTERVAL: Duration = Duration::from_secs(15);

/// Pods kept at most, ended ones included. The create that would pass it pays: RESOURCE_EXHAUSTED.
pub const MAX_PODS: usize = 10_000;

/// Why a process backend cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting is wrong.
    #[error("{key}: {problem}")]
    Config {
        /// Which one.
        key: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// The state directory cannot be used.
    #[error("state directory {}", dir.display())]
    StateDir {
        /// Which one.
        dir: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl ProcessConfig {
    /// Settings that announce this machine, with this binary as the supervisor.
    ///
    /// # Errors
    /// When the path of this binary is not known.
    pub fn new(state_dir: impl Into<PathBuf>) -> Result<Self, StartError> {
        let program = std::env::current_exe().map_err(|error| {
            wrong(
                "program",
                format!("the path of this binary is not known: {error}"),
            )
        })?;
        Ok(Self {
            state_dir: state_dir.into(),
            program,
            cpu_millis: None,
            memory: None,
            pods: PODS,
            log_cap: super::spec::LOG_CAP,
            log_segment: super::spec::LOG_SEGMENT,
            node_interval: NODE_INTERVAL,
        })
    }

    /// Checks all settings.
    ///
    /// # Errors
    /// The first one that is wrong.
    pub fn validate(&self) -> Result<(), StartError> {
        if self.state_dir.as_os_str().is_empty() {
            return Err(wrong("state_dir", "must be given"));
        }
        if self.state_dir.to_str().is_none() {
            return Err(wrong(
                "state_dir",
                "must be UTF-8: containers get it in their environment",
            ));
        }
        if !self.program.is_absolute() {
            return Err(wrong("program", "must be an absolute path"));
        }
        if self.cpu_millis == Some(0) {
            return Err(wrong("cpu", "must be more than 0"));
        }
        if self.memory == Some(0) {
            return Err(wrong("memory", "must be more than 0"));
        }
        if self.node_interval.is_zero() {
            return Err(wrong("node_interval", "must be more than 0"));
        }
        if self.pods == 0 {
            return Err(wrong("pods", "must be more than 0"));
        }
        if self.log_segment == 0 || self.log_cap < self.log_segment {
            return Err(wrong(
                "log_cap",
                "must be at least one log segment, which must be more than 0",
            ));
        }
        Ok(())
    }

    /// What is announced: as set, else what this machine has now.
    pub(crate) fn capacity(&self) -> Capacity {
        let machine = Capacity::of_this_machine();
        Capacity {
            cpu_millis: self.cpu_millis.unwrap_or(machine.cpu_millis),
            memory: self.memory.unwrap_or(machine.memory),
        }
    }
}

fn wrong(key: &'static str, problem: impl Into<String>) -> StartError {
    StartError::Config {
        key,
        problem: problem.into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_machine_is_announced_and_settings_are_checked() {
        let config = ProcessConfig::new("/tmp/x").unwrap();
        config.validate().unwrap();
        assert!(config.capacity().memory > 0 && config.capacity().cpu_millis > 0);
        let error = ProcessConfig {
            program: "towline".into(),
            ..config.clone()
        }
        .validate()
        .unwrap_err();
        assert_eq!(error.to_string(), "program: must be an absolute path");
        assert!(
            ProcessConfig {
                log_cap: 1,
                ..config.clone()
            }
            .validate()
            .is_err()
        );
        assert!(
            ProcessConfig {
                state_dir: PathBuf::new(),
                ..config
            }
            .validate()
            .is_err()
        );
    }
}
