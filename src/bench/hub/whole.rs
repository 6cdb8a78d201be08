//! A hub with its HTTP edge and a plugin that dialled it.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use tokio_util::task::AbortOnDropHandle;

use super::client::LETTER;
use crate::{
    http::{self, HttpConfig, Surface},
    hub::{Hub, HubConfig, StateDir},
    plugin::{
        CancellationToken, Create, Created, Delete, Deleted, Events, Handler, LogRequest, LogSink, Plugin,
        PluginConfig, Which,
    },
    transport::Listener,
    wire::{ContainerState, LogChunk, LogPosition, LogsEnd, NodeStatus, PodEventType, PodState, Status},
};

/// The name of the work of a pod.
pub(super) fn job(uid: &str) -> String {
    format!("job-{uid}")
}

/// How long the plugin may take to be ready.
const READY: Duration = Duration::from_secs(20);

/// Everything on the way.
pub(super) struct Whole {
    pub(super) at: SocketAddr,
    _tasks: [AbortOnDropHandle<()>; 2],
    _dir: Option<Dir>,
}

impl Whole {
    pub(super) async fn start(durable: bool, chunk: usize, chunks: Arc<AtomicU64>) -> anyhow::Result<Self> {
        let dir = durable.then(Dir::create).transpose()?;
        let config = HubConfig {
            state_dir: dir.as_ref().map_or(StateDir::None, |dir| StateDir::Path {
                dir: dir.0.clone(),
                key_file: None,
            }),
            ..HubConfig::default()
        };
        let hub = Hub::new(config).map_err(anyhow::Error::msg)?;
        let listener = Listener::bind("127.0.0.1:0", None).await?;
        let at: SocketAddr = listener.local_addr().parse()?;
        let edge = HttpConfig::default();
        let max = edge.max_connections;
        let router = http::router(hub.clone(), edge, Surface::ALL);
        let serving = tokio::spawn(http::serve(listener, router, max, std::future::pending()));
        let handler = Arc::new(Steady {
            pods: Mutex::default(),
            events: OnceLock::new(),
            chunk: vec![LETTER; chunk].into(),
            chunks,
        });
        let plugin = Plugin::new(PluginConfig::new(format!("ws://{at}/ws"), "bench"), handler);
        let plugin = tokio::spawn(async move {
            // It runs until it is dropped; a setting that is wrong shows as a plugin that never comes.
            let _ = plugin.run(CancellationToken::new()).await;
        });
        let (known, mut news) = hub.watch();
        drop(known);
        let ready = async {
            while !hub.plugins().iter().any(|plugin| plugin.ready) {
                // Lagging is no matter: the list is looked at anew.
                let _ = news.recv().await;
            }
        };
        tokio::time::timeout(READY, ready)
            .await
            .context("the plugin did not come")?;
        Ok(Self {
            at,
            _tasks: [serving, plugin].map(AbortOnDropHandle::new),
            _dir: dir,
        })
    }
}

/// A plugin whose pods run from their create to their delete.
struct Steady {
    pods: Mutex<HashMap<String, PodState>>,
    events: OnceLock<Events>,
    chunk: Bytes,
    chunks: Arc<AtomicU64>,
}

impl Handler for Steady {
    async fn create(&self, create: Create) -> Result<Created, Status> {
        let uid = create.pod.uid.clone();
        let job = job(&uid);
        let state = PodState::present(create.pod, &job, vec![ContainerState::running("httpbin")]);
        self.pods
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(uid, state.clone());
        if let Some(events) = self.events.get() {
            events.pod(PodEventType::Started, state);
        }
        Ok(Created::new(job))
    }

    async fn delete(&self, delete: Delete) -> Result<Deleted, Status> {
        let mut pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Deleted {
            existed: pods.remove(&delete.pod.uid).is_some(),
        })
    }

    async fn status(&self, which: Which) -> Result<Vec<PodState>, Status> {
        Ok(which.of(self.pods.lock().unwrap_or_else(PoisonError::into_inner).values()))
    }

    async fn logs(&self, _: LogRequest, mut sink: LogSink) -> Result<LogsEnd, Status> {
        let mut offset = 0;
        let at = |offset| Some(LogPosition { epoch: 1, offset });
        let first = LogChunk {
            at: at(0),
            ..LogChunk::default()
        };
        let mut open = sink.send(first).await.is_ok();
        for _ in 0..self.chunks.load(Ordering::Relaxed) {
            if !open {
                break;
            }
            let next = offset + self.chunk.len() as u64;
            let chunk = LogChunk {
                at: at(offset),
                next_offset: next,
                data: self.chunk.clone(),
                ..LogChunk::default()
            };
            offset = next;
            open = sink.send(chunk).await.is_ok();
        }
        Ok(LogsEnd::default())
    }

    async fn node(&self) -> NodeStatus {
        NodeStatus::ready("64", "256Gi", "1000000")
    }

    fn attach(&self, events: Events) {
        // Once, before the first dial.
        let _ = self.events.set(events);
    }
}

/// A state directory for one run.
struct Dir(PathBuf);

impl Dir {
    fn create() -> anyhow::Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = format!(
            "towline-bench-{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // What is left in a directory for temporary files harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
