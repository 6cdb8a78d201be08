//! A create or delete under way. It goes on to the end, whatever the HTTP client does, and everybody who asks for the same
//! thing waits for the same result.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::registry::lock;
use crate::{
    code::{Code, reason},
    connection::told::Told,
    wire::Status,
};

/// One create or delete under way.
#[derive(Debug)]
pub(crate) struct Flight<T> {
    step: Mutex<Step>,
    /// Ends it as soon as no call is at the plugin.
    pub(crate) cancel: CancellationToken,
    done: Told<Option<Result<T, Status>>>,
    /// It is on the disk, so it may outlive its callers.
    kept: CancellationToken,
    /// The callers were told that it will be done.
    promised: CancellationToken,
}

/// How far it is, as far as two could want different things at once.
#[derive(Debug, Default)]
struct Step {
    /// A call of it was handed over; see [`Flight::send`].
    sent: bool,
    failed: bool,
}

impl<T: Clone> Flight<T> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            step: Mutex::default(),
            cancel: CancellationToken::new(),
            done: Told::new(None),
            kept: CancellationToken::new(),
            promised: CancellationToken::new(),
        })
    }

    /// Marks that a call goes out now. False when it was cancelled before.
    pub(crate) fn send(&self) -> bool {
        let mut step = lock(&self.step);
        if self.cancel.is_cancelled() {
            return false;
        }
        step.sent = true;
        true
    }

    /// Whether a call of it ever went out.
    pub(crate) fn was_sent(&self) -> bool {
        lock(&self.step).sent
    }

    /// No further call goes out; one that is at the plugin is waited for.
    pub(crate) fn cancel_unsent(&self) {
        let _step = lock(&self.step);
        self.cancel.cancel();
    }

    /// It was recorded: it will be done even if this process ends.
    pub(crate) fn keep(&self) {
        self.kept.cancel();
    }

    /// Whether it was recorded.
    pub(crate) fn is_kept(&self) -> bool {
        self.kept.is_cancelled()
    }

    /// Waits until it was recorded. Cancel safe.
    pub(crate) async fn kept(&self) {
        self.kept.cancelled().await;
    }

    /// Waits until nothing of it depends on this process. Cancel safe.
    pub(crate) async fn kept_or_over(&self) {
        tokio::select! {
            biased;
            () = self.kept() => {}
            _ = self.result() => {}
        }
    }

    /// Lets the callers go with the promise that it will be done. False when there can be none: it was not recorded, or it
    /// has failed for good.
    pub(crate) fn promise(&self) -> bool {
        let step = lock(&self.step);
        let can = self.is_kept() && !step.failed;
        if can {
            self.promised.cancel();
        }
        can
    }

    /// It has failed for good: no promise is given from now on. Says whether one was.
    pub(crate) fn fail(&self) -> bool {
        let mut step = lock(&self.step);
        step.failed = true;
        self.is_promised()
    }

    /// Whether it has failed for good, and that is about to be told.
    pub(crate) fn has_failed(&self) -> bool {
        lock(&self.step).failed
    }

    /// Whether the callers were let go.
    pub(crate) fn is_promised(&self) -> bool {
        self.promised.is_cancelled()
    }

    /// Waits for the promise or the result. None: it was promised, and whatever comes later is shown otherwise. Cancel
    /// safe.
    pub(crate) async fn answer(&self) -> Option<Result<T, Status>> {
        tokio::select! {
            biased;
            () = self.promised.cancelled() => None,
            result = self.result() => Some(result),
        }
    }

    /// The same for who asked first: works on it meanwhile.
    pub(crate) async fn carry(&self, work: Carried) -> Option<Result<T, Status>> {
        let mut work = std::pin::pin!(work);
        tokio::select! {
            biased;
            () = &mut work => self.answer().await,
            () = self.promised.cancelled() => None,
        }
    }

    /// Gives everybody the result.
    pub(crate) fn finish(&self, result: Result<T, Status>) {
        self.done.change(|done| *done = Some(result));
    }

    /// Waits for the result. Cancel safe.
    pub(crate) async fn result(&self) -> Result<T, Status> {
        let done = self.done.wait_for(Option::is_some).await;
        done.unwrap_or_else(|| Err(ended_early()))
    }
}

/// The work of a flight, done by who asked first: its answer need not wake another task. Dropped before its end, because
/// that client has gone or was let go, it goes on in a task of its own.
pub(crate) struct Carried(Option<Work>);

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Carried {
    pub(crate) fn new(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Some(Box::pin(work)))
    }
}

impl Future for Carried {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // Out while it works: what panics is not gone on with.
        let Some(mut work) = self.0.take() else {
            return Poll::Ready(());
        };
        let polled = work.as_mut().poll(cx);
        if polled.is_pending() {
            self.0 = Some(work);
        }
        polled
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        if let Some(work) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(work);
        }
    }
}

/// A flight and whether the caller has to start it.
#[derive(Debug)]
pub(crate) enum Entered<T> {
    New(Arc<Flight<T>>),
    Running(Arc<Flight<T>>),
}

/// The hub goes away before the create could be sent.
pub(crate) fn draining() -> Status {
    Status::new(
        Code::Unavailable,
        reason::DRAINING,
        "the hub is shutting down, and it keeps no creates over a restart (--state-dir)",
    )
    .not_started()
}

/// The hub has gone: nothing is recorded any more.
pub(crate) fn gone() -> Status {
    let text = "the hub is shutting down: the create came too late for it";
    Status::new(Code::Unavailable, reason::DRAINING, text).not_started()
}

/// The create was overtaken by a delete.
pub(crate) fn deleted() -> Status {
    Status::new(
        Code::Aborted,
        reason::DELETED,
        "the pod was deleted; it is not created any more",
    )
    .not_started()
}

fn ended_early() -> Status {
    Status::new(Code::Internal, "", "the operation ended without a result")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_failed_is_not_promised_any_more() {
        let flight = Flight::<()>::new();
        flight.keep();
        assert!(!flight.fail(), "nothing was promised");
        assert!(!flight.promise());
        assert!(!flight.is_promised());

        let flight = Flight::<()>::new();
        flight.keep();
        assert!(flight.promise());
        assert!(flight.fail(), "it was promised before");
    }
}
