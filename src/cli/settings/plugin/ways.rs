//! How a plugin is reached: the link it dials, the REST it serves, or both.

use std::{path::PathBuf, time::Duration};

use crate::{
    cli::{
        args::PluginArgs,
        exit::Failure,
        settings::{Listen, Row, Setting, Sources, Transport, parse_bool, parse_path, shown_path},
    },
    limits,
    wire::Subprotocol,
};

/// How the plugin is reached.
#[derive(Debug)]
pub(crate) struct WaySettings {
    /// The ways in force.
    pub(crate) transport: Setting<Transport>,
    /// Where the REST is.
    pub(crate) listen: Setting<Listen>,
    /// The token that the REST requires.
    pub(crate) listen_token_file: Setting<Option<PathBuf>>,
    /// Off loopback without a token.
    pub(crate) insecure: Setting<bool>,
    /// First delay between two dials.
    pub(crate) reconnect_min: Setting<Duration>,
    /// Largest delay between two dials.
    pub(crate) reconnect_max: Setting<Duration>,
    /// How often the hub is pinged; never when none.
    pub(crate) ping_interval: Setting<Option<Duration>>,
    /// Form of the link's messages.
    pub(crate) codec: Setting<Subprotocol>,
}

impl WaySettings {
    /// Resolves and validates.
    ///
    /// # Errors
    /// Names the setting, its value, and what to do.
    pub(super) fn resolve(args: &PluginArgs, sources: &Sources<'_>) -> Result<Self, Failure> {
        let file = sources.file.plugin.clone();
        let transport = sources.text(
            "--transport",
            &args.transport,
            sources.twin("TOWLINE_TRANSPORT", "INTERLINK_TRANSPORT"),
            file.transport,
            "ws",
        )?;
        let listen = sources.text(
            "--listen",
            &args.listen,
            "TOWLINE_PLUGIN_LISTEN",
            file.listen,
            "127.0.0.1:4000",
        )?;
        let codec = sources.text("--codec", &args.codec, "TOWLINE_CODEC", file.codec, "proto")?;
        let ping = sources.span(
            "--ping-interval",
            &args.ping_interval,
            "TOWLINE_PING_INTERVAL",
            file.ping_interval,
            Duration::ZERO,
        )?;
        let settings = Self {
            transport: map(transport, "plugin.transport", Transport::parse)?,
            listen: map(listen, "plugin.listen", Listen::parse)?,
            listen_token_file: sources.pick(
                ("--listen-token-file", args.listen_token_file.clone().map(Some)),
                ("TOWLINE_LISTEN_TOKEN_FILE", parse_path),
                file.listen_token_file.map(Some),
                None,
            )?,
            insecure: sources.pick(
                ("--insecure", args.insecure.then_some(true)),
                ("TOWLINE_PLUGIN_INSECURE", parse_bool),
                file.insecure,
                false,
            )?,
            reconnect_min: sources.span(
                "--reconnect-min",
                &args.reconnect_min,
                "TOWLINE_RECONNECT_MIN",
                file.reconnect_min,
                limits::BACKOFF_MIN,
            )?,
            reconnect_max: sources.span(
                "--reconnect-max",
                &args.reconnect_max,
                "TOWLINE_RECONNECT_MAX",
                file.reconnect_max,
                limits::BACKOFF_MAX,
            )?,
            ping_interval: Setting {
                value: Some(ping.value).filter(|span| !span.is_zero()),
                source: ping.source,
            },
            codec: map(codec, "plugin.codec", |text| match text {
                "proto" => Ok(Subprotocol::Proto),
                "json" => Ok(Subprotocol::Json),
                other => Err(format!("{other:?} is not known; use proto or json")),
            })?,
        };
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), Failure> {
        let longest = Duration::from_secs(600);
        within(
            "plugin.reconnect_min",
            &self.reconnect_min,
            limits::RECONNECT_LEAST,
            longest,
        )?;
        within(
            "plugin.reconnect_max",
            &self.reconnect_max,
            self.reconnect_min.value,
            longest,
        )?;
        if let Some(value) = self.ping_interval.value {
            let source = self.ping_interval.source.clone();
            let setting = Setting { value, source };
            within(
                "plugin.ping_interval",
                &setting,
                limits::PING_INTERVAL_LEAST,
                longest,
            )?;
        }
        let listen = &self.listen.value;
        if self.serves_rest()
            && !listen.is_local()
            && self.listen_token_file.value.is_none()
            && !self.insecure.value
        {
            return Err(Failure::Config(format!(
                "refusing to listen on {listen} without a token: everyone who reaches it could run pods and read their logs \
                 and secrets. Give --listen-token-file FILE (a classic API server sends no token: put a proxy that does \
                 before it), listen on 127.0.0.1, or, if the network itself is trusted, add --insecure"
            )));
        }
        Ok(())
    }

    /// Whether the REST is served.
    pub(crate) fn serves_rest(&self) -> bool {
        self.transport.value != Transport::Ws
    }

    /// Names in `Host` that are let in besides those of this machine; any when none. As at the hub: a browser on this
    /// machine reaches loopback, and only a token or this keeps it out.
    pub(crate) fn hosts(&self) -> Option<Vec<String>> {
        let Listen::Tcp(_) = self.listen.value else {
            return None;
        };
        let open = self.listen.value.is_local() && self.listen_token_file.value.is_none();
        open.then(Vec::new)
    }

    /// For `config print`.
    pub(super) fn rows(&self) -> Vec<Row> {
        let codec = match self.codec.value {
            Subprotocol::Proto => "proto",
            Subprotocol::Json => "json",
        };
        let ping = self.ping_interval.value;
        vec![
            self.transport
                .row("plugin.transport", self.transport.value.word()),
            self.listen.row("plugin.listen", self.listen.value.to_string()),
            self.listen_token_file.row(
                "plugin.listen_token_file",
                shown_path(&self.listen_token_file.value),
            ),
            self.insecure
                .row("plugin.insecure", self.insecure.value.to_string()),
            self.reconnect_min
                .row("plugin.reconnect_min", format!("{:?}", self.reconnect_min.value)),
            self.reconnect_max
                .row("plugin.reconnect_max", format!("{:?}", self.reconnect_max.value)),
            self.ping_interval.row(
                "plugin.ping_interval",
                ping.map_or_else(|| "-".to_owned(), |span| format!("{span:?}")),
            ),
            self.codec.row("plugin.codec", codec),
        ]
    }
}

/// Reads a setting's text as something else.
fn map<T>(
    setting: Setting<String>,
    key: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Setting<T>, Failure> {
    let Setting { value, source } = setting;
    let value = parse(&value).map_err(|why| Failure::Config(format!("{key} (from {source}): {why}")))?;
    Ok(Setting { value, source })
}

fn within(key: &str, setting: &Setting<Duration>, least: Duration, most: Duration) -> Result<(), Failure> {
    let (value, source) = (setting.value, &setting.source);
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Failure::Config(format!(
        "{key} (from {source}): {value:?} must be {least:?} to {most:?}"
    )))
}
