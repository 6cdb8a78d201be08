//! Answers the hub's calls with the handler.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::sync::Notify;

use super::{
    Create, Delete, Handler, HttpAnswer, HttpCall, LogRequest, Which, creates::Creates, feed::Feed, guard,
    http, status,
};
use crate::{
    code::{CloseCode, Code, reason},
    connection::{BodyReader, BodySink, BoxFuture, CancelSignal, LogSink, Peer},
    limits,
    wire::{
        CreatePod, CreateResult, DeletePod, DeleteResult, EventAck, GetStatus, LogsEnd, NodeStatus, PodEvent,
        Request, Response, Status, StatusResult, StreamLogs, request, response,
    },
};

/// The longest a call may ask for: every wait has an end.
const MAX_TIMEOUT: Duration = Duration::from_secs(600);

/// One connection's view of the plugin.
#[derive(Debug)]
pub(super) struct Serve<H> {
    pub(super) handler: Arc<H>,
    pub(super) creates: Arc<Creates>,
    pub(super) feed: Arc<Feed>,
    /// Whether the `events` feature is in force: else sequence numbers mean nothing and are 0.
    pub(super) events: bool,
    /// The largest message that the hub takes.
    pub(super) max_message: usize,
    /// Told when the hub drains.
    pub(super) draining: Arc<Notify>,
}

impl<H> Clone for Serve<H> {
    fn clone(&self) -> Self {
        Self {
            handler: Arc::clone(&self.handler),
            creates: Arc::clone(&self.creates),
            feed: Arc::clone(&self.feed),
            events: self.events,
            max_message: self.max_message,
            draining: Arc::clone(&self.draining),
        }
    }
}

impl<H: Handler> Peer for Serve<H> {
    fn request(&self, request: Request, cancel: CancelSignal) -> BoxFuture<Response> {
        let serve = self.clone();
        Box::pin(async move {
            let asked = Duration::from_millis(request.timeout_ms);
            let Some(op) = request.op else {
                let text = "this plugin does not know the operation";
                return Response::failed(
                    Status::new(Code::Unimplemented, reason::NO_SUCH_OP, text).not_started(),
                );
            };
            let attempt = request.attempt.max(1);
            let answer = match op {
                request::Op::CreatePod(op) => {
                    let work = serve.create(op, attempt, request.metadata);
                    let done = bounded(asked, limits::CREATE_TIMEOUT, &cancel, work).await;
                    done.map(response::Result::CreatePod)
                }
                request::Op::DeletePod(op) => {
                    let done = bounded(asked, limits::DELETE_TIMEOUT, &cancel, serve.delete(op)).await;
                    done.map(response::Result::DeletePod)
                }
                request::Op::GetStatus(op) => {
                    let done = bounded(asked, limits::STATUS_TIMEOUT, &cancel, serve.status(op)).await;
                    done.map(response::Result::GetStatus)
                }
                request::Op::HttpRequest(_) => Err(http::none()),
            };
            answer.map_or_else(Response::failed, |result| Response {
                status: None,
                result: Some(result),
            })
        })
    }

    fn exchange(
        &self,
        request: Request,
        body: BodyReader,
        sink: BodySink,
        cancel: CancelSignal,
    ) -> BoxFuture<Response> {
        let handler = Arc::clone(&self.handler);
        Box::pin(async move {
            let Some(request::Op::HttpRequest(head)) = request.op else {
                return Response::failed(http::none());
            };
            let call = HttpCall {
                head,
                body,
                metadata: request.metadata,
            };
            // Its deadline is the session's, and ends with the head of the answer.
            let work = guard::guard(
                "http",
                async move { handler.http(call, HttpAnswer::new(sink)).await },
            );
            let done = tokio::select! {
                biased;
                done = work => done,
                () = cancel.cancelled() => Err(Status::new(Code::Cancelled, "", "the caller has gone")),
            };
            done.map_or_else(Response::failed, |()| Response::default())
        })
    }

    fn stream_logs(&self, open: StreamLogs, sink: LogSink) -> BoxFuture<Result<LogsEnd, Status>> {
        let handler = Arc::clone(&self.handler);
        Box::pin(async move {
            let pod = guard::pod(open.pod)?;
            if !open.container.is_empty() && !super::config::is_label(&open.container) {
                let text = "the container's name must be an RFC 1123 label";
                return Err(Status::new(Code::InvalidArgument, "", text).not_started());
            }
            let request = LogRequest {
                pod,
                container: open.container,
                options: open.options.unwrap_or_default(),
                start: open.start,
            };
            guard::guard("logs", async move { handler.logs(request, sink).await }).await
        })
    }

    fn event_ack(&self, ack: EventAck) {
        self.feed.ack(ack);
    }

    fn going_away(&self, _code: CloseCode, _reason: &str, _retry_after: Duration) {
        // The end of the connection carries the same facts.
        self.draining.notify_one();
    }

    fn pod_event(&self, _event: PodEvent) {}

    fn node_status(&self, _status: NodeStatus) {}
}

impl<H: Handler> Serve<H> {
    pub(super) async fn create(
        self,
        op: CreatePod,
        attempt: u32,
        metadata: std::collections::HashMap<String, String>,
    ) -> Result<CreateResult, Status> {
        let pod = guard::pod(op.pod)?;
        guard::payload(&op.payload, &pod.uid)?;
        let create = Create {
            pod,
            payload: op.payload,
            attempt,
            metadata,
            resumed: false,
        };
        let created = self.creates.create(&self.handler, create).await?;
        Ok(CreateResult {
            job_id: created.job_id,
            existed: created.existed,
        })
    }

    pub(super) async fn delete(self, op: DeletePod) -> Result<DeleteResult, Status> {
        let pod = guard::pod(op.pod)?;
        // A pod that is being created cannot be ended yet: the job would come after its end.
        self.creates.settled(&pod.uid).await;
        let uid = pod.uid.clone();
        let delete = Delete {
            pod,
            grace_seconds: op.grace_seconds,
            pod_json: op.pod_json,
        };
        let deleted = guard::guard("delete", self.handler.delete(delete)).await?;
        // Not before: a delete that fails is repeated, and its pod is still there.
        self.creates.forget(&uid).await?;
        Ok(DeleteResult {
            existed: deleted.existed,
        })
    }

    async fn status(self, op: GetStatus) -> Result<StatusResult, Status> {
        let which = if op.all {
            Which::All
        } else {
            if op.pods.len() > limits::MAX_STATUS_PAGE {
                let text = format!(
                    "{} pods asked for; at most {}",
                    op.pods.len(),
                    limits::MAX_STATUS_PAGE
                );
                return Err(Status::new(Code::InvalidArgument, "", text).not_started());
            }
            Which::Pods(
                op.pods
                    .into_iter()
                    .map(|pod| guard::pod(Some(pod)))
                    .collect::<Result<_, _>>()?,
            )
        };
        // Taken before the states are read: they are at least as new as every event up to here, so a state never
        // hides an event that it has not seen.
        let as_of = if self.events { self.feed.as_of() } else { 0 };
        let states = guard::guard("status", async move { self.handler.status(which).await }).await?;
        Ok(status::page(
            states,
            op.page_size,
            &op.page_token,
            as_of,
            self.max_message,
        ))
    }
}

/// Runs a call within its deadline: what the caller asked for, or the default.
pub(super) async fn bounded<T>(
    asked: Duration,
    default: Duration,
    cancel: &CancelSignal,
    work: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    let limit = if asked.is_zero() {
        default
    } else {
        asked.min(MAX_TIMEOUT)
    };
    tokio::select! {
        biased;
        outcome = work => outcome,
        () = cancel.cancelled() => Err(Status::new(Code::Cancelled, "", "the caller has gone")),
        () = tokio::time::sleep(limit) => {
            Err(Status::new(Code::DeadlineExceeded, "", format!("not done within {limit:?}")))
        }
    }
}
