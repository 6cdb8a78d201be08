//! What the hub counts, for `/metrics`. Label values come from closed sets; there is no series per plugin.

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::{Way, squeeze::SqueezeMeter, store::Meter};
use crate::{code::Code, connection::Squeezed};

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CallLabels {
    op: &'static str,
    way: &'static str,
    code: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

/// Counters and gauges of one hub.
pub(crate) struct Metrics {
    registry: Registry,
    calls: Family<CallLabels, Histogram, fn() -> Histogram>,
    refused: Family<ReasonLabels, Counter>,
    events: Family<OutcomeLabels, Counter>,
    pub(crate) plugins_connected: Gauge,
    pub(crate) reconnects: Counter,
    pub(crate) takeovers: Counter,
    pub(crate) takeover_alarms: Counter,
    pub(crate) small_peers: Counter,
    pub(crate) log_bytes: Counter,
    pub(crate) log_gap_bytes: Counter,
    pub(crate) log_resumes: Counter,
    pub(crate) log_streams: Gauge,
    pub(crate) creates_held: Gauge,
    pub(crate) deletes_pending: Gauge,
    pub(crate) pods_lost: Counter,
    pub(crate) pods: Gauge,
    pub(crate) store: Meter,
    /// Where links count what they compress.
    pub(crate) squeezed: Arc<Squeezed>,
    squeeze: SqueezeMeter,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("towline");
        let calls = Family::new_with_constructor(latency as fn() -> Histogram);
        registry.register(
            "call_duration_seconds",
            "Calls to plugins by operation, way and status code",
            calls.clone(),
        );
        let refused = Family::default();
        registry.register(
            "requests_refused",
            "Requests and links refused, by reason",
            refused.clone(),
        );
        let events = Family::default();
        registry.register(
            "pod_events",
            "Pod events received, by what they did",
            events.clone(),
        );
        let squeezed = Arc::<Squeezed>::default();
        Self {
            squeeze: SqueezeMeter::new(&mut registry, squeezed.clone()),
            squeezed,
            plugins_connected: gauge(&mut registry, "plugins_connected", "Plugins connected now"),
            reconnects: counter(
                &mut registry,
                "plugin_reconnects",
                "Links of plugins that were known before",
            ),
            takeovers: counter(
                &mut registry,
                "plugin_takeovers",
                "Live sessions replaced by a newer one of the name",
            ),
            takeover_alarms: counter(
                &mut registry,
                "plugin_takeover_alarms",
                "Takeovers that say that two processes fight for one plugin name",
            ),
            small_peers: counter(
                &mut registry,
                "plugin_small_messages",
                "Links of plugins that take messages below 1 MiB only",
            ),
            log_bytes: counter(&mut registry, "log_bytes", "Log bytes delivered to readers"),
            log_gap_bytes: counter(
                &mut registry,
                "log_gap_bytes",
                "Log bytes that were lost before delivery",
            ),
            log_resumes: counter(
                &mut registry,
                "log_resumes",
                "Log streams opened again after a lost link",
            ),
            log_streams: gauge(&mut registry, "log_streams_open", "Log streams open now"),
            creates_held: gauge(
                &mut registry,
                "creates_held",
                "Creates that wait for their plugin",
            ),
            deletes_pending: gauge(
                &mut registry,
                "deletes_pending",
                "Deletes kept for absent plugins",
            ),
            pods_lost: counter(
                &mut registry,
                "pods_lost",
                "Pods that their plugin did not have any more",
            ),
            pods: gauge(&mut registry, "pods_known", "Pods in the state table"),
            store: Meter::new(&mut registry),
            registry,
            calls,
            refused,
            events,
        }
    }
}

impl Metrics {
    /// One call to a plugin has ended.
    pub(crate) fn call(&self, op: &'static str, way: Way, code: Code, took: Duration) {
        let labels = CallLabels {
            op,
            way: way.name(),
            code: code.name(),
        };
        self.calls.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// A request or link was refused; `reason` is from a closed set.
    pub(crate) fn refuse(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// A pod event came; `outcome` is from a closed set.
    pub(crate) fn event(&self, outcome: &'static str) {
        self.events.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// OpenMetrics text.
    pub(crate) fn text(&self) -> String {
        self.squeeze.refresh();
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

fn latency() -> Histogram {
    Histogram::new([
        0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0,
    ])
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_what_the_page_says() {
        let metrics = Metrics::default();
        metrics.call("create", Way::Link, Code::Ok, Duration::from_millis(3));
        metrics.refuse("token");
        metrics.reconnects.inc();
        let text = metrics.text();
        assert!(
            text.contains(r#"towline_call_duration_seconds_count{op="create",way="link",code="OK"} 1"#),
            "{text}"
        );
        assert!(
            text.contains(r#"towline_requests_refused_total{reason="token"} 1"#),
            "{text}"
        );
        assert!(text.contains("towline_plugin_reconnects_total 1"), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }

    /// The families of the text, without what their kind adds to a name.
    fn emitted() -> std::collections::BTreeSet<String> {
        let metrics = Metrics::default();
        // Those with labels show when they have a first value.
        metrics.call("create", Way::Http, Code::Ok, Duration::ZERO);
        metrics.refuse("token");
        metrics.event("applied");
        let text = metrics.text();
        let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        families
            .filter_map(|line| line.split(' ').next().map(str::to_owned))
            .collect()
    }

    #[test]
    fn the_operations_page_names_every_metric_and_no_other() {
        let page = include_str!("../../docs/OPERATIONS.md");
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let named = page
            .split(|c| !word(c))
            .filter(|name| name.starts_with("towline_"))
            .map(|name| name.trim_end_matches("_total").to_owned())
            .collect::<std::collections::BTreeSet<_>>();
        assert_eq!(named, emitted());
    }
}
