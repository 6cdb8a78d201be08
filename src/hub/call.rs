//! One unary call to a plugin.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use tokio::time::Instant;

use super::{
    CallMeta, Hub, Way,
    metrics::Metrics,
    registry::{Route, lock},
};
use crate::{
    code::{CloseCode, Code, reason},
    limits,
    wire::{Request, Response, Status, metadata, request::Op},
};

impl Hub {
    /// Makes one unary call, within the number of calls that the plugin takes at once.
    ///
    /// # Errors
    /// As [`crate::connection::Connection::call`]; DEADLINE_EXCEEDED with `not_started` when no slot came free;
    /// MESSAGE_TOO_LARGE when the peer closed for a message too big and this was the largest call unanswered.
    pub(crate) async fn call(
        &self,
        route: &Route,
        op: &'static str,
        mut request: Request,
        deadline: Instant,
    ) -> Result<Response, Status> {
        let began = Instant::now();
        let traced = tracing::enabled!(tracing::Level::DEBUG).then(|| request.metadata.clone());
        let result = match tokio::time::timeout_at(deadline, route.calls.acquire()).await {
            Ok(Ok(_slot)) => {
                let left = deadline
                    .saturating_duration_since(Instant::now())
                    .max(Duration::from_millis(1));
                request.timeout_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1);
                let sent = route.unanswered.enter(size(&request));
                match route.connection.call(request).await {
                    Err(status) if status.reason == reason::SESSION_LOST && !status.not_started => {
                        sent.lost(route, status, deadline).await
                    }
                    answered => answered,
                }
            }
            Ok(Err(_)) | Err(_) => Err(Status::new(
                Code::DeadlineExceeded,
                reason::TOO_MANY_CALLS,
                "the plugin is busy with other calls; none of its slots came free in time",
            )
            .not_started()),
        };
        let traced = traced.unwrap_or_default();
        let carried = |key| traced.get(key).map_or("", String::as_str);
        let called = Called {
            op,
            plugin: &route.plugin,
            way: route.way,
            session: carried(metadata::SESSION),
            traceparent: carried(metadata::TRACEPARENT),
            began,
        };
        called.ended(&self.metrics, result.as_ref());
        result
    }
}

/// A call to a plugin, for the metrics and for who traces calls.
pub(crate) struct Called<'a> {
    pub(crate) op: &'static str,
    pub(crate) plugin: &'a str,
    pub(crate) way: Way,
    pub(crate) session: &'a str,
    pub(crate) traceparent: &'a str,
    pub(crate) began: Instant,
}

impl Called<'_> {
    /// It has its answer.
    pub(crate) fn ended<T>(&self, metrics: &Metrics, result: Result<T, &Status>) {
        let Self {
            op,
            plugin,
            way,
            session,
            traceparent,
            began,
        } = *self;
        let took = began.elapsed();
        let code = result.map_or_else(Status::kind, |_| Code::Ok);
        metrics.call(op, way, code, took);
        tracing::debug!(op, plugin, %way, %code, session, traceparent, ?took, "call");
    }
}

/// The sizes of the calls of one link that were not answered: after its peer's 1009 the largest is to blame.
#[derive(Debug, Default)]
pub(crate) struct Unanswered {
    state: Mutex<(u64, HashMap<u64, usize>)>,
}

impl Unanswered {
    fn enter(&self, size: usize) -> Sent<'_> {
        let mut state = lock(&self.state);
        state.0 += 1;
        let number = state.0;
        state.1.insert(number, size);
        Sent { of: self, number }
    }

    fn largest(&self) -> Option<u64> {
        let state = lock(&self.state);
        // Of two of one size the older: it was written first.
        let size = |(number, size): (&u64, &usize)| (*size, std::cmp::Reverse(*number));
        state.1.iter().map(size).max().map(|(_, number)| number.0)
    }
}

/// One call of them, until it is dropped.
struct Sent<'a> {
    of: &'a Unanswered,
    number: u64,
}

impl Sent<'_> {
    /// The link was lost before the answer.
    async fn lost(self, route: &Route, status: Status, deadline: Instant) -> Result<Response, Status> {
        // A link that is closed in good order takes a while to end: not longer than the caller waits.
        let Ok(ended) = tokio::time::timeout_at(deadline, route.connection.ended()).await else {
            return Err(status);
        };
        let largest = self.of.largest() == Some(self.number);
        // It stays entered: the calls that were lost with it are judged by the same list.
        std::mem::forget(self);
        if ended.by_peer && ended.code == CloseCode::TOO_BIG && largest {
            let text = format!(
                "the plugin closed the link because a message was too big for it ({}), and this was the largest call",
                ended.reason
            );
            return Err(Status::new(
                Code::ResourceExhausted,
                reason::MESSAGE_TOO_LARGE,
                text,
            ));
        }
        Err(status)
    }
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        lock(&self.of.state).1.remove(&self.number);
    }
}

/// The bytes of a call that can be many.
fn size(request: &Request) -> usize {
    match &request.op {
        Some(Op::CreatePod(create)) => create.payload.len(),
        Some(Op::DeletePod(delete)) => delete.pod_json.len(),
        Some(Op::GetStatus(status)) => status.pods.len() * 64,
        _ => 0,
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
        let session = Some((metadata::SESSION, &self.session)).filter(|(_, value)| !value.is_empty());
        let trace = self
            .traceparent
            .as_ref()
            .map(|value| (metadata::TRACEPARENT, value));
        let fits = |(_, value): &(&str, &String)| value.len() <= limits::MAX_METADATA / 4;
        session
            .into_iter()
            .chain(trace)
            .filter(fits)
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .collect()
    }
}
