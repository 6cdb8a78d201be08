//! What an author implements.

use std::{
    future::Future,
    sync::{Arc, Weak},
};

use bytes::Bytes;

use super::{
    feed::Feed,
    http::{self, HttpAnswer, HttpCall},
};
use crate::{
    connection::LogSink,
    wire::{LogOptions, LogPosition, LogsEnd, NodeStatus, PodEventType, PodRef, PodState, Status},
};

/// A pod to start.
#[derive(Debug, Clone)]
pub struct Create {
    /// Whose pod.
    pub pod: PodRef,
    /// interLink's RetrievedPodData as JSON: `{pod, container, jobConfig, jobScript?}`. Holds secrets.
    pub payload: Bytes,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// Metadata of the call (keys in lower case).
    pub metadata: std::collections::HashMap<String, String>,
    /// True when a submit of this pod was begun before and nobody knows how it ended: the plugin was killed, or the
    /// former attempt failed in a way that leaves it open. Look for a job that is tagged with the pod's uid before
    /// submitting again, else the pod may run twice. Known over restarts with [`super::PluginConfig::state_dir`].
    pub resumed: bool,
}

/// The pod was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Created {
    /// The site's name for the work; empty when not known yet.
    pub job_id: String,
    /// True when the pod had been created before.
    pub existed: bool,
}

/// A pod to end.
#[derive(Debug, Clone)]
pub struct Delete {
    /// Whose pod.
    pub pod: PodRef,
    /// Seconds between SIGTERM and SIGKILL; the pod's own when absent.
    pub grace_seconds: Option<u64>,
    /// The v1.Pod as JSON; may be empty.
    pub pod_json: Bytes,
}

/// The end of the pod is recorded and begun.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deleted {
    /// True when there was such a pod.
    pub existed: bool,
}

/// Which pods to report.
#[derive(Debug, Clone, PartialEq)]
pub enum Which {
    /// Every pod.
    All,
    /// These; one that is not known is reported with `Presence::Absent`.
    Pods(Vec<PodRef>),
}

/// A log to send.
#[derive(Debug, Clone)]
pub struct LogRequest {
    /// Whose log.
    pub pod: PodRef,
    /// Container name; empty means the only one, or the first main container.
    pub container: String,
    /// kubectl's options.
    pub options: LogOptions,
    /// Go on from here; then tail, since_time and previous are ignored.
    pub start: Option<LogPosition>,
}

/// A plugin's own work: five calls, each answered once, and HTTP endpoints of its own if it has some.
///
/// Calls run at the same time, and must not block: what a future does before it first waits, it does in the link's own
/// task, so that no other call, ping or log moves meanwhile. Processes are started with `tokio::process`, and what
/// blocks belongs into `tokio::task::spawn_blocking`. A future is dropped when its caller has gone: work that must be finished
/// belongs into a task of its own. A create is the exception: once begun it runs to its end, creates of one pod
/// never run at the same time, and a job that was named is remembered until the pod is deleted: while the process
/// lives, and over restarts with [`super::PluginConfig::state_dir`].
///
/// # Examples
/// `examples/custom_plugin.rs`:
/// ```no_run
#[doc = include_str!("../../examples/custom_plugin.rs")]
/// ```
pub trait Handler: Send + Sync + 'static {
    /// Starts a pod. Idempotent by uid: a second create answers the first one's job with `existed`.
    fn create(&self, create: Create) -> impl Future<Output = Result<Created, Status>> + Send;

    /// Ends a pod and forgets it. Answers when the end is recorded and begun, not after the grace period.
    /// Deleting an unknown pod succeeds.
    fn delete(&self, delete: Delete) -> impl Future<Output = Result<Deleted, Status>> + Send;

    /// Reports pods.
    fn status(&self, which: Which) -> impl Future<Output = Result<Vec<PodState>, Status>> + Send;

    /// Sends a log into `sink`: at once one chunk, possibly empty, with the start position, then the rest.
    fn logs(
        &self,
        request: LogRequest,
        sink: LogSink,
    ) -> impl Future<Output = Result<LogsEnd, Status>> + Send;

    /// What the plugin has, and whether it is ready (with a reason if not). Asked before each registration.
    fn node(&self) -> impl Future<Output = NodeStatus> + Send;

    /// Whether the plugin has HTTP endpoints of its own. Asked before each registration: only then is the feature `http`
    /// offered, and [`Handler::http`] called.
    fn endpoints(&self) -> bool {
        false
    }

    /// Serves a request to the plugin's own endpoints (`/plugins/NAME/http/...` at the hub): the head of the answer, its
    /// body, then Ok. An error before the head is answered as that failure; after it, the answer is cut off.
    fn http(&self, call: HttpCall, answer: HttpAnswer) -> impl Future<Output = Result<(), Status>> + Send {
        drop((call, answer));
        async { Err(http::none()) }
    }

    /// Features of its own to offer to the hub, `x-VENDOR-NAME`. None by default.
    fn features(&self) -> Vec<String> {
        Vec::new()
    }

    /// A link stands, with these features in force. Before its first call.
    fn linked(&self, features: &[String]) {
        let _ = features;
    }

    /// Gets the handle to push events with, once, before the first dial. The default pushes none: the hub then polls.
    fn attach(&self, events: Events) {
        drop(events);
    }
}

/// Any shared handler is a handler, so that an author may keep a handle of it.
impl<H: Handler> Handler for Arc<H> {
    fn create(&self, create: Create) -> impl Future<Output = Result<Created, Status>> + Send {
        H::create(self, create)
    }

    fn delete(&self, delete: Delete) -> impl Future<Output = Result<Deleted, Status>> + Send {
        H::delete(self, delete)
    }

    fn status(&self, which: Which) -> impl Future<Output = Result<Vec<PodState>, Status>> + Send {
        H::status(self, which)
    }

    fn logs(
        &self,
        request: LogRequest,
        sink: LogSink,
    ) -> impl Future<Output = Result<LogsEnd, Status>> + Send {
        H::logs(self, request, sink)
    }

    fn node(&self) -> impl Future<Output = NodeStatus> + Send {
        H::node(self)
    }

    fn endpoints(&self) -> bool {
        H::endpoints(self)
    }

    fn http(&self, call: HttpCall, answer: HttpAnswer) -> impl Future<Output = Result<(), Status>> + Send {
        H::http(self, call, answer)
    }

    fn features(&self) -> Vec<String> {
        H::features(self)
    }

    fn linked(&self, features: &[String]) {
        H::linked(self, features);
    }

    fn attach(&self, events: Events) {
        H::attach(self, events);
    }
}

/// Pushes what happened; kept in the outbox until the hub has it. Cheap to clone.
///
/// While a clone of it lives, the hub is told that events come and stops polling: push every change of every pod.
#[derive(Clone, Debug)]
pub struct Events {
    feed: Arc<Feed>,
    alive: Arc<()>,
}

impl Events {
    pub(super) fn new(feed: Arc<Feed>) -> Self {
        Self {
            feed,
            alive: Arc::new(()),
        }
    }

    /// Tells whether the handler has kept a clone.
    pub(super) fn alive(&self) -> Weak<()> {
        Arc::downgrade(&self.alive)
    }

    /// Tells the latest state of a pod; `seq` is filled in by the outbox. Only the latest state of each pod is kept
    /// until the hub has it, so this never waits. With [`super::PluginConfig::state_dir`], a state that was told last,
    /// also by a former process, is not told again; when it was observed makes no difference.
    pub fn pod(&self, kind: PodEventType, state: PodState) {
        self.feed.push(kind, state);
    }

    /// Tells a new node status; only the latest is kept.
    pub fn node(&self, status: NodeStatus) {
        self.feed.push_node(status);
    }
}
