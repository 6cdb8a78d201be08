//! Calls to plugins: one operation per pod uid at a time, and the deletes kept for absent plugins.
//!
//! A create or delete is a [`Flight`]: it runs in a task of its own to the end, whatever the HTTP client does, and
//! everybody who asks for the same thing waits for the same result. `create.rs` and `delete.rs` hold what a flight does.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    CallMeta, Hub,
    registry::{Route, lock},
};
use crate::{
    code::{Code, reason},
    interlink::CreateStruct,
    limits,
    wire::{PodRef, Request, Response, Status, request::Op},
};

/// Creates and deletes under way at once. Over it the caller pays: RESOURCE_EXHAUSTED.
const MAX_FLIGHTS: usize = 20_000;
/// Deletes kept for absent plugins, and their bytes.
const MAX_PENDING: usize = 10_000;
const MAX_PENDING_BYTES: usize = 64 << 20;
/// Uids that were deleted and may not be created again; the oldest go first.
const MAX_TOMBSTONES: usize = 20_000;

/// One create or delete under way.
#[derive(Debug)]
pub(crate) struct Flight<T> {
    /// True while a call of it is at the plugin; see [`Flight::send`].
    sent: Mutex<bool>,
    /// Ends it unless a call is at the plugin.
    pub(crate) cancel: CancellationToken,
    done: watch::Sender<Option<Result<T, Status>>>,
}

impl<T: Clone> Flight<T> {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            sent: Mutex::new(false),
            cancel: CancellationToken::new(),
            done: watch::channel(None).0,
        })
    }

    /// Marks that a call goes out now. False when it was cancelled before.
    pub(crate) fn send(&self) -> bool {
        let mut sent = lock(&self.sent);
        if self.cancel.is_cancelled() {
            return false;
        }
        *sent = true;
        true
    }

    /// Marks that no call is at the plugin.
    pub(crate) fn unsend(&self) {
        *lock(&self.sent) = false;
    }

    /// Cancels it as soon as no call of it is at the plugin.
    pub(crate) fn cancel_unsent(&self) {
        let _sent = lock(&self.sent);
        self.cancel.cancel();
    }

    /// Gives everybody the result.
    pub(crate) fn finish(&self, result: Result<T, Status>) {
        self.done.send_replace(Some(result));
    }

    /// Waits for the result. Cancel safe.
    pub(crate) async fn result(&self) -> Result<T, Status> {
        let mut done = self.done.subscribe();
        match done.wait_for(Option::is_some).await {
            Ok(result) => result.clone().unwrap_or_else(|| Err(ended_early())),
            Err(_) => Err(ended_early()),
        }
    }
}

/// A delete that waits for its plugin.
#[derive(Clone)]
pub(crate) struct PendingDelete {
    pub(crate) pod: PodRef,
    pub(crate) grace_seconds: Option<u64>,
    pub(crate) pod_json: Bytes,
}

impl std::fmt::Debug for PendingDelete {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PendingDelete")
            .field("pod", &self.pod)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct State {
    creates: HashMap<String, Arc<Flight<CreateStruct>>>,
    deletes: HashMap<String, Arc<Flight<()>>>,
    tombstones: HashSet<String>,
    tombstone_order: VecDeque<String>,
    pending: HashMap<String, BTreeMap<String, PendingDelete>>,
    pending_count: usize,
    pending_bytes: usize,
}

/// What is under way and what is kept.
#[derive(Debug, Default)]
pub(crate) struct CallTable {
    state: Mutex<State>,
    /// Something new is pending.
    pub(crate) pending_added: Notify,
}

/// A flight and whether the caller has to start it.
#[derive(Debug)]
pub(crate) enum Entered<T> {
    New(Arc<Flight<T>>),
    Running(Arc<Flight<T>>),
}

impl CallTable {
    /// Enters a create.
    ///
    /// # Errors
    /// ABORTED/DELETED after a delete of the uid, RESOURCE_EXHAUSTED when too much is under way.
    pub(crate) fn enter_create(&self, uid: &str) -> Result<Entered<CreateStruct>, Status> {
        let mut state = lock(&self.state);
        if state.tombstones.contains(uid) {
            return Err(deleted());
        }
        if let Some(flight) = state.creates.get(uid) {
            return Ok(Entered::Running(flight.clone()));
        }
        state.has_room()?;
        let flight = Flight::new();
        state.creates.insert(uid.to_owned(), flight.clone());
        Ok(Entered::New(flight))
    }

    /// Enters a delete: from now on no create of the uid is begun. Gives the create that is under way too.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED when too much is under way.
    #[allow(clippy::type_complexity)]
    pub(crate) fn enter_delete(
        &self,
        uid: &str,
    ) -> Result<(Entered<()>, Option<Arc<Flight<CreateStruct>>>), Status> {
        let mut state = lock(&self.state);
        if let Some(flight) = state.deletes.get(uid) {
            return Ok((Entered::Running(flight.clone()), None));
        }
        state.has_room()?;
        state.bury(uid);
        let flight = Flight::new();
        state.deletes.insert(uid.to_owned(), flight.clone());
        Ok((Entered::New(flight), state.creates.get(uid).cloned()))
    }

    /// A create has ended.
    pub(crate) fn leave_create(&self, uid: &str) {
        lock(&self.state).creates.remove(uid);
    }

    /// A delete has ended; when it was refused the uid may be created again.
    pub(crate) fn leave_delete(&self, uid: &str, refused: bool) {
        let mut state = lock(&self.state);
        state.deletes.remove(uid);
        if refused && state.tombstones.remove(uid) {
            state.tombstone_order.retain(|other| other != uid);
        }
    }

    /// Keeps a delete for later.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED when too many are kept.
    pub(crate) fn keep(&self, plugin: &str, delete: PendingDelete) -> Result<(), Status> {
        let mut state = lock(&self.state);
        state.forget(plugin, &delete.pod.uid);
        let bytes = state.pending_bytes + delete.pod_json.len();
        if state.pending_count >= MAX_PENDING || bytes > MAX_PENDING_BYTES {
            return Err(Status::new(
                Code::ResourceExhausted,
                reason::QUOTA,
                format!(
                    "{} deletes are kept for absent plugins already; bring them back or forget them",
                    state.pending_count
                ),
            ));
        }
        state.bury(&delete.pod.uid);
        state.pending_bytes = bytes;
        state.pending_count += 1;
        state
            .pending
            .entry(plugin.to_owned())
            .or_default()
            .insert(delete.pod.uid.clone(), delete);
        drop(state);
        self.pending_added.notify_waiters();
        Ok(())
    }

    /// Drops a kept delete: it was confirmed.
    pub(crate) fn confirmed(&self, plugin: &str, uid: &str) {
        lock(&self.state).forget(plugin, uid);
    }

    /// Drops everything kept for a plugin.
    pub(crate) fn forget_plugin(&self, plugin: &str) {
        let mut state = lock(&self.state);
        let uids: Vec<String> = state
            .pending
            .get(plugin)
            .map(|kept| kept.keys().cloned().collect())
            .unwrap_or_default();
        for uid in uids {
            state.forget(plugin, &uid);
        }
    }

    /// The deletes kept for a plugin, without those whose pod has a call under way.
    pub(crate) fn pending(&self, plugin: &str) -> Vec<PendingDelete> {
        let state = lock(&self.state);
        let kept = state.pending.get(plugin).into_iter().flat_map(BTreeMap::values);
        kept.filter(|delete| {
            !state.creates.contains_key(&delete.pod.uid) && !state.deletes.contains_key(&delete.pod.uid)
        })
        .cloned()
        .collect()
    }

    /// Whether any delete is kept for a plugin.
    pub(crate) fn has_pending(&self, plugin: &str) -> bool {
        lock(&self.state).pending.contains_key(plugin)
    }

    /// How many deletes are kept.
    pub(crate) fn pending_count(&self) -> usize {
        lock(&self.state).pending_count
    }
}

impl State {
    fn has_room(&self) -> Result<(), Status> {
        if self.creates.len() + self.deletes.len() < MAX_FLIGHTS {
            return Ok(());
        }
        Err(Status::new(
            Code::ResourceExhausted,
            reason::TOO_MANY_CALLS,
            format!("{MAX_FLIGHTS} creates and deletes are under way in this hub"),
        ))
    }

    fn bury(&mut self, uid: &str) {
        if self.tombstones.insert(uid.to_owned()) {
            self.tombstone_order.push_back(uid.to_owned());
        }
        if self.tombstone_order.len() > MAX_TOMBSTONES
            && let Some(oldest) = self.tombstone_order.pop_front()
        {
            self.tombstones.remove(&oldest);
        }
    }

    fn forget(&mut self, plugin: &str, uid: &str) {
        let Some(kept) = self.pending.get_mut(plugin) else {
            return;
        };
        if let Some(delete) = kept.remove(uid) {
            self.pending_count -= 1;
            self.pending_bytes -= delete.pod_json.len();
        }
        if kept.is_empty() {
            self.pending.remove(plugin);
        }
    }
}

impl Hub {
    /// Makes one unary call, within the number of calls that the plugin takes at once.
    ///
    /// # Errors
    /// As [`crate::connection::Connection::call`]; DEADLINE_EXCEEDED with `not_started` when no slot came free.
    pub(crate) async fn call(
        &self,
        route: &Route,
        op: &'static str,
        mut request: Request,
        deadline: Instant,
    ) -> Result<Response, Status> {
        let began = Instant::now();
        let result = match tokio::time::timeout_at(deadline, route.calls.acquire()).await {
            Ok(Ok(_slot)) => {
                let left = deadline
                    .saturating_duration_since(Instant::now())
                    .max(Duration::from_millis(1));
                request.timeout_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1);
                route.connection.call(request).await
            }
            Ok(Err(_)) | Err(_) => Err(Status::new(
                Code::DeadlineExceeded,
                reason::TOO_MANY_CALLS,
                "the plugin is busy with other calls; none of its slots came free in time",
            )
            .not_started()),
        };
        self.metrics.call(op, result.as_ref(), began.elapsed());
        result
    }
}

/// A request of one op.
pub(crate) fn request(op: Op, op_key: String, meta: Option<&CallMeta>) -> Request {
    let sensitive = matches!(op, Op::CreatePod(_) | Op::DeletePod(_));
    Request {
        op_key,
        attempt: 1,
        timeout_ms: 0,
        metadata: meta.map(CallMeta::to_metadata).unwrap_or_default(),
        sensitive,
        op: Some(op),
    }
}

impl CallMeta {
    /// The metadata of the link; values that would not fit are left out.
    pub(crate) fn to_metadata(&self) -> HashMap<String, String> {
        let session = Some(("interlink-http-session", &self.session)).filter(|(_, value)| !value.is_empty());
        let trace = self.traceparent.as_ref().map(|value| ("traceparent", value));
        let fits = |(_, value): &(&str, &String)| value.len() <= limits::MAX_METADATA / 4;
        session
            .into_iter()
            .chain(trace)
            .filter(fits)
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .collect()
    }
}

/// The create was overtaken by a delete.
pub(crate) fn deleted() -> Status {
    Status::new(
        Code::Aborted,
        reason::DELETED,
        "the pod was deleted; it is not created any more",
    )
    .not_started()
}

fn ended_early() -> Status {
    Status::new(Code::Internal, "", "the operation ended without a result")
}
