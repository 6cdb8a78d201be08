//! Settings of the REST bridge.

use std::{path::PathBuf, time::Duration};

use crate::{
    backend::{RestConfig, rest::Ping},
    cli::{
        args::PluginArgs,
        exit::Failure,
        settings::{
            Row, Setting, Source, Sources, check_interval, check_trusted, parse_bool, parse_path, shown_path,
            trusting,
        },
    },
    transport::TlsConfig,
};

/// What `--backend rest` needs to know.
#[derive(Debug)]
pub(crate) struct UpstreamSettings {
    /// The plugin's address.
    pub(crate) upstream: Setting<String>,
    /// The plugin's kind, in one word.
    pub(crate) kind: Setting<String>,
    /// The plugin is asked for status no more often.
    pub(crate) status_interval: Setting<Duration>,
    /// How it is pinged.
    pub(crate) ping: Setting<Ping>,
    /// Its own Follow is used.
    pub(crate) follow: Setting<bool>,
    /// A create is a list of one.
    pub(crate) legacy_list: Setting<bool>,
    /// Its own endpoints may be reached through the hub.
    pub(crate) endpoints: Setting<bool>,
    /// Others create pods at this plugin too.
    pub(crate) shared: Setting<bool>,
    /// CA certificates for https.
    ca_file: Setting<Option<PathBuf>>,
}

impl UpstreamSettings {
    /// Resolves; `backend` says whether there is an upstream at all.
    ///
    /// # Errors
    /// Names the setting, its value, and what to do.
    pub(super) fn resolve(args: &PluginArgs, sources: &Sources<'_>, backend: &str) -> Result<Self, Failure> {
        let file = sources.file.plugin.clone();
        let switch = |flag, typed: bool, variable, file| {
            sources.pick((flag, typed.then_some(true)), (variable, parse_bool), file, false)
        };
        let upstream = sources.text(
            "--upstream",
            &args.upstream,
            "TOWLINE_UPSTREAM",
            file.upstream,
            "",
        )?;
        check_upstream(&upstream, backend)?;
        let kind = sources.text("--type", &args.kind, "TOWLINE_TYPE", file.kind, backend)?;
        let status_interval = sources.span(
            "--status-interval",
            &args.status_interval,
            "TOWLINE_STATUS_INTERVAL",
            file.status_interval,
            RestConfig::interval_of(&kind.value),
        )?;
        check_interval("plugin.status_interval", &status_interval)?;
        let ping = sources.text(
            "--upstream-ping",
            &args.upstream_ping,
            "TOWLINE_UPSTREAM_PING",
            file.upstream_ping,
            "auto",
        )?;
        Ok(Self {
            upstream,
            kind,
            status_interval,
            ping: Setting {
                value: Ping::parse(&ping.value).map_err(|why| {
                    Failure::Config(format!("plugin.upstream_ping (from {}): {why}", ping.source))
                })?,
                source: ping.source,
            },
            follow: switch(
                "--upstream-follow",
                args.upstream_follow,
                "TOWLINE_UPSTREAM_FOLLOW",
                file.upstream_follow,
            )?,
            legacy_list: switch(
                "--legacy-list",
                args.legacy_list,
                "TOWLINE_LEGACY_LIST",
                file.legacy_list,
            )?,
            endpoints: sources.pick(
                ("", None),
                ("TOWLINE_ENDPOINTS", parse_bool),
                file.endpoints,
                true,
            )?,
            shared: switch(
                "--upstream-shared",
                args.upstream_shared,
                "TOWLINE_UPSTREAM_SHARED",
                file.upstream_shared,
            )?,
            ca_file: sources.pick(
                ("--upstream-ca-file", args.upstream_ca_file.clone().map(Some)),
                ("TOWLINE_UPSTREAM_CA_FILE", parse_path),
                file.upstream_ca_file.map(Some),
                None,
            )?,
        })
    }

    /// Whom to trust on https. A file that is missing now may be there when it is needed.
    pub(crate) fn tls(&self) -> TlsConfig {
        trusting(&self.ca_file)
    }

    /// Whether all files are there and right.
    ///
    /// # Errors
    /// Names the file that is missing or wrong.
    pub(crate) fn check_files(&self) -> Result<(), Failure> {
        check_trusted("plugin.upstream_ca_file", &self.ca_file)
    }

    /// For `config print`.
    pub(super) fn rows(&self) -> Vec<Row> {
        vec![
            self.kind.row("plugin.type", self.kind.value.clone()),
            self.upstream.row("plugin.upstream", self.upstream.value.clone()),
            self.status_interval.row(
                "plugin.status_interval",
                format!("{:?}", self.status_interval.value),
            ),
            self.ping
                .row("plugin.upstream_ping", self.ping.value.word().to_owned()),
            self.follow
                .row("plugin.upstream_follow", self.follow.value.to_string()),
            self.legacy_list
                .row("plugin.legacy_list", self.legacy_list.value.to_string()),
            self.endpoints
                .row("plugin.endpoints", self.endpoints.value.to_string()),
            self.shared
                .row("plugin.upstream_shared", self.shared.value.to_string()),
            self.ca_file
                .row("plugin.upstream_ca_file", shown_path(&self.ca_file.value)),
        ]
    }
}

fn check_upstream(upstream: &Setting<String>, backend: &str) -> Result<(), Failure> {
    let (value, source) = (&upstream.value, &upstream.source);
    match (backend, value.is_empty()) {
        ("rest", true) => Err(Failure::Config(
            "plugin.upstream: is missing; --backend rest needs the plugin's address: --upstream http://127.0.0.1:4000 or \
             unix:///run/plugin.sock"
                .to_owned(),
        )),
        ("rest", false) => match RestConfig::new(value, "").check() {
            Ok(_) if !value.contains("ws://") && !value.contains("wss://") => Ok(()),
            Ok(_) => Err(Failure::Config(format!(
                "plugin.upstream (from {source}): {value:?} is a link; the plugin's REST is at http://, https:// or unix://"
            ))),
            // Never the value itself: it may hold a password.
            Err(error) => Err(Failure::Config(format!("plugin.upstream (from {source}): {error}"))),
        },
        (_, false) if *source != Source::Default => Err(Failure::Config(format!(
            "plugin.upstream (from {source}): only --backend rest has an upstream"
        ))),
        _ => Ok(()),
    }
}
