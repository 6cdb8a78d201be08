//! The attempts of one create: wait for the plugin and a slot, send, and judge the answer.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout_at},
};

use super::{
    Hub, Way,
    call::request,
    calls::PendingDelete,
    create::{Held, NewPod},
    flight::{Flight, deleted, draining},
    registry::{Route, SessionNumber},
    retry::{Next, Retry},
};
use crate::{
    interlink::CreateStruct,
    limits,
    planted::{self, Bug},
    wire::{CreatePod, GetStatus, PodRef, Presence, Response, Status, request::Op, response},
};

/// Before a create is tried again on a plugin that answered "not now" without saying when.
const RETRY_DELAY: Duration = Duration::from_millis(500);

/// What a plugin says of a pod.
enum There {
    Present(String),
    Absent,
}

impl Hub {
    /// Sends a create until there is an answer for good, at most to the deadline. Gives the session that has the pod, too.
    pub(crate) async fn attempt(
        &self,
        new: &NewPod,
        plugin: &str,
        flight: &Flight<CreateStruct>,
        mut retry: Retry,
        mut deadline: Instant,
    ) -> Result<(CreateStruct, SessionNumber), Status> {
        let mut last: Option<Status> = None;
        loop {
            if Instant::now() >= deadline {
                if !flight.promise() {
                    let status = last.unwrap_or_else(|| self.registry.absence(plugin));
                    return Err(self.give_up(new, plugin, status));
                }
                deadline = Instant::now() + limits::CREATE_TIMEOUT;
            }
            let found = tokio::select! {
                biased;
                () = flight.cancel.cancelled() => return Err(deleted()),
                found = self.create_slot(plugin, flight, deadline) => found,
                // One that was recorded only after the drain had let the others go has a promise to give too.
                () = self.draining.cancelled(), if !flight.is_promised() => {
                    if flight.promise() {
                        continue;
                    }
                    Err(draining())
                }
            };
            let (route, slot) = match found {
                Ok(found) => found,
                // The caller has waited long enough; what is recorded waits on.
                Err(_) if flight.promise() => {
                    tokio::task::yield_now().await;
                    continue;
                }
                Err(status) => return Err(self.give_up(new, plugin, status)),
            };
            if retry.must_ask(&route) {
                if route.way == Way::Http {
                    // It asks with the whole pod.
                    self.tell_placed(plugin, &new.payload, false);
                }
                let there = tokio::select! {
                    biased;
                    () = flight.cancel.cancelled() => return Err(deleted()),
                    there = self.ask(&route, &new.pod, deadline) => there,
                };
                match there {
                    Some(There::Present(job_id)) => {
                        self.tell_created(plugin, new, &route);
                        return Ok((created(new, job_id), route.session));
                    }
                    Some(There::Absent) if retry.believes_absent(&route) => {}
                    Some(There::Absent) | None => {
                        tracing::debug!(plugin, pod = %new.pod, attempt = retry.attempt(), "outcome of a create still unknown");
                        drop(slot);
                        pause(flight, Instant::now() + RETRY_DELAY).await?;
                        continue;
                    }
                }
            }
            if !flight.send() {
                return Err(deleted());
            }
            let result = self.send_create(&route, new, retry.begin(), deadline).await;
            drop(slot);
            let status = match result {
                Ok(response) => {
                    self.tell_created(plugin, new, &route);
                    return Ok((created(new, job_id(response)), route.session));
                }
                Err(status) => status,
            };
            match retry.next(&status, &route) {
                Next::Report => return Err(status),
                Next::Stop if flight.promise() => retry.out_of_time(&route),
                Next::Stop => return Err(self.give_up(new, plugin, status)),
                Next::Again => {}
            }
            // A link that is gone is waited for by `create_slot`; one that stands must not be hammered.
            if route.connection.is_open() {
                let wish = Duration::from_millis(status.retry_after_ms).min(limits::CREATE_TIMEOUT);
                let again = Instant::now() + wish.max(RETRY_DELAY);
                if again >= deadline && !flight.promise() {
                    return Err(self.give_up(new, plugin, status));
                }
                pause(flight, again).await?;
            }
            last = Some(status);
        }
    }

    /// What a plugin took over its link the other way must know of. What came by HTTP is known there.
    fn tell_created(&self, plugin: &str, new: &NewPod, route: &Route) {
        if route.way == Way::Link {
            self.tell_placed(plugin, &new.payload, true);
        }
    }

    /// Waits for the plugin, at most the hold while a caller waits too, and for a free slot, at most to the deadline.
    async fn create_slot(
        &self,
        plugin: &str,
        flight: &Flight<CreateStruct>,
        deadline: Instant,
    ) -> Result<(Arc<Route>, OwnedSemaphorePermit), Status> {
        loop {
            let route = match self.registry.route(plugin) {
                Some(route) => route,
                None => {
                    let _held = Held::new(&self.metrics);
                    let hold = match flight.is_promised() {
                        true => limits::CREATE_TIMEOUT,
                        false => self.config.create_hold,
                    };
                    let until = (Instant::now() + hold).min(deadline);
                    self.registry
                        .routable(plugin, until)
                        .await
                        .ok_or_else(|| self.registry.absence(plugin))?
                }
            };
            let ended = route.connection.clone();
            tokio::select! {
                biased;
                slot = timeout_at(deadline, route.creates.clone().acquire_owned()) => match slot {
                    Ok(Ok(slot)) if route.connection.is_open() => return Ok((route, slot)),
                    Ok(Ok(_)) => {}
                    Ok(Err(_)) | Err(_) => return Err(self.registry.busy(plugin)),
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

    /// The caller is told that it failed, so a late success must not stay: the delete is kept first.
    fn give_up(&self, new: &NewPod, plugin: &str, status: Status) -> Status {
        if planted::is(Bug::GivenUpNotDeleted) {
            return status;
        }
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

/// Waits before the next attempt; a delete ends it.
async fn pause(flight: &Flight<CreateStruct>, until: Instant) -> Result<(), Status> {
    tokio::select! {
        biased;
        () = flight.cancel.cancelled() => Err(deleted()),
        () = tokio::time::sleep_until(until) => Ok(()),
    }
}

fn job_id(response: Response) -> String {
    match response.result {
        Some(response::Result::CreatePod(created)) => created.job_id,
        _ => String::new(),
    }
}

fn created(new: &NewPod, job_id: String) -> CreateStruct {
    CreateStruct {
        pod_uid: new.pod.uid.clone(),
        pod_jid: job_id,
    }
}
