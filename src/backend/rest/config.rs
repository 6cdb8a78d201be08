//! Settings of the bridge, checked once.

use std::{io, path::PathBuf, time::Duration};

use crate::{
    limits,
    transport::{Endpoint, EndpointError, TlsConfig},
};

/// Shortest interval between two status calls: below it the plugin would do nothing but answer.
const INTERVAL_MIN: Duration = Duration::from_millis(10);
const INTERVAL_MAX: Duration = Duration::from_secs(3600);

/// How the bridge learns whether the plugin is well, and what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ping {
    /// As interLink does, by `GET /status` with `[]`; if the plugin has never answered that well, by its status calls
    /// and a connection alone.
    #[default]
    Auto,
    /// By `GET /status` with `[]`: an error means that the plugin is not ready.
    Status,
    /// Never with `[]`: by its status calls and a connection alone.
    None,
}

impl Ping {
    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Status => "status",
            Self::None => "none",
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// Says what is known.
    pub fn parse(text: &str) -> Result<Self, String> {
        let all = [Self::Auto, Self::Status, Self::None];
        let found = all.into_iter().find(|ping| ping.word() == text);
        found.ok_or_else(|| format!("{text:?} is not known; use auto, status or none"))
    }
}

/// Settings of the bridge. [`RestConfig::new`] fills in the defaults.
#[derive(Debug, Clone)]
pub struct RestConfig {
    /// The plugin: `http://host:port`, `https://host` or `unix:///path`.
    pub upstream: String,
    /// Where the manifests of the pods are kept over restarts. A directory of this plugin alone.
    pub state_dir: PathBuf,
    /// The plugin is asked for status no more often than this.
    pub status_interval: Duration,
    /// How it is pinged.
    pub ping: Ping,
    /// A create is sent as a list of one, as plugins before interLink 0.5 had it. Answers are read in either form.
    pub legacy_list: bool,
    /// The plugin's own `Follow` is good: followed logs are passed through instead of read again and again.
    pub follow: bool,
    /// The plugin's endpoints beside interLink's may be reached through the hub (feature `http`).
    pub endpoints: bool,
    /// Others create pods at this plugin too: what is not known here is looked for there before it is said to be absent.
    pub shared: bool,
    /// How long a create of others may be under way at a `shared` plugin: until then a pod that it does not mention may come.
    pub others_create: Duration,
    /// How long the plugin may take to answer a create; then its outcome is not known.
    pub create_timeout: Duration,
    /// How long the plugin may take to answer anything else, of a log to begin.
    pub answer_timeout: Duration,
    /// Whom to trust on `https://`.
    pub tls: TlsConfig,
    /// Processors to announce when the plugin does not say.
    pub cpu: String,
    /// Memory to announce when the plugin does not say.
    pub memory: String,
    /// Pods to announce when the plugin does not say.
    pub pods: String,
}

impl RestConfig {
    /// The defaults, for the plugin at `upstream`.
    pub fn new(upstream: impl Into<String>, state_dir: impl Into<PathBuf>) -> Self {
        Self {
            upstream: upstream.into(),
            state_dir: state_dir.into(),
            status_interval: Self::interval_of("rest"),
            ping: Ping::Auto,
            legacy_list: false,
            follow: false,
            endpoints: true,
            shared: false,
            others_create: limits::UPSTREAM_CREATE,
            create_timeout: limits::UPSTREAM_CREATE,
            answer_timeout: limits::UPSTREAM_ANSWER_TIMEOUT,
            tls: TlsConfig::default(),
            cpu: String::new(),
            memory: String::new(),
            pods: String::new(),
        }
    }

    /// The interval that fits a kind of plugin: slurm's answers from a cache for 10 s, whatever it is
    /// asked. A call after 10 s and not a little more gets the cache again: every second one would be for nothing.
    pub fn interval_of(kind: &str) -> Duration {
        Duration::from_millis(if kind == "slurm" { 10_500 } else { 2_000 })
    }

    /// Checks every setting, and reads the address.
    ///
    /// # Errors
    /// Names the setting and what it must be.
    pub fn check(&self) -> Result<Endpoint, StartError> {
        if !(INTERVAL_MIN..=INTERVAL_MAX).contains(&self.status_interval) {
            return Err(StartError::Interval(self.status_interval));
        }
        let longest = self.create_timeout.max(self.answer_timeout);
        if longest > limits::CREATE_TIMEOUT || self.create_timeout.min(self.answer_timeout).is_zero() {
            return Err(StartError::Timeout(longest));
        }
        Ok(Endpoint::parse(&self.upstream)?)
    }
}

/// Why the bridge does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address of the plugin.
    #[error("upstream: {0}")]
    Upstream(#[from] EndpointError),
    /// The interval.
    #[error("status_interval is {0:?}: it must be 10 ms to 1 h")]
    Interval(Duration),
    /// A timeout.
    #[error("create_timeout or answer_timeout is {0:?}: they must be above 0 and at most 110 s")]
    Timeout(Duration),
    /// The state directory.
    #[error("state directory {}: {source}", dir.display())]
    StateDir {
        /// Which.
        dir: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
}
