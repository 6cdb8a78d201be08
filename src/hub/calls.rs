//! What is under way and what is kept: one operation per pod uid at a time, the deletes that wait for absent plugins,
//! and the uids that were deleted. `create.rs` and `delete.rs` hold what a [`Flight`] does.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::{Arc, Mutex},
};

use bytes::Bytes;

use super::{
    flight::{Entered, Flight, deleted},
    registry::lock,
};
use crate::{
    code::{Code, reason},
    interlink::CreateStruct,
    limits,
    planted::{self, Bug},
    wire::{PodRef, Status},
};

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
    creates: BTreeMap<String, Arc<Flight<CreateStruct>>>,
    deletes: BTreeMap<String, Deleting>,
    tombstones: HashSet<String>,
    tombstone_order: VecDeque<String>,
    /// Too old to be kept; for the store to forget.
    fallen: Vec<String>,
    pending: BTreeMap<String, BTreeMap<String, PendingDelete>>,
    pending_count: usize,
    pending_bytes: usize,
}

#[derive(Debug)]
struct Deleting {
    flight: Arc<Flight<()>>,
    /// The uid could be created before: so it can again when the delete is refused.
    buried: bool,
}

/// What is under way and what is kept.
#[derive(Debug, Default)]
pub(crate) struct CallTable {
    state: Mutex<State>,
}

impl CallTable {
    /// Enters a create.
    ///
    /// # Errors
    /// ABORTED/DELETED after a delete of the uid, RESOURCE_EXHAUSTED when too much is under way.
    pub(crate) fn enter_create(&self, uid: &str) -> Result<Entered<CreateStruct>, Status> {
        let mut state = lock(&self.state);
        if state.tombstones.contains(uid) && !planted::is(Bug::CreateAfterDelete) {
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
        if let Some(deleting) = state.deletes.get(uid) {
            return Ok((Entered::Running(deleting.flight.clone()), None));
        }
        state.has_room()?;
        let buried = state.bury(uid);
        let flight = Flight::new();
        let deleting = Deleting {
            flight: flight.clone(),
            buried,
        };
        state.deletes.insert(uid.to_owned(), deleting);
        Ok((Entered::New(flight), state.creates.get(uid).cloned()))
    }

    /// A create has ended.
    pub(crate) fn leave_create(&self, uid: &str) {
        lock(&self.state).creates.remove(uid);
    }

    /// A delete has ended; when it was refused the uid may be created again. True when that is so.
    pub(crate) fn leave_delete(&self, uid: &str, refused: bool) -> bool {
        let mut state = lock(&self.state);
        let buried = state.deletes.remove(uid).is_some_and(|deleting| deleting.buried);
        let again = refused && buried && state.tombstones.remove(uid);
        if again {
            state.tombstone_order.retain(|other| other != uid);
        }
        again
    }

    /// Takes up what an earlier life has left. Gives the uids that are too many.
    pub(crate) fn restore(
        &self,
        deletes: Vec<(String, PendingDelete)>,
        tombstones: Vec<String>,
    ) -> Vec<String> {
        let mut state = lock(&self.state);
        for uid in tombstones {
            state.bury(&uid);
        }
        for (plugin, delete) in deletes {
            state.pending_bytes += delete.pod_json.len();
            state.pending_count += 1;
            state
                .pending
                .entry(plugin)
                .or_default()
                .insert(delete.pod.uid.clone(), delete);
        }
        std::mem::take(&mut state.fallen)
    }

    /// Uids that fell out of the list of deleted ones since the last call.
    pub(crate) fn take_fallen(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.state).fallen)
    }

    /// The creates under way.
    pub(crate) fn creates(&self) -> Vec<(String, Arc<Flight<CreateStruct>>)> {
        let state = lock(&self.state);
        state
            .creates
            .iter()
            .map(|(uid, flight)| (uid.clone(), flight.clone()))
            .collect()
    }

    /// Keeps a delete for later.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED when too many are kept.
    pub(crate) fn keep(&self, plugin: &str, delete: PendingDelete) -> Result<(), Status> {
        let mut state = lock(&self.state);
        state.forget(plugin, &delete.pod.uid);
        let bytes = state.pending_bytes + delete.pod_json.len();
        if state.pending_count >= limits::HUB_DELETES_KEPT || bytes > limits::HUB_DELETES_KEPT_BYTES {
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
        Ok(())
    }

    /// Drops a kept delete: it was confirmed.
    pub(crate) fn confirmed(&self, plugin: &str, uid: &str) {
        lock(&self.state).forget(plugin, uid);
    }

    /// Drops everything kept for a plugin. Gives the uids.
    pub(crate) fn forget_plugin(&self, plugin: &str) -> Vec<String> {
        let mut state = lock(&self.state);
        let uids: Vec<String> = state
            .pending
            .get(plugin)
            .map(|kept| kept.keys().cloned().collect())
            .unwrap_or_default();
        for uid in &uids {
            state.forget(plugin, uid);
        }
        uids
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

    /// The plugin for which a delete of this pod is kept.
    pub(crate) fn pending_at(&self, uid: &str) -> Option<String> {
        let state = lock(&self.state);
        let mut kept = state.pending.iter();
        let (plugin, _) = kept.find(|(_, deletes)| deletes.contains_key(uid))?;
        Some(plugin.clone())
    }

    /// Whether a delete of this pod is kept.
    pub(crate) fn is_pending(&self, uid: &str) -> bool {
        self.pending_at(uid).is_some()
    }

    /// Whether this uid was deleted.
    pub(crate) fn is_buried(&self, uid: &str) -> bool {
        lock(&self.state).tombstones.contains(uid)
    }

    /// How many deletes are kept.
    pub(crate) fn pending_count(&self) -> usize {
        lock(&self.state).pending_count
    }
}

impl State {
    fn has_room(&self) -> Result<(), Status> {
        if self.creates.len() + self.deletes.len() < limits::HUB_FLIGHTS {
            return Ok(());
        }
        Err(Status::new(
            Code::ResourceExhausted,
            reason::TOO_MANY_CALLS,
            format!(
                "{} creates and deletes are under way in this hub",
                limits::HUB_FLIGHTS
            ),
        ))
    }

    /// False when it was buried before.
    fn bury(&mut self, uid: &str) -> bool {
        if !self.tombstones.insert(uid.to_owned()) {
            return false;
        }
        self.tombstone_order.push_back(uid.to_owned());
        if self.tombstone_order.len() > limits::HUB_TOMBSTONES
            && let Some(oldest) = self.tombstone_order.pop_front()
        {
            self.tombstones.remove(&oldest);
            self.fallen.push(oldest);
        }
        true
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
