//! Every change of what the hub keeps of pods and deletes, and nothing else makes one: a pod is placed, its create is
//! answered or given up, a state is applied, a delete is kept or confirmed, pods are forgotten.

use std::{collections::HashSet, time::SystemTime};

use tokio::time::Instant;

use super::{
    Hub, Way,
    calls::PendingDelete,
    create::NewPod,
    flight::{self, Flight},
    pods::{Applied, PodTable, Source},
    registry::lock,
    store::{CreateRow, DeleteRow, Unkept},
    watch::Change,
};
use crate::{
    code::{Code, reason},
    interlink::CreateStruct,
    planted::{self, Bug},
    wire::{PodRef, PodState, Presence, Status},
};

/// The row of a create was put before that of its pod. The other way round, a hub that is killed between the two would
/// find a pod without a create in its next life, take it for created, and never send it.
pub(crate) struct Recorded(());

impl Recorded {
    /// By an earlier life of the hub.
    pub(crate) fn before(_: &CreateRow) -> Self {
        Self(())
    }
}

impl Hub {
    /// A create is on disk before its first attempt, so that it outlives this process. Nothing without a state
    /// directory.
    ///
    /// # Errors
    /// UNAVAILABLE when it cannot be kept.
    pub(crate) async fn create_kept(&self, flight: &Flight<CreateStruct>) -> Result<(), Status> {
        if self.closed.is_cancelled() {
            return Err(flight::gone());
        }
        if !self.store.is_durable() {
            return Ok(());
        }
        if !planted::is(Bug::CreateNotRecorded) {
            self.store.committed().await?;
        }
        flight.keep();
        Ok(())
    }

    /// A create is about to be in hand: its row is on its way to the disk, if there is one.
    pub(crate) fn create_recorded(&self, new: &NewPod, plugin: &str) -> Recorded {
        if self.store.is_durable() && !planted::is(Bug::CreateNotRecorded) {
            self.store.put_create(&CreateRow {
                uid: new.pod.uid.clone(),
                namespace: new.pod.namespace.clone(),
                name: new.pod.name.clone(),
                plugin: plugin.to_owned(),
                names: new.names.to_vec(),
                session: new.meta.session.clone(),
                traceparent: new.meta.traceparent.clone(),
                payload: new.payload.clone(),
            });
        }
        Recorded(())
    }

    /// A create is in hand and its plugin is chosen. False when the table is full.
    pub(crate) fn pod_placed(&self, new: &NewPod, plugin: &str, _: Recorded) -> bool {
        match self.change_pods(|pods| pods.begin(&new.pod, plugin, new.names.clone())) {
            Applied::Refused => false,
            Applied::Added => {
                self.publish_pod(&new.pod.uid, Change::Added);
                true
            }
            _ => true,
        }
    }

    /// The plugin took the pod.
    pub(crate) fn create_answered(&self, uid: &str, job_id: &str) {
        self.change_pods(|pods| pods.answered(uid, job_id));
        self.store.drop_create(uid);
        self.publish_pod(uid, Change::Modified);
    }

    /// A create did not come through: its pod is not there. What a plugin has told of it stays.
    pub(crate) fn create_failed(&self, uid: &str) {
        self.remove_if(uid, |pods| pods.get(uid).is_some_and(|entry| !entry.answered));
        self.store.drop_create(uid);
    }

    /// A create that was promised was refused: the pod is reported as ended, with the plugin's text.
    pub(crate) fn create_refused_late(&self, uid: &str, why: &str) {
        self.change_pods(|pods| pods.failed(uid, why, Instant::now()));
        self.store.drop_create(uid);
        self.publish_pod(uid, Change::Modified);
    }

    /// A plugin told a state. Says what it did.
    pub(crate) fn apply_state(&self, source: Source<'_>, state: PodState) -> Applied {
        let uid = state.pod.as_ref().map(|pod| pod.uid.clone()).unwrap_or_default();
        if let Some(pod) = &state.pod
            && self.has_two_ways(source.plugin)
            && self.calls.is_buried(&uid)
        {
            // No pod of its uid comes again: one that is not known here is a ghost.
            let known = self.read_pods(|pods| pods.get(&uid).map(|entry| entry.deleting));
            let has_not_heard = known.is_none_or(|deleting| deleting.is_some_and(|way| way != source.way));
            if has_not_heard && state.presence() == Presence::Present {
                self.delete_here_too(source.plugin, pod);
            }
            if known.is_none() {
                return Applied::Unchanged;
            }
        }
        let before = self.watched_view(&uid);
        let applied = self.change_pods(|pods| pods.apply(source, state));
        match applied {
            Applied::Added => self.publish_pod(&uid, Change::Added),
            Applied::Changed => self.publish_pod(&uid, Change::Modified),
            Applied::Removed => self.publish_gone(before),
            Applied::Lost => {
                self.metrics.pods_lost.inc();
                tracing::warn!(plugin = source.plugin, uid = %uid, "pod is lost: its plugin does not have it any more");
                self.publish_pod(&uid, Change::Modified);
            }
            Applied::Unchanged | Applied::Suspected | Applied::Refused => {}
        }
        applied
    }

    /// A pod that was deleted over the plugin's other way is to be deleted over this one too.
    fn delete_here_too(&self, plugin: &str, pod: &PodRef) {
        if self.calls.is_pending(&pod.uid) {
            return;
        }
        let delete = PendingDelete {
            pod: pod.clone(),
            grace_seconds: None,
            pod_json: bytes::Bytes::new(),
        };
        if let Err(full) = self.keep_delete(plugin, delete) {
            tracing::warn!(plugin, pod = %pod, error = %full, "a pod that was deleted over the other way stays at its plugin");
        }
    }

    /// Whether this is a pod that the hub has deleted and knows no more: no pod of its uid comes again.
    pub(crate) fn has_deleted(&self, state: &PodState) -> bool {
        let Some(pod) = &state.pod else { return false };
        self.calls.is_buried(&pod.uid) && self.read_pods(|pods| pods.get(&pod.uid).is_none())
    }

    /// The plugin says that a pod is deleted and gone.
    pub(crate) fn pod_gone(&self, uid: &str) {
        self.remove_if(uid, |pods| {
            pods.get(uid).is_some_and(|entry| entry.deleting.is_some())
        });
    }

    /// A delete was asked for, or (none) was refused. False when that is no news.
    pub(crate) fn delete_asked(&self, uid: &str, at: Option<SystemTime>) -> bool {
        let news = self.change_pods(|pods| pods.ask_delete(uid, at));
        if news {
            self.publish_pod(uid, Change::Modified);
        }
        news
    }

    /// Keeps a delete for an absent plugin; without a state directory in memory.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED when too many are kept.
    pub(crate) fn keep_delete(&self, plugin: &str, delete: PendingDelete) -> Result<(), Status> {
        if planted::is(Bug::DeleteNotKept) {
            return Ok(());
        }
        let uid = delete.pod.uid.clone();
        let row = self.store.is_durable().then(|| delete.row(plugin));
        self.calls.keep(plugin, delete)?;
        self.count_pending();
        if let Some(row) = row {
            if !planted::is(Bug::DeleteNotRecorded) {
                self.store.put_delete(&row);
            }
            self.uid_buried(&uid);
        }
        self.registry.delete_now(plugin);
        Ok(())
    }

    /// A create or delete of this pod has ended, for which a delete that is kept has waited.
    pub(crate) fn delete_kept_now(&self, uid: &str) {
        if let Some(plugin) = self.calls.pending_at(uid) {
            self.registry.delete_now(&plugin);
        }
    }

    /// The plugin confirmed a delete.
    pub(crate) fn delete_confirmed(&self, plugin: &str, way: Way, uid: &str, existed: bool) {
        self.calls.confirmed(plugin, uid);
        self.store.drop_delete(plugin, uid);
        self.count_pending();
        if let Some(onlooker) = self.onlooker(plugin) {
            onlooker.deleted(uid);
        }
        let before = self.watched_view(uid);
        let applied = self.change_pods(|pods| {
            let owned = pods.get(uid).is_some_and(|entry| entry.plugin == plugin);
            if owned {
                pods.deleted(uid, existed, way, Instant::now())
            } else {
                Applied::Unchanged
            }
        });
        match applied {
            Applied::Removed => self.publish_gone(before),
            Applied::Changed => self.publish_pod(uid, Change::Modified),
            _ => {}
        }
    }

    /// The plugin refuses a delete that was kept.
    pub(crate) fn delete_dropped(&self, plugin: &str, uid: &str) {
        self.calls.confirmed(plugin, uid);
        self.store.drop_delete(plugin, uid);
        self.count_pending();
    }

    /// No create of this uid is sent from now on.
    pub(crate) fn uid_buried(&self, uid: &str) {
        self.store.bury(uid);
        for uid in self.calls.take_fallen() {
            self.store.unbury(&uid);
        }
    }

    /// Its delete was refused: it may be created again.
    pub(crate) fn uid_unburied(&self, uid: &str) {
        self.store.unbury(uid);
    }

    /// Something of a plugin changed that a restart must find.
    pub(crate) fn plugin_changed(&self, name: &str) {
        if self.store.is_durable() {
            // Under the registry's lock, so that an older row cannot overtake a newer one.
            self.registry
                .with(name, |plugin| self.store.put_plugin(&plugin.row()));
        }
    }

    /// More of a plugin's outbox was applied. Every event comes here, so the rest of the plugin is not written again.
    pub(crate) fn mark_changed(&self, name: &str) {
        if self.store.is_durable() {
            self.registry
                .with(name, |plugin| self.store.put_mark(name, plugin.mark_row()));
        }
    }

    /// Drops the last state of a pod, never where it runs, and has it read again.
    pub(crate) fn state_dropped(&self, uid: &str) {
        if self.change_pods(|pods| pods.drop_state(uid)) {
            self.publish_pod(uid, Change::Modified);
            let plugin = self.read_pods(|pods| pods.get(uid).map(|entry| entry.plugin.clone()));
            self.registry.read_now(plugin.as_deref().unwrap_or_default());
        }
    }

    /// The create of a pod was answered over a way that is not the one in use any more: whoever is there now may have been
    /// asked for all its pods before that answer, and tells nothing of a pod that it does not know.
    pub(crate) fn state_unread(&self, plugin: &str, uid: &str) {
        self.change_pods(|pods| pods.unread(uid));
        self.registry.read_now(plugin);
    }

    /// Drops the pods of a plugin and the deletes kept for it.
    pub(crate) fn plugin_forgotten(&self, plugin: &str) {
        for uid in self.calls.forget_plugin(plugin) {
            self.store.drop_delete(plugin, &uid);
        }
        self.store.drop_plugin(plugin);
        self.count_pending();
        // Creates that wait for it would wait for ever.
        let waiting = self.read_pods(|pods| {
            let waiting = pods.of(plugin).filter(|entry| !entry.answered);
            waiting.map(|entry| entry.pod.uid.clone()).collect::<HashSet<_>>()
        });
        for (_, flight) in self
            .calls
            .creates()
            .iter()
            .filter(|(uid, _)| waiting.contains(uid))
        {
            flight.cancel_unsent();
        }
        for entry in self.change_pods(|pods| pods.forget(plugin, Instant::now())) {
            self.publish_removed(&entry);
        }
    }

    fn remove_if(&self, uid: &str, so: impl FnOnce(&PodTable) -> bool) {
        let removed = self.change_pods(|pods| so(pods).then(|| pods.remove(uid, Instant::now())).flatten());
        if let Some(entry) = removed {
            self.publish_removed(&entry);
        }
    }

    /// Changes the pod table, drops what is too old in it, and counts it.
    fn change_pods<R>(&self, change: impl FnOnce(&mut PodTable) -> R) -> R {
        let (result, pruned, count) = {
            let mut pods = lock(&self.pods);
            let result = change(&mut pods);
            let pruned = pods.prune(Instant::now());
            if self.store.is_durable() {
                // Under the lock, so that an older row cannot overtake a newer one.
                for uid in pods.take_touched() {
                    match pods.at(uid) {
                        Some(entry) => self.store.put_pod(&entry.row()),
                        None => self.store.drop_pod(&uid.to_string()),
                    }
                }
            } else {
                pods.forget_touched();
            }
            (result, pruned, pods.len())
        };
        self.metrics.pods.set(i64::try_from(count).unwrap_or(i64::MAX));
        for entry in pruned {
            self.publish_removed(&entry);
        }
        result
    }
}

impl PendingDelete {
    fn row(&self, plugin: &str) -> DeleteRow {
        DeleteRow {
            uid: self.pod.uid.clone(),
            namespace: self.pod.namespace.clone(),
            name: self.pod.name.clone(),
            plugin: plugin.to_owned(),
            grace_seconds: self.grace_seconds,
            pod_json: self.pod_json.clone(),
        }
    }
}

impl From<Unkept> for Status {
    fn from(unkept: Unkept) -> Self {
        Self::new(Code::Unavailable, reason::NOT_KEPT, unkept.to_string()).not_started()
    }
}
