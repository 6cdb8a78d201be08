//! The settings of a hub as `config print` shows them.

use std::{path::PathBuf, time::Duration};

use super::HubSettings;
use crate::cli::settings::{Listen, Row, Setting, WaySettings, file::WhenOffline, shown_path};

impl HubSettings {
    /// For `config print`.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let mut rows = self.own_rows();
        rows.extend(self.jobscript.rows());
        rows.extend(self.interlink.rows());
        rows
    }

    fn own_rows(&self) -> Vec<Row> {
        let addresses = |key, setting: &Setting<Vec<Listen>>| {
            let all: Vec<String> = setting.value.iter().map(Listen::to_string).collect();
            let value = if all.is_empty() {
                "(as hub.listen)".to_owned()
            } else {
                all.join(",")
            };
            setting.row(key, value)
        };
        let path = |key, setting: &Setting<Option<PathBuf>>| setting.row(key, shown_path(&setting.value));
        let span =
            |key, setting: &Setting<Duration>| setting.row(key, format!("{}s", setting.value.as_secs_f64()));
        let offline = match self.delete_when_offline.value {
            WhenOffline::Durable => "durable",
            WhenOffline::Refuse => "refuse",
        };
        let grpc: Vec<String> = self.grpc_listen.value.iter().map(Listen::to_string).collect();
        let grpc = if grpc.is_empty() {
            "(nowhere)".to_owned()
        } else {
            grpc.join(",")
        };
        let mut rows = vec![
            addresses("hub.listen", &self.listen),
            addresses("hub.link_listen", &self.link_listen),
            addresses("hub.admin_listen", &self.admin_listen),
            self.grpc_listen.row("hub.grpc_listen", grpc),
            path("hub.token_file", &self.token_file),
            path("hub.tls_cert", &self.tls_cert),
            path("hub.tls_key", &self.tls_key),
            path("hub.state_dir", &self.state_dir),
            path("hub.state_key_file", &self.state_key_file),
            self.allowed_hosts
                .row("hub.allowed_hosts", self.allowed_hosts.value.join(",")),
            self.insecure.row("hub.insecure", self.insecure.value.to_string()),
            span("hub.create_hold", &self.create_hold),
            span("hub.ping_grace", &self.ping_grace),
            span("hub.log_hold", &self.log_hold),
            span("hub.anti_entropy", &self.anti_entropy),
            self.delete_when_offline.row("hub.delete_when_offline", offline),
        ];
        rows.extend(self.compression.rows());
        rows.extend(self.passthrough.rows());
        rows.extend(self.plugins.iter().flat_map(WaySettings::rows));
        rows
    }
}
