//! The answering side of a connection.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::{BodyReader, BodySink, LogSink};
use crate::{
    code::CloseCode,
    wire::{EventAck, LogsEnd, NodeStatus, PodEvent, Request, Response, Status, StreamLogs},
};

/// A boxed future of a [`Peer`].
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What this side does with what the other side sends. Implemented by the hub and by the plugin runtime.
///
/// The plain methods are called from the connection task, in order: they must not block or wait. A returned
/// future is polled once inline and, when it is not ready, goes on in a task of its own; a panic inside ends the
/// call with INTERNAL. When the connection ends the future is told by its [`CancelSignal`] and dropped.
pub trait Peer: Send + Sync + 'static {
    /// A call came. The future ends it.
    fn request(&self, request: Request, cancel: CancelSignal) -> BoxFuture<Response>;
    /// A call came with which a body may travel (HttpRequest): `body` is the caller's, `sink` takes this side's. The
    /// future ends it; what was sent goes before the Response. Without an own form the bodies are given up.
    fn exchange(
        &self,
        request: Request,
        body: BodyReader,
        sink: BodySink,
        cancel: CancelSignal,
    ) -> BoxFuture<Response> {
        drop((body, sink));
        self.request(request, cancel)
    }
    /// A log stream was opened. The future ends it; the first chunk is the open acknowledgement.
    fn stream_logs(&self, open: StreamLogs, sink: LogSink) -> BoxFuture<Result<LogsEnd, Status>>;
    /// A pod event came (hub only).
    fn pod_event(&self, event: PodEvent);
    /// An acknowledgement came (plugin only).
    fn event_ack(&self, ack: EventAck);
    /// The node's status came (hub only).
    fn node_status(&self, status: NodeStatus);
    /// The other side drains: it takes no new call.
    fn going_away(&self, code: CloseCode, reason: &str, retry_after: Duration);
}

/// Resolves when the caller has cancelled, its deadline has passed, or the connection has ended.
///
/// Made for every call: one allocation, no lock, no tree.
#[derive(Debug, Clone, Default)]
pub struct CancelSignal(Arc<Signal>);

#[derive(Debug, Default)]
struct Signal {
    cancelled: AtomicBool,
    waiting: Notify,
}

impl CancelSignal {
    /// Waits until the call is cancelled. Cancel safe.
    pub async fn cancelled(&self) {
        // Listens before it looks: a cancel in between is not missed.
        let mut told = pin!(self.0.waiting.notified());
        told.as_mut().enable();
        if !self.is_cancelled() {
            told.await;
        }
    }

    /// Whether the call is cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Acquire)
    }

    /// Whether nobody else has it. One that was not cancelled is then as good as new.
    pub(super) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    pub(super) fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Release);
        self.0.waiting.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn all_who_wait_are_told_and_who_comes_later_too() {
        let signal = CancelSignal::default();
        let other = signal.clone();
        let mut waiting = [Box::pin(signal.cancelled()), Box::pin(other.cancelled())];
        assert!(waiting.iter_mut().all(|wait| wait.now_or_never().is_none()));
        signal.cancel();
        futures::future::join_all(waiting).await;
        assert!(other.is_cancelled());
        other.cancelled().await;
    }
}
