//! Settings of `towline hub`.

mod check;
mod rows;

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{
    Listen, PassthroughSettings, Setting, Sources, Transport, WaySettings,
    compression::CompressionSettings,
    file::{Span, Switch, WhenOffline},
    interlink_file::InterLinkFile,
    jobscript::JobScriptSettings,
    parse_bool, parse_path,
};
use crate::{
    cli::{args::HubArgs, exit::Failure},
    hub::{DeleteWhenOffline, HubConfig, StateDir},
    limits,
    transport::ServerTls,
};

/// All settings of a hub.
#[derive(Debug)]
pub(crate) struct HubSettings {
    /// REST, and all that has no listener of its own.
    pub(crate) listen: Setting<Vec<Listen>>,
    /// The plugins' link; empty: on `listen`.
    pub(crate) link_listen: Setting<Vec<Listen>>,
    /// API, health, metrics; empty: on `listen`.
    pub(crate) admin_listen: Setting<Vec<Listen>>,
    /// The plugins' link over gRPC; empty: nowhere.
    pub(crate) grpc_listen: Setting<Vec<Listen>>,
    /// The shared bearer token's file.
    pub(crate) token_file: Setting<Option<PathBuf>>,
    /// Certificate chain.
    pub(crate) tls_cert: Setting<Option<PathBuf>>,
    /// Private key.
    pub(crate) tls_key: Setting<Option<PathBuf>>,
    /// Where the hub's state survives a restart.
    pub(crate) state_dir: Setting<Option<PathBuf>>,
    /// The key that seals secrets there.
    pub(crate) state_key_file: Setting<Option<PathBuf>>,
    /// Names by which the hub may be called besides those of this machine.
    pub(crate) allowed_hosts: Setting<Vec<String>>,
    /// Off loopback without a token.
    pub(crate) insecure: Setting<bool>,
    create_hold: Setting<Duration>,
    ping_grace: Setting<Duration>,
    log_hold: Setting<Duration>,
    anti_entropy: Setting<Duration>,
    delete_when_offline: Setting<WhenOffline>,
    compression: CompressionSettings,
    /// Plugins' own endpoints.
    pub(crate) passthrough: PassthroughSettings,
    /// Job scripts.
    pub(crate) jobscript: JobScriptSettings,
    /// interLink's own configuration, for what is set nowhere else.
    pub(crate) interlink: InterLinkFile,
    /// The plugins that have settings of their own.
    pub(crate) plugins: Vec<WaySettings>,
}

impl HubSettings {
    /// Resolves and validates.
    ///
    /// # Errors
    /// Names the setting, its value, and what to do.
    pub(crate) fn resolve(args: &HubArgs, sources: &Sources<'_>) -> Result<Self, Failure> {
        let file = sources.file.hub.clone();
        let interlink = InterLinkFile::load(args, sources)?;
        let addresses =
            |flag, typed: &[String], variable, key, file: Option<Vec<String>>, default: &[&str]| {
                let default = default.iter().map(|&text| text.to_owned()).collect();
                let typed = (!typed.is_empty()).then(|| typed.to_vec());
                let texts = sources.pick((flag, typed), (variable, parse_list), file, default)?;
                parse_addresses(key, texts)
            };
        let path = |flag, typed: &Option<PathBuf>, variable, file: Option<PathBuf>| {
            sources.pick(
                (flag, typed.clone().map(Some)),
                (variable, parse_path),
                file.map(Some),
                None,
            )
        };
        let listen = file.listen.map(Into::into);
        let link = file.link_listen.map(Into::into);
        let admin = file.admin_listen.map(Into::into);
        let compression = CompressionSettings::of_hub(&args.compression, sources)?;
        let grpc = file.grpc_listen.map(Into::into);
        let passthrough = PassthroughSettings::resolve(&sources.file.hub, sources)?;
        let span = |file: Option<Span>, default| sources.file_only(file.map(|span| span.0), default);
        let mut settings = Self {
            listen: addresses(
                "--listen",
                &args.listen,
                "TOWLINE_LISTEN",
                "hub.listen",
                listen,
                &["127.0.0.1:3000"],
            )?,
            link_listen: addresses(
                "--link-listen",
                &args.link_listen,
                "TOWLINE_LINK_LISTEN",
                "hub.link_listen",
                link,
                &[],
            )?,
            admin_listen: addresses(
                "--admin-listen",
                &args.admin_listen,
                "TOWLINE_ADMIN_LISTEN",
                "hub.admin_listen",
                admin,
                &[],
            )?,
            grpc_listen: addresses(
                "--grpc-listen",
                &args.grpc_listen,
                "TOWLINE_GRPC_LISTEN",
                "hub.grpc_listen",
                grpc,
                &[],
            )?,
            token_file: path(
                "--token-file",
                &args.token_file,
                "TOWLINE_TOKEN_FILE",
                file.token_file,
            )?,
            tls_cert: path("--tls-cert", &args.tls_cert, "TOWLINE_TLS_CERT", file.tls_cert)?,
            tls_key: path("--tls-key", &args.tls_key, "TOWLINE_TLS_KEY", file.tls_key)?,
            state_dir: path(
                "--state-dir",
                &args.state_dir,
                "TOWLINE_HUB_STATE_DIR",
                file.state_dir,
            )?,
            state_key_file: path(
                "--state-key-file",
                &args.state_key_file,
                "TOWLINE_STATE_KEY_FILE",
                file.state_key_file,
            )?,
            allowed_hosts: sources.pick(
                (
                    "--allowed-host",
                    (!args.allowed_hosts.is_empty()).then(|| args.allowed_hosts.clone()),
                ),
                ("TOWLINE_ALLOWED_HOSTS", parse_list),
                file.allowed_hosts.map(Into::into),
                Vec::new(),
            )?,
            insecure: sources.pick(
                ("--insecure", args.insecure.then_some(true)),
                ("TOWLINE_INSECURE", parse_bool),
                file.insecure,
                false,
            )?,
            create_hold: span(file.create_hold, limits::CREATE_HOLD),
            ping_grace: span(file.ping_grace, limits::PING_GRACE),
            log_hold: span(file.log_hold, limits::LOG_HOLD),
            anti_entropy: span(file.anti_entropy, limits::ANTI_ENTROPY),
            delete_when_offline: sources.file_only(file.delete_when_offline, WhenOffline::Durable),
            compression,
            passthrough,
            jobscript: JobScriptSettings::resolve(args, sources, file.jobscript)?,
            plugins: WaySettings::resolve(&args.plugin_urls, sources, interlink.sidecar())?,
            interlink,
        };
        InterLinkFile::fill(&mut settings)?;
        settings.validate()?;
        Ok(settings)
    }

    /// The names by which a listener may be called; none: by any. A page in a browser reaches what listens on loopback,
    /// and only a token or this keeps it out. A Unix socket it cannot reach.
    pub(crate) fn hosts(&self, listen: &Listen) -> Option<Vec<String>> {
        let named = !self.allowed_hosts.value.is_empty();
        let open = listen.is_local() && self.token_file.value.is_none();
        let checked = matches!(listen, Listen::Tcp(_)) && (open || named);
        checked.then(|| self.allowed_hosts.value.clone())
    }

    /// What the TCP listeners show, if they speak TLS.
    ///
    /// # Errors
    /// Names the file that is missing or wrong.
    pub(crate) fn tls(&self) -> Result<Option<Arc<rustls::ServerConfig>>, Failure> {
        let (Some(cert_file), Some(key_file)) = (self.tls_cert.value.clone(), self.tls_key.value.clone())
        else {
            return Ok(None);
        };
        let tls = ServerTls { cert_file, key_file };
        tls.server_config()
            .map(Some)
            .map_err(|error| Failure::Config(format!("hub.tls_cert, hub.tls_key: {error}")))
    }

    /// The part that the hub itself takes.
    pub(crate) fn hub_config(&self) -> HubConfig {
        HubConfig {
            create_hold: self.create_hold.value,
            ping_grace: self.ping_grace.value,
            log_hold: self.log_hold.value,
            delete_when_offline: match self.delete_when_offline.value {
                WhenOffline::Durable => DeleteWhenOffline::Durable,
                WhenOffline::Refuse => DeleteWhenOffline::Refuse,
            },
            anti_entropy: self.anti_entropy.value,
            compression: self.compression.when.value,
            compression_level: self.compression.level.value,
            compression_threshold: self.compression.threshold.value,
            http_passthrough: self.passthrough.on.value == Switch::On,
            http_only: (self.plugins.iter())
                .filter(|plugin| plugin.transport.value == Transport::Http)
                .map(|plugin| plugin.name.clone())
                .collect(),
            state_dir: match self.state_dir.value.clone() {
                None => StateDir::None,
                Some(dir) => StateDir::Path {
                    dir,
                    key_file: self.state_key_file.value.clone(),
                },
            },
            ..HubConfig::default()
        }
    }
}

pub(super) fn parse_list(text: &str) -> Result<Vec<String>, String> {
    Ok(text
        .split(',')
        .map(|part| part.trim().to_owned())
        .filter(|part| !part.is_empty())
        .collect())
}

fn parse_addresses(key: &str, texts: Setting<Vec<String>>) -> Result<Setting<Vec<Listen>>, Failure> {
    let value = texts
        .value
        .iter()
        .map(|text| Listen::parse(text))
        .collect::<Result<_, _>>()
        .map_err(|why| Failure::Config(format!("{key} (from {}): {why}", texts.source)))?;
    Ok(Setting {
        value,
        source: texts.source,
    })
}
