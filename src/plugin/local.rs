//! The plugin's calls for a caller in its own process, which came by another way than the link.
//!
//! They go through what the link's calls go through: the guards, the creates and their records. So a pod that was
//! created by one way and is asked for by the other is one pod.

use std::{collections::HashMap, fmt, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

use super::{
    Created, Delete, Deleted, Handler, LogRequest, Which,
    creates::Creates,
    feed::Feed,
    guard, node,
    serve::{Serve, bounded},
};
use crate::{
    code::{Code, reason},
    connection::{BoxFuture, CancelSignal, Peer, local_log, told::Told},
    limits,
    wire::{CreatePod, DeletePod, LogChunk, LogsEnd, NodeStatus, PodRef, PodState, Status, StreamLogs},
};

/// A handle for callers in the plugin's own process; cheap to clone. Calls wait until the plugin runs, and fail with
/// UNAVAILABLE, DRAINING when it has stopped.
pub struct Local<H> {
    pub(super) handler: Arc<H>,
    pub(super) creates: Arc<Creates>,
    pub(super) feed: Arc<Feed>,
    pub(super) door: Arc<Door>,
    pub(super) node_timeout: Duration,
}

impl<H> Clone for Local<H> {
    fn clone(&self) -> Self {
        Self {
            handler: Arc::clone(&self.handler),
            creates: Arc::clone(&self.creates),
            feed: Arc::clone(&self.feed),
            door: Arc::clone(&self.door),
            node_timeout: self.node_timeout,
        }
    }
}

impl<H> fmt::Debug for Local<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").finish_non_exhaustive()
    }
}

impl<H: Handler> Local<H> {
    /// Starts a pod; `payload` is interLink's RetrievedPodData as JSON. Creates of one pod never run at the same time,
    /// whichever way they came.
    ///
    /// # Errors
    /// As a CreatePod of the link.
    ///
    /// # Cancel safety
    /// A create that was begun goes on.
    pub async fn create(
        &self,
        pod: PodRef,
        payload: Bytes,
        metadata: HashMap<String, String>,
    ) -> Result<Created, Status> {
        let op = CreatePod {
            pod: Some(pod),
            payload,
        };
        let serve = self.serve();
        let work = async move { serve.create(op, 1, metadata).await };
        let created = self.call(limits::CREATE_TIMEOUT, work).await?;
        Ok(Created {
            job_id: created.job_id,
            existed: created.existed,
        })
    }

    /// Ends a pod and forgets it, when a create of it that runs has ended.
    ///
    /// # Errors
    /// As a DeletePod of the link.
    pub async fn delete(&self, delete: Delete) -> Result<Deleted, Status> {
        let op = DeletePod {
            pod: Some(delete.pod),
            grace_seconds: delete.grace_seconds,
            pod_json: delete.pod_json,
        };
        let deleted = self.call(limits::DELETE_TIMEOUT, self.serve().delete(op)).await?;
        Ok(Deleted {
            existed: deleted.existed,
        })
    }

    /// The states of these pods; one that is not known is ABSENT.
    ///
    /// # Errors
    /// As a GetStatus of the link.
    pub async fn status(&self, pods: Vec<PodRef>) -> Result<Vec<PodState>, Status> {
        let work = async {
            let pods: Vec<PodRef> = pods
                .into_iter()
                .map(|pod| guard::pod(Some(pod)))
                .collect::<Result<_, _>>()?;
            let mut states = Vec::with_capacity(pods.len());
            for some in pods.chunks(limits::MAX_STATUS_PAGE) {
                let asked = self.handler.status(Which::Pods(some.to_vec()));
                states.extend(guard::guard("status", asked).await?);
            }
            Ok(states)
        };
        self.call(limits::STATUS_TIMEOUT, work).await
    }

    /// Opens a log: its first chunk, or its end, is there when this returns.
    ///
    /// # Errors
    /// Of a log that ended before its first chunk, as StreamLogs of the link.
    pub async fn logs(&self, request: LogRequest) -> Result<LocalLog, Status> {
        let open = StreamLogs {
            pod: Some(request.pod),
            container: request.container,
            options: Some(request.options),
            start: request.start,
            ..StreamLogs::default()
        };
        let (sink, chunks) = local_log();
        let mut log = LocalLog {
            work: Some(self.serve().stream_logs(open, sink)),
            chunks,
            first: None,
            end: None,
        };
        let opened = async {
            log.first = log.read().await.ok();
            Ok(log)
        };
        let log = self.call(limits::LOG_OPEN_TIMEOUT, opened).await?;
        match &log.end {
            Some(Err(status)) if log.first.is_none() => Err(status.clone()),
            _ => Ok(log),
        }
    }

    /// What the plugin has, and whether it takes pods.
    ///
    /// # Errors
    /// UNAVAILABLE when the plugin has stopped.
    pub async fn node(&self) -> Result<NodeStatus, Status> {
        let work = async {
            let node = node::ask(&self.handler, self.node_timeout).await;
            Ok(self.feed.overruled(node))
        };
        self.call(self.node_timeout + Duration::from_secs(1), work).await
    }

    /// Runs a call while the plugin does, within its deadline.
    async fn call<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, Status> {
        let never = CancelSignal::default();
        let inside = async {
            let _open = self.door.enter().await?;
            work.await
        };
        bounded(Duration::ZERO, limit, &never, inside).await
    }

    fn serve(&self) -> Serve<H> {
        Serve {
            handler: Arc::clone(&self.handler),
            creates: Arc::clone(&self.creates),
            feed: Arc::clone(&self.feed),
            events: false,
            max_message: limits::MAX_MESSAGE,
            draining: Arc::new(Notify::new()),
        }
    }
}

/// An open log. Dropping it ends it at the handler.
pub struct LocalLog {
    /// The handler's work; it goes on while this is read.
    work: Option<BoxFuture<Result<LogsEnd, Status>>>,
    chunks: mpsc::Receiver<LogChunk>,
    first: Option<LogChunk>,
    end: Option<Result<LogsEnd, Status>>,
}

impl fmt::Debug for LocalLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalLog")
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

impl LocalLog {
    /// The next chunk, or how the log ended (then only that again). Cancel safe.
    ///
    /// # Errors
    /// `Err(Ok(end))` when the log ended in good order, `Err(Err(status))` otherwise.
    pub async fn next(&mut self) -> Result<LogChunk, Result<LogsEnd, Status>> {
        match self.first.take() {
            Some(first) => Ok(first),
            None => self.read().await,
        }
    }

    async fn read(&mut self) -> Result<LogChunk, Result<LogsEnd, Status>> {
        loop {
            let Some(work) = &mut self.work else {
                // What was sent before the end comes before it.
                let end = self.end.clone().unwrap_or_else(|| Ok(LogsEnd::default()));
                return self.chunks.recv().await.ok_or(end);
            };
            tokio::select! {
                biased;
                Some(chunk) = self.chunks.recv() => return Ok(chunk),
                end = work => {
                    self.work = None;
                    self.end = Some(end);
                }
            }
        }
    }
}

/// Lets local calls in while the plugin runs.
#[derive(Debug)]
pub(super) struct Door {
    stands: Told<Stands>,
    calls: TaskTracker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// The journal has not been read: a create would not know of what was before.
    NotYet,
    Open,
    Shut,
}

impl Door {
    pub(super) fn new() -> Self {
        Self {
            stands: Told::new(Stands::NotYet),
            calls: TaskTracker::new(),
        }
    }

    /// Opens; shut again when the guard is dropped.
    pub(super) fn open(self: &Arc<Self>) -> ShutOnDrop {
        self.stands.change(|stands| *stands = Stands::Open);
        ShutOnDrop(Arc::clone(self))
    }

    /// Waits until no call is inside; no further one is let in.
    pub(super) async fn empty(&self, deadline: Instant) {
        self.stands.change(|stands| *stands = Stands::Shut);
        self.calls.close();
        if tokio::time::timeout_at(deadline, self.calls.wait())
            .await
            .is_err()
        {
            tracing::warn!(calls = self.calls.len(), "local calls did not finish in time");
        }
    }

    async fn enter(&self) -> Result<TaskTrackerToken, Status> {
        let stands = self.stands.wait_for(|stands| *stands != Stands::NotYet).await;
        if stands == Stands::Open {
            return Ok(self.calls.token());
        }
        let text = "the plugin is stopping";
        Err(Status::new(Code::Unavailable, reason::DRAINING, text).not_started())
    }
}

/// A run that ends, however it ends, takes no local calls any more.
pub(super) struct ShutOnDrop(Arc<Door>);

impl Drop for ShutOnDrop {
    fn drop(&mut self) {
        self.0.stands.change(|stands| *stands = Stands::Shut);
    }
}
