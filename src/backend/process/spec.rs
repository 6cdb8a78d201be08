//! What a run is told and what it reports: the files between the plugin and a supervisor.
//!
//! A run is one instance of one container. It lives in `<pod>/containers/<name>/<epoch>/`:
//!
//! | file | written by | says |
//! |---|---|---|
//! | `spec.json` (0600) | plugin | [`RunSpec`] |
//! | `lock` | plugin, then held by the supervisor | locked while the supervisor lives |
//! | `stop` | plugin | [`Stop`]: end the run |
//! | `control` | supervisor | FIFO: a byte wakes it to look at `stop` |
//! | `started.json` | supervisor | [`Started`] |
//! | `exit.json` | supervisor | [`Exit`], last of all |
//! | `log/` | supervisor | see [`super::log`] |
//! | `termination-log` | the container | why it ended, in its own words (see [`Termination`]) |
//! | `supervisor.log` | supervisor | its stderr: what went wrong with the supervisor itself |

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub(crate) use crate::backend::file::write_record;

/// Most bytes of log kept of one run: 4 GiB; then the oldest segment goes.
pub const LOG_CAP: u64 = 4 << 30;
/// Size of one log segment, in bytes.
pub const LOG_SEGMENT: u64 = 64 << 20;

pub use super::termination::Termination;

/// How to run one instance of a container.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSpec {
    /// Command and arguments, expanded. The first is looked up in the container's PATH.
    pub argv: Vec<String>,
    /// The whole environment. May hold secrets.
    pub env: Vec<(String, String)>,
    /// Where it starts; `/` when absent. Must exist.
    pub working_dir: Option<String>,
    /// Volumes to bind.
    pub mounts: Vec<Mount>,
    /// Seconds between SIGTERM and SIGKILL when a stop does not say.
    pub grace_seconds: u64,
    /// Runs once after the start; when it fails the container is ended.
    pub post_start: Option<Vec<String>>,
    /// Runs before SIGTERM, within the grace period.
    pub pre_stop: Option<Vec<String>>,
    /// True when the command and its children may not gain rights by running another program.
    #[serde(default)]
    pub no_new_privileges: bool,
    /// Where the container may say why it ended; none when nobody asks.
    #[serde(default)]
    pub termination: Option<Termination>,
    /// Most bytes of log kept (see [`LOG_CAP`]).
    pub log_cap: u64,
    /// Bytes in a log segment (see [`LOG_SEGMENT`]).
    pub log_segment: u64,
    /// The pod's uid, for people who look at the directory.
    pub pod_uid: String,
    /// The container's name.
    pub container: String,
}

impl std::fmt::Debug for RunSpec {
    // The environment may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunSpec")
            .field("pod_uid", &self.pod_uid)
            .field("container", &self.container)
            .field("mounts", &self.mounts.len())
            .finish_non_exhaustive()
    }
}

/// One bind of a volume into the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// A file or directory of the host.
    pub source: PathBuf,
    /// Where the container sees it: absolute, without `..`. Never created on the host.
    pub target: PathBuf,
    /// True when the container must not write to it.
    pub read_only: bool,
    /// True when the container starts without it where it cannot be bound.
    #[serde(default)]
    pub optional: bool,
}

/// Where a run stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunState {
    /// Not started yet, or its postStart hook has not returned.
    Starting,
    /// The command runs.
    Running {
        /// When it was started.
        started_at: SystemTime,
    },
    /// It has ended, and so have all its descendants.
    Exited(Exit),
}

/// The command was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// When.
    pub started_at: SystemTime,
    /// True when the postStart hook has returned, or there is none.
    pub ready: bool,
}

/// A wish to end the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Seconds until SIGKILL; 0 kills at once, without preStop.
    pub grace_seconds: u64,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit code of the command; 128 + signal when a signal ended it; 128 when it could not be started.
    pub exit_code: i32,
    /// The signal that ended it, or 0.
    pub signal: i32,
    /// Completed, Error, OOMKilled, StartError, PostStartHookError or ContainerLost.
    pub reason: String,
    /// One line for people; may be empty.
    pub message: String,
    /// When the command was started; absent if it never was.
    pub started_at: Option<SystemTime>,
    /// When it had ended.
    pub finished_at: SystemTime,
    /// True when the command was started.
    pub started: bool,
    /// True when the kernel killed it for want of memory.
    pub oom_killed: bool,
    /// True when it was ended by [`Stop`], a kill or SIGTERM to the supervisor.
    pub stopped: bool,
    /// Raw bytes that the run wrote.
    pub log_end: u64,
    /// Of these, bytes that could not be kept because the disk was full.
    pub log_lost: u64,
}

impl Exit {
    /// A run that never got to its command.
    pub fn not_started(exit_code: i32, reason: &str, message: impl Into<String>) -> Self {
        Self {
            exit_code,
            signal: 0,
            reason: reason.to_owned(),
            message: message.into(),
            started_at: None,
            finished_at: SystemTime::now(),
            started: false,
            oom_killed: false,
            stopped: false,
            log_end: 0,
            log_lost: 0,
        }
    }
}

pub(crate) const SPEC: &str = "spec.json";
pub(crate) const LOCK: &str = "lock";
pub(crate) const STOP: &str = "stop";
pub(crate) const CONTROL: &str = "control";
pub(crate) const STARTED: &str = "started.json";
pub(crate) const EXIT: &str = "exit.json";
pub(crate) const LOG: &str = "log";
pub(crate) const TALK: &str = "supervisor.log";

/// Reads a record; none when there is no such file.
pub(crate) fn read_record<T: DeserializeOwned>(dir: &Path, name: &str) -> io::Result<Option<T>> {
    match fs::read(dir.join(name)) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
