//! How a create gets through: hold, place, send, and send again where that is safe.
//!
//! ```text
//! WAITING -plugin takes calls, slot free-> SENT -Response-> DONE
//!    ^  \-delete, or the hold is over-> DONE   |
//!    +------ loss, not_started, try later -----+
//! ```

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    CallMeta, Hub,
    calls::{Entered, Flight, PendingDelete, deleted, request},
    metrics::Metrics,
    placement::{Wish, place},
    registry::Route,
    watch::Change,
};
use crate::{
    code::{Code, reason},
    interlink::CreateStruct,
    limits,
    wire::{CreatePod, GetStatus, PodRef, Presence, Response, Status, request::Op, response},
};

/// Before a create is tried again on a plugin that answered "not now" without saying when.
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// The longest that a plugin's `retry_after` is honoured in one step.
const RETRY_MAX: Duration = Duration::from_secs(10);
/// How often a create without any plugin looks for one.
const PLACE_AGAIN: Duration = Duration::from_millis(500);

/// What a create needs, taken out of the REST body.
#[derive(Clone)]
pub(crate) struct NewPod {
    pub(crate) pod: PodRef,
    pub(crate) payload: Bytes,
    pub(crate) scope: Option<String>,
    pub(crate) annotation: Option<String>,
    pub(crate) node_name: Option<String>,
    /// Container names and images, for a pod that is lost before it has told any state.
    pub(crate) names: Vec<(String, String)>,
    pub(crate) meta: CallMeta,
}

impl std::fmt::Debug for NewPod {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewPod")
            .field("pod", &self.pod)
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// Joins the create of this uid, or starts it.
    ///
    /// # Cancel safety
    /// Dropping the future does not end the create.
    pub(crate) async fn create_once(self: &Arc<Self>, new: NewPod) -> Result<CreateStruct, Status> {
        let uid = new.pod.uid.clone();
        let flight = match self.calls.enter_create(&uid)? {
            Entered::Running(flight) => flight,
            Entered::New(flight) => {
                let (hub, task) = (self.clone(), flight.clone());
                tokio::spawn(async move {
                    let mut guard = Landing {
                        hub: &hub,
                        uid: &new.pod.uid,
                        flight: &task,
                        result: None,
                    };
                    guard.result = Some(hub.fly(&new, &task).await);
                });
                flight
            }
        };
        flight.result().await
    }

    async fn fly(&self, new: &NewPod, flight: &Flight<CreateStruct>) -> Result<CreateStruct, Status> {
        let uid = &new.pod.uid;
        if let Some(known) = self.known_create(uid) {
            return Ok(known);
        }
        let deadline = Instant::now() + limits::CREATE_TIMEOUT;
        let plugin = tokio::select! {
            placed = self.place_new(new, Instant::now() + self.config.create_hold) => placed?,
            () = flight.cancel.cancelled() => return Err(deleted()),
        };
        if !self.begin_pod(new, &plugin) {
            return Err(Status::new(
                Code::ResourceExhausted,
                reason::QUOTA,
                "the hub's pod table is full",
            ));
        }
        let result = self.attempt(new, &plugin, flight, deadline).await;
        match &result {
            Ok(created) => {
                self.change_pods(|pods| pods.answered(uid, &created.pod_jid));
                self.publish_pod(uid, Change::Modified);
            }
            Err(_) => self.drop_unanswered(uid),
        }
        result
    }

    /// The answer to a create of a pod that is there already.
    fn known_create(&self, uid: &str) -> Option<CreateStruct> {
        self.read_pods(|pods| {
            pods.get(uid)
                .filter(|entry| entry.answered)
                .map(|entry| CreateStruct {
                    pod_uid: uid.to_owned(),
                    pod_jid: entry.job_id.clone(),
                })
        })
    }

    /// Finds the plugin; waits a while when none is known at all.
    async fn place_new(&self, new: &NewPod, until: Instant) -> Result<String, Status> {
        loop {
            let wish = Wish {
                scope: new.scope.as_deref(),
                annotation: new.annotation.as_deref(),
                node_name: new.node_name.as_deref(),
            };
            match place(wish, &self.candidates()) {
                Err(status) if status.kind() == Code::Unavailable && Instant::now() < until => {
                    sleep(PLACE_AGAIN).await
                }
                placed => return placed,
            }
        }
    }

    async fn attempt(
        &self,
        new: &NewPod,
        plugin: &str,
        flight: &Flight<CreateStruct>,
        deadline: Instant,
    ) -> Result<CreateStruct, Status> {
        // Of an attempt whose outcome is not known: at which instance, with which records.
        let mut unknown: Option<Sent> = None;
        let mut attempt = 0;
        let mut failures = 0;
        loop {
            let found = tokio::select! {
                found = self.create_slot(plugin, deadline) => found,
                () = flight.cancel.cancelled() => return Err(deleted()),
            };
            let (route, _slot) = match found {
                Ok(found) => found,
                Err(status) => return Err(self.give_up(new, plugin, status)),
            };
            if let Some(sent) = unknown.as_ref().filter(|sent| sent.must_ask(&route)) {
                tokio::select! {
                    there = self.ask(&route, &new.pod, deadline) => match there {
                        Some(There::Present(job_id)) => return Ok(self.created(new, job_id)),
                        Some(There::Absent) => {}
                        None => {
                            tracing::debug!(plugin, pod = %new.pod, attempt = sent.attempt, "outcome of a create still unknown");
                            drop(_slot);
                            self.pause(flight, RETRY_DELAY, deadline).await?;
                            continue;
                        }
                    },
                    () = flight.cancel.cancelled() => return Err(deleted()),
                }
            }
            attempt += 1;
            if !flight.send() {
                return Err(deleted());
            }
            let result = self.send_create(&route, new, attempt, deadline).await;
            flight.unsend();
            let status = match result {
                Ok(response) => {
                    let job_id = match response.result {
                        Some(response::Result::CreatePod(created)) => created.job_id,
                        _ => String::new(),
                    };
                    return Ok(self.created(new, job_id));
                }
                Err(status) => status,
            };
            drop(_slot);
            match next(&status, &mut failures) {
                Next::Report => return Err(status),
                Next::Stop => return Err(self.give_up(new, plugin, status)),
                Next::Ask => unknown = Some(Sent::at(&route, attempt, true)),
                Next::Again => {
                    if !status.not_started && status.reason == reason::SESSION_LOST {
                        unknown = Some(Sent::at(&route, attempt, false));
                    }
                }
            }
            // A link that is gone is waited for by `create_slot`; one that stands must not be hammered.
            if route.connection.is_open() {
                let wish = Duration::from_millis(status.retry_after_ms).min(RETRY_MAX);
                self.pause(flight, wish.max(RETRY_DELAY), deadline).await?;
            }
        }
    }

    /// Waits for the plugin, at most the hold, and for a free slot, at most to the deadline.
    async fn create_slot(
        &self,
        plugin: &str,
        deadline: Instant,
    ) -> Result<(Route, tokio::sync::OwnedSemaphorePermit), Status> {
        loop {
            let route = match self.registry.route(plugin) {
                Some(route) => route,
                None => {
                    let _held = Held::new(&self.metrics);
                    let until = (Instant::now() + self.config.create_hold).min(deadline);
                    self.registry
                        .routable(plugin, until)
                        .await
                        .ok_or_else(|| self.registry.absence(plugin))?
                }
            };
            let ended = route.connection.clone();
            tokio::select! {
                slot = timeout_at(deadline, route.creates.clone().acquire_owned()) => match slot {
                    Ok(Ok(slot)) if route.connection.is_open() => return Ok((route, slot)),
                    Ok(Ok(_)) => {}
                    Ok(Err(_)) | Err(_) => {
                        return Err(Status::new(
                            Code::DeadlineExceeded,
                            reason::TOO_MANY_CALLS,
                            format!("plugin {plugin} was busy with other creates for too long"),
                        ));
                    }
                },
                _ = ended.ended() => {}
            }
            if Instant::now() >= deadline {
                return Err(self.registry.absence(plugin));
            }
            tokio::task::yield_now().await;
        }
    }

    async fn send_create(
        &self,
        route: &Route,
        new: &NewPod,
        attempt: u32,
        deadline: Instant,
    ) -> Result<Response, Status> {
        let op = Op::CreatePod(CreatePod {
            pod: Some(new.pod.clone()),
            payload: new.payload.clone(),
        });
        let mut request = request(op, format!("create/{}", new.pod.uid), Some(&new.meta));
        request.attempt = attempt;
        self.call(route, "create", request, deadline).await
    }

    /// Asks whether the plugin has the pod. None when it cannot tell.
    async fn ask(&self, route: &Route, pod: &PodRef, deadline: Instant) -> Option<There> {
        let op = Op::GetStatus(GetStatus {
            pods: vec![pod.clone()],
            ..GetStatus::default()
        });
        let until = deadline.min(Instant::now() + limits::STATUS_TIMEOUT);
        let response = self
            .call(route, "status", request(op, String::new(), None), until)
            .await
            .ok()?;
        let Some(response::Result::GetStatus(page)) = response.result else {
            return None;
        };
        let state = page
            .pods
            .into_iter()
            .find(|state| state.pod.as_ref().is_some_and(|other| other.uid == pod.uid))?;
        match state.presence() {
            Presence::Present => Some(There::Present(state.job_id)),
            Presence::Absent => Some(There::Absent),
            Presence::Unreachable | Presence::Unspecified => None,
        }
    }

    /// Waits before the next attempt; a delete or the deadline ends it.
    async fn pause(
        &self,
        flight: &Flight<CreateStruct>,
        delay: Duration,
        deadline: Instant,
    ) -> Result<(), Status> {
        tokio::select! {
            () = tokio::time::sleep_until((Instant::now() + delay).min(deadline)) => Ok(()),
            () = flight.cancel.cancelled() => Err(deleted()),
        }
    }

    fn created(&self, new: &NewPod, job_id: String) -> CreateStruct {
        CreateStruct {
            pod_uid: new.pod.uid.clone(),
            pod_jid: job_id,
        }
    }

    /// The caller is told that it failed, so a late success must not stay: the delete is kept first.
    fn give_up(&self, new: &NewPod, plugin: &str, status: Status) -> Status {
        let delete = PendingDelete {
            pod: new.pod.clone(),
            grace_seconds: Some(0),
            pod_json: Bytes::new(),
        };
        if let Err(full) = self.keep_delete(plugin, delete) {
            tracing::warn!(plugin, pod = %new.pod, error = %full, "a late success of this create would not be deleted");
        }
        status
    }
}

/// Ends a flight also when its task panics or the runtime goes down.
struct Landing<'a> {
    hub: &'a Hub,
    uid: &'a str,
    flight: &'a Flight<CreateStruct>,
    result: Option<Result<CreateStruct, Status>>,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.hub.calls.leave_create(self.uid);
        let lost = || {
            Err(Status::new(
                Code::Internal,
                "",
                "the create was ended before it had a result",
            ))
        };
        let result = self.result.take().unwrap_or_else(lost);
        // A delete kept meanwhile may go now.
        if result.is_err() {
            self.hub.calls.pending_added.notify_waiters();
        }
        self.flight.finish(result);
    }
}

/// Counts a create as held while it waits.
struct Held<'a>(&'a Metrics);

impl<'a> Held<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        metrics.creates_held.inc();
        Self(metrics)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.creates_held.dec();
    }
}

enum There {
    Present(String),
    Absent,
}

/// An attempt of unknown outcome.
struct Sent {
    instance: String,
    jobs_epoch: u64,
    attempt: u32,
    ask: bool,
}

impl Sent {
    fn at(route: &Route, attempt: u32, ask: bool) -> Self {
        Self {
            instance: route.instance.clone(),
            jobs_epoch: route.jobs_epoch,
            attempt,
            ask,
        }
    }

    /// The same process, or the same records, answers a repetition with the job that exists.
    fn must_ask(&self, route: &Route) -> bool {
        let same_process = self.instance == route.instance;
        let same_records = self.jobs_epoch != 0 && self.jobs_epoch == route.jobs_epoch;
        self.ask || !(same_process || same_records)
    }
}

enum Next {
    /// The plugin refused: its text goes to the caller.
    Report,
    /// The outcome is unknown and there is no time left.
    Stop,
    /// GetStatus decides before a repetition.
    Ask,
    Again,
}

/// The retry table of docs/PROTOCOL.md, for a create.
fn next(status: &Status, failures: &mut u32) -> Next {
    if status.reason == reason::MESSAGE_TOO_LARGE {
        return Next::Report;
    }
    match status.kind() {
        Code::DeadlineExceeded | Code::Cancelled => Next::Stop,
        Code::Unavailable | Code::ResourceExhausted => Next::Again,
        Code::Unknown if status.not_started => Next::Again,
        Code::Unknown => Next::Ask,
        Code::Internal | Code::DataLoss if *failures == 0 => {
            *failures += 1;
            Next::Again
        }
        // A refusal stays one, also when the plugin says that nothing was begun.
        _ => Next::Report,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_never_repeated_though_nothing_was_begun() {
        for code in [
            Code::FailedPrecondition,
            Code::InvalidArgument,
            Code::Unimplemented,
            Code::Aborted,
        ] {
            let refusal = Status::new(code, reason::BAD_POD, "no").not_started();
            assert!(matches!(next(&refusal, &mut 0), Next::Report), "{code}");
        }
    }

    #[test]
    fn what_the_plugin_could_not_take_now_is_repeated() {
        let busy = Status::new(Code::ResourceExhausted, reason::TOO_MANY_CALLS, "");
        assert!(matches!(next(&busy, &mut 0), Next::Again));
        let unknown = Status::new(Code::Unknown, reason::SUBMIT_UNKNOWN, "");
        assert!(matches!(next(&unknown, &mut 0), Next::Ask));
    }
}
