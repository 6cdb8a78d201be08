//! Plugins as rows.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::time;

/// What a table shows of a plugin. Unknown and absent fields are fine: the hub may be older or newer.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PluginRow {
    /// Its name.
    pub(crate) name: String,
    r#type: String,
    software: String,
    connected: bool,
    ready: bool,
    reason: String,
    remote: String,
    way: String,
    since: Option<String>,
    last_seen: Option<String>,
    pods: u64,
    reconnects: u64,
    labels: BTreeMap<String, String>,
}

impl PluginRow {
    /// The heads of the columns.
    pub(crate) fn heads(wide: bool) -> Vec<&'static str> {
        let mut heads = vec!["NAME", "STATUS", "TYPE", "PODS", "AGE"];
        if wide {
            heads.extend([
                "LAST-SEEN",
                "RECONNECTS",
                "WAY",
                "REMOTE",
                "SOFTWARE",
                "LABELS",
                "REASON",
            ]);
        }
        heads
    }

    /// The cells.
    pub(crate) fn cells(&self, wide: bool, now: i64) -> Vec<String> {
        let status = match (self.connected, self.ready) {
            (false, _) => "Offline",
            (true, false) => "NotReady",
            (true, true) => "Ready",
        };
        let mut cells = vec![
            self.name.clone(),
            status.to_owned(),
            self.r#type.clone(),
            self.pods.to_string(),
            time::age(self.since.as_deref(), now),
        ];
        if wide {
            let labels: Vec<String> = self
                .labels
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            cells.extend([
                self.last_seen
                    .as_deref()
                    .map_or("never".to_owned(), |seen| time::age(Some(seen), now)),
                self.reconnects.to_string(),
                self.way.clone(),
                self.remote.clone(),
                self.software.clone(),
                labels.join(","),
                self.reason.clone(),
            ]);
        }
        cells
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_row_tells_offline_from_not_ready() {
        let row = |connected, ready| -> PluginRow {
            serde_json::from_value(
                serde_json::json!({"name": "p", "connected": connected, "ready": ready, "new": 1}),
            )
            .unwrap()
        };
        assert_eq!(row(false, true).cells(false, 0)[1], "Offline");
        assert_eq!(row(true, false).cells(false, 0)[1], "NotReady");
        assert_eq!(row(true, true).cells(true, 0).len(), PluginRow::heads(true).len());
    }
}
