//! How long until everything works again.
//!
//! From the start of the process to the end of the first round in which, one after the other: `/readyz` is 200 and
//! says that the plugin is connected, a status call says that a pod runs, and a log opened then brings a byte.

use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use tokio::time::{sleep, timeout};

use crate::{
    history::{Outcome, Seen},
    http::{ask, open},
    kubelet::{Kubelet, Pod, seen},
};

/// Longer than any delay between two dials.
const NEVER: Duration = Duration::from_secs(90);

/// Waits for it. `pod` runs and prints.
pub(crate) async fn recovered(kubelet: &Kubelet, pod: &Pod) -> Duration {
    let began = Instant::now();
    while !works(kubelet, pod).await {
        assert!(
            began.elapsed() < NEVER,
            "it does not work again after {NEVER:?}: readyz says {:?}",
            kubelet.look("/readyz").await
        );
        sleep(Duration::from_millis(5)).await;
    }
    began.elapsed()
}

async fn works(kubelet: &Kubelet, pod: &Pod) -> bool {
    let Some(ready) = kubelet.look("/readyz").await else {
        return false;
    };
    if !ready.contains("\"1 connected\"") {
        return false;
    }
    let asked = serde_json::json!([pod.object(&kubelet.ran())]);
    let limit = Duration::from_secs(31);
    match ask(&kubelet.address(), "GET", "/status", &asked, limit).await {
        Outcome::Answered { http: 200, text } if seen(&text) == Seen::Running => {}
        _ => return false,
    }
    let byte = async {
        let response = open(&kubelet.address(), "GET", "/getLogs", &pod.log(true, 1)).await;
        let mut body = response
            .ok()
            .filter(|response| response.status() == 200)?
            .into_body();
        body.frame().await?.ok()
    };
    matches!(timeout(NEVER, byte).await, Ok(Some(_)))
}

/// Times, for p50, p99 and max.
#[derive(Debug, Default)]
pub(crate) struct Times(pub(crate) Vec<Duration>);

impl Times {
    pub(crate) fn figure(mut self, what: &str) -> String {
        self.0.sort();
        let at = |share: usize| {
            let last = self.0.len().saturating_sub(1);
            let index = (self.0.len() * share / 100).min(last);
            self.0.get(index).map_or(0.0, Duration::as_secs_f64)
        };
        format!(
            "{what}: {} times, p50 {:.2} s, p99 {:.2} s, max {:.2} s",
            self.0.len(),
            at(50),
            at(99),
            at(100)
        )
    }
}
