//! How a delete gets through, at once or when the plugin is back.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::{
    CallMeta, DeleteWhenOffline, Hub,
    call::request,
    calls::PendingDelete,
    flight::{Carried, Entered, Flight},
    placement::{Wish, place},
    registry::Route,
    store::Unkept,
};
use crate::{
    code::{Code, reason},
    interlink::CreateStruct,
    limits,
    planted::{self, Bug},
    wire::{DeletePod, Status, request::Op, response},
};

/// A delete that has waited for its create to the end of its time is still recorded.
const LAST_WRITE: Duration = Duration::from_millis(900);

/// A delete and what the request says about the place.
#[derive(Debug)]
pub(crate) struct OldPod {
    pub(crate) delete: PendingDelete,
    pub(crate) scope: Option<String>,
    pub(crate) annotation: Option<String>,
    pub(crate) node_name: Option<String>,
    pub(crate) meta: CallMeta,
}

impl Hub {
    /// Joins the delete of this uid, or starts it.
    ///
    /// # Cancel safety
    /// Dropping the future does not end the delete.
    pub(crate) async fn delete_once(self: &Arc<Self>, old: OldPod) -> Result<(), Status> {
        let uid = old.delete.pod.uid.clone();
        // Found before a create under way is cancelled, for that forgets the pod.
        let owner = self.owner(&old);
        let (entered, create) = self.calls.enter_delete(&uid)?;
        let flight = match entered {
            Entered::Running(flight) => flight,
            Entered::New(flight) => {
                let first = owner.is_ok() && self.delete_asked(&uid, Some(SystemTime::now()));
                self.uid_buried(&uid);
                let (hub, flying) = (self.clone(), flight.clone());
                let work = Carried::new(async move {
                    let mut guard = Landing {
                        hub: &hub,
                        uid: &old.delete.pod.uid,
                        flight: &flying,
                        first,
                        result: None,
                    };
                    guard.result = Some(hub.fly_delete(&old, owner, create).await);
                });
                work.await;
                flight
            }
        };
        flight.result().await
    }

    async fn fly_delete(
        &self,
        old: &OldPod,
        owner: Result<Option<String>, Status>,
        create: Option<Arc<Flight<CreateStruct>>>,
    ) -> Result<(), Status> {
        let deadline = Instant::now() + limits::DELETE_TIMEOUT;
        let mut late = false;
        let mut unsent = false;
        if let Some(create) = create.filter(|_| !planted::is(Bug::CreateAfterDelete)) {
            create.cancel_unsent();
            late = timeout_at(deadline, create.result()).await.is_err();
            unsent = !create.was_sent();
        }
        let plugin = match owner {
            Ok(Some(plugin)) => plugin,
            Ok(None) => return Ok(()),
            // It was not placed yet, so no plugin has it.
            Err(_) if unsent => return Ok(()),
            Err(status) => return Err(status),
        };
        // Recorded before it is sent: a restart in between would find the create of a pod that was deleted. One that
        // cannot be recorded is no promise; it stays in hand all the same, for many a virtual kubelet does not ask again.
        let kept = self.store.is_durable();
        if kept {
            self.keep_delete(&plugin, old.delete.clone())?;
            if let Err(unkept) = self.recorded(deadline).await {
                if self.config.delete_when_offline == DeleteWhenOffline::Refuse {
                    self.delete_dropped(&plugin, &old.delete.pod.uid);
                }
                return Err(unkept);
            }
        }
        let status = match self.registry.route(&plugin) {
            _ if late => Status::new(
                Code::Unavailable,
                "",
                format!("plugin {plugin} has not answered the create of this pod yet"),
            ),
            None => self.registry.absence(&plugin),
            Some(route) => match self
                .send_delete(&route, &plugin, &old.delete, Some(&old.meta), deadline)
                .await
            {
                Ok(()) => return Ok(()),
                Err(status) => status,
            },
        };
        if may_come_later(&status) && self.config.delete_when_offline == DeleteWhenOffline::Durable {
            if kept {
                return Ok(());
            }
            return self.keep_delete(&plugin, old.delete.clone());
        }
        if kept {
            self.delete_dropped(&plugin, &old.delete.pod.uid);
        }
        Err(status)
    }

    /// Waits until everything so far is on the disk.
    async fn recorded(&self, deadline: Instant) -> Result<(), Status> {
        let until = deadline.max(Instant::now() + LAST_WRITE);
        match timeout_at(until, self.store.committed()).await {
            Ok(committed) => committed.map_err(Status::from),
            Err(_) => Err(Unkept("it takes too long".into()).into()),
        }
    }

    /// One delete at the plugin. A pod that it does not have counts as deleted.
    pub(crate) async fn send_delete(
        &self,
        route: &Route,
        plugin: &str,
        delete: &PendingDelete,
        meta: Option<&CallMeta>,
        deadline: Instant,
    ) -> Result<(), Status> {
        let mut attempt = 0;
        let mut failures = 0;
        let mut pod_json = delete.pod_json.clone();
        loop {
            attempt += 1;
            let op = Op::DeletePod(DeletePod {
                pod: Some(delete.pod.clone()),
                grace_seconds: delete.grace_seconds,
                pod_json: pod_json.clone(),
            });
            let mut request = request(op, format!("delete/{}", delete.pod.uid), meta);
            request.attempt = attempt;
            let existed = match self.call(route, "delete", request, deadline).await {
                Ok(response) => match response.result {
                    Some(response::Result::DeletePod(deleted)) => deleted.existed,
                    _ => true,
                },
                Err(status) if status.kind() == Code::NotFound => false,
                // The uid alone is enough for most, and always better than none.
                Err(status) if status.reason == reason::MESSAGE_TOO_LARGE && !pod_json.is_empty() => {
                    pod_json = Bytes::new();
                    continue;
                }
                Err(status) if failures == 0 && matches!(status.kind(), Code::Internal | Code::DataLoss) => {
                    failures += 1;
                    continue;
                }
                Err(status) => return Err(status),
            };
            self.delete_confirmed(plugin, route.way, &delete.pod.uid, existed);
            return Ok(());
        }
    }

    /// Who has the pod. None: nobody has it for sure, so there is nothing to delete.
    fn owner(&self, old: &OldPod) -> Result<Option<String>, Status> {
        let pod = &old.delete.pod;
        let known = self.read_pods(|pods| pods.get(&pod.uid).map(|entry| entry.plugin.clone()));
        match (known, &old.scope) {
            (Some(owner), Some(scope)) if owner != *scope => Err(Status::new(
                Code::NotFound,
                reason::POD_NOT_FOUND,
                format!("pod {pod} belongs to plugin {owner}, not to {scope}"),
            )),
            (Some(owner), _) => Ok(Some(owner)),
            (None, _) => {
                let wish = Wish {
                    scope: old.scope.as_deref(),
                    annotation: old.annotation.as_deref(),
                    node_name: old.node_name.as_deref(),
                };
                match place(wish, &self.candidates(wish)) {
                    Ok(plugin) => Ok(Some(plugin)),
                    // Every plugin has told all its pods, and this is none of them.
                    Err(_) if self.all_in_sync() => Ok(None),
                    Err(status) => Err(status),
                }
            }
        }
    }
}

/// Whether a delete that failed so is to be kept and repeated: the retry table of docs/PROTOCOL.md. The rest are
/// refusals.
pub(crate) fn may_come_later(status: &Status) -> bool {
    status.reason != reason::MESSAGE_TOO_LARGE
        && matches!(
            status.kind(),
            Code::Unavailable
                | Code::ResourceExhausted
                | Code::Unknown
                | Code::DeadlineExceeded
                | Code::Cancelled
        )
}

/// Ends a flight also when its task panics.
struct Landing<'a> {
    hub: &'a Hub,
    uid: &'a str,
    flight: &'a Flight<()>,
    /// It was the first one asked for this pod.
    first: bool,
    result: Option<Result<(), Status>>,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        let lost = || {
            Err(Status::new(
                Code::Internal,
                "",
                "the delete was ended before it had a result",
            ))
        };
        let result = self.result.take().unwrap_or_else(lost);
        let over = result.is_err() && !self.hub.calls.is_pending(self.uid);
        if self.hub.calls.leave_delete(self.uid, over) {
            self.hub.uid_unburied(self.uid);
        }
        if self.first && over {
            self.hub.delete_asked(self.uid, None);
        }
        self.flight.finish(result);
        self.hub.delete_kept_now(self.uid);
    }
}
