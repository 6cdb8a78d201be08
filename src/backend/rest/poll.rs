//! The one call of an interval: a status call for all pods, or a ping.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Weak},
    time::Duration,
};

use futures::FutureExt;
use hyper::Method;
use tokio::time::{Instant, sleep_until};

use super::{
    Shared, answer,
    node::is_unavailable,
    pods::{Batch, Told},
};
use crate::{
    upstream::{Ask, Failed, Whole},
    wire::NodeStatus,
};

/// Makes the calls until the backend is dropped. From the begin of one to the begin of the next it is an interval at
/// least.
pub(super) async fn run(shared: Weak<Shared>, interval: Duration) {
    loop {
        let Some(mut awake) = shared.upgrade().map(|shared| shared.awake.subscribe()) else {
            return;
        };
        if awake.wait_for(|awake| *awake).await.is_err() {
            return;
        }
        let next = Instant::now() + interval;
        let Some(shared) = shared.upgrade() else { return };
        // What one answer does must not end all further calls.
        if AssertUnwindSafe(shared.tick()).catch_unwind().await.is_err() {
            tracing::error!("a status call panicked; what the panic said went to stderr");
        }
        drop(shared);
        sleep_until(next).await;
    }
}

impl Shared {
    async fn tick(self: &Arc<Self>) {
        let strangers = self.pods().strangers();
        for uid in strangers {
            // One that stays is tried again.
            if let Err(error) = self.forget(&uid, false).await {
                tracing::warn!(uid, %error, "the record of a pod that is not there could not be removed");
            }
        }
        let gone = self.pods().take_gone();
        self.tell(gone);
        let batch = self.pods().ask();
        if self.node.is_ping_due(batch.is_some()) {
            self.ping().await;
        } else if let Some(batch) = batch {
            self.poll(&batch).await;
        } else {
            let reached = self.upstream.reach().await;
            let status = self.node.reached(reached.as_ref().err());
            self.tell_node(status);
            self.seen(reached.is_ok());
        }
        self.polls.send_modify(|polls| *polls += 1);
    }

    async fn ping(&self) {
        let outcome = self.status_call(bytes::Bytes::from_static(b"[]")).await;
        let status = self.node.pinged(outcome.as_ref());
        self.tell_node(status);
        self.seen(matches!(&outcome, Ok(whole) if !is_unavailable(whole)));
    }

    async fn poll(&self, batch: &Batch) {
        let outcome = self.status_call(batch.body.clone()).await;
        let status = self.node.polled(outcome.as_ref());
        self.tell_node(status);
        let told = match outcome {
            Ok(whole) if is_unavailable(&whole) => self.pods().down(),
            Ok(whole) if whole.status.is_success() => match answer::statuses(&whole.body) {
                Some(statuses) => self.pods().heard(batch, statuses),
                None => {
                    tracing::warn!("the upstream's status is no JSON: no news");
                    self.pods().refused(batch, false)
                }
            },
            Ok(whole) => {
                tracing::warn!(
                    http = whole.status.as_u16(),
                    pods = batch.uids.len(),
                    "the upstream's status failed"
                );
                self.pods().refused(batch, whole.status.as_u16() == 404)
            }
            Err(error) => {
                tracing::debug!(%error, "the upstream's status did not come");
                self.pods().down()
            }
        };
        self.tell(told);
    }

    async fn status_call(&self, body: bytes::Bytes) -> Result<Whole, Failed> {
        let ask = Ask {
            method: Method::GET,
            path: "/status",
            body,
            within: self.config.answer_timeout,
            // A second one would come within the interval.
            repeatable: false,
            metadata: None,
        };
        self.upstream.ask(&ask).await
    }

    fn seen(&self, up: bool) {
        let told = if up { self.pods().up() } else { self.pods().down() };
        self.tell(told);
    }

    fn tell(&self, told: Told) {
        if let Some(events) = self.events.get() {
            for (kind, state) in told {
                events.pod(kind, state);
            }
        }
    }

    fn tell_node(&self, status: Option<NodeStatus>) {
        if let (Some(events), Some(status)) = (self.events.get(), status) {
            events.node(status);
        }
    }
}
