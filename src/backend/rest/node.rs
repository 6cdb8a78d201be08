//! Whether the plugin is well, and what it has.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::{
    answer,
    config::{Ping, RestConfig},
};
use crate::{
    limits,
    upstream::{Failed, Whole, told},
    wire::NodeStatus,
};

/// What the calls of the upstream have come to.
#[derive(Debug)]
pub(super) struct Node {
    inner: Mutex<Inner>,
    /// Whether anything is known yet.
    known: watch::Sender<bool>,
}

#[derive(Debug)]
struct Inner {
    /// As the upstream said it last, with what the settings say where it is silent.
    status: NodeStatus,
    /// The settings.
    announced: NodeStatus,
    ping: Ping,
    /// A ping was answered well.
    pinged: bool,
    /// It is not pinged: nobody wants it, or it does not bear it.
    off: bool,
    /// It refuses pings, and never answered one well: calls until it is tried again. It may be a passing failure.
    rarely: u32,
    /// Calls since the last ping.
    since: u32,
    /// When anything was heard last.
    heard: Option<Instant>,
}

impl Node {
    pub(super) fn new(config: &RestConfig) -> Self {
        let announced = NodeStatus {
            ready: false,
            reason: "the upstream has not been asked yet".to_owned(),
            cpu: config.cpu.clone(),
            memory: config.memory.clone(),
            pods: config.pods.clone(),
            ..NodeStatus::default()
        };
        Self {
            inner: Mutex::new(Inner {
                status: announced.clone(),
                announced,
                ping: config.ping,
                pinged: false,
                off: config.ping == Ping::None,
                rarely: 0,
                since: limits::UPSTREAM_PING_EVERY,
                heard: None,
            }),
            known: watch::Sender::new(false),
        }
    }

    /// As it was told last; waits for the first word.
    pub(super) async fn status(&self) -> NodeStatus {
        // An error would mean that the sender is gone, and it is here.
        let _ = self.known.subscribe().wait_for(|known| *known).await;
        self.lock().status.clone()
    }

    /// Whether what is known is no older than this.
    pub(super) fn is_fresh(&self, within: Duration) -> bool {
        self.lock().heard.is_some_and(|heard| heard.elapsed() < within)
    }

    /// Forgets that anything is known: [`Node::status`] waits for the next word.
    pub(super) fn ask_afresh(&self) {
        self.known.send_replace(false);
    }

    /// Whether the one call of this interval is a ping.
    pub(super) fn is_ping_due(&self, has_pods: bool) -> bool {
        let inner = self.lock();
        // Pods of a former process are asked about first: their news is late already.
        let first = !*self.known.borrow();
        let wait = match inner.rarely {
            0 if has_pods => limits::UPSTREAM_PING_EVERY,
            rarely => rarely,
        };
        !inner.off && inner.since >= wait && !(has_pods && first)
    }

    /// What a ping has come to. Gives the new status, when it has changed.
    pub(super) fn pinged(&self, outcome: Result<&Whole, &Failed>) -> Option<NodeStatus> {
        let mut inner = self.lock();
        inner.since = 0;
        let spared = inner.ping == Ping::Auto && !inner.pinged;
        let status = match outcome {
            Ok(whole) if whole.status.is_success() => {
                inner.pinged = true;
                inner.rarely = 0;
                inner.ready(answer::node(&whole.body))
            }
            Ok(whole) if is_unavailable(whole) => inner.not_ready(&whole_text(whole)),
            // It may not know such a request, and be well for all that.
            Ok(whole) if matches!(whole.status.as_u16(), 404 | 405 | 501) => inner.well(),
            Ok(whole) if spared => {
                if inner.rarely == 0 {
                    let why = whole_text(whole);
                    tracing::info!(%why, "the upstream does not take pings (GET /status with []): it is pinged rarely");
                }
                let most = u32::try_from(limits::UPSTREAM_APART_MAX).unwrap_or(u32::MAX);
                inner.rarely = inner
                    .rarely
                    .saturating_mul(2)
                    .clamp(limits::UPSTREAM_PING_EVERY, most);
                inner.well()
            }
            Err(Failed::Lost(_)) if spared => {
                tracing::info!(
                    "the upstream does not bear pings (GET /status with []): it is not pinged again"
                );
                inner.off = true;
                inner.well()
            }
            Ok(whole) => inner.not_ready(&whole_text(whole)),
            Err(failed) => inner.not_ready(&failed.to_string()),
        };
        self.tell(inner, status)
    }

    /// What a status call has come to.
    pub(super) fn polled(&self, outcome: Result<&Whole, &Failed>) -> Option<NodeStatus> {
        let mut inner = self.lock();
        inner.since = inner.since.saturating_add(1);
        let status = match outcome {
            Ok(whole) if is_unavailable(whole) => inner.not_ready(&whole_text(whole)),
            Ok(_) => inner.well(),
            Err(failed) => inner.not_ready(&failed.to_string()),
        };
        self.tell(inner, status)
    }

    /// What a mere connection has come to.
    pub(super) fn reached(&self, failed: Option<&Failed>) -> Option<NodeStatus> {
        let mut inner = self.lock();
        inner.since = inner.since.saturating_add(1);
        let status = match failed {
            None => inner.well(),
            Some(failed) => inner.not_ready(&failed.to_string()),
        };
        self.tell(inner, status)
    }

    fn tell(&self, mut inner: MutexGuard<'_, Inner>, status: NodeStatus) -> Option<NodeStatus> {
        let changed = inner.status != status;
        inner.heard = Some(Instant::now());
        if changed {
            tracing::info!(
                ready = status.ready,
                reason = status.reason,
                "the upstream has changed"
            );
            inner.status = status.clone();
        }
        self.known.send_replace(true);
        changed.then_some(status)
    }

    /// Never held over an await.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn ready(&self, said: NodeStatus) -> NodeStatus {
        let or = |said: String, announced: &String| if said.is_empty() { announced.clone() } else { said };
        NodeStatus {
            cpu: or(said.cpu, &self.announced.cpu),
            memory: or(said.memory, &self.announced.memory),
            pods: or(said.pods, &self.announced.pods),
            ..said
        }
    }

    /// Well, and no word of what it has.
    fn well(&self) -> NodeStatus {
        NodeStatus {
            ready: true,
            reason: String::new(),
            ..self.status.clone()
        }
    }

    fn not_ready(&self, why: &str) -> NodeStatus {
        let line: String = why
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(256)
            .collect();
        NodeStatus {
            ready: false,
            reason: format!("the upstream plugin {line}"),
            ..self.status.clone()
        }
    }
}

/// Whether the upstream, or a proxy before it, says that it cannot be asked now. Not 504: slurm's plugin refuses pods
/// with it.
pub(super) fn is_unavailable(whole: &Whole) -> bool {
    matches!(whole.status.as_u16(), 502 | 503)
}

fn whole_text(whole: &Whole) -> String {
    let text = told(whole.status, &whole.body);
    format!("answers HTTP {}: {text}", whole.status.as_u16())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::StatusCode;

    use super::*;

    fn whole(status: u16, body: &'static str) -> Whole {
        Whole {
            status: StatusCode::from_u16(status).unwrap_or_default(),
            retry_after: None,
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    fn node(ping: Ping) -> Node {
        let mut config = RestConfig::new("http://x", "/x");
        config.ping = ping;
        config.cpu = "8".to_owned();
        Node::new(&config)
    }

    async fn after(node: &Node, outcome: Result<&Whole, &Failed>) -> NodeStatus {
        node.pinged(outcome);
        node.status().await
    }

    #[tokio::test]
    async fn what_the_plugin_says_it_has_is_kept_and_the_settings_fill_in() {
        let node = node(Ping::Auto);
        assert_eq!(after(&node, Ok(&whole(200, "alive"))).await.cpu, "8");
        let said = after(&node, Ok(&whole(200, r#"{"resources": {"cpu": "128"}}"#))).await;
        assert!(said.ready && said.cpu == "128");
        let lost = Failed::NotReached("Connection refused".into());
        let away = after(&node, Err(&lost)).await;
        assert!(!away.ready && away.cpu == "128");
        assert_eq!(
            away.reason,
            "the upstream plugin cannot be reached: Connection refused"
        );
        assert!(
            node.polled(Ok(&whole(200, "[]")))
                .is_some_and(|status| status.ready)
        );
    }

    #[tokio::test]
    async fn a_plugin_that_refuses_pings_is_well_and_pinged_ever_more_rarely() {
        let node = node(Ping::Auto);
        let every = limits::UPSTREAM_PING_EVERY;
        for wait in [every, 2 * every, 4 * every] {
            assert!(node.is_ping_due(false));
            assert!(after(&node, Ok(&whole(500, "sinfo: error"))).await.ready);
            for _ in 0..wait {
                assert!(!node.is_ping_due(false) && !node.is_ping_due(true));
                node.reached(None);
            }
        }
        let said = after(&node, Ok(&whole(200, r#"{"resources": {"cpu": "128"}}"#))).await;
        assert_eq!(said.cpu, "128", "it was a passing failure");
        assert!(node.is_ping_due(false));
    }

    #[tokio::test]
    async fn a_plugin_that_dies_of_a_ping_is_pinged_once() {
        let dies = node(Ping::Auto);
        assert!(dies.is_ping_due(false));
        assert!(after(&dies, Err(&Failed::Lost("eof".into()))).await.ready);
        for _ in 0..2 * limits::UPSTREAM_APART_MAX {
            assert!(!dies.is_ping_due(false));
            dies.reached(None);
        }
        let node = node(Ping::Auto);
        after(&node, Ok(&whole(200, "[]"))).await;
        assert!(
            !after(&node, Err(&Failed::Lost("eof".into()))).await.ready,
            "it did bear them"
        );
        assert!(node.is_ping_due(false));
    }

    #[tokio::test]
    async fn asked_to_ping_an_error_is_an_error_and_an_optional_route_is_not() {
        let node = node(Ping::Status);
        assert!(!after(&node, Ok(&whole(500, "sinfo failed"))).await.ready);
        assert!(after(&node, Ok(&whole(404, "Not Found"))).await.ready);
        assert!(!after(&node, Ok(&whole(503, "starting"))).await.ready);
        assert!(!super::tests::node(Ping::None).is_ping_due(false));
    }

    #[test]
    fn pods_of_a_former_process_are_asked_about_before_the_first_ping() {
        let node = node(Ping::Auto);
        assert!(!node.is_ping_due(true));
        node.polled(Ok(&whole(200, "[]")));
        assert!(node.is_ping_due(true));
    }

    #[test]
    fn while_pods_are_watched_few_calls_are_pings() {
        let node = node(Ping::Auto);
        node.pinged(Ok(&whole(200, "[]")));
        for _ in 0..limits::UPSTREAM_PING_EVERY {
            assert!(!node.is_ping_due(true));
            assert!(node.is_ping_due(false));
            node.polled(Ok(&whole(200, "[]")));
        }
        assert!(node.is_ping_due(true));
    }
}
