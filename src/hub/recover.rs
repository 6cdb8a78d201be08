//! What becomes of what an earlier life of the hub has left: states are shown at once, creates in hand go on, deletes wait
//! for their plugins.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    CallMeta, Hub,
    calls::PendingDelete,
    create::{Begin, NewPod},
    flight::Entered,
    record::Recorded,
    registry::lock,
    store::{CreateRow, DeleteRow, Recovered},
};

impl Hub {
    /// Takes everything up. Nothing is connected yet.
    pub(super) fn recover(self: &Arc<Self>, found: Recovered) {
        let (pods, creates, deletes) = (found.pods.len(), found.creates.len(), found.deletes.len());
        self.registry.restore(found.plugins);
        let in_hand: std::collections::HashSet<String> =
            found.creates.iter().map(|create| create.uid.clone()).collect();
        lock(&self.pods).restore(found.pods, Instant::now());
        let deletes_kept = found.deletes.into_iter().map(kept).collect();
        for uid in self.calls.restore(deletes_kept, found.tombstones) {
            self.store.unbury(&uid);
        }
        self.count_pending();
        // Placed, but what was to be created cannot be read any more: the plugin must tell whether it has it.
        let orphans: Vec<String> = self.read_pods(|pods| {
            let orphans = pods
                .iter()
                .filter(|entry| !entry.answered && !in_hand.contains(&entry.pod.uid));
            orphans.map(|entry| entry.pod.uid.clone()).collect()
        });
        for uid in orphans {
            self.create_answered(&uid, "");
        }
        for create in found.creates {
            self.take_up(create);
        }
        if self.store.is_durable() {
            let fresh = found.damaged.is_some();
            tracing::info!(pods, creates, deletes, fresh, "the hub's state was read");
        }
    }

    fn take_up(self: &Arc<Self>, create: CreateRow) {
        let plugin = create.plugin.clone();
        let recorded = Recorded::before(&create);
        let new = NewPod {
            pod: create.pod(),
            payload: create.payload,
            scope: None,
            annotation: None,
            node_name: None,
            names: create.names.into(),
            meta: CallMeta {
                session: create.session,
                traceparent: create.traceparent,
            },
        };
        match self.calls.enter_create(&new.pod.uid) {
            Ok(Entered::New(flight)) => {
                // The row of the pod may be missing when only the create was written before the end.
                self.pod_placed(&new, &plugin, recorded);
                self.start_create(new, flight, Begin::Resume(plugin));
            }
            Ok(Entered::Running(_)) => {}
            // Deleted meanwhile: nothing is to be created.
            Err(_) => self.create_failed(&new.pod.uid),
        }
    }
}

fn kept(row: DeleteRow) -> (String, PendingDelete) {
    let delete = PendingDelete {
        pod: row.pod(),
        grace_seconds: row.grace_seconds,
        pod_json: row.pod_json,
    };
    (row.plugin, delete)
}
