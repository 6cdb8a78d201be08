//! How a create gets through: hold, place, send, and send again where that is safe.
//!
//! ```text
//! WAITING -plugin takes calls, slot free-> SENT -Response-> DONE
//!    ^  \-delete, or the hold is over-> DONE   |
//!    +------ loss, not_started, try later -----+
//! ```

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::{
    CallMeta, Hub,
    flight::{Carried, Entered, Flight, deleted, draining},
    metrics::Metrics,
    placement::{Wish, place, waits_for_pool},
    pods::Names,
    registry::SessionNumber,
    retry::Retry,
};
use crate::{
    code::{Code, reason},
    interlink::CreateStruct,
    limits,
    wire::{PodRef, Status},
};

/// How often a create without any plugin looks for one.
const PLACE_AGAIN: Duration = Duration::from_millis(500);

/// What a create needs, taken out of the REST body.
#[derive(Clone)]
pub(crate) struct NewPod {
    pub(crate) pod: PodRef,
    /// What the plugin gets; empty until it was made.
    pub(crate) payload: Bytes,
    pub(crate) scope: Option<String>,
    pub(crate) annotation: Option<String>,
    pub(crate) node_name: Option<String>,
    /// Container names and images, for a pod that is lost before it has told any state.
    pub(crate) names: Names,
    pub(crate) meta: CallMeta,
}

/// What the plugin gets, still to be made.
pub(crate) type Making = Pin<Box<dyn Future<Output = Result<Bytes, Status>> + Send>>;

/// How a create begins.
pub(crate) enum Begin {
    /// Anew.
    Make(Making),
    /// At this plugin: an earlier life of the hub may have sent it.
    Resume(String),
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
    pub(crate) async fn create_once(
        self: &Arc<Self>,
        new: NewPod,
        payload: Making,
    ) -> Result<CreateStruct, Status> {
        let uid = new.pod.uid.clone();
        let (flight, work) = match self.calls.enter_create(&uid)? {
            Entered::Running(flight) => (flight, None),
            Entered::New(flight) => {
                let work = self.flown(new, flight.clone(), Begin::Make(payload));
                (flight, Some(Carried::new(work)))
            }
        };
        let answer = match work {
            Some(work) => flight.carry(work).await,
            None => flight.answer().await,
        };
        match answer {
            Some(result) => result,
            // It is recorded and goes on; the job has no name yet.
            None => Ok(CreateStruct {
                pod_uid: uid,
                pod_jid: String::new(),
            }),
        }
    }

    /// Runs a create in a task of its own.
    pub(crate) fn start_create(
        self: &Arc<Self>,
        new: NewPod,
        flight: Arc<Flight<CreateStruct>>,
        begin: Begin,
    ) {
        tokio::spawn(self.flown(new, flight, begin));
    }

    /// A create from its begin to its end.
    fn flown(
        self: &Arc<Self>,
        new: NewPod,
        flight: Arc<Flight<CreateStruct>>,
        begin: Begin,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (hub, uid) = (self.clone(), new.pod.uid.clone());
        async move {
            let mut guard = Landing {
                hub: &hub,
                uid: &uid,
                flight: &flight,
                result: None,
            };
            let fly = async {
                match begin {
                    Begin::Resume(plugin) => hub.fly_on(&new, &plugin, &flight).await,
                    Begin::Make(payload) => hub.fly(new, payload, &flight).await,
                }
            };
            // What is recorded is taken up by the next life. What is being recorded in this moment may be there too, and
            // what is not recorded ends by itself.
            let left_to_the_next = async {
                hub.closed.cancelled().await;
                flight.kept().await;
                if flight.has_failed() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                biased;
                () = left_to_the_next => {
                    flight.promise();
                }
                result = fly => guard.result = Some(result),
            }
        }
    }

    /// A create that an earlier life of the hub had in hand. Its callers have gone.
    async fn fly_on(
        &self,
        new: &NewPod,
        plugin: &str,
        flight: &Flight<CreateStruct>,
    ) -> Result<CreateStruct, Status> {
        flight.keep();
        flight.promise();
        let deadline = Instant::now() + limits::CREATE_TIMEOUT;
        let result = self
            .attempt(new, plugin, flight, Retry::resumed(), deadline)
            .await;
        self.create_ended(new, plugin, flight, result).await
    }

    async fn fly(
        &self,
        mut new: NewPod,
        payload: Making,
        flight: &Flight<CreateStruct>,
    ) -> Result<CreateStruct, Status> {
        if let Some(known) = self.known_create(&new.pod.uid) {
            return Ok(known);
        }
        let deadline = Instant::now() + limits::CREATE_TIMEOUT;
        new.payload = tokio::select! {
            biased;
            made = payload => made?,
            () = flight.cancel.cancelled() => return Err(deleted()),
            () = self.draining.cancelled() => return Err(draining()),
        };
        let new = &new;
        let plugin = tokio::select! {
            biased;
            placed = self.place_new(new, Instant::now() + self.config.create_hold) => placed?,
            () = flight.cancel.cancelled() => return Err(deleted()),
            () = self.draining.cancelled() => return Err(draining()),
        };
        let recorded = self.create_recorded(new, &plugin);
        if !self.pod_placed(new, &plugin, recorded) {
            let full = Status::new(
                Code::ResourceExhausted,
                reason::QUOTA,
                "the hub's pod table is full",
            );
            return self.create_ended(new, &plugin, flight, Err(full)).await;
        }
        let result = match self.create_kept(flight).await {
            Ok(()) => {
                self.attempt(new, &plugin, flight, Retry::default(), deadline)
                    .await
            }
            Err(status) => Err(status),
        };
        self.create_ended(new, &plugin, flight, result).await
    }

    async fn create_ended(
        &self,
        new: &NewPod,
        plugin: &str,
        flight: &Flight<CreateStruct>,
        result: Result<(CreateStruct, SessionNumber), Status>,
    ) -> Result<CreateStruct, Status> {
        let uid = &new.pod.uid;
        let promised = result.is_err() && flight.fail();
        match &result {
            Ok((created, session)) => {
                self.create_answered(uid, &created.pod_jid);
                // Looked at only now that the pod counts as the plugin's: a session that comes later reads it by itself.
                if !self.registry.is_present(plugin, *session) {
                    self.state_unread(plugin, uid);
                }
            }
            // The caller believes that it will be done: the pod itself must say that it was not.
            Err(status) if promised && status.reason != reason::DELETED => {
                self.create_refused_late(uid, &status.message);
            }
            Err(_) => self.create_failed(uid),
        }
        if result.is_err() {
            // A restart must not try again what was answered with an error.
            if let Err(unkept) = self.store.committed().await {
                tracing::error!(pod = %new.pod, error = %unkept, "the end of a create could not be recorded");
            }
        }
        result.map(|(created, _)| created)
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

    /// Finds the plugin; waits a while when none is known at all, or when none of its pool can start pods.
    async fn place_new(&self, new: &NewPod, until: Instant) -> Result<String, Status> {
        let mut held = None;
        loop {
            let wish = Wish {
                scope: new.scope.as_deref(),
                annotation: new.annotation.as_deref(),
                node_name: new.node_name.as_deref(),
            };
            let candidates = self.candidates(wish);
            let placed = place(wish, &candidates);
            let pool_is_down = waits_for_pool(wish, &candidates);
            let wait = match &placed {
                Ok(_) => pool_is_down,
                Err(status) => status.kind() == Code::Unavailable,
            };
            if wait && Instant::now() < until {
                held.get_or_insert_with(|| Held::new(&self.metrics));
                sleep(PLACE_AGAIN).await;
                continue;
            }
            return match placed {
                // It was waited for already. One that is there and not ready says itself why.
                Ok(name) if pool_is_down && self.registry.route(&name).is_none() => {
                    Err(self.registry.absence(&name))
                }
                placed => placed,
            };
        }
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
            self.hub.delete_kept_now(self.uid);
        }
        self.flight.finish(result);
    }
}

/// Counts a create as held while it waits.
pub(crate) struct Held<'a>(&'a Metrics);

impl<'a> Held<'a> {
    pub(crate) fn new(metrics: &'a Metrics) -> Self {
        metrics.creates_held.inc();
        Self(metrics)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.creates_held.dec();
    }
}
