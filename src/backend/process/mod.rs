//! Pods as local processes: the embedded default backend.
//!
//! Knows pods, files and supervisors; knows nothing of links, hubs or images. A pod's containers run under
//! supervisors, so they outlive this process and are found again by the next one. Learn [`ProcessBackend`] (the
//! handler) and `machine::Machine` (the life of a pod).

mod capacity;
mod config;
mod handler;
mod lifecycle;
pub mod log;
mod machine;
mod names;
mod node;
mod plan;
pub mod quantity;
pub mod run;
pub mod spec;
mod state;
mod store;
pub mod supervisor;
mod takeup;
mod termination;
mod volumes;

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use tokio::sync::watch;

pub use self::{
    capacity::Capacity,
    config::{MAX_PODS, PODS, ProcessConfig, StartError},
};
use self::{
    lifecycle::Lifecycle,
    plan::{Plan, Site},
    store::{DeleteRecord, PodRecord, Store},
    supervisor::Capabilities,
};
use crate::{
    code::{Code, reason},
    plugin::{Created, Deleted, Events},
    wire::{NodeStatus, PodEventType, PodRef, PodState, Status},
};

/// Runs pods as processes of this machine. Cheap to clone.
///
/// When the last clone is dropped the pods go on under their supervisors, and the state directory is let go.
#[derive(Clone)]
pub struct ProcessBackend {
    shared: Arc<Shared>,
    _owner: Arc<Owner>,
}

/// Ends the tasks of the pods when it is dropped: they hold the shared part too.
struct Owner(Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        // Outside of the lock: what an entry holds may run code of its own.
        let entries = std::mem::take(&mut *self.0.pods());
        drop(entries);
    }
}

struct Shared {
    config: ProcessConfig,
    site: Site,
    store: Store,
    capabilities: Capabilities,
    pods: Mutex<HashMap<String, Entry>>,
    /// Records are written by one call at a time, so that two creates of one uid cannot both begin.
    writing: tokio::sync::Mutex<()>,
    events: OnceLock<Events>,
    /// The node as a hub has it.
    told_node: Mutex<Option<NodeStatus>>,
}

struct Entry {
    plan: Arc<Plan>,
    delete: watch::Sender<Option<DeleteRecord>>,
    state: watch::Receiver<PodState>,
}

impl std::fmt::Debug for ProcessBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProcessBackend")
            .field("config", &self.shared.config)
            .finish_non_exhaustive()
    }
}

impl ProcessBackend {
    /// Opens the state directory and takes up the pods that it holds. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// When a setting is wrong, or the state directory cannot be used or belongs to another plugin.
    pub async fn open(config: ProcessConfig) -> Result<Self, StartError> {
        config.validate()?;
        let dir = config.state_dir.clone();
        let failed = |source| StartError::StateDir {
            dir: dir.clone(),
            source,
        };
        let asked = config.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let store = Store::open(&asked.state_dir)?;
            let found = store.load()?;
            Ok::<_, io::Error>((store, found, supervisor::probe(&asked.program)))
        });
        let (store, found, capabilities) = opened
            .await
            .map_err(|error| failed(io::Error::other(error)))?
            .map_err(failed)?;
        if let Err(why) = &capabilities.mounts {
            tracing::warn!(
                why,
                "volumes cannot be mounted: pods that need a mountPath are refused"
            );
        }
        let capacity = config.capacity();
        let site = Site {
            cpu_millis: capacity.cpu_millis,
            memory: capacity.memory,
            pods: store.pods_dir(),
        };
        let shared = Arc::new(Shared {
            config,
            site,
            store,
            capabilities,
            pods: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            events: OnceLock::new(),
            told_node: Mutex::default(),
        });
        for pod in found {
            match Plan::read(&pod.pod, &pod.payload, &shared.site) {
                Ok(plan) => {
                    tracing::info!(pod = %pod.pod, "a pod is taken up again");
                    shared.begin(plan, &pod.record, pod.delete);
                }
                Err(status) => {
                    tracing::error!(pod = %pod.pod, %status, "a pod's record cannot be used: left alone")
                }
            }
        }
        let owner = Arc::new(Owner(shared.clone()));
        Ok(Self {
            shared,
            _owner: owner,
        })
    }
}

impl ProcessBackend {
    /// A number that is the same as long as the records of the pods are: for
    /// [`PluginConfig::jobs_epoch`](crate::plugin::PluginConfig::jobs_epoch).
    pub fn jobs_epoch(&self) -> u64 {
        self.shared.store.jobs_epoch()
    }
}

impl Shared {
    fn pods(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, word: PodEventType, state: PodState) {
        if let Some(events) = self.events.get() {
            events.pod(word, state);
        }
    }

    fn begin(self: &Arc<Self>, plan: Plan, record: &PodRecord, delete: Option<DeleteRecord>) {
        let plan = Arc::new(plan);
        let (asked, delete) = watch::channel(delete);
        let (lifecycle, state) = Lifecycle::new(plan.clone(), record, self.clone(), delete);
        self.pods().insert(
            plan.pod.uid.clone(),
            Entry {
                plan,
                delete: asked,
                state,
            },
        );
        tokio::spawn(lifecycle.run());
    }

    /// What a create answers when the pod is known already.
    fn existing(&self, uid: &str) -> Option<Result<Created, Status>> {
        let pods = self.pods();
        let entry = pods.get(uid)?;
        Some(if entry.delete.borrow().is_some() {
            Err(Status::new(Code::Aborted, reason::DELETED, "the pod is being deleted").not_started())
        } else {
            Ok(Created {
                job_id: uid.to_owned(),
                existed: true,
            })
        })
    }

    async fn create(
        self: Arc<Self>,
        pod: PodRef,
        payload: bytes::Bytes,
        plan: Plan,
    ) -> Result<Created, Status> {
        let _writing = self.writing.lock().await;
        if let Some(answer) = self.existing(&pod.uid) {
            return answer;
        }
        if self.pods().len() >= MAX_PODS {
            let text = format!("{MAX_PODS} pods are kept here already; delete ended ones");
            return Err(Status::new(Code::ResourceExhausted, reason::QUOTA, text).not_started());
        }
        let writer = self.clone();
        let written = tokio::task::spawn_blocking(move || {
            let record = writer.store.put(&plan.pod, &payload, &plan.volumes)?;
            Ok::<_, io::Error>((plan, record))
        });
        let (plan, record) = written
            .await
            .map_err(io::Error::other)
            .and_then(|put| put)
            .map_err(|error| {
                tracing::error!(%pod, %error, "a pod could not be recorded");
                unrecorded(&error).not_started()
            })?;
        let job_id = plan.pod.uid.clone();
        self.begin(plan, &record, None);
        Ok(Created {
            job_id,
            existed: false,
        })
    }

    async fn delete(self: Arc<Self>, pod: PodRef, grace_seconds: Option<u64>) -> Result<Deleted, Status> {
        let _writing = self.writing.lock().await;
        let Some(before) = self.pods().get(&pod.uid).map(|entry| *entry.delete.borrow()) else {
            return Ok(Deleted { existed: false });
        };
        // A repeated delete may hasten the end, not put it off.
        let record = match (before, grace_seconds) {
            (Some(former), None) => former,
            (
                Some(DeleteRecord {
                    grace_seconds: Some(former),
                }),
                Some(new),
            ) if former <= new => DeleteRecord {
                grace_seconds: Some(former),
            },
            (_, grace_seconds) => DeleteRecord { grace_seconds },
        };
        if before != Some(record) {
            let writer = self.clone();
            let uid = pod.uid.clone();
            let written = tokio::task::spawn_blocking(move || writer.store.put_delete(&uid, record)).await;
            let written = written.map_err(io::Error::other).and_then(|put| put);
            // The pod may just have gone: then there is nothing left to end.
            if let Some(entry) = self.pods().get(&pod.uid) {
                written.map_err(|error| {
                    tracing::error!(%pod, %error, "the end of a pod could not be recorded");
                    unrecorded(&error)
                })?;
                entry.delete.send_replace(Some(record));
            }
        }
        Ok(Deleted { existed: true })
    }
}

fn unrecorded(error: &io::Error) -> Status {
    let code = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::ResourceExhausted,
        _ => Code::Internal,
    };
    Status::new(
        code,
        reason::PLUGIN_ERROR,
        format!("the state directory cannot be written: {error}"),
    )
}

/// Work that must be finished though its caller goes.
async fn finish<T: Send + 'static>(
    work: impl Future<Output = Result<T, Status>> + Send + 'static,
) -> Result<T, Status> {
    match tokio::spawn(work).await {
        Ok(answer) => answer,
        Err(error) => Err(Status::new(
            Code::Internal,
            reason::PLUGIN_ERROR,
            format!("the call failed: {error}"),
        )),
    }
}
