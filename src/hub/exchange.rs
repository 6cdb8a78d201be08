//! A request to a plugin's own HTTP endpoints, and its answer, both streamed over the link (feature `http`).
//!
//! A slot is not waited for: such a request may hang for as long as a plugin likes, and calls about pods never wait behind
//! one. What the hub holds of a body is what its credit counts.

use std::sync::Arc;

use bytes::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, sleep_until, timeout},
};

use super::{
    CallMeta, Hub, Way,
    call::{Called, request},
};
use crate::{
    code::{Code, reason},
    connection::{Answer, BodySink, CallGone},
    limits,
    wire::{HttpRequest, HttpResponse, Status, feature, request::Op},
};

/// A request under way. Dropping it gives it up at the plugin.
#[derive(Debug)]
pub struct Exchange {
    hub: Arc<Hub>,
    answer: Answer,
    plugin: Arc<str>,
    way: Way,
    meta: CallMeta,
    /// Since when the plugin has all that there is for it; none while the caller's next bytes are waited for.
    waits: watch::Receiver<Option<Instant>>,
    began: Instant,
    /// One of the calls that the plugin takes at once, and one of the requests that this hub has memory for.
    _slots: [OwnedSemaphorePermit; 2],
}

/// Where the request's body goes. Dropping it before [`Upload::finish`] gives the request up.
#[derive(Debug)]
pub struct Upload {
    sink: BodySink,
    waits: watch::Sender<Option<Instant>>,
}

impl Hub {
    /// Sends a request to a plugin's own endpoints. Its head is meant to be fit for another machine: without what is of one
    /// connection, or nobody else's business.
    ///
    /// # Errors
    /// NOT_FOUND for a name that is not known, UNAVAILABLE when the plugin is away, UNIMPLEMENTED when it has no endpoints
    /// or this hub passes nothing through, RESOURCE_EXHAUSTED when as many requests are under way as may be.
    pub fn exchange(
        self: &Arc<Self>,
        plugin: &str,
        head: HttpRequest,
        meta: &CallMeta,
    ) -> Result<(Upload, Exchange), Status> {
        let began = Instant::now();
        let opened = self.open_exchange(plugin, head, meta, began);
        opened.inspect_err(|status| {
            let way = self.registry.route(plugin).map_or(Way::Link, |route| route.way);
            called(plugin, way, meta, began).ended::<()>(&self.metrics, Err(status));
        })
    }

    fn open_exchange(
        self: &Arc<Self>,
        plugin: &str,
        head: HttpRequest,
        meta: &CallMeta,
        began: Instant,
    ) -> Result<(Upload, Exchange), Status> {
        let unable =
            |text: String| Err(Status::new(Code::Unimplemented, reason::NOT_SUPPORTED, text).not_started());
        if !self.config.http_passthrough {
            return unable(
                "this hub passes no HTTP through to plugins: hub.http_passthrough is off".to_owned(),
            );
        }
        if self.registry.with(plugin, |_| ()).is_none() {
            let text = format!("no plugin of the name {plugin:?} is known");
            return Err(Status::new(Code::NotFound, "", text).not_started());
        }
        let Some(route) = self.registry.route(plugin) else {
            return Err(self.registry.absence(plugin).not_started());
        };
        let has = |name| route.connection.has_feature(name);
        if !(has(feature::HTTP) && has(feature::FLOW_CONTROL)) {
            return unable(format!(
                "plugin {plugin} offers no HTTP endpoints (features `http` and `flow_control`): `towline plugin --backend \
                 rest` passes those of its upstream on, a plugin of one's own implements Handler::http; none travel on the \
                 JSON path"
            ));
        }
        let busy = |text: String| {
            self.metrics.refuse("http_requests");
            Status::new(Code::ResourceExhausted, reason::TOO_MANY_CALLS, text).not_started()
        };
        let slot = Arc::clone(&route.calls).try_acquire_owned();
        let slot = slot.map_err(|_| busy(format!("plugin {plugin} is busy: all its calls are in use")))?;
        let room = Arc::clone(&self.exchanges).try_acquire_owned();
        let room = room.map_err(|_| {
            let most = limits::HUB_EXCHANGES;
            busy(format!(
                "{most} HTTP requests to plugins are under way in this hub, as many as may be"
            ))
        })?;
        let has_body = head.has_body;
        let patience = if has_body {
            limits::HTTP_PASSED_UPLOAD
        } else {
            limits::HTTP_PASSED_ANSWER
        };
        let mut call = request(Op::HttpRequest(head), String::new(), Some(meta));
        call.timeout_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        // Fields and bodies are somebody's data, perhaps with a password.
        call.sensitive = true;
        let opened = route.connection.exchange(call);
        let (sink, answer) = opened.map_err(|status| match status.reason.as_str() {
            reason::TOO_MANY_CALLS => busy(format!("plugin {plugin}: {}", status.message)),
            _ => status,
        })?;
        let (waits, waited) = watch::channel((!has_body).then(Instant::now));
        let exchange = Exchange {
            hub: Arc::clone(self),
            answer,
            plugin: route.plugin.clone(),
            way: route.way,
            meta: meta.clone(),
            waits: waited,
            began,
            _slots: [slot, room],
        };
        Ok((Upload { sink, waits }, exchange))
    }
}

impl Upload {
    /// Sends bytes of the body, waiting while the plugin takes none.
    ///
    /// # Errors
    /// When the plugin wants no more: the answer says why.
    pub async fn send(&mut self, mut bytes: Bytes) -> Result<(), CallGone> {
        self.waits.send_replace(Some(Instant::now()));
        self.sink.send(&mut bytes).await?;
        self.waits.send_replace(None);
        Ok(())
    }

    /// Ends the body: it is whole. A request without one is ended at once.
    ///
    /// # Errors
    /// As [`Upload::send`].
    pub async fn finish(self) -> Result<(), CallGone> {
        self.waits.send_replace(Some(Instant::now()));
        self.sink.finish().await
    }
}

impl Exchange {
    /// The head of the answer. Cancel safe until it came.
    ///
    /// # Errors
    /// What the plugin refused with; DEADLINE_EXCEEDED when it takes too long over what it has.
    pub async fn head(&mut self) -> Result<HttpResponse, Status> {
        let head = loop {
            let since = *self.waits.borrow_and_update();
            tokio::select! {
                biased;
                head = self.answer.head() => break head,
                Ok(()) = self.waits.changed() => {}
                () = silent(since) => {
                    let seconds = limits::HTTP_PASSED_ANSWER.as_secs();
                    let text = format!("the plugin did not begin to answer within {seconds} s");
                    break Err(Status::new(Code::DeadlineExceeded, "", text));
                }
            }
        };
        let called = called(&self.plugin, self.way, &self.meta, self.began);
        called.ended(&self.hub.metrics, head.as_ref());
        head
    }

    /// The next bytes of the answer's body; none at its good end. Taken slowly, they wait at the plugin. Cancel safe.
    ///
    /// # Errors
    /// When the body will not be whole.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        match timeout(limits::HTTP_PASSED_IDLE, self.answer.next()).await {
            Ok(Ok(bytes)) => Ok(Some(bytes)),
            Ok(Err(Ok(_))) => Ok(None),
            Ok(Err(Err(status))) => Err(status),
            Err(_) => {
                let seconds = limits::HTTP_PASSED_IDLE.as_secs();
                let text = format!("no byte of the answer came for {seconds} s");
                Err(Status::new(Code::DeadlineExceeded, "", text))
            }
        }
    }
}

fn called<'a>(plugin: &'a str, way: Way, meta: &'a CallMeta, began: Instant) -> Called<'a> {
    Called {
        op: "http",
        plugin,
        way,
        session: &meta.session,
        traceparent: meta.traceparent.as_deref().unwrap_or_default(),
        began,
    }
}

async fn silent(since: Option<Instant>) {
    match since {
        Some(since) => sleep_until(since + limits::HTTP_PASSED_ANSWER).await,
        None => std::future::pending().await,
    }
}
