//! interLink's six calls, as the HTTP edge makes them. `scope` is the plugin of `/nodes/{plugin}/...`, none on the
//! bare path. A Status is mapped to HTTP by the edge.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::{
    ANNOTATION, CallMeta, Hub, LogQuery, LogViewer,
    calls::PendingDelete,
    create::NewPod,
    delete::OldPod,
    placement::{Wish, list, place},
    registry::Pulse,
};
use crate::{
    code::{Code, reason},
    interlink::{
        CreateStruct, PingResponse, Pod, PodCreateRequests, PodStatus, RetrievedPodData, complete, lost,
        validate_create,
    },
    limits,
    wire::{Status, Timestamp},
};

impl Hub {
    /// Starts a pod, once, however often it is asked for: waits for an absent plugin, and goes on when the caller has
    /// gone.
    ///
    /// # Errors
    /// What the plugin refused with; UNAVAILABLE when it stayed away; ABORTED/DELETED when a delete came in between;
    /// FAILED_PRECONDITION/NO_PLACEMENT when nothing says which plugin.
    pub async fn create(
        self: &Arc<Self>,
        scope: Option<&str>,
        body: PodCreateRequests,
        meta: CallMeta,
    ) -> Result<CreateStruct, Status> {
        self.create_with(scope, body, meta, |pod| std::future::ready(Ok(pod)))
            .await
    }

    /// The same, and `finish` completes what the plugin gets: before the pod is placed, and only if it is neither known
    /// nor being created. A delete ends the wait for it.
    ///
    /// # Errors
    /// Those of [`Hub::create`], and what `finish` fails with.
    pub async fn create_with<F>(
        self: &Arc<Self>,
        scope: Option<&str>,
        body: PodCreateRequests,
        meta: CallMeta,
        finish: impl FnOnce(RetrievedPodData) -> F,
    ) -> Result<CreateStruct, Status>
    where
        F: Future<Output = Result<RetrievedPodData, Status>> + Send + 'static,
    {
        validate_create(&body)
            .map_err(|bad| Status::new(Code::InvalidArgument, reason::BAD_POD, bad.to_string()))?;
        let spec = body.pod.spec();
        let names = spec
            .containers
            .iter()
            .map(|container| (container.name.clone(), container.image.clone()))
            .collect();
        let finished = finish(body.retrieve());
        let payload = async {
            finished.await?.to_payload().map_err(|error| {
                let text = format!("the pod cannot be written as JSON: {error}");
                Status::new(Code::Internal, "", text)
            })
        };
        let new = NewPod {
            pod: body.pod.pod_ref(),
            payload: Bytes::new(),
            scope: scope.map(str::to_owned),
            annotation: body.pod.annotations().get(ANNOTATION).cloned(),
            node_name: Some(body.pod.node_name().to_owned()),
            names,
            meta,
        };
        drop(body);
        self.create_once(new, Box::pin(payload)).await
    }

    /// Ends a pod. Success means that the plugin has confirmed it, or that it is kept for a plugin that is away.
    ///
    /// # Errors
    /// UNAVAILABLE when the plugin is away and deletes are not kept; what the plugin refused with.
    pub async fn delete(
        self: &Arc<Self>,
        scope: Option<&str>,
        pod: Pod,
        grace_seconds: Option<u64>,
        meta: CallMeta,
    ) -> Result<(), Status> {
        if !crate::interlink::is_uid(pod.uid()) {
            let shown: String = pod.uid().chars().take(64).collect();
            let text = format!("metadata.uid {shown:?} is not a lower-case UUID");
            return Err(Status::new(Code::InvalidArgument, reason::BAD_POD, text));
        }
        let old = OldPod {
            delete: PendingDelete {
                pod: pod.pod_ref(),
                grace_seconds,
                pod_json: Bytes::copy_from_slice(pod.text().as_bytes()),
            },
            scope: scope.map(str::to_owned),
            annotation: pod.annotations().get(ANNOTATION).cloned(),
            node_name: Some(pod.node_name().to_owned()),
            meta,
        };
        drop(pod);
        self.delete_once(old).await
    }

    /// Exactly the asked pods that are known, in order, completed against the asked pods' own specs. Answers from the
    /// state table, so also while a plugin is away.
    ///
    /// # Errors
    /// None today; the signature leaves room for tables that can fail.
    pub async fn status(&self, scope: Option<&str>, pods: &[Pod]) -> Result<Vec<PodStatus>, Status> {
        let at = Timestamp::from(SystemTime::now());
        let states = self.read_pods(|table| {
            let one = |pod: &Pod| {
                let entry = table.get(pod.uid())?;
                if scope.is_some_and(|scope| scope != entry.plugin) {
                    return None;
                }
                let state = entry.state.as_ref();
                match &entry.lost {
                    Some(why) => complete(
                        pod,
                        &lost(pod, state, why, entry.observed_at.map_or(at, Timestamp::from)),
                    ),
                    None => complete(pod, state?),
                }
                .map(|told| with_job(told, &entry.job_id))
            };
            pods.iter().filter_map(one).collect()
        });
        self.tell_asked(pods);
        // What is told must not be taken back by a restart: it is on the disk first. A disk that fails or is slow does
        // not keep the state from who asks.
        let told_too_early = || pods.iter().any(|pod| self.store.holds_pod(pod.uid()));
        if self.store.is_durable() && self.store.health().is_ok() && told_too_early() {
            let _ = timeout(limits::SHOWN_STATE_WAIT, self.store.committed()).await;
        }
        Ok(states)
    }

    /// Opens a log. Returns when the plugin acknowledged the open.
    ///
    /// # Errors
    /// NOT_FOUND when nobody knows the pod, UNAVAILABLE when its plugin is away, RESOURCE_EXHAUSTED when too many
    /// logs are read, what the plugin refused with.
    pub async fn logs(
        self: &Arc<Self>,
        scope: Option<&str>,
        mut query: LogQuery,
    ) -> Result<LogViewer, Status> {
        let owner = self.read_pods(|pods| {
            let entry = pods.get(&query.pod.uid)?;
            if query.container.is_empty() {
                // A plugin to which the pod came by another way knows no more of it than its name.
                query.container = entry.first_container().to_owned();
            }
            Some(entry.plugin.clone())
        });
        let plugin = match owner {
            Some(owner) if scope.is_none_or(|scope| scope == owner) => owner,
            Some(_) => return Err(no_pod(&query)),
            // Not in the table: the plugin itself may know it, if it is clear which one.
            None => {
                let wish = Wish {
                    scope,
                    ..Wish::default()
                };
                place(wish, &self.candidates(wish)).map_err(|status| match status.kind() {
                    Code::Unavailable => status,
                    _ => no_pod(&query),
                })?
            }
        };
        self.open_log(plugin, query).await
    }

    /// Whether the node is alive: good while its plugin is connected and ready, and within the grace after.
    ///
    /// On the bare path the only plugin answers. Of several any good one is enough, and the answer then says nothing
    /// of resources: a sum over plugins would be no node's capacity.
    ///
    /// # Errors
    /// UNAVAILABLE with a short reason.
    pub fn ping(&self, scope: Option<&str>) -> Result<PingResponse, Status> {
        let now = Instant::now();
        let grace = self.config.ping_grace;
        let pulses = match scope {
            Some(name) => self
                .registry
                .with(name, |plugin| vec![(name.to_owned(), plugin.pulse(now, grace))])
                .unwrap_or_default(),
            None => self
                .registry
                .each(|name, plugin| (name.to_owned(), plugin.pulse(now, grace))),
        };
        let bad = |text: String| Status::new(Code::Unavailable, reason::PLUGIN_OFFLINE, text);
        match pulses.as_slice() {
            [] => Err(bad(scope.map_or_else(
                || "no plugin has connected to this hub yet".to_owned(),
                |name| format!("plugin {name} has never connected to this hub"),
            ))),
            [(_, Pulse::Good(node))] => Ok(PingResponse::from(node)),
            [(name, Pulse::Bad(why))] => Err(bad(format!("plugin {name}: {why}"))),
            several if several.iter().any(|(_, pulse)| matches!(pulse, Pulse::Good(_))) => Ok(PingResponse {
                status: "ok".into(),
                ..PingResponse::default()
            }),
            several => Err(bad(format!(
                "no plugin is ready ({})",
                list(several.iter().map(|(name, _)| name.as_str()))
            ))),
        }
    }

    /// Drops the cached state of a pod, never where it runs. Its plugin is asked for it at once, or when it is back.
    pub fn update_cache(&self, uid: &str) {
        self.state_dropped(uid);
    }
}

/// A plugin that names the job in its answer to the create alone has named it.
fn with_job(told: PodStatus, job_id: &str) -> PodStatus {
    if told.jid.is_empty() {
        PodStatus {
            jid: job_id.to_owned(),
            ..told
        }
    } else {
        told
    }
}

fn no_pod(query: &LogQuery) -> Status {
    Status::new(
        Code::NotFound,
        reason::POD_NOT_FOUND,
        format!("pod {} is not known to this hub", query.pod),
    )
}
