//! The bridge: a link for a plugin that speaks interLink's REST and is not changed.
//!
//! Knows interLink's REST as a caller, the quirks of the plugins that answer it, and which pods a plugin has; knows
//! nothing of hubs or links. Each quirk is absorbed here and nowhere else. Learn [`RestBackend`] (the handler), `Pods`
//! (what is known of the pods), `crate::upstream` (one HTTP call) and `log::stream` (a log that can be gone on with).

mod adopt;
mod answer;
mod config;
mod create;
mod delete;
mod entry;
mod handler;
mod http;
mod log;
mod news;
mod node;
mod pods;
mod poll;
mod record;
mod roster;
mod target;

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

pub use self::config::{Ping, RestConfig, StartError};
use self::{
    log::Logs,
    node::Node,
    pods::Pods,
    record::{Record, Records},
};
use crate::{
    code::{Code, reason},
    plugin::Events,
    upstream::Upstream,
    wire::Status,
};

/// Pods whose records are written at once: a disk does no more.
const TURNS: usize = 64;

/// Passes pods on to a REST plugin. Cheap to clone; when the last clone is dropped the plugin is not asked any more.
#[derive(Clone)]
pub struct RestBackend {
    shared: Arc<Shared>,
    _poll: Arc<AbortOnDropHandle<()>>,
}

struct Shared {
    config: RestConfig,
    upstream: Upstream,
    records: Records,
    /// Records of one pod are written one after the other.
    turns: [tokio::sync::Mutex<()>; TURNS],
    pods: Mutex<Pods>,
    node: Node,
    logs: Logs,
    /// Status calls and pings so far.
    polls: watch::Sender<u64>,
    /// The plugin is asked.
    awake: watch::Sender<bool>,
    events: OnceLock<Events>,
}

impl std::fmt::Debug for RestBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RestBackend")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

impl RestBackend {
    /// Opens the state directory, takes up the pods that it holds, and begins to ask the plugin. Call it inside a tokio
    /// runtime. A plugin that is away is no error: it is waited for.
    ///
    /// # Errors
    /// When a setting is wrong, or the state directory cannot be used or belongs to another bridge.
    pub async fn open(config: RestConfig) -> Result<Self, StartError> {
        let endpoint = config.check()?;
        let dir = config.state_dir.clone();
        let opened = tokio::task::spawn_blocking({
            let dir = dir.clone();
            move || Records::open(&dir)
        });
        let (records, found) = opened
            .await
            .map_err(io::Error::other)
            .and_then(|opened| opened)
            .map_err(|source| StartError::StateDir { dir, source })?;
        if !found.is_empty() {
            tracing::info!(pods = found.len(), "pods are taken up again");
        }
        let interval = config.status_interval;
        let shared = Arc::new(Shared {
            upstream: Upstream::new(endpoint, config.tls.clone()),
            records,
            turns: std::array::from_fn(|_| tokio::sync::Mutex::new(())),
            pods: Mutex::new(Pods::new(found, config.shared, config.others_create)),
            node: Node::new(&config),
            logs: Logs::new(),
            polls: watch::Sender::new(0),
            awake: watch::Sender::new(true),
            events: OnceLock::new(),
            config,
        });
        let poll = tokio::spawn(poll::run(Arc::downgrade(&shared), interval).in_current_span());
        Ok(Self {
            shared,
            _poll: Arc::new(AbortOnDropHandle::new(poll)),
        })
    }
}

impl Shared {
    /// Never held over an await.
    fn pods(&self) -> MutexGuard<'_, Pods> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The turn of a pod, which some others have too.
    fn turn(&self, uid: &str) -> &tokio::sync::Mutex<()> {
        let sum = uid.bytes().fold(0_usize, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(byte.into())
        });
        &self.turns[sum % TURNS]
    }

    /// Writes a record.
    async fn keep(self: &Arc<Self>, record: Record) -> io::Result<()> {
        let _turn = self.turn(record.pod.uid()).lock().await;
        self.write(record).await
    }

    /// Writes the record of a pod as it is now, if it is still there.
    async fn keep_adopted(self: &Arc<Self>, uid: &str) -> io::Result<()> {
        let _turn = self.turn(uid).lock().await;
        let now = self.pods().get(uid).map(|entry| entry.record.clone());
        match now {
            Some(record) => self.write(record).await,
            None => Ok(()),
        }
    }

    async fn write(self: &Arc<Self>, record: Record) -> io::Result<()> {
        let shared = self.clone();
        let written = tokio::task::spawn_blocking(move || shared.records.put(&record)).await;
        written.map_err(io::Error::other).and_then(|put| put)
    }

    /// Removes a record and forgets its pod.
    async fn forget(self: &Arc<Self>, uid: &str, deleted: bool) -> io::Result<()> {
        let _turn = self.turn(uid).lock().await;
        let (shared, name) = (self.clone(), uid.to_owned());
        let removed = tokio::task::spawn_blocking(move || shared.records.remove(&name)).await;
        removed.map_err(io::Error::other).and_then(|removed| removed)?;
        self.pods().remove(uid, deleted);
        self.logs.forget(uid);
        Ok(())
    }
}

/// The state directory cannot be written: it may pass, so the hub repeats the call.
fn unrecorded(error: &io::Error) -> Status {
    let text = format!("the state directory cannot be written: {error}");
    Status::new(Code::Unavailable, reason::NOT_READY, text)
}
